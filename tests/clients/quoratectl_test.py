#!/usr/bin/python3
"""quoratectl beside etcdctl: the same command lines on the same histories print the same.

Both programs run every line of LINES against a server of their own that has seen the same lines
before. Exit code, standard output and the error line are compared after what differs between two
servers was replaced by its name (ids of cluster, member and leases, end points, durations, sizes).
The reference is etcdctl 3.7 where scripts/build_etcd.sh made it, else Debian's 3.4, for which the
lines marked NEW are left out. Both servers are once etcd's and once Quorate.

usage: quoratectl_test.py [--etcdctl PATH] [--show]
"""

import argparse
import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import ROOT, Server, quorate_binary  # noqa: E402

BUILT = ROOT / "build" / "peers" / "bin"
TIME_LIMIT_S = 300  # of one command; no command of LINES takes long on its own
# Both wait long, so that a busy machine is no difference.
ENVIRONMENT = {"ETCDCTL_API": "3", "PATH": os.environ["PATH"], "ETCDCTL_COMMAND_TIMEOUT": "200s",
               "ETCDCTL_DIAL_TIMEOUT": "100s"}


@dataclass
class Line:
    words: str  # split at blanks; @LEASE1 is the first lease that was granted
    stdin: str = ""
    # What is compared besides the exit code. "error": only that there is one, because the text is
    # that of Go's flag or number parser, or names the program.
    compare: str = "all"
    new: bool = False  # not in etcdctl 3.4
    environment: tuple = ()


def line(words, **more):
    return Line(words, **more)


def new(words, **more):
    return Line(words, new=True, **more)


def wrong(words, **more):
    return Line(words, compare="error", **more)


PUT_AND_GET = [
    line("put a 1"), line("put a 2 --prev-kv"), line("put b x"), line("put b"),
    line("put from-stdin", stdin="typed text\n"), line("put --ignore-value a"),
    line("put --ignore-value missing"), line("put --ignore-lease missing v"),
    line("put a 3 -w json"), line("put a 4 -w fields"), line("put a 5 --prev-kv -w fields"),
    line("put a 6 --prev-kv -w json"), line("put a 7 -w protobuf"), line("put a 8 -w table"),
    line("put -- -dash value"), wrong("put a v --lease=zz"), line("put a v --lease=1234"),
    line("put"), line("put a b --ignore-value"),
    line("get a"), line("get missing"), line("get -- -dash"), line("get from-stdin"),
    line("get a -w json"), line("get a -w fields"), line("get a -w protobuf"),
    line("get a -w table"), line("get a --hex"), new("get a --hex -w fields"),
    line("get a --hex -w json"), line("get a c"), line("get a --prefix"), line("get a --from-key"),
    new("get --prefix"), line("get a --prefix --keys-only"), line("get a --print-value-only"),
    line("get a --print-value-only -w json"), line("get a --prefix --limit=1 -w fields"),
    line("get a z --limit 2"), line("get a --rev=2"), line("get a --rev=1"),
    line("get a --rev=1000"), line("get a --rev=-1"), line("get a z --order=DESCEND"),
    line("get a z --order=ASCEND"), line("get a z --sort-by=MODIFY"),
    line("get a z --sort-by=VALUE --order=DESCEND"), line("get a z --sort-by=CREATE"),
    line("get a z --sort-by=VERSION --order=DESCEND"), line("get a z --sort-by=KEY"),
    line("get a --order=SIDEWAYS"), line("get a --sort-by=COLOUR"),
    line("get a --consistency=s"), line("get a --consistency=x"),
    new("get a --count-only"), new("get a --prefix --count-only -w fields"),
    new("get a --count-only --keys-only"), line("get a --prefix --from-key"),
    line("get a b --prefix"), line("get a b --from-key"), line("get"),
    new("get a z --min-mod-rev=4"), new("get a z --max-mod-rev=4"),
    new("get a z --min-create-rev=3"), new("get a z --max-create-rev=3"),
    new("get a z --stream"), new("get a z --stream -w json"), new("get a --stream --rev=1000"),
    line("get a -w nothing"), line("get a -wjson"), line("get a -w=fields"),
    line("get a --write-out simple"), wrong("get a --colour"), wrong("get a --limit=many"),
    line("get a", environment=(("ETCDCTL_WRITE_OUT", "fields"),)),
    line("get a", environment=(("ETCDCTL_HEX", "true"),)),
]

