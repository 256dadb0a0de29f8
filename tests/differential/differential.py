#!/usr/bin/python3
"""Quorate beside real etcds: the same random requests to both, every answer compared.

Responses are compared field by field after removing what must differ (cluster and member ids,
terms) and what is a known difference between versions of etcd, listed in KNOWN below. Errors are
compared by code and text. At intervals HashKV must agree, and so must what watches have seen.

The peers are Debian's etcd and, where scripts/build_etcd.sh has made it, a current one.

usage: differential.py [--operations N] [--seed S] [--backend NAME] [--peer PATH]...
"""

import argparse
import itertools
import os
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from servers import BACKENDS, ROOT, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd, mvcc  # noqa: E402
from watch_probe import WatchFailure, WatchPair  # noqa: E402

DEBIAN_ETCD = "/usr/bin/etcd"
BUILT_ETCD = str(ROOT / "build" / "peers" / "bin" / "etcd")
COMPARE_WATCHES_EACH = 250  # operations
SORTED_BY = {1: "version", 2: "create_revision", 3: "mod_revision", 4: "value"}  # SortTarget

# Known differences between etcd 3.7 (and Quorate) and older peers. The first three are not asked of
# an older peer; the last two are removed before comparing.
KNOWN = {
    "keys_only": "3.7 leaves the lease out as well as the value",
    "sort_option": "3.7 refuses an order outside the enum, older ones take it for no order",
    "negative_revision": "inside a transaction 3.7 refuses it as compacted",
    "txn_error_order": "a transaction with several mistakes: see same_failure",
    "hash_revision": "HashKV tells it since 3.6",
    "alarm": "older answers have no header; CORRUPT is not asked of an older peer, which refuses "
             "more because of it",
    "nested_puts": "older peers do not count the puts of nested transactions as taking space: none "
                   "while NOSPACE is raised",
    "compacted_hash": "older peers keep no hash of a compaction",
}


def same_failure(mine, other, old_peer):
    """Whether two errors count as equal. A transaction with several mistakes is refused for one of
    them: 3.4 looks at its puts before its ranges, 3.7 (and Quorate) at its operations in order."""
    either = {"etcdserver: requested lease not found", "etcdserver: key not found",
              "etcdserver: mvcc: required revision is a future revision",
              "etcdserver: mvcc: required revision has been compacted"}
    return mine == other or (old_peer and mine[1] in either and other[1] in either)


KEYS = [b"a", b"b", b"c", b"d", b"e", b"f", b"aa", b"ab", b"ba", b"bb", b"\x00", b"\xff", b"k/1",
        b"k/2", b"k/3", b"zz"]
ENDS = KEYS + [b"", b"\x00", b"g", b"z", b"b\x00"]


