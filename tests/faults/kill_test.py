#!/usr/bin/python3
"""kill -9 at any moment loses nothing acknowledged.

Writers put, delete and run transactions on keys of their own while leases come and go and the store
is compacted. After a random number of acknowledgements the server is killed, started again, and
checked: every acknowledged write is there with its revision (or the one write that was in flight),
the revision did not go back, HashKV of remembered revisions is what it was, acknowledged leases
live and revoked ones do not. Then the next round begins on the same data.

usage: kill_test.py [--rounds N] [--backend NAME]... [--seed S]
"""

import argparse
import os
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from servers import BACKENDS, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

WRITERS = 8
KEYS_PER_WRITER = 20


class Violation(AssertionError):
    pass


class Writer:
    """Owns keys; knows for each the last acknowledged state and what may be in flight."""

    def __init__(self, number, seed):
        self.number = number
        self.random = random.Random(f"{seed}/{number}")
        self.acknowledged = {}  # key -> (value or None, mod_revision)
        self.in_flight = None  # {key: value or None} of the one unanswered request
        self.leases = set()
        self.lease_in_flight = set()
        self.sequence = 0

    def key(self):
        return f"w{self.number}/k{self.random.randrange(KEYS_PER_WRITER):02d}".encode()

    def value(self):
        self.sequence += 1
        return f"{self.number}:{self.sequence}:".encode() + b"x" * self.random.choice([1, 60, 700])

    def step(self, client):
        roll = self.random.random()
        if roll < 0.72:
            key, value = self.key(), self.value()
            self.in_flight = {key: value}
            answer = client.KV.Put(etcd.PutRequest(key=key, value=value))
            self.acknowledged[key] = (value, answer.header.revision)
        elif roll < 0.82:
            key = self.key()
            self.in_flight = {key: None}
            answer = client.KV.DeleteRange(etcd.DeleteRangeRequest(key=key))
            if answer.deleted:
                self.acknowledged[key] = (None, answer.header.revision)
        elif roll < 0.94:
            keys = sorted({self.key() for _ in range(3)})
            values = {key: self.value() for key in keys}
            self.in_flight = dict(values)
            ops = [
                etcd.RequestOp(request_put=etcd.PutRequest(key=key, value=values[key]))
                for key in keys
            ]
            answer = client.KV.Txn(etcd.TxnRequest(success=ops))
            for key in keys:
                self.acknowledged[key] = (values[key], answer.header.revision)
        else:
            self.change_leases(client)
        self.in_flight = None
        self.lease_in_flight = set()

    def change_leases(self, client):
        # Keys with a lease go when it is revoked, so leases hold keys of their own.
        lease = self.number * 1_000_000 + self.random.randrange(1, 50)
        self.lease_in_flight = {lease}
        if lease in self.leases:
            client.Lease.LeaseRevoke(etcd.LeaseRevokeRequest(ID=lease))
            self.leases.discard(lease)
            return
        try:
            client.Lease.LeaseGrant(etcd.LeaseGrantRequest(ID=lease, TTL=100_000))
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.FAILED_PRECONDITION:
                raise
        self.leases.add(lease)
        client.KV.Put(etcd.PutRequest(key=f"lease/{lease}".encode(), lease=lease))

    def check(self, client):
        prefix = f"w{self.number}/".encode()
        end = f"w{self.number}0".encode()
        answer = client.KV.Range(etcd.RangeRequest(key=prefix, range_end=end))
        found = {kv.key: (kv.value, kv.mod_revision) for kv in answer.kvs}
        maybe = self.in_flight or {}
        landed = [key for key in maybe if found.get(key, (None,))[0] == maybe[key]]
        if maybe and len(maybe) > 1 and 0 < len(landed) < len(maybe):
            raise Violation(f"half of a transaction is there: {maybe} against {found}")
        for key, (value, revision) in self.acknowledged.items():
            now = found.get(key, (None, 0))
            if key in landed:
                continue
            if now[0] != value or (value is not None and now[1] != revision):
                raise Violation(f"{key!r}: acknowledged {value!r} at {revision}, found {now}")
        for key in found:
            if key not in self.acknowledged and key not in landed:
                raise Violation(f"{key!r} was never written, found {found[key]}")
        self.adopt(found, landed)

    def adopt(self, found, landed):
        for key in landed:
            self.acknowledged[key] = found.get(key, (None, 0))
        self.in_flight = None


