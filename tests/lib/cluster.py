"""Clusters of real processes, and a client that checks what it is told.

Nothing here waits for a time: every wait is for a condition, with a limit (`LIMIT_S`) that is far
beyond what a loaded machine needs and only ends a test that hangs.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import grpc

from servers import Server, quorate_binary
from stubs import Client, etcd

LIMIT_S = 120
BETWEEN_LOOKS = threading.Event()  # never set
SILENT = set()  # names of members that are stopped or cut off: the load does not wait for them


def wait_for(condition, what):
    """The first true value of condition(); fails after the limit."""
    end = time.monotonic() + LIMIT_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"no {what} within {LIMIT_S} s")
        BETWEEN_LOOKS.wait(0.02)


class Cluster:
    """Members by name. `advertise` maps a member to the peer URL that others use (a proxy's);
    `binary` is another etcd than ours, to see what that does. `tls`: what clients show and trust, a
    certificates.ClientSide; members then speak TLS on both ports, as the flags say."""

    def __init__(self, size, *flags, backend="lmdb", advertise=None, binary=None, tls=None):
        self.binary = binary or quorate_binary()
        self.flags = [*flags] if binary else [f"--backend={backend}", *flags]
        self.tls = tls
        self.advertise = advertise
        self.members = {}
        for i in range(size):
            self._make(f"m{i}")
        listed = ",".join(f"{name}={m.peer_url}" for name, m in self.members.items())
        for member in self.members.values():
            member.initial_cluster = listed
        self.clients = {}

    def _make(self, name):
        member = Server(self.binary, *self.flags, name=name)
        if self.tls is not None:
            member.scheme = member.peer_scheme = "https"
        if self.advertise is not None:
            member.advertised_peer_url = self.advertise(member)
        self.members[name] = member
        return member

    def __enter__(self):
        try:
            self.start_all()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, *unused):
        if kind is not None:
            for name, member in self.members.items():
                print(f"--- log of {name}:\n{member.log_tail(3000)}", flush=True)
        self.close()

    def close(self):
        for client in self.clients.values():
            client.close()
        for member in self.members.values():
            member.close()

    def start_all(self):
        down = [m for m in self.members.values() if m.process is None]
        for member in down:
            member.launch()
        for member in down:
            member.wait_ready()

    def __getitem__(self, name):
        return self.members[name]

    def running(self):
        return [m for m in self.members.values() if m.process is not None]

    def new_client(self, member):
        return Client(member.endpoint, None if self.tls is None else self.tls.credentials())

    def client(self, member):
        if member.name not in self.clients:
            self.clients[member.name] = self.new_client(member)
        return self.clients[member.name]

    def status(self, member):
        try:
            return self.client(member).Maintenance.Status(etcd.StatusRequest(), timeout=5)
        except grpc.RpcError:
            return None

    def leader(self, among=None):
        """The member that all of `among` (those running) take for the leader."""

        def agreed():
            asked = list(among if among is not None else self.running())
            states = [self.status(m) for m in asked]
            if None in states or len({(s.leader, s.raftTerm)
                                      for s in states}) != 1:
                return None
            for member, state in zip(asked, states):
                if state.header.member_id == state.leader:
                    return member
            return None

        return wait_for(agreed, "leader that all agree on")

    def followers(self):
        leader = self.leader()
        return [m for m in self.running() if m is not leader]

    def member_id(self, member):
        return wait_for(lambda: self.status(member), "status").header.member_id

    def etcdctl(self, member, *arguments):
        """Runs Debian's etcdctl at one end point; its output, or AssertionError with its words."""
        environment = {"PATH": os.environ.get("PATH", ""), "ETCDCTL_API": "3"}
        done = subprocess.run(
            ["etcdctl", "--endpoints", member.url, "--command-timeout=30s",
             *([] if self.tls is None else self.tls.etcdctl_flags()), *arguments],
            env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"etcdctl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def members_seen(self, member):
        return json.loads(self.etcdctl(member, "member", "list", "-w", "json"))["members"]

    def add(self, name, at, learner=False):
        """Adds a member through `at` and starts it; it need not be ready."""
        member = self._make(name)
        # Right after a change of members a server may not count as connected to all yet.
        listed = wait_for(
            lambda: self._try_add(at, member, learner), "member that could be added")
        member.initial_cluster = listed
        member.initial_state = "existing"
        member.launch()
        return member

    def _try_add(self, at, member, learner):
        arguments = ["member", "add", member.name, f"--peer-urls={member.peer_url}"]
        try:
            out = self.etcdctl(at, *arguments, *(["--learner"] if learner else []))
        except AssertionError as error:
            if "unhealthy cluster" in str(error) or "not enough started" in str(error):
                return None
            raise
        for line in out.splitlines():
            if line.startswith("ETCD_INITIAL_CLUSTER="):
                return line.split("=", 1)[1].strip('"')
        raise AssertionError(f"etcdctl member add says: {out}")

    def remove(self, member, at):
        """Removes a member; it ends by itself, with status 0."""
        member_id = f"{self.ids[member.name]:x}"

        def removed():
            try:
                self.etcdctl(at, "member", "remove", member_id)
            except AssertionError as error:
                if "unhealthy cluster" in str(error):
                    return False
                raise
            return True

        wait_for(removed, "member that could be removed")

    @property
    def ids(self):
        some = self.running()[0]
        listed = wait_for(lambda: self._list(some), "list of members")
        return {m.name: m.ID for m in listed.members}

    def _list(self, member):
        try:
            return self.client(member).Cluster.MemberList(
                etcd.MemberListRequest(linearizable=True), timeout=5)
        except grpc.RpcError:
            return None

    def check_equal(self):
        """All running members have the same history up to a revision of now, also while more is
        written."""

        def equal():
            hashes = set()
            try:
                members = self.running()
                revision = max(self.client(member).Maintenance.HashKV(
                    etcd.HashKVRequest(), timeout=20).header.revision for member in members)
                for member in members:
                    # Out of range where the revision, or a compaction, has not come yet.
                    answer = self.client(member).Maintenance.HashKV(
                        etcd.HashKVRequest(revision=revision), timeout=20)
                    hashes.add((answer.compact_revision, answer.hash))
            except grpc.RpcError:
                return False
            return len(hashes) == 1

        wait_for(equal, "equal HashKV on all members")


class Load:
    """A client that writes on, whatever happens, and keeps book: each key once, and a register whose
    value only grows. It retries what failed with the same value and goes from member to member."""

    def __init__(self, cluster, name="load"):
        self.cluster = cluster
        self.name = name
        self.acknowledged = []  # keys
        self.attempted = 0
        self.register = 0  # acknowledged
        self.failures = 0
        self.violation = None
        self._clients = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *unused):
        self._stop.set()
        self._thread.join()
        for client in self._clients.values():
            client.close()
        if kind is None:
            self.check()

    def progress(self, count=20):
        """Waits until that many more writes were acknowledged."""
        aim = len(self.acknowledged) + count
        wait_for(lambda: len(self.acknowledged) >= aim or self.violation, "writes that go on")
        assert self.violation is None, self.violation

    def _client(self, member):
        if member.name not in self._clients:
            self._clients[member.name] = self.cluster.new_client(member)
        return self._clients[member.name]

    def _run(self):
        turn = 0
        while not self._stop.is_set():
            self.attempted += 1
            key = f"{self.name}/{self.attempted:08d}".encode()
            value = str(self.attempted).encode()
            while not self._stop.is_set():
                targets = [m for m in self.cluster.members.values() if m.name not in SILENT]
                turn += 1
                if self._write(self._client(targets[turn % len(targets)]), key, value):
                    self._read(self._client(targets[(turn + 1) % len(targets)]))
                    break
                self.failures += 1
                self._stop.wait(0.01)  # not to spin on a member that is down

    def _write(self, client, key, value):
        put = etcd.TxnRequest(success=[
            etcd.RequestOp(request_put=etcd.PutRequest(key=key, value=value)),
            etcd.RequestOp(request_put=etcd.PutRequest(
                key=f"{self.name}-register".encode(), value=value))])
        try:
            client.KV.Txn(put, timeout=3)
        except grpc.RpcError:
            return False
        self.acknowledged.append(key)
        self.register = int(value)
        return True

    def _read(self, client):
        """A linearizable read, anywhere, sees what was acknowledged before it."""
        try:
            answer = client.KV.Range(
                etcd.RangeRequest(key=f"{self.name}-register".encode()), timeout=3)
        except grpc.RpcError:
            return
        seen = int(answer.kvs[0].value) if answer.kvs else 0
        if seen < self.register:
            self.violation = f"read {seen} after {self.register} was acknowledged"

    def check(self):
        """Nothing acknowledged is lost, on any member."""
        assert self.violation is None, self.violation
        assert self.acknowledged, "the load wrote nothing"
        for member in self.cluster.running():
            status = wait_for(lambda m=member: self.cluster.status(m), "status")
            if status.isLearner:
                continue
            answer = wait_for(lambda m=member: self._all(m), "linearizable read")
            there = {kv.key for kv in answer.kvs}
            lost = [key for key in self.acknowledged if key not in there]
            assert not lost, f"{member.name} lost {len(lost)} acknowledged writes, first {lost[0]}"

    def _all(self, member):
        try:
            return self.cluster.client(member).KV.Range(
                etcd.RangeRequest(key=f"{self.name}/".encode(),
                                  range_end=f"{self.name}0".encode(), keys_only=True), timeout=20)
        except grpc.RpcError:
            return None


def pause(member):
    SILENT.add(member.name)
    member.send(signal.SIGSTOP)


def resume(member):
    member.send(signal.SIGCONT)
    SILENT.discard(member.name)


def run_cases(cases, wanted):
    """Runs (function, backends) pairs, or those that are wanted by NAME or NAME:BACKEND."""
    known = {f"{case.__name__}:{backend}": (case, backend)
             for case, backends in cases for backend in backends}
    names = {name.split(":")[0] for name in known} | set(known)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        sys.exit(f"unknown case {unknown[0]}; known: {' '.join(known)}")
    for name, (case, backend) in known.items():
        if not wanted or name in wanted or case.__name__ in wanted:
            print(f"{case.__name__} ({backend})", flush=True)
            case(backend)