class Generator:
    def __init__(self, seed, old_peer):
        self.random = random.Random(seed)
        self.revision = 1
        self.compacted = 0
        self.leases = []
        self.next_lease = 1000
        self.alarms = set()  # (member, type)
        self.old_peer = old_peer

    def key(self, may_be_empty=True):
        if may_be_empty and self.random.random() < 0.01:
            return b""
        return self.random.choice(KEYS)

    def end(self):
        return b"" if self.random.random() < 0.6 else self.random.choice(ENDS)

    def lease(self):
        roll = self.random.random()
        if roll < 0.8 or not self.leases:
            return 0
        if roll < 0.97:
            return self.random.choice(self.leases)
        return 999_999

    def value(self):
        return bytes(self.random.choice(b"xyz") for _ in range(self.random.choice([0, 1, 5, 40])))

    def old_revision(self, in_txn=False):
        roll = self.random.random()
        if roll < 0.6:
            return 0
        if roll < 0.62:
            return self.revision + self.random.randint(1, 5)
        if roll < 0.63 and in_txn and not self.old_peer:
            return -1
        return self.random.randint(max(1, self.compacted - 2), max(1, self.revision))

    def range(self, in_txn=False):
        r = self.random
        request = etcd.RangeRequest(
            key=self.key(), range_end=self.end(), revision=self.old_revision(in_txn),
            limit=r.choice([0, 0, 0, 1, 2, 5, -1]), serializable=r.random() < 0.2,
            count_only=r.random() < 0.1,
        )
        if r.random() < 0.1 and not self.old_peer:
            request.keys_only = True
        if r.random() < 0.25:
            request.sort_order = r.choice([0, 1, 2])
            request.sort_target = r.choice([0, 1, 2, 3, 4])
        if r.random() < 0.01 and not self.old_peer:
            request.sort_order = 7
        if r.random() < 0.1:
            request.min_mod_revision = r.randint(0, self.revision)
            request.max_create_revision = r.randint(0, self.revision)
        return request

    def put(self):
        r = self.random
        request = etcd.PutRequest(
            key=self.key(), value=self.value(), lease=self.lease(), prev_kv=r.random() < 0.3
        )
        if r.random() < 0.05:
            request.ignore_value = True
            if r.random() < 0.9:
                request.value = b""
        if r.random() < 0.05:
            request.ignore_lease = True
            if r.random() < 0.9:
                request.lease = 0
        return request

    def delete(self):
        return etcd.DeleteRangeRequest(
            key=self.key(), range_end=self.end(), prev_kv=self.random.random() < 0.5
        )

    def compare(self):
        r = self.random
        request = etcd.Compare(
            key=self.key(), result=r.choice([0, 1, 2, 3]), target=r.choice([0, 1, 2, 3, 4])
        )
        if r.random() < 0.2:
            request.range_end = self.end()
        number = r.choice([0, 1, 2, self.revision, max(1, self.revision - r.randint(0, 20))])
        if request.target == 0:
            request.version = number
        elif request.target == 1:
            request.create_revision = number
        elif request.target == 2:
            request.mod_revision = number
        elif request.target == 3:
            request.value = self.value()
        else:
            request.lease = self.lease()
        return request

    def op(self, depth):
        roll = self.random.random()
        op = etcd.RequestOp()
        if roll < 0.4:
            put = self.put()
            # A later operation that an earlier one of the same txn makes impossible kills etcd.
            put.ignore_value = put.ignore_lease = False
            op.request_put.CopyFrom(put)
        elif roll < 0.7:
            op.request_range.CopyFrom(self.range(in_txn=True))
        elif roll < 0.88 or depth > 1 or (self.old_peer and self.alarms):
            op.request_delete_range.CopyFrom(self.delete())
        elif roll < 0.99:
            op.request_txn.CopyFrom(self.txn(depth + 1))
        return op

    def txn(self, depth=0):
        r = self.random
        return etcd.TxnRequest(
            compare=[self.compare() for _ in range(r.choice([0, 1, 1, 2]))],
            success=[self.op(depth) for _ in range(r.choice([0, 1, 2, 3]))],
            failure=[self.op(depth) for _ in range(r.choice([0, 1, 2]))],
        )

    def next(self):
        """(service, method, request) of the next operation."""
        roll = self.random.random()
        if self.alarms and roll < 0.2:
            return self.alarm()
        if roll < 0.40:
            return "KV", "Put", self.put()
        if roll < 0.60:
            return "KV", "Range", self.range()
        if roll < 0.70:
            return "KV", "DeleteRange", self.delete()
        if roll < 0.95:
            return "KV", "Txn", self.txn()
        if roll < 0.97:
            self.next_lease += 1
            lease = self.random.choice([self.next_lease, self.next_lease, 1001])
            ttl = self.random.choice([600, 6000, 9_000_000_001])
            return "Lease", "LeaseGrant", etcd.LeaseGrantRequest(ID=lease, TTL=ttl)
        if roll < 0.985:
            lease = self.random.choice(self.leases) if self.leases else 5
            return "Lease", "LeaseRevoke", etcd.LeaseRevokeRequest(ID=lease)
        if roll < 0.99:
            lease = self.random.choice(self.leases) if self.leases else 5
            return "Lease", "LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=lease, keys=True)
        if roll < 0.995:
            revision = self.random.choice(
                [self.revision - self.random.randint(0, 200), self.revision + 3, self.compacted]
            )
            return "KV", "Compact", etcd.CompactionRequest(
                revision=max(revision, 1), physical=True
            )
        if roll < 0.9965:
            return self.alarm()
        if roll < 0.9975:
            return "Lease", "LeaseLeases", etcd.LeaseLeasesRequest()
        if roll < 0.9985:
            lease = self.random.choice(self.leases) if self.leases else 5
            return "Lease", "LeaseKeepAlive", etcd.LeaseKeepAliveRequest(ID=lease)
        revision = 0
        if not self.old_peer and self.random.random() < 0.5:
            revision = self.random.choice([self.compacted, self.revision])
        return "Maintenance", "HashKV", etcd.HashKVRequest(revision=revision)

    def alarm(self):
        """Raised for a few operations, then all are taken back one by one."""
        request = etcd.AlarmRequest()  # GET
        if self.alarms:
            request.action = 2
            request.memberID, request.alarm = sorted(self.alarms)[0]
        elif self.random.random() < 0.5:
            request.action = 1
            request.memberID = self.random.choice([1, 2])
            request.alarm = 1 if self.old_peer else self.random.choice([0, 1, 1, 2])
        return "Maintenance", "Alarm", request

    def learn(self, method, request, response):
        header = getattr(response, "header", None)
        if header is not None and header.revision:
            self.revision = max(self.revision, header.revision)
        if method == "LeaseGrant":
            self.leases.append(request.ID)
        elif method == "LeaseRevoke" and request.ID in self.leases:
            self.leases.remove(request.ID)
        elif method == "Compact":
            self.compacted = request.revision
        elif method == "Alarm" and request.alarm != 0:
            alarm = (request.memberID, request.alarm)
            self.alarms = self.alarms | {alarm} if request.action == 1 else self.alarms - {alarm}


