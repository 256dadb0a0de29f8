#!/usr/bin/python3
"""The services Lock and Election of Quorate beside those of real etcds, and etcdctl's own locks and
elections on the same names.

A case does the same on every server and writes down what it saw; the notes must be equal, revisions
included, and the case itself checks what must hold anywhere.

usage: lock_election_test.py [--old PATH] [--new PATH]
"""

import argparse
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from cluster import wait_for  # noqa: E402
from servers import ROOT, Server, quorate_binary  # noqa: E402
from stubs import Client, election, etcd, lock  # noqa: E402

PATIENCE_SECONDS = 120
SESSION_TTL_SECONDS = 60
# Of calls that are to fail by it, but must have begun to wait before, on any machine.
DEADLINE_SECONDS = 3


class Caller:
    """One server and the verbs of the cases; answers and errors come back as plain values."""

    def __init__(self, server):
        self.endpoint = server.endpoint
        self.client = Client(server.endpoint)

    def close(self):
        self.client.close()

    def outcome(self, call, request, **options):
        try:
            answer = call(request, **options)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        answer.header.cluster_id = answer.header.member_id = answer.header.raft_term = 0
        return answer

    def grant(self, lease, ttl=600):
        self.client.Lease.LeaseGrant(etcd.LeaseGrantRequest(ID=lease, TTL=ttl))
        return lease

    def revoke(self, lease):
        self.client.Lease.LeaseRevoke(etcd.LeaseRevokeRequest(ID=lease))

    def lock(self, name, lease=0, **options):
        return self.outcome(
            self.client.Lock.Lock, lock.LockRequest(name=name, lease=lease), **options)

    def unlock(self, key):
        return self.outcome(self.client.Lock.Unlock, lock.UnlockRequest(key=key))

    def campaign(self, name, lease, value=b"", **options):
        return self.outcome(
            self.client.Election.Campaign,
            election.CampaignRequest(name=name, lease=lease, value=value), **options)

    def proclaim(self, leader, value):
        return self.outcome(
            self.client.Election.Proclaim, election.ProclaimRequest(leader=leader, value=value))

    def resign(self, leader):
        return self.outcome(self.client.Election.Resign, election.ResignRequest(leader=leader))

    def leader(self, name):
        return self.outcome(self.client.Election.Leader, election.LeaderRequest(name=name))

    def observe(self, name):
        return self.client.Election.Observe(election.LeaderRequest(name=name))

    def start(self, verb, *arguments, **options):
        """Begins a call that waits; its outcome will be in the queue."""
        outcome = queue.Queue()
        threading.Thread(
            target=lambda: outcome.put(verb(*arguments, **options)), daemon=True).start()
        return outcome

    def future(self, name, lease):
        return self.client.Lock.Lock.future(lock.LockRequest(name=name, lease=lease))

    def candidate(self, name, lease):
        return self.client.Election.Campaign.future(
            election.CampaignRequest(name=name, lease=lease, value=b"x"))

    def keys(self, prefix):
        answer = self.client.KV.Range(etcd.RangeRequest(
            key=prefix, range_end=prefix[:-1] + bytes([prefix[-1] + 1]),
            sort_target=etcd.RangeRequest.CREATE, sort_order=etcd.RangeRequest.ASCEND))
        return [(kv.key, kv.value, kv.lease) for kv in answer.kvs]

    def wait_keys(self, prefix, count):
        return wait_for(lambda: (len(keys := self.keys(prefix)) == count) and (keys or [()]),
                        f"{count} keys under {prefix}")

    def revision(self):
        return self.client.KV.Range(etcd.RangeRequest(key=b"x")).header.revision


# --- cases: (caller, note) -> None