class Round:
    """Writers run until `target` acknowledgements were seen, then the server is killed."""

    def __init__(self, server, writers, target):
        self.server, self.writers, self.target = server, writers, target
        self.count = 0
        self.lock = threading.Lock()
        self.reached = threading.Event()
        self.failures = []

    def write(self, writer, client):
        try:
            while True:
                writer.step(client)
                with self.lock:
                    self.count += 1
                    if self.count >= self.target:
                        self.reached.set()
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED,
                                    grpc.StatusCode.UNKNOWN):
                self.failures.append(f"{error.code()}: {error.details()}")
        except Exception as error:  # a defect of the test must not pass for a quiet end
            self.failures.append(repr(error))
        finally:
            self.reached.set()

    def run(self, compact, hashes):
        clients = [Client(self.server.endpoint) for _ in self.writers]
        threads = [
            threading.Thread(target=self.write, args=pair) for pair in zip(self.writers, clients)
        ]
        for thread in threads:
            thread.start()
        side = Client(self.server.endpoint)
        try:
            compact(side)
            hashes.remember(side)
            self.reached.wait()
        finally:
            self.server.kill()
            for thread in threads:
                thread.join()
            for client in clients + [side]:
                client.close()
        if self.failures:
            raise Violation(f"a writer failed: {self.failures}")


class Hashes:
    """HashKV answers from before a kill, asked again after it."""

    def __init__(self):
        self.known = {}

    def remember(self, client):
        answer = client.Maintenance.HashKV(etcd.HashKVRequest(revision=0))
        self.known[answer.hash_revision] = (answer.hash, answer.compact_revision)

    def check(self, client):
        checked = 0
        for revision, (value, compacted) in sorted(self.known.items())[-5:]:
            try:
                again = client.Maintenance.HashKV(etcd.HashKVRequest(revision=revision))
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.OUT_OF_RANGE:
                    continue  # compacted since
                raise
            if again.compact_revision == compacted:
                checked += 1
                if again.hash != value:
                    raise Violation(f"HashKV({revision}) was {value}, is {again.hash}")
        return checked


def check_leases(client, writers):
    live = {lease.ID for lease in client.Lease.LeaseLeases(etcd.LeaseLeasesRequest()).leases}
    for writer in writers:
        own = {lease for lease in live if lease // 1_000_000 == writer.number}
        unsure = writer.lease_in_flight
        if own - unsure != writer.leases - unsure:
            raise Violation(f"leases {sorted(writer.leases)} expected, {sorted(own)} found")
        writer.leases = own
        writer.lease_in_flight = set()


def run_backend(backend, rounds, seed):
    rng = random.Random(f"{seed}/{backend}")
    server = Server(quorate_binary(), f"--backend={backend}", "--backend-commit-interval=20ms",
                    "--snapshot-count=200", "--snapshot-catchup-entries=50",
                    "--log-segment-bytes=1MiB")
    writers = [Writer(number, f"{seed}/{backend}") for number in range(1, WRITERS + 1)]
    hashes, highest, hashes_checked, acknowledged, number = Hashes(), 1, 0, 0, 0
    started = time.monotonic()

    def compact(client):
        if rng.random() < 0.6 and highest > 50:
            revision = highest - rng.randrange(1, 40)
            try:
                client.KV.Compact(
                    etcd.CompactionRequest(revision=revision, physical=rng.random() < 0.5)
                )
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.OUT_OF_RANGE:
                    raise

    try:
        server.start()
        for number in range(rounds):
            this = Round(server, writers, rng.randrange(1, 300))
            this.run(compact, hashes)
            acknowledged += this.count
            server.start()
            client = Client(server.endpoint)
            revision = client.KV.Range(etcd.RangeRequest(key=b"none")).header.revision
            acked = max([r for w in writers for _, r in w.acknowledged.values()], default=0)
            if revision < max(highest, acked):
                raise Violation(f"revision went back: {revision} after {max(highest, acked)}")
            highest = revision
            for writer in writers:
                writer.check(client)
            check_leases(client, writers)
            hashes_checked += hashes.check(client)
            client.close()
    except Exception:
        print(f"FAILED in round {number} of backend {backend}, seed {seed}; data in "
              f"{server.root}\n{server.log_tail()}", flush=True)
        if server.process is not None:
            server.kill()
        raise
    server.close()
    print(f"kill test: backend {backend}: {rounds} kills, {acknowledged} acknowledged writes, "
          f"{hashes_checked} hashes compared, revision {highest}, "
          f"{time.monotonic() - started:.0f} s", flush=True)
    if rounds >= 20 and hashes_checked == 0:
        raise Violation("no hash was ever compared: the check cannot fail")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=67, help="per backend")
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    parser.add_argument("--seed", default=os.environ.get("QUORATE_SEED") or str(time.time_ns()))
    arguments = parser.parse_args()
    print(f"kill test: seed {arguments.seed}", flush=True)
    for backend in arguments.backend or BACKENDS:
        run_backend(backend, arguments.rounds, arguments.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
