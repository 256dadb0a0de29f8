"""The parts as command lines of etcdctl: Debian's 3.4, or a current one.

usage: etcdctl.py PATH
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading

import reporting
from reporting import (
    CERTIFICATES, ENDPOINTS, PASSWORDS, TLS, USERS, NotOffered, certificate, please)

PATH = sys.argv[1]
CURRENT = "etcdctl version: 3.4" not in subprocess.run(
    [PATH, "version"], capture_output=True, text=True, env={"ETCDCTL_API": "3"}).stdout
ENVIRONMENT = {"ETCDCTL_API": "3", "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
LEASE = re.compile(r"lease ([0-9a-f]{16}) granted with TTL\((\d+)s\)\n")


def command(user, endpoints=None, password=None):
    words = [PATH, f"--endpoints={','.join(endpoints or ENDPOINTS)}", "--command-timeout=60s",
             "--dial-timeout=10s"]
    if TLS:
        words.append(f"--cacert={certificate('ca.pem')}")
    if CERTIFICATES:
        words += [f"--cert={certificate(user)}.pem", f"--key={certificate(user)}.key"]
    if PASSWORDS:
        words.append(f"--user={user}:{password or user + 'pw'}")
    return words


def attempt(*words, user="app", endpoints=None, password=None, given=""):
    """(exit code, output, errors)"""
    done = subprocess.run([*command(user, endpoints, password), *words], input=given,
                          capture_output=True, text=True, env=ENVIRONMENT)
    return done.returncode, done.stdout, done.stderr


def ctl(*words, **more):
    code, out, errors = attempt(*words, **more)
    assert code == 0, f"etcdctl {words}: exit {code}: {out}{errors}"
    return out


def says(expected, *words, **more):
    out = ctl(*words, **more)
    assert out == expected, f"etcdctl {words}: got {out!r}, want {expected!r}"


def refused(text, *words, **more):
    code, out, errors = attempt(*words, **more)
    assert code != 0 and text in errors, f"etcdctl {words}: exit {code}, {out!r}, {errors!r}"


def told(*words, **more):
    return json.loads(ctl(*words, "-w", "json", **more))


def revision():
    return told("get", "none")["header"]["revision"]


class Beside:
    """A command that runs until the block is left."""

    def __init__(self, *words, user="app", endpoints=None):
        self.process = subprocess.Popen(
            [*command(user, endpoints), *words], env=ENVIRONMENT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.communicate()

    def lines(self, count):
        return [self.process.stdout.readline().rstrip("\n") for _ in range(count)]


def kv():
    says("OK\n", "put", "kv/a", "1")
    first = revision()
    says("OK\nkv/a\n1\n", "put", "kv/a", "2", "--prev-kv")
    says("kv/a\n1\n", "get", "kv/a", f"--rev={first}")
    says("2\n", "get", "kv/a", "--print-value-only", "--consistency=s")
    says("OK\n", "put", "kv/a", "--ignore-value")
    for number in range(5):
        says("OK\n", "put", f"kv/list/{number}", str(9 - number))
    says("kv/list/0\n9\nkv/list/1\n8\n", "get", "kv/list/", "--prefix", "--limit=2")
    says("kv/list/4\n5\n", "get", "kv/list/", "--prefix", "--order=DESCEND", "--limit=1")
    says("kv/list/4\n5\n", "get", "kv/list/", "--prefix", "--sort-by=VALUE", "--order=ASCEND",
         "--limit=1")
    says("kv/list/3\n\nkv/list/4\n\n", "get", "kv/list/3", "kv/list/9", "--keys-only")
    assert told("get", "kv/list/", "--prefix", "--limit=1")["count"] == 5
    says("2\nkv/list/0\n9\nkv/list/1\n8\n", "del", "kv/list/0", "kv/list/2", "--prev-kv")
    says("3\n", "del", "kv/list/", "--prefix")
    says("", "get", "kv/none")
    refused("required revision is a future revision", "get", "kv/a", "--rev=1000000")


def txn():
    says("OK\n", "put", "txn/a", "1")
    says("SUCCESS\n\nOK\n\ntxn/a\n2\n", "txn",
         given='value("txn/a") = "1"\n\nput txn/a 2\nget txn/a\n\n\n')
    says("FAILURE\n\ntxn/a\n2\n", "txn", given='value("txn/a") = "1"\n\nput txn/a 3\n\nget txn/a\n\n')
    says("SUCCESS\n\n1\n", "txn", given='mod("txn/a") > "0"\nver("txn/a") = "2"\n\ndel txn/a\n\n\n')
    refused("duplicate key given in txn request", "txn", given="\nput d 1\nput d 2\n\n\n")


def lease():
    out = ctl("lease", "grant", "300")
    lease_id, ttl = LEASE.fullmatch(out).groups()
    assert ttl == "300"
    says("OK\n", "put", "lease/a", "x", f"--lease={lease_id}")
    left = told("lease", "timetolive", lease_id, "--keys")
    assert left["granted-ttl"] == 300 and len(left["keys"]) == 1, left
    assert lease_id in ctl("lease", "list", user="root")
    says(f"lease {lease_id} keepalived with TTL(300)\n", "lease", "keep-alive", "--once", lease_id)
    with Beside("lease", "keep-alive", lease_id) as kept:
        assert kept.lines(1) == [f"lease {lease_id} keepalived with TTL(300)"]
    says(f"lease {lease_id} revoked\n", "lease", "revoke", lease_id)
    says("", "get", "lease/a")
    refused("requested lease not found", "lease", "revoke", lease_id)
    begin = revision()
    short, _ = LEASE.fullmatch(ctl("lease", "grant", "1")).groups()
    says("OK\n", "put", "lease/short", "x", f"--lease={short}")
    with Beside("watch", "lease/short", f"--rev={begin + 1}") as seen:
        assert seen.lines(5) == ["PUT", "lease/short", "x", "DELETE", "lease/short"]


def watch():
    first = revision() + 1
    for value in ("1", "2"):
        says("OK\n", "put", "watch/a", value)
    says("1\n", "del", "watch/a")
    for endpoint in ENDPOINTS:
        with Beside("watch", "watch/a", f"--rev={first}", "--prev-kv",
                    endpoints=[endpoint]) as seen:
            assert seen.lines(13) == [
                "PUT", "watch/a", "1", "PUT", "watch/a", "1", "watch/a", "2",
                "DELETE", "watch/a", "2", "watch/a", ""]
            key = f"watch/live/{endpoint}"
            with Beside("watch", "watch/live/", "--prefix", f"--rev={revision() + 1}",
                        endpoints=[endpoint]) as live:
                says("OK\n", "put", key, "live")
                assert live.lines(3) == ["PUT", key, "live"]


def compaction():
    says("OK\n", "put", "compact/a", "1")
    now = revision()
    says("OK\n", "put", "compact/a", "2")
    says(f"compacted revision {now}\n", "compaction", str(now), user="root")
    refused("required revision has been compacted", "compaction", str(now), user="root")
    refused("required revision has been compacted", "get", "compact/a", f"--rev={now - 1}")
    refused("required revision has been compacted", "watch", "compact/a", f"--rev={now - 1}")
    says("compact/a\n1\n", "get", "compact/a", f"--rev={now}")
    says(f"compacted revision {now + 1}\n", "compaction", "--physical", str(now + 1), user="root")


def lock():
    rounds, rivals = 3, 3
    says("OK\n", "put", "lock/count", "0")
    script = 'n=$("$@" get lock/count --print-value-only) && "$@" put lock/count $((n + 1))'

    def rival(failures):
        for _ in range(rounds):
            code, _, errors = attempt("lock", "--", "lock/suite", "sh", "-c", script, "sh",
                                      *command("app"))
            if code != 0:
                failures.append(errors)

    failures = []
    threads = [threading.Thread(target=rival, args=(failures,)) for _ in range(rivals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    says(f"{rounds * rivals}\n", "get", "lock/count", "--print-value-only")


def election():
    begin = revision()
    with Beside("elect", "--listen", "election/suite") as observer:
        with Beside("elect", "election/suite", "first") as first:
            key, value = first.lines(2)
            assert key.startswith("election/suite/") and value == "first", (key, value)
            assert observer.lines(2) == [key, "first"]
            with Beside("elect", "election/suite", "second") as second:
                with Beside("watch", "--prefix", "election/suite/", f"--rev={begin + 1}") as seen:
                    assert [seen.lines(3)[2] for _ in range(2)] == ["first", "second"]
                    first.process.terminate()
                    first.process.wait()
                    next_key, value = second.lines(2)
                    assert value == "second" and next_key != key
                    assert observer.lines(2) == [next_key, "second"]


def namespace():
    raise NotOffered("no prefix of its own")


def users():
    root = {"user": "root"}
    says("Role reader created\n", "role", "add", "reader", **root)
    ctl("role", "grant-permission", "reader", "read", "--prefix", "users/", **root)
    ctl("role", "grant-permission", "reader", "readwrite", "one", **root)
    says("Role reader\nKV Read:\n\tone\n\t[users/, users0) (prefix users/)\nKV Write:\n\tone\n",
         "role", "get", "reader", **root)
    says("User ann created\n", "user", "add", "ann", "--interactive=false", given="annpw\n", **root)
    says("User bob created\n", "user", "add", "bob", "--no-password", **root)
    says("Role reader is granted to user ann\n", "user", "grant-role", "ann", "reader", **root)
    says("User: ann\nRoles: reader\n", "user", "get", "ann", **root)
    assert {"ann", "bob"} <= set(ctl("user", "list", **root).split())
    says("Password updated\n", "user", "passwd", "ann", "--interactive=false", given="new\n", **root)
    if PASSWORDS:
        says("OK\n", "put", "users/a", "1")
        says("users/a\n1\n", "get", "users/a", user="ann", password="new")
        refused("permission denied", "get", "two", user="ann", password="new")
        refused("authentication failed", "get", "users/a", user="ann", password="annpw")
    ctl("role", "revoke-permission", "reader", "one", **root)
    says("Role reader is revoked from user ann\n", "user", "revoke-role", "ann", "reader", **root)
    for name in ("ann", "bob"):
        says(f"User {name} deleted\n", "user", "delete", name, **root)
    says("Role reader deleted\n", "role", "delete", "reader", **root)
    refused("user name not found", "user", "get", "ann", **root)
    if CURRENT:
        assert ctl("auth", "status", **root).startswith(f"Authentication Status: {str(USERS).lower()}")


def denied():
    guest = {"user": "guest"}
    says("OK\n", "put", "guest/a", "1")
    says("OK\n", "put", "other", "1")
    says("guest/a\n1\n", "get", "guest/a", **guest)
    for words in (["get", "other"], ["get", "", "--prefix"], ["put", "guest/a", "2"],
                  ["del", "guest/a"], ["watch", "other"], ["compaction", "1"], ["defrag"],
                  ["user", "list"], ["member", "remove", "1"], ["lease", "list"]):
        code, out, errors = attempt(*words, **guest)
        assert "permission denied" in out + errors, f"etcdctl {words}: {code}, {out!r}, {errors!r}"
    refused("permission denied", "txn", given='value("other") = "1"\n\nget guest/a\n\n\n', **guest)
    says("guest/a\n1\n", "get", "guest/a")
    if PASSWORDS:
        refused("authentication failed, invalid user ID or password", "get", "guest/a",
                user="guest", password="wrong")


def token():
    """A watch that lives on when its token has ended; every other command signs in anew."""
    with Beside("watch", "token/a", f"--rev={revision() + 1}") as seen:
        says("OK\n", "put", "token/a", "1")
        assert seen.lines(3) == ["PUT", "token/a", "1"]
        please("expire app")
        says("OK\n", "put", "token/a", "2")
        assert seen.lines(3) == ["PUT", "token/a", "2"]


def statuses():
    """By end point."""
    return {row["Endpoint"]: row["Status"] for row in told("endpoint", "status", user="root")}


def maintenance():
    root = {"user": "root"}
    states = statuses()
    assert set(states) == set(ENDPOINTS), states
    leader = {state["leader"] for state in states.values()}
    assert len(leader) == 1, states
    hashes = told("endpoint", "hashkv", **root)
    assert len({row["HashKV"]["hash"] for row in hashes}) == 1, hashes
    code, out, errors = attempt("endpoint", "health", **root)
    assert code == 0 and (out + errors).count("is healthy") == 3, out + errors
    code, out, errors = attempt("defrag", **root)
    assert code == 0 and (out + errors).count("Finished defragmenting etcd member") == 3, out + errors
    says("", "alarm", "list", **root)
    with tempfile.TemporaryDirectory(prefix="quorate-ctl-") as folder:
        path = os.path.join(folder, "db")
        assert f"Snapshot saved at {path}" in ctl("snapshot", "save", path, endpoints=ENDPOINTS[:1],
                                                  **root)
        with open(path, "rb") as file:
            assert file.read(20)[16:] == bytes.fromhex("edda0ced")
    by_id = {state["header"]["member_id"]: endpoint for endpoint, state in states.items()}
    heir = next(member for member in by_id if member not in leader)
    said = ctl("move-leader", f"{heir:x}", endpoints=[by_id[leader.pop()]], **root)
    assert f"to {heir:x}" in said, said


def members():
    root = {"user": "root"}
    listed = told("member", "list", **root)["members"]
    assert sorted(member["name"] for member in listed) == ["m0", "m1", "m2"], listed
    add = ("member", "add", "late", "--learner", "--peer-urls=http://127.0.0.1:1")
    code, out, errors = attempt(*add, **root)
    while "etcdserver: unhealthy cluster" in errors:  # the members have not been connected for long
        code, out, errors = attempt(*add, **root)
    assert code == 0, errors
    late = re.match(r"Member +([0-9a-f]+) added (?:as learner )?to cluster", out)[1]
    # Asked at the leader: another etcd's leader refuses, where there are users, what is handed on.
    leader = [e for e, state in statuses().items() if state["leader"] == state["header"]["member_id"]]
    refused("can only promote a learner member which is in sync with leader", "member", "promote",
            late, endpoints=leader, **root)
    assert len(told("member", "list", **root)["members"]) == 4
    assert re.match(rf"Member +{late} removed from cluster", ctl("member", "remove", late, **root))
    refused("member not found", "member", "remove", late, **root)


def failover():
    begin = revision()
    with Beside("watch", "--prefix", "failover/", f"--rev={begin + 1}") as seen:
        for turn, endpoint in enumerate(ENDPOINTS):
            please(f"kill {endpoint}")
            while attempt("put", f"failover/{turn}", "x")[0] != 0:
                pass
            says(f"failover/{turn}\nx\n", "get", f"failover/{turn}")
            please(f"start {endpoint}")
        there = []
        while not there or there[-1] != f"failover/{len(ENDPOINTS) - 1}":
            there.append(seen.lines(3)[1])
        assert sorted(set(there)) == [f"failover/{n}" for n in range(len(ENDPOINTS))], there
        assert there == sorted(there), there


if __name__ == "__main__":
    reporting.run({part.__name__: part for part in (
        kv, txn, lease, watch, compaction, lock, election, namespace, users, denied, token,
        maintenance, members, failover)})