def strip_header(message):
    """Removes ids and terms, in nested transaction answers as well."""
    if message.HasField("header"):
        message.header.cluster_id = message.header.member_id = message.header.raft_term = 0
    if isinstance(message, etcd.TxnResponse):
        for op in message.responses:
            kind = op.WhichOneof("response")
            if kind is not None:
                strip_header(getattr(op, kind))


def sort_ties(message, request):
    """Brings answers whose order etcd leaves open into one order."""
    if isinstance(message, etcd.RangeResponse) and request.sort_target in SORTED_BY:
        # etcd sorts with an unstable sort: only keys that tie may change places, a limit may fall
        # within a tie, and which of its keys are then in the answer is open too.
        field = SORTED_BY[request.sort_target]
        ties = [list(tie) for _, tie in itertools.groupby(message.kvs, lambda kv: getattr(kv, field))]
        if message.more and ties:
            open_ended = ties.pop()
            ties.append([mvcc.KeyValue(**{field: getattr(kv, field)}) for kv in open_ended])
        ordered = [kv for tie in ties for kv in sorted(tie, key=lambda kv: kv.key)]
        del message.kvs[:]
        message.kvs.extend(ordered)
    if isinstance(message, etcd.LeaseTimeToLiveResponse):
        message.TTL = 0  # seconds left depend on the moment of asking
        keys = sorted(message.keys)
        del message.keys[:]
        message.keys.extend(keys)
    if isinstance(message, etcd.LeaseLeasesResponse):  # by expiry, which is a matter of the moment
        ordered = sorted(message.leases, key=lambda lease: lease.ID)
        del message.leases[:]
        message.leases.extend(ordered)
    if isinstance(message, etcd.TxnResponse):
        branch = request.success if message.succeeded else request.failure
        for op, asked in zip(message.responses, branch):
            kind = op.WhichOneof("response")
            if kind in ("response_range", "response_txn"):
                sort_ties(getattr(op, kind), getattr(asked, kind.replace("response", "request")))


class Asked:
    """The one answer of a stream, as a future has it."""

    def __init__(self, stream):
        self._stream = stream

    def result(self):
        return next(self._stream)


def ask(client, service, method, request):
    if method == "LeaseKeepAlive":
        return Asked(client.Lease.LeaseKeepAlive(iter([request])))
    return getattr(getattr(client, service), method).future(request)


def drop_newer_fields(message, old_peer):
    """hash_revision came with etcd 3.6, the header of an alarm's answer later than 3.4."""
    if old_peer and isinstance(message, etcd.HashKVResponse):
        message.hash_revision = 0
    if old_peer and isinstance(message, etcd.AlarmResponse):
        message.ClearField("header")