def errors(c, note):
    no_key = election.LeaderKey(name=b"e", key=b"e/77", rev=5, lease=0x77)
    c.grant(0x77)
    note(c.lock(b"l", 0x999))
    note(c.campaign(b"e", 0x999, b"v"))
    note(c.unlock(b""))
    note(c.unlock(b"never/was"))
    note(c.leader(b"e"))
    note(c.leader(b""))
    note(c.outcome(c.client.Election.Proclaim, election.ProclaimRequest(value=b"v")))
    note(c.outcome(c.client.Election.Resign, election.ResignRequest()))
    note(c.proclaim(no_key, b"v"))
    note(c.resign(no_key))
    note(c.proclaim(election.LeaderKey(lease=0x77), b"v"))
    note(c.resign(election.LeaderKey(lease=0x77)))
    note(c.revision())


def keys_of_sessions(c, note):
    """Names and leases of all kinds; the same lease twice; the server's own lease."""
    for lease in (1, 0xABCDEF, -255, -(2**63), 2**63 - 1):
        c.grant(lease)
        note(c.lock(b"names", lease).key)
        note(c.unlock(c.keys(b"names/")[0][0]))
    for name in (b"", b"/", b"a/b/", b"\xff\x00\xfe"):
        first = c.lock(name, 1)
        note(first)
        note(c.lock(name, 1))  # has it already
        candidate = c.candidate(name, 0xABCDEF)  # waits behind the lock: same keys
        note(c.wait_keys(name + b"/", 2))
        candidate.cancel()
        note(c.wait_keys(name + b"/", 1))
        note(c.unlock(first.key))
    key = c.lock(b"own").key
    (_, value, lease), = c.keys(b"own/")
    assert key == b"own/%x" % lease and value == b"", key
    left = c.client.Lease.LeaseTimeToLive(etcd.LeaseTimeToLiveRequest(ID=lease))
    assert left.grantedTTL == SESSION_TTL_SECONDS and left.TTL <= SESSION_TTL_SECONDS, left
    note(c.revision())


def one_at_a_time(c, note):
    """Callers get the lock in the order in which they came, each when the one before lets go."""
    leases = [c.grant(100 + i) for i in range(6)]
    waiting = []
    for i, lease in enumerate(leases):
        waiting.append(c.start(c.lock, b"m", lease))
        c.wait_keys(b"m/", i + 1)
    for i, outcome in enumerate(waiting):
        held = outcome.get(timeout=PATIENCE_SECONDS)
        note(held)
        assert held.key == b"m/%x" % leases[i], held
        assert all(later.empty() for later in waiting[i + 1:]), "two hold the lock"
        c.unlock(held.key)
    note(c.keys(b"m/"))


