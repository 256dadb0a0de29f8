"""Two programs, each with a server of its own, and what differs in their answers.

Exit code, standard output and the error line are compared after what differs between two servers was
replaced by its name (ids of cluster, member and leases, end points, durations, sizes).
"""

import hashlib
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import Server  # noqa: E402

TIME_LIMIT_S = 300  # of one command; no command takes long on its own
# Both wait long, so that a busy machine is no difference.
ENVIRONMENT = {"ETCDCTL_API": "3", "PATH": os.environ["PATH"], "ETCDCTL_COMMAND_TIMEOUT": "200s",
               "ETCDCTL_DIAL_TIMEOUT": "100s"}
QUOTA_BYTES = 8 << 20


@dataclass
class Line:
    words: str  # as a shell splits them; @LEASE1 is the first lease that was granted, @MEMBER1 the
    # first member that was added, @SELF the server's own id, @ENDPOINT its end point
    stdin: str = ""
    # What is compared besides the exit code. "error": only that there is one, because the text is
    # that of Go's flag or number parser, or names the program.
    compare: str = "all"  # "code": nothing but the exit code
    new: bool = False  # not in etcdctl 3.4
    environment: tuple = ()
    bare: bool = False  # without the server's end point


def line(words, **more):
    return Line(words, **more)


def new(words, **more):
    return Line(words, new=True, **more)


def wrong(words, **more):
    return Line(words, compare="error", **more)


class Side:
    """One program, its server, and the names of what is its own."""

    def __init__(self, binary, server):
        self.binary, self.server = str(binary), server
        self.leases = []
        self.members = []
        self.names = {}
        self.own_id = 0
        status = self.run(Line("endpoint status -w json")).stdout
        header = json.loads(status)[0]["Status"]["header"]
        self.name_id("CLUSTER", header["cluster_id"])
        self.name_id("MEMBER", header["member_id"])
        self.own_id = header["member_id"]

    def name_id(self, name, number):
        """Its decimal and its two hexadecimal forms: padded to 16 digits or not, which etcdctl does
        for leases alone, and no form stands inside another word."""
        self.names[rf"\b{number}\b"] = f"<{name}>"
        self.names[rf"\b{number:x}\b"] = f"<{name} hex>"
        self.names[rf"\b{number:016x}\b"] = f"<{name} hex of 16>"

    def run(self, case):
        words = re.sub(r"@LEASE(\d)", lambda m: f"{self.leases[int(m[1]) - 1]:x}", case.words)
        words = re.sub(r"@MEMBER(\d)", lambda m: f"{self.members[int(m[1]) - 1]:x}", words)
        words = words.replace("@SELF", f"{self.own_id:x}").replace("@ENDPOINT", self.server.endpoint)
        words = words.replace("@PEER", self.server.peer_url)
        environment = {**ENVIRONMENT, **dict(case.environment)}
        front = [] if case.bare else [f"--endpoints={self.server.endpoint}"]
        return subprocess.run(
            [self.binary, *front, *shlex.split(words)],
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
        added = re.search(r"Member +([0-9a-f]+) added|\"member\":{\"ID\":\"?(\w+)", out)
        if case.words.startswith("member add") and added:
            base = 10 if added[2] and "--hex" not in case.words else 16
            self.members.append(int(added[1] or added[2], base))
            self.name_id(f"MEMBER{len(self.members)}", self.members[-1])
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
                  if text and not text.startswith(("{", "stty:"))]
        if case.compare == "code":
            return result.returncode, "", ""
        if case.compare == "error":
            # A usage text may follow on either stream, and says nothing about the command.
            return result.returncode, "", "an error" if errors else ""
        return result.returncode, self.normal(case, out), self.normal(case, "\n".join(errors))

    def normal(self, case, text):
        text = text.replace("quoratectl", "etcdctl")
        if case.words.startswith("member"):
            text = members_in_order(text)
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


def members_in_order(text):
    """Members come by id, which is another one at each server: here they come by their URLs."""
    text = re.sub(r'(?<=ETCD_INITIAL_CLUSTER=")[^"]*', lambda m: ",".join(sorted(m[0].split(","))),
                  text)
    if not text.startswith("{"):
        return re.sub(r"(?<=Member) +|(?<=cluster) +", " ", text)
    answer = json.loads(text)
    answer.get("members", []).sort(key=lambda member: member["peerURLs"])
    return json.dumps(answer, separators=(",", ":")) + "\n"


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

    def watch(self, changes, watches):
        """Makes the changes, then each (number of lines to wait for, command) of `watches` prints them."""
        self.run([Line(words) for words in changes])
        revision = json.loads(self.sides[0].run(Line("get w -w json")).stdout)["header"]["revision"]
        revision -= len(changes) - 1
        for count, words in watches:
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