DELETE_AND_COMPACT = [
    line("put d/1 x"), line("put d/2 y"), line("put d/3 z"), line("put d/4 q"),
    line("del d/1"), line("del d/1"), line("del d/2 --prev-kv"), new("del d/3 d/4 --range --prev-kv"),
    line("del d/ --prefix --prev-kv -w json"), line("put d/5 v"),
    line("del d/5 --prev-kv -w fields"), line("del d/ --prefix -w fields"),
    line("del nothing -w json"), line("del nothing --from-key --prefix"), line("del"),
    line("del zz --from-key"), line("del a b --prefix"),
    line("compaction 5"), line("compaction 5"), line("compaction 1000"),
    line("compaction --physical 6"), line("compaction 7 -w json"), line("get a --rev=3"),
    wrong("compaction five"), line("compaction"), line("watch a --rev=2"),
]

TRANSACTIONS = [
    line("txn", stdin='value("a") = "8"\n\nput t 1\nget a\n\nput t 2\n\n'),
    line("txn", stdin='value("a") = "no"\n\nput t 1\n\nget t\ndel t\n\n'),
    line("txn", stdin='mod("a") > "1"\nver("a") != "0"\ncreate("a") < "100"\n\n'
                      "del t --prev-kv\nput t 3 --prev-kv\n\n\n"),
    line("txn", stdin='c("a") > "0"\nm("a") > "0"\nversion("a") > "0"\nval("a") > ""\n\nget a z --limit=2\n\n\n'),
    line("txn -w json", stdin='ver("t") > "0"\n\nget t\nput t 4\n\n\n'),
    line("txn -w fields", stdin='ver("t") > "0"\n\nget t\nput t 5\ndel none\n\n\n'),
    line("txn", stdin='ver("t") > "0"\n\nput "quoted key" "a value\\nof two lines"\n\n\n'),
    line("txn", stdin="\n\n\n"),
    line("txn", stdin="\nput x 1\nput x 2\n\n\n"), wrong("txn", stdin="nonsense\n\n\n\n"),
    wrong("txn", stdin='value("a") = "1"\n\nfly away\n\n\n'), line("txn word"),
    line("txn -i", stdin='ver("t") > "0"\n\nget t\n\nput t 6\n\n'),
]

LEASES = [
    line("lease grant 300"), line("lease grant 200 -w json"), line("lease grant 100 -w fields"),
    line("put leased v --lease=@LEASE1"),
    line("get leased -w json"), line("get leased -w fields"), new("get leased -w fields --hex"),
    line("lease timetolive @LEASE1"), line("lease timetolive @LEASE1 -w json"),
    line("lease timetolive @LEASE1 --keys -w json"),
    line("lease timetolive @LEASE1 --keys -w fields"),
    # etcd lists several keys in any order.
    line("put leased2 v --lease=@LEASE1"), line("lease timetolive @LEASE1 --keys"),
    line("lease timetolive 1234"), line("lease timetolive 1234 -w json"),
    line("lease list"), line("lease list -w fields"), new("lease list -w fields --hex"), line("lease list -w json"),
    line("lease keep-alive --once @LEASE1"), line("lease keep-alive --once @LEASE1 -w json"),
    line("lease keep-alive --once @LEASE1 -w fields"), line("lease keep-alive --once 1234"),
    line("lease revoke @LEASE2"), line("lease revoke @LEASE2"), line("lease revoke @LEASE3"),
    line("lease revoke @LEASE1 -w json"), line("get leased"),
    wrong("lease grant soon"), line("lease grant 0"), line("lease grant -- -5"),
    line("lease grant 99999999999"), line("lease grant"), wrong("lease revoke zz"),
    line("lease revoke"), wrong("lease timetolive zz"), wrong("lease keep-alive zz --once"),
]