def crowd(c, note):
    """Many callers at once, no order made: never two inside, all get their turn."""
    inside, turns = [], []
    guard = threading.Lock()

    def work(lease):
        for _ in range(3):
            held = c.lock(b"crowd", lease)
            with guard:
                inside.append(lease)
                turns.append(lease)
                assert len(inside) == 1, f"{inside} are inside together"
            with guard:
                inside.remove(lease)
            c.unlock(held.key)

    failed = []
    def guarded(lease):
        try:
            work(lease)
        except Exception as error:  # reported by the test's thread
            failed.append(error)
    threads = [threading.Thread(target=guarded, args=(c.grant(200 + i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
    note(sorted(turns))


def waiters_that_leave(c, note):
    """Their keys go, and they are not waited for."""
    leases = [c.grant(300 + i) for i in range(4)]
    held = c.lock(b"w", leases[0])
    cancelled = c.future(b"w", leases[1])
    c.wait_keys(b"w/", 2)
    last = c.start(c.lock, b"w", leases[2])
    note([lease for _, _, lease in c.wait_keys(b"w/", 3)])
    cancelled.cancel()
    note([lease for _, _, lease in c.wait_keys(b"w/", 2)])
    note(c.lock(b"w", leases[3], timeout=DEADLINE_SECONDS)[0])
    note([lease for _, _, lease in c.wait_keys(b"w/", 2)])
    c.unlock(held.key)
    note(last.get(timeout=PATIENCE_SECONDS).key)
    note(c.keys(b"w/"))


def candidates_that_leave(c, note):
    leases = [c.grant(400 + i) for i in range(2)]
    note(c.campaign(b"c", leases[0], b"first"))
    candidate = c.candidate(b"c", leases[1])
    note(c.wait_keys(b"c/", 2))
    candidate.cancel()
    note(c.wait_keys(b"c/", 1))
    note(c.campaign(b"c", leases[1], b"second", timeout=DEADLINE_SECONDS)[0])
    note(c.wait_keys(b"c/", 1))


def leases_that_end(c, note):
    """The holder's: the next gets the lock. A waiter's: it hears so when its turn comes."""
    holder, expiring, lost, last = c.grant(500), c.grant(501, ttl=2), c.grant(502), c.grant(503)
    c.lock(b"x", holder)
    second = c.start(c.lock, b"x", expiring)
    c.wait_keys(b"x/", 2)
    third = c.start(c.lock, b"x", lost)
    c.wait_keys(b"x/", 3)
    fourth = c.start(c.lock, b"x", last)
    c.wait_keys(b"x/", 4)
    c.revoke(lost)
    c.revoke(holder)
    key = second.get(timeout=PATIENCE_SECONDS)  # unless it had expired by then
    note("held or expired" if getattr(key, "key", b"x/1f5") == b"x/1f5" else key)
    note(third.get(timeout=PATIENCE_SECONDS))
    note(fourth.get(timeout=PATIENCE_SECONDS).key)


def a_reign(c, note):
    """Campaigns, proclamations and resignations, with a late observer and an early one."""
    one, two = c.grant(600), c.grant(601)
    early = c.observe(b"r")

    def seen(stream):
        answer = next(stream)
        answer.header.cluster_id = answer.header.member_id = answer.header.raft_term = 0
        return answer

    first = c.campaign(b"r", one, b"one")
    note(first)
    note(seen(early))
    note(c.leader(b"r"))
    note(c.campaign(b"r", one, b"one again"))
    note(seen(early))
    for value in (b"a", b"", b"c" * 1000):
        note(c.proclaim(first.leader, value))
        note(seen(early))
    second = c.start(c.campaign, b"r", two, b"two")
    c.wait_keys(b"r/", 2)
    late = c.observe(b"r")
    note(seen(late))
    note(c.resign(first.leader))
    elected = second.get(timeout=PATIENCE_SECONDS)
    note(elected)
    assert elected.leader.lease == two
    note(seen(early).kv)
    note(seen(late).kv)
    note(c.proclaim(first.leader, b"too late"))
    note(c.resign(first.leader))
    c.revoke(two)
    note(c.leader(b"r"))
    third = c.campaign(b"r", one, b"three")
    note(seen(early).kv.value)
    note(seen(late).kv.value)
    note(c.resign(third.leader))
    early.cancel()
    late.cancel()
    note(c.keys(b"r/"))


def own_sessions(c, note):
    """Campaign without a lease: the server's; Proclaim without one moves the key to a new one."""
    leader = c.campaign(b"own", 0, b"v").leader
    (key, value, lease), = c.keys(b"own/")
    assert (key, lease) == (leader.key, leader.lease) and key == b"own/%x" % lease
    note(value)
    leader.lease = 0
    c.proclaim(leader, b"w")
    (key, value, moved), = c.keys(b"own/")
    assert key == leader.key and moved not in (0, lease), moved
    note(value)
    c.resign(leader)
    note(c.keys(b"own/"))


# Notes that an older etcd makes otherwise: it gives the lock to a caller whose lease is lost.
NOT_OLD = {("leases_that_end", 1)}

CASES = [errors, keys_of_sessions, one_at_a_time, crowd, waiters_that_leave, candidates_that_leave,
         leases_that_end, a_reign, own_sessions]


def beside_etcd(servers):
    callers = {name: Caller(server) for name, server in servers.items()}
    failures = []
    for case in CASES:
        notes = {}
        for name, caller in callers.items():
            notes[name] = []
            case(caller, lambda what, into=notes[name]: into.append(str(what)))
        for name in servers:
            for i, (mine, theirs) in enumerate(zip(notes["quorate"], notes[name], strict=True)):
                if mine != theirs and not (name == "old" and (case.__name__, i) in NOT_OLD):
                    failures.append(f"{case.__name__}, note {i}: quorate {mine}\n{name} {theirs}")
        print(f"lock and election: {case.__name__}: {len(notes['quorate'])} notes", flush=True)
    for caller in callers.values():
        caller.close()
    return failures


# --- etcdctl, whose locks and elections are made by its own library, on the same names


class Etcdctl:
    def __init__(self, binary, endpoint, *arguments):
        self.process = subprocess.Popen(
            [binary, f"--endpoints={endpoint}", *arguments], stdout=subprocess.PIPE,
            stdin=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]})

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.process.stdin.close()


def with_etcdctl(binary, server):
    c = Caller(server)
    # Its lock is waited for by ours, and ours by its.
    theirs = Etcdctl(binary, server.endpoint, "lock", "shared")
    key = theirs.line()
    mine = c.start(c.lock, b"shared", c.grant(700))
    c.wait_keys(b"shared/", 2)
    again = Etcdctl(binary, server.endpoint, "lock", "shared")
    c.wait_keys(b"shared/", 3)
    assert key.encode() == c.keys(b"shared/")[0][0], key
    assert mine.empty()
    theirs.end()
    held = mine.get(timeout=PATIENCE_SECONDS)
    c.unlock(held.key)
    assert again.line().startswith("shared/")
    again.end()
    c.wait_keys(b"shared/", 0)
    # Elections: it leads, ours observes and follows; then ours leads and it observes.
    leads = Etcdctl(binary, server.endpoint, "elect", "chair", "theirs")
    leads.line()
    stream = c.observe(b"chair")
    assert next(stream).kv.value == b"theirs"
    mine = c.start(c.campaign, b"chair", 700, b"mine")
    c.wait_keys(b"chair/", 2)
    observer = Etcdctl(binary, server.endpoint, "elect", "--listen", "chair")
    assert (observer.line(), observer.line()) == (leads_key := c.keys(b"chair/")[0][0].decode(),
                                                  "theirs"), leads_key
    leads.end()
    elected = mine.get(timeout=PATIENCE_SECONDS)
    assert next(stream).kv.value == b"mine"
    assert (observer.line(), observer.line()) == (elected.leader.key.decode(), "mine")
    c.proclaim(elected.leader, b"still mine")
    assert (observer.line(), observer.line()) == (elected.leader.key.decode(), "still mine")
    observer.end()
    stream.cancel()
    c.revoke(700)
    c.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--old", default="/usr/bin/etcd")
    parser.add_argument("--new", default=str(ROOT / "build" / "peers" / "bin" / "etcd"))
    arguments = parser.parse_args()
    servers = {"quorate": Server(quorate_binary())}
    for name in ("old", "new"):
        binary = getattr(arguments, name)
        if os.access(binary, os.X_OK):
            servers[name] = Server(binary)
        else:
            print(f"lock and election: SKIPPED beside the {name} etcd: none at {binary}")
    failures = []
    try:
        for server in servers.values():
            server.start()
        failures += beside_etcd(servers)
        for name in ("old", "new"):
            etcdctl = getattr(arguments, name) + "ctl"
            if os.access(etcdctl, os.X_OK):
                with_etcdctl(etcdctl, servers["quorate"])
                print(f"lock and election: with the {name} etcdctl", flush=True)
    finally:
        for server in servers.values():
            server.close()
    for failure in failures:
        print(f"FAILED: {failure}")
    print(f"lock and election: {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