def outcome(future, request, old_peer):
    try:
        response = future.result()
    except grpc.RpcError as error:
        return None, (error.code().name, error.details())
    strip_header(response)
    drop_newer_fields(response, old_peer)
    sort_ties(response, request)
    return response, None


def peer_version(binary):
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return text.split("etcd Version: ")[1].split("\n")[0]


def compare_one(clients, operation, generator, number):
    """Asks both; None when they agree, else both outcomes."""
    service, method, request = operation
    old = generator.old_peer
    pair = [ask(client, service, method, request) for client in clients]
    (mine, my_error), (other, other_error) = (outcome(asked, request, old) for asked in pair)
    equal = mine == other
    if my_error and other_error:
        equal = same_failure(my_error, other_error, old and method == "Txn")
    if not equal:
        return f"{service}.{method} {request}\nquorate: {my_error or mine}\n" \
               f"etcd: {other_error or other}"
    if other is not None:
        generator.learn(method, request, other)
    return None


def compare_all(clients, generator, operations, counts):
    """None when all agree, else what did not."""
    watches = WatchPair(*clients, generator.random)
    try:
        for number in range(operations):
            operation = generator.next()
            # What a compaction takes from a watch that lags is a matter of the moment.
            if operation[1] == "Compact" or number % COMPARE_WATCHES_EACH == 0:
                watches.compare(generator.revision, generator.compacted)
            if number % (4 * COMPARE_WATCHES_EACH) == 0 and generator.revision > 2:
                start = generator.random.randint(max(2, generator.compacted), generator.revision)
                watches.catch_up_from(start, KEYS)
                watches.compare(generator.revision, generator.compacted)
            counts[operation[1]] = counts.get(operation[1], 0) + 1
            difference = compare_one(clients, operation, generator, number)
            if difference is not None:
                return f"operation {number}: {difference}"
        watches.compare(generator.revision, generator.compacted)
        counts["watched events"] = watches.events
    except WatchFailure as failure:
        return f"watches: {failure}"
    finally:
        watches.close()
    return None


def compare_run(arguments, backend, peer, operations):
    version = peer_version(peer)
    old = version.startswith(("3.3", "3.4", "3.5"))
    generator = Generator(f"{arguments.seed}/{backend}/{version}", old)
    shm = "/dev/shm" if os.path.isdir("/dev/shm") else None
    ours = Server(quorate_binary(), f"--backend={backend}", data_root=shm)
    theirs = Server(peer, data_root=shm)
    print(f"differential: backend {backend}, peer etcd {version}, seed {arguments.seed}, "
          f"{operations} operations", flush=True)
    if old:
        print("  differences to this version that are known: " + "; ".join(KNOWN), flush=True)
    started = time.monotonic()
    counts = {}
    with ours, theirs:
        clients = Client(ours.endpoint), Client(theirs.endpoint)
        difference = compare_all(clients, generator, operations, counts)
        for client in clients:
            client.close()
    if difference is not None:
        print(f"FAILED (seed {arguments.seed}, backend {backend}, peer {version}): {difference}")
        return False
    print(f"  equal: revision {generator.revision}, {time.monotonic() - started:.0f} s, {counts}")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--operations", type=int, default=100_000, help="per backend and peer")
    parser.add_argument("--operations-built", type=int,
                        help="the same beside the current etcd, when it was built")
    parser.add_argument("--seed", default=os.environ.get("QUORATE_SEED") or str(time.time_ns()))
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    parser.add_argument("--peer", action="append")
    arguments = parser.parse_args()
    peers = [(peer, arguments.operations) for peer in arguments.peer or [DEBIAN_ETCD]]
    if not arguments.peer:
        peers.append((BUILT_ETCD, arguments.operations_built or arguments.operations))
    ran = []
    for peer, operations in peers:
        if not os.access(peer, os.X_OK):
            print(f"SKIPPED beside {peer}: it is not there; install etcd-server, or run "
                  "scripts/build_etcd.sh where Go is installed", flush=True)
            continue
        ran += [compare_run(arguments, backend, peer, operations)
                for backend in arguments.backend or BACKENDS]
    if not ran:
        return 77
    return 0 if all(ran) else 1


if __name__ == "__main__":
    sys.exit(main())