CLUSTER = [
    new("endpoint status"), new("endpoint status -w json"), new("endpoint status -w fields"),
    new("endpoint status -w table"), line("endpoint status -w protobuf"),
    new("endpoint status --cluster"),
    new("endpoint hashkv"), new("endpoint hashkv -w json"), new("endpoint hashkv -w fields"),
    new("endpoint hashkv -w table"), new("endpoint hashkv --rev=8"), line("endpoint hashkv --rev=9999"),
    new("endpoint hashkv --cluster -w json"),
    new("endpoint health"), line("endpoint health -w json"), new("endpoint health -w table"),
    new("endpoint health --cluster"),
    line("member list"), line("member list -w json"), new("member list -w fields"),
    new("member list -w table"), line("member list -w protobuf"), new("member list --hex"),
    new("member list --hex -w json"), new("member list --hex -w fields"),
    new("member list --consistency=s"), wrong("member list --consistency=x", new=True),
    line("alarm list"), line("alarm list -w json"),
    new("alarm list -w fields"),  # 3.4 falls over it
    line("alarm disarm"), line("alarm disarm -w json"),
    new("defrag"), new("defrag --cluster"), wrong("version"), wrong("fly"),
    wrong("get a --command-timeout=fast"),
]

# (number of lines that are waited for, the command): what a watch prints of the past. Then it is
# interrupted, and the exit code is the interruption's.
WATCHES = [
    (14, "watch w --prefix --rev=@REV"), (8, "watch w/1 --rev=@REV"),
    (12, "watch w/1 --rev=@REV --prev-kv"), (8, "watch w/1 w/3 --rev=@REV"),
    (10, "watch w/1 --rev=@REV -w fields"), (8, "watch --rev=@REV w/1 --hex"),
    (2, 'watch w/1 --rev=@REV -- sh -c echo\\ $ETCD_WATCH_EVENT_TYPE:$ETCD_WATCH_KEY'),
]
WATCHES_NEW = [  # 3.4 has no CancelReason
    (1, "watch w/1 --rev=@REV -w json"), (1, "watch w --prefix --rev=@REV -w json --prev-kv"),
]
WATCHED = ["put w/1 one", "put w/2 two", "put w/1 more", "del w/1 --prev-kv", "put w/9 nine"]

# After the quota was reached. Whether a put fits after the disarm is the server's affair: how full
# etcd's file is depends on when its batches were written.
ALARMS = [
    line("alarm list"), line("put one more"), line("get one"), new("endpoint health"),
    wrong("del fill --prefix"), line("alarm disarm"), line("alarm list"), line("alarm disarm"),
]

GROUPS = [PUT_AND_GET, DELETE_AND_COMPACT, TRANSACTIONS, LEASES, CLUSTER]
QUOTA_BYTES = 8 << 20

# Not compared, because quoratectl differs on purpose: words too many (`get a b c`, `put a b c`,
# `del a b c`) and groups without a subcommand that exists (`lease fly`) are errors with exit code
# 128 and 1, where etcdctl ignores them; `del a b` does not wait two seconds without --range; a
# txn that compares lease("k") is read, where etcdctl 3.7 panics; --consistency=x is named as it was
# given, where etcdctl names its default.


