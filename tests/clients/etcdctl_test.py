#!/usr/bin/python3
"""Real command-line clients against every backend: Debian's etcdctl, and etcdctl 3.7 where it was built.

Each case is one command line with the output a user of etcd would see. Nothing here is ours but
the server.

usage: etcdctl_test.py [--backend NAME]... [--etcdctl PATH]...
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import BACKENDS, ROOT, Server, quorate_binary  # noqa: E402

BUILT = ROOT / "build" / "peers" / "bin" / "etcdctl"


class Ctl:
    def __init__(self, binary, server):
        self.binary, self.server = str(binary), server
        self.cases = 0

    def run(self, *arguments, stdin=""):
        environment = {"ETCDCTL_API": "3", "PATH": os.environ["PATH"],
                       "ETCDCTL_COMMAND_TIMEOUT": "200s"}  # the machine may be busy
        result = subprocess.run(
            [self.binary, f"--endpoints={self.server.endpoint}", *arguments], input=stdin,
            capture_output=True, text=True, env=environment, check=False,
        )
        self.cases += 1
        return result.returncode, result.stdout, result.stderr

    def expect(self, expected, *arguments, stdin=""):
        code, out, err = self.run(*arguments, stdin=stdin)
        assert code == 0, f"etcdctl {arguments}: exit {code}: {out}{err}"
        if isinstance(expected, re.Pattern):
            assert expected.fullmatch(out), f"etcdctl {arguments}: got {out!r}, want {expected}"
        else:
            assert out == expected, f"etcdctl {arguments}: got {out!r}, want {expected!r}"
        return out

    def refuse(self, text, *arguments, stdin=""):
        code, out, err = self.run(*arguments, stdin=stdin)
        assert code != 0 and text in err, f"etcdctl {arguments}: {code}, {out!r}, {err!r}"

    def json(self, *arguments):
        code, out, err = self.run(*arguments, "-w", "json")
        assert code == 0, f"etcdctl {arguments}: {err}"
        return json.loads(out)


def keys_and_values(ctl):
    ctl.expect("OK\n", "put", "greeting", "hello")
    ctl.expect("greeting\nhello\n", "get", "greeting")
    ctl.expect("hello\n", "get", "greeting", "--print-value-only")
    ctl.expect("", "get", "missing")
    ctl.expect("OK\ngreeting\nhello\n", "put", "greeting", "world", "--prev-kv")
    revision = ctl.json("get", "greeting")["header"]["revision"]
    ctl.expect("greeting\nhello\n", "get", "greeting", f"--rev={revision - 1}")
    for number in range(5):
        ctl.expect("OK\n", "put", f"list/{number}", str(9 - number))
    ctl.expect("list/0\n9\nlist/1\n8\n", "get", "list/", "--prefix", "--limit=2")
    ctl.expect("list/4\n5\n", "get", "list/", "--prefix", "--order=DESCEND", "--limit=1")
    ctl.expect("list/4\n5\nlist/3\n6\n", "get", "list/", "--prefix", "--sort-by=VALUE",
               "--order=ASCEND", "--limit=2")
    ctl.expect("list/3\n\nlist/4\n\n", "get", "list/3", "list/9", "--keys-only")
    ctl.expect("list/4\n5\n", "get", "list/4", "--from-key", "--limit=1")
    assert ctl.json("get", "list/", "--prefix", "--limit=1")["count"] == 5
    ctl.expect("2\nlist/0\n9\nlist/1\n8\n", "del", "list/0", "list/2", "--prev-kv")
    ctl.expect("0\n", "del", "list/0")
    ctl.expect("3\n", "del", "list/", "--prefix")
    ctl.refuse("required revision is a future revision", "get", "greeting", "--rev=1000000")


def transactions(ctl):
    ctl.expect("OK\n", "put", "t", "1")
    ctl.expect("SUCCESS\n\nOK\n\nt\n2\n", "txn", stdin='value("t") = "1"\n\nput t 2\nget t\n\n\n')
    ctl.expect("FAILURE\n\nt\n2\n", "txn", stdin='value("t") = "1"\n\nput t 3\n\nget t\n\n')
    ctl.expect("SUCCESS\n\n1\n", "txn", stdin='mod("t") > "0"\n\ndel t\n\n\n')
    ctl.refuse("duplicate key given in txn request", "txn", stdin="\nput d 1\nput d 2\n\n\n")


def leases(ctl):
    out = ctl.expect(re.compile(r"lease [0-9a-f]{16} granted with TTL\(300s\)\n"), "lease", "grant",
                     "300")
    lease = out.split()[1]
    ctl.expect("OK\n", "put", "leased", "x", f"--lease={lease}")
    ctl.expect(re.compile(rf"lease {lease} granted with TTL\(300s\), remaining\(\d+s\), "
                          r"attached keys\(\[leased\]\)\n"), "lease", "timetolive", lease, "--keys")
    ctl.expect(f"found 1 leases\n{lease}\n", "lease", "list")
    ctl.expect(f"lease {lease} keepalived with TTL(300)\n", "lease", "keep-alive", "--once", lease)
    ctl.expect(f"lease {lease} revoked\n", "lease", "revoke", lease)
    ctl.expect("", "get", "leased")
    ctl.refuse("requested lease not found", "lease", "revoke", lease)
    ctl.refuse("requested lease not found", "put", "k", "v", "--lease=1234")


def watching(ctl):
    first = ctl.json("get", "x")["header"]["revision"] + 1
    for value in ("1", "2"):
        ctl.expect("OK\n", "put", "watched", value)
    ctl.expect("1\n", "del", "watched")
    environment = {"ETCDCTL_API": "3", "PATH": os.environ["PATH"]}
    watch = subprocess.Popen(
        [ctl.binary, f"--endpoints={ctl.server.endpoint}", "watch", "watched", f"--rev={first}",
         "--prev-kv"], stdout=subprocess.PIPE, text=True, env=environment,
    )
    expected = ["PUT", "watched", "1", "PUT", "watched", "1", "watched", "2",
                "DELETE", "watched", "2", "watched", "", "PUT", "watched", "live"]
    lines = [watch.stdout.readline().rstrip("\n") for _ in range(13)]
    ctl.expect("OK\n", "put", "watched", "live")
    lines += [watch.stdout.readline().rstrip("\n") for _ in range(3)]
    watch.kill()
    watch.wait()
    watch.stdout.close()
    ctl.cases += 1
    assert lines == expected, lines


def maintenance(ctl):
    revision = ctl.json("get", "x")["header"]["revision"]
    ctl.expect(f"compacted revision {revision}\n", "compaction", str(revision))
    ctl.refuse("required revision has been compacted", "compaction", str(revision))
    ctl.refuse("required revision has been compacted", "get", "greeting", "--rev=1")
    ctl.expect("OK\n", "put", "after", "1")
    ctl.expect(f"compacted revision {revision + 1}\n", "compaction", "--physical",
               str(revision + 1))
    status = ctl.json("endpoint", "status")[0]["Status"]
    assert status["leader"] == status["header"]["member_id"], status
    assert status["version"] == "3.7.1" and status["raftIndex"] >= status["header"]["raft_term"]
    # The members' own URLs as endpoints: 3.4 then sends an :authority with a scheme in it.
    assert ctl.json("endpoint", "status", "--cluster")[0]["Endpoint"] == ctl.server.url
    hashes = ctl.json("endpoint", "hashkv")[0]["HashKV"]
    assert hashes["hash"] > 0 and hashes["compact_revision"] == revision + 1, hashes
    code, out, err = ctl.run("endpoint", "health")
    assert code == 0 and "is healthy" in out + err
    members = ctl.json("member", "list")["members"]
    assert len(members) == 1 and members[0]["name"] == "test", members
    assert members[0]["clientURLs"] == [ctl.server.url], members
    code, out, err = ctl.run("defrag")
    assert code == 0 and "Finished defragmenting etcd member" in out + err, out + err
    ctl.expect("", "alarm", "list")


SUITE = [keys_and_values, transactions, leases, watching, maintenance]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    parser.add_argument("--etcdctl", action="append")
    arguments = parser.parse_args()
    binaries = arguments.etcdctl or ["/usr/bin/etcdctl"] + ([BUILT] if BUILT.exists() else [])
    if not BUILT.exists() and not arguments.etcdctl:
        print(f"note: no etcdctl 3.7 at {BUILT.relative_to(ROOT)}; scripts/build_etcd.sh makes it")
    for binary in binaries:
        if not os.access(binary, os.X_OK):
            print(f"SKIPPED: no etcdctl at {binary}; install etcd-client")
            return 77
        for backend in arguments.backend or BACKENDS:
            with Server(quorate_binary(), f"--backend={backend}") as server:
                ctl = Ctl(binary, server)
                for case in SUITE:
                    case(ctl)
                print(f"{binary}: backend {backend}: {ctl.cases} commands as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