class Side:
    """One program, its server, and the names of what is its own."""

    def __init__(self, binary, server):
        self.binary, self.server = str(binary), server
        self.leases = []
        self.names = {}
        status = self.run(Line("endpoint status -w json")).stdout
        header = json.loads(status)[0]["Status"]["header"]
        self.name_id("CLUSTER", header["cluster_id"])
        self.name_id("MEMBER", header["member_id"])

    def name_id(self, name, number):
        """Its decimal and its two hexadecimal forms: padded to 16 digits or not, which etcdctl does
        for leases alone, and no form stands inside another word."""
        self.names[rf"\b{number}\b"] = f"<{name}>"
        self.names[rf"\b{number:x}\b"] = f"<{name} hex>"
        self.names[rf"\b{number:016x}\b"] = f"<{name} hex of 16>"

    def run(self, case):
        words = re.sub(r"@LEASE(\d)", lambda m: f"{self.leases[int(m[1]) - 1]:x}", case.words)
        environment = {**ENVIRONMENT, **dict(case.environment)}
        return subprocess.run(
            [self.binary, f"--endpoints={self.server.endpoint}", *words.split()],
            input=case.stdin.encode(), capture_output=True, env=environment, check=False,
            timeout=TIME_LIMIT_S)

    def watch(self, count, words, revision):
        """The first `count` lines of a watch's output and its exit code after SIGINT."""
        process = subprocess.Popen(
            [self.binary, f"--endpoints={self.server.endpoint}",
             *shlex.split(words.replace("@REV", str(revision)))],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=ENVIRONMENT, text=True)
        lines = [process.stdout.readline() for _ in range(count)]
        process.send_signal(signal.SIGINT)
        process.communicate()
        return process.returncode, self.normal(Line(words), "".join(lines))

    def learn(self, case, out):
        if not case.words.startswith("lease grant"):
            return
        found = re.search(r"lease ([0-9a-f]{16}) granted|\"ID\"(?: : |:)(\d+)", out)
        if found:
            self.leases.append(int(found[1], 16) if found[1] else int(found[2]))
            self.name_id(f"LEASE{len(self.leases)}", self.leases[-1])

    def answer(self, case):
        """(exit code, output, error line) with names in place of what is this side's own."""
        result = self.run(case)
        out = result.stdout.decode("utf-8", "backslashreplace")
        self.learn(case, out)
        errors = [text for text in result.stderr.decode("utf-8", "backslashreplace").splitlines()
                  if text and not text.startswith("{")]
        if case.compare == "error":
            # A usage text may follow on either stream, and says nothing about the command.
            return result.returncode, "", "an error" if errors else ""
        return result.returncode, self.normal(case, out), self.normal(case, "\n".join(errors))

    def normal(self, case, text):
        text = text.replace(self.server.url, "<URL>").replace(self.server.endpoint, "<ENDPOINT>")
        text = re.sub(r"http://127\.0\.0\.1:\d+", "<PEER URL>", text)
        for pattern, name in self.names.items():
            text = re.sub(pattern, name, text)
        # Protobuf writes ids as variable-length numbers: the length of the answer stays.
        if "protobuf" in case.words:
            return f"{len(text) > 0}"
        text = re.sub(r'("took":"|took = |took |Took" : )[0-9.]+[a-zµ]+', r"\1<TOOK>", text)
        if "alarm" in case.words:  # Go's protobuf text has its blanks as its build likes
            text = re.sub(" +", " ", text).replace("NOSPACE \n", "NOSPACE\n")
        if "status" in case.words:
            text = re.sub(r"\b[0-9.]+ [kM]?B\b", "<SIZE>", text)
            text = re.sub(r"\b\d+%", "<PERCENT>", text)
            text = re.sub(r'("?(?:dbSize(?:InUse)?|DBSize(?:InUse)?)"?[: ]+)\d+', r"\1<SIZE>", text)
        text = re.sub(r"(?<=attached keys\(\[)[^\]]*", lambda m: " ".join(sorted(m[0].split())), text)
        if "hashkv" in case.words:  # covers the lease ids
            text = re.sub(r'("hash":|"Hash" : |│ |, )\d{5,}', r"\1<HASH>", text)
            # Short leases of the group before end when they end.
            text = re.sub(r'(aft(?:Applied)?Index"[: ]+)\d+', r"\1<INDEX>", text)
            text = re.sub(r"((?:true|false)(?:, | │ ))(\d+)(, | │ )\d+\3\d+",
                          r"\1\2\3<INDEX>\3<INDEX>", text)
        if "timetolive" in case.words:
            text = re.sub(r'(remaining\(|"ttl":|"TTL" : )\d+', r"\1<SECONDS>", text)
        if "table" in case.words or "health" in case.words:
            text = re.sub(r"[0-9.]+(?:ms|µs|s)\b", "<TOOK>", text)
            text = re.sub(r"[─ ]+", " ", text)  # widths follow the values
        return text


def token_for_zeros(server):
    """A cluster token with which the ids of member and cluster begin with a zero, which etcdctl does
    not show; server/config.h has how they are made."""
    peer_url = f"http://127.0.0.1:{server.peer_port}"
    for number in itertools.count():
        member = hashlib.sha1(f"{peer_url}token-{number}".encode()).digest()[:8]
        if member[0] < 16 and hashlib.sha1(member).digest()[0] < 16:
            return f"token-{number}"


def start(binary):
    server = Server(binary, f"--quota-backend-bytes={QUOTA_BYTES}")
    server.flags.append(f"--initial-cluster-token={token_for_zeros(server)}")
    return server


class Comparison:
    def __init__(self, sides, show, with_new):
        self.sides, self.show, self.with_new = sides, show, with_new
        self.lines = self.differences = 0

    def run(self, group):
        for case in group:
            if case.new and not self.with_new:
                continue
            expected, got = (side.answer(case) for side in self.sides)
            self.lines += 1
            if self.show:
                print(f"{case.words}\n  {expected}")
            if expected != got:
                self.differences += 1
                print(f"DIFFERENT: {case.words!r} with input {case.stdin!r}\n"
                      f"  etcdctl:    {expected}\n  quoratectl: {got}")

    def watch(self):
        self.run([Line(words) for words in WATCHED])
        revision = json.loads(self.sides[0].run(Line("get w -w json")).stdout)["header"]["revision"]
        revision -= len(WATCHED) - 1
        for count, words in WATCHES + (WATCHES_NEW if self.with_new else []):
            expected, got = (side.watch(count, words, revision) for side in self.sides)
            self.lines += 1
            if expected != got:
                self.differences += 1
                print(f"DIFFERENT: {words!r}\n  etcdctl:    {expected}\n  quoratectl: {got}")

    def fill(self):
        """Puts until the quota is reached; how many that takes is the server's affair."""
        for side in self.sides:
            for number in itertools.count():
                words = f"put fill/{number}"
                if side.run(Line(words, stdin="x" * 1_000_000)).returncode != 0:
                    break


def compare(reference, ours, binary, show, with_new):
    with start(binary) as left, start(binary) as right:
        comparison = Comparison((Side(reference, left), Side(ours, right)), show, with_new)
        for group in GROUPS:
            comparison.run(group)
        comparison.watch()
        comparison.fill()
        comparison.run(ALARMS)
    return comparison.lines, comparison.differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--etcdctl")
    parser.add_argument("--show", action="store_true", help="print every line and its answer")
    arguments = parser.parse_args()
    built = arguments.etcdctl or (str(BUILT / "etcdctl") if (BUILT / "etcdctl").exists() else None)
    reference = built or shutil.which("etcdctl")
    if reference is None:
        print("SKIPPED: no etcdctl; install etcd-client or run scripts/build_etcd.sh")
        return 77
    version = subprocess.run([reference, "version"], capture_output=True, text=True, check=True,
                             env={"ETCDCTL_API": "3"}).stdout.split()[2]
    with_new = not version.startswith("3.4.")
    print(f"reference: etcdctl {version} at {reference}"
          + ("" if with_new else "; lines that 3.4 does not know are left out"))
    servers = {"quorate": quorate_binary()}
    etcd = str(BUILT / "etcd") if (BUILT / "etcd").exists() else shutil.which("etcd")
    if etcd is not None and with_new == (str(BUILT) in etcd):
        servers["etcd"] = etcd
    else:
        print("note: no etcd server of the reference's version, Quorate's alone")
    failed = 0
    for name, server in servers.items():
        count, differences = compare(reference, quorate_binary().with_name("quoratectl"), server,
                                     arguments.show, with_new)
        print(f"beside {name}: {count} command lines, {differences} differences")
        failed += differences
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
