#!/usr/bin/python3
"""Every bad request a client can think of, to Quorate and to real etcds beside it.

One table: the request, and the code and text that it must get. A row is sent to all servers, which
stand in the same state; their whole answers must be equal, and no server's revision may move. Rows
of which etcd 3.7 itself dies go to Quorate alone, which must stay up.

usage: bad_input_test.py [--old PATH] [--new PATH]
"""

import argparse
import os
import queue
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from servers import ROOT, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

Range, Put, Delete, Txn = (
    etcd.RangeRequest, etcd.PutRequest, etcd.DeleteRangeRequest, etcd.TxnRequest)
Op, Compare = etcd.RequestOp, etcd.Compare
Grant, Revoke, TimeToLive, KeepAlive = (
    etcd.LeaseGrantRequest, etcd.LeaseRevokeRequest, etcd.LeaseTimeToLiveRequest,
    etcd.LeaseKeepAliveRequest)
Compact, HashKV, Alarm = etcd.CompactionRequest, etcd.HashKVRequest, etcd.AlarmRequest
Create = etcd.WatchCreateRequest

OK = ("OK", "")
EMPTY_KEY = ("INVALID_ARGUMENT", "etcdserver: key is not provided")
NOT_FOUND = ("INVALID_ARGUMENT", "etcdserver: key not found")
VALUE_GIVEN = ("INVALID_ARGUMENT", "etcdserver: value is provided")
LEASE_GIVEN = ("INVALID_ARGUMENT", "etcdserver: lease is provided")
TOO_MANY_OPS = ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request")
DUPLICATE = ("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request")
SORT = ("INVALID_ARGUMENT", "etcdserver: invalid sort option")
TOO_LARGE = ("INVALID_ARGUMENT", "etcdserver: request is too large")
NO_LEASE = ("NOT_FOUND", "etcdserver: requested lease not found")
LEASE_EXISTS = ("FAILED_PRECONDITION", "etcdserver: lease already exists")
TTL_TOO_LARGE = ("OUT_OF_RANGE", "etcdserver: too large lease TTL")
COMPACTED = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
CORRUPT = ("DATA_LOSS", "etcdserver: corrupt cluster")
FUTURE = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")

LEASE = 77          # granted
NO_SUCH_LEASE = 78
LIMIT_BYTES = 1_572_864  # --max-request-bytes
FROM_KEY = b"\x00"


@dataclass
class Row:
    name: str
    call: str  # "KV.Range"
    request: object
    expected: tuple = OK
    # How the peers take part: "all", "new" (an older etcd answers otherwise: why), "none" (etcd
    # dies of it).
    peers: str = "all"


def put(**fields):
    return Op(request_put=Put(**fields))


def rng(**fields):
    return Op(request_range=Range(**fields))


def delete(**fields):
    return Op(request_delete_range=Delete(**fields))


def nested(**fields):
    return Op(request_txn=Txn(**fields))


def range_rows():
    yield Row("range: empty key", "KV.Range", Range(), EMPTY_KEY)
    yield Row("range: empty key with an end", "KV.Range", Range(range_end=b"z"), EMPTY_KEY)
    yield Row("range: end below key", "KV.Range", Range(key=b"m", range_end=b"a"))
    yield Row("range: end is key", "KV.Range", Range(key=b"a", range_end=b"a"))
    yield Row("range: a huge key", "KV.Range", Range(key=b"k" * 1_000_000))
    yield Row("range: negative limit", "KV.Range", Range(key=b"a", range_end=FROM_KEY, limit=-5))
    yield Row("range: greatest limit", "KV.Range",
              Range(key=b"a", range_end=FROM_KEY, limit=2**63 - 1), peers="new")
    yield Row("range: future", "KV.Range", Range(key=b"a", revision=10_000), FUTURE)
    yield Row("range: greatest revision", "KV.Range", Range(key=b"a", revision=2**63 - 1), FUTURE)
    yield Row("range: compacted", "KV.Range", Range(key=b"a", revision=2), COMPACTED)
    yield Row("range: at the compaction", "KV.Range", Range(key=b"a", revision=4))
    yield Row("range: negative revision", "KV.Range", Range(key=b"a", revision=-1))
    yield Row("range: least revision", "KV.Range", Range(key=b"a", revision=-(2**63)))
    for field in ("sort_order", "sort_target"):
        for value in (7, -1):
            yield Row(f"range: {field} {value}", "KV.Range", Range(key=b"a", **{field: value}),
                      SORT, peers="new")
    yield Row("range: keys only and count only", "KV.Range",
              Range(key=b"a", range_end=FROM_KEY, keys_only=True, count_only=True))
    yield Row("range: filters that exclude each other", "KV.Range",
              Range(key=b"a", range_end=FROM_KEY, min_mod_revision=9, max_mod_revision=2))
    yield Row("range: negative filters", "KV.Range",
              Range(key=b"a", range_end=FROM_KEY, min_create_revision=-3))
    yield Row("range: a key of zero bytes", "KV.Range", Range(key=FROM_KEY))


def write_rows():
    yield Row("put: empty key", "KV.Put", Put(value=b"v"), EMPTY_KEY)
    yield Row("put: value with ignore_value", "KV.Put",
              Put(key=b"a", value=b"v", ignore_value=True), VALUE_GIVEN)
    yield Row("put: lease with ignore_lease", "KV.Put",
              Put(key=b"a", lease=LEASE, ignore_lease=True), LEASE_GIVEN)
    yield Row("put: ignore_value of nothing", "KV.Put", Put(key=b"no", ignore_value=True),
              NOT_FOUND)
    yield Row("put: ignore_lease of nothing", "KV.Put", Put(key=b"no", ignore_lease=True),
              NOT_FOUND)
    yield Row("put: ignore_value of a deleted key", "KV.Put", Put(key=b"gone", ignore_value=True),
              NOT_FOUND)
    for lease in (NO_SUCH_LEASE, -1, 2**63 - 1):
        yield Row(f"put: unknown lease {lease}", "KV.Put", Put(key=b"a", lease=lease), NO_LEASE)
    yield Row("put: over --max-request-bytes", "KV.Put", Put(key=b"big", value=b"v" * LIMIT_BYTES),
              TOO_LARGE)
    yield Row("put: a key over --max-request-bytes", "KV.Put", Put(key=b"k" * LIMIT_BYTES),
              TOO_LARGE)
    yield Row("put: over what is received at all", "KV.Put", Put(key=b"a", value=b"v" * 2_200_000),
              ("RESOURCE_EXHAUSTED",
               "grpc: received message larger than max (2200008 vs. 2097152)"))
    # What is around the put counts; its id takes 8 to 10 bytes, as the member's id has it.
    yield Row("put: over --max-request-bytes with all around it", "KV.Put",
              Put(key=b"big", value=b"v" * 1_572_842), TOO_LARGE)
    yield Row("delete: empty key", "KV.DeleteRange", Delete(), EMPTY_KEY)
    yield Row("delete: empty key with an end", "KV.DeleteRange", Delete(range_end=b"z"), EMPTY_KEY)
    yield Row("delete: nothing there", "KV.DeleteRange", Delete(key=b"no"))
    yield Row("delete: end below key", "KV.DeleteRange", Delete(key=b"m", range_end=b"a"))
    for revision, expected in ((4, COMPACTED), (3, COMPACTED), (0, COMPACTED), (-1, COMPACTED),
                               (-(2**63), COMPACTED), (10_000, FUTURE), (2**63 - 1, FUTURE)):
        yield Row(f"compact: {revision}", "KV.Compact", Compact(revision=revision), expected)
        yield Row(f"compact: {revision}, physical", "KV.Compact",
                  Compact(revision=revision, physical=True), expected)


def range_stream_rows():
    for field in ("min_mod_revision", "max_mod_revision", "min_create_revision",
                  "max_create_revision"):
        yield Row(f"range stream: {field}", "KV.RangeStream",
                  Range(key=b"a", range_end=FROM_KEY, **{field: 1}),
                  ("UNIMPLEMENTED", "RangeStream does not support revision filters"), peers="new")
    yield Row("range stream: descending", "KV.RangeStream",
              Range(key=b"a", range_end=FROM_KEY, sort_order=2),
              ("UNIMPLEMENTED", "RangeStream does not support custom sort orders"), peers="new")
    yield Row("range stream: sort order out of the enum", "KV.RangeStream",
              Range(key=b"a", sort_order=9), SORT, peers="new")
    yield Row("range stream: empty key", "KV.RangeStream", Range(), EMPTY_KEY, peers="new")
    yield Row("range stream: future", "KV.RangeStream", Range(key=b"a", revision=999), FUTURE,
              peers="new")
    yield Row("range stream: compacted", "KV.RangeStream", Range(key=b"a", revision=2), COMPACTED,
              peers="new")


def txn_rows():
    good = put(key=b"a", value=b"changed")
    for name, op in (("range", rng()), ("put", put(value=b"v")), ("delete", delete())):
        yield Row(f"txn: {name} with empty key", "KV.Txn", Txn(success=[good, op]), EMPTY_KEY)
        yield Row(f"txn: {name} with empty key in the branch not taken", "KV.Txn",
                  Txn(success=[good], failure=[op]), EMPTY_KEY)
    yield Row("txn: compare with empty key", "KV.Txn", Txn(compare=[Compare()], success=[good]),
              EMPTY_KEY)
    yield Row("txn: operation without a request", "KV.Txn", Txn(success=[good, Op()]), NOT_FOUND)
    yield Row("txn: 129 operations", "KV.Txn",
              Txn(success=[put(key=b"k%d" % i) for i in range(129)]), TOO_MANY_OPS)
    yield Row("txn: 129 compares", "KV.Txn",
              Txn(compare=[Compare(key=b"a", version=1)] * 129, success=[good]), TOO_MANY_OPS)
    yield Row("txn: a nested one over what its parent left", "KV.Txn",
              Txn(success=[put(key=b"k%d" % i) for i in range(100)] +
                  [nested(success=[put(key=b"n%d" % i) for i in range(30)])]), TOO_MANY_OPS)
    yield Row("txn: one key put twice", "KV.Txn", Txn(success=[good, good]), DUPLICATE)
    yield Row("txn: put and a delete over it", "KV.Txn",
              Txn(success=[good, delete(key=b"a", range_end=b"c")]), DUPLICATE)
    yield Row("txn: delete and a put into it", "KV.Txn",
              Txn(success=[delete(key=b"a", range_end=b"c"), put(key=b"b")]), DUPLICATE)
    yield Row("txn: duplicate in the branch not taken", "KV.Txn",
              Txn(success=[good], failure=[good, good]), DUPLICATE)
    yield Row("txn: nested put of an outer key", "KV.Txn",
              Txn(success=[good, nested(success=[good])]), DUPLICATE)
    yield Row("txn: two nested ones with one key", "KV.Txn",
              Txn(success=[nested(success=[good]), nested(failure=[good])]), DUPLICATE)


def txn_state_rows():
    """What depends on the store: looked at before the first write."""
    good = put(key=b"a", value=b"changed")
    yield Row("txn: unknown lease", "KV.Txn",
              Txn(success=[good, put(key=b"b", lease=NO_SUCH_LEASE)]), NO_LEASE)
    yield Row("txn: unknown lease in a nested one", "KV.Txn",
              Txn(success=[good, nested(success=[put(key=b"b", lease=NO_SUCH_LEASE)])]), NO_LEASE)
    yield Row("txn: future range", "KV.Txn", Txn(success=[good, rng(key=b"a", revision=999)]),
              FUTURE)
    yield Row("txn: compacted range", "KV.Txn", Txn(success=[good, rng(key=b"a", revision=2)]),
              COMPACTED)
    yield Row("txn: range at revision -1", "KV.Txn",
              Txn(success=[good, rng(key=b"a", revision=-1)]), COMPACTED, peers="new")
    yield Row("read-only txn: future", "KV.Txn", Txn(success=[rng(key=b"a", revision=999)]),
              FUTURE)
    yield Row("read-only txn: compacted", "KV.Txn", Txn(success=[rng(key=b"a", revision=2)]),
              COMPACTED)
    yield Row("read-only txn: the branch not taken is not looked at", "KV.Txn",
              Txn(success=[rng(key=b"b")], failure=[rng(key=b"a", revision=999)]))
    yield Row("txn: sort order out of the enum", "KV.Txn",
              Txn(success=[good, rng(key=b"a", sort_order=9)]), SORT, peers="new")
    yield Row("txn: ignore_value of nothing", "KV.Txn",
              Txn(success=[good, put(key=b"no", ignore_value=True)]), NOT_FOUND)
    yield Row("txn: ignore_lease of nothing", "KV.Txn",
              Txn(success=[good, put(key=b"no", ignore_lease=True)]), NOT_FOUND)
    yield Row("txn: value with ignore_value", "KV.Txn",
              Txn(success=[good, put(key=b"b", value=b"v", ignore_value=True)]), VALUE_GIVEN)
    yield Row("txn: lease with ignore_lease", "KV.Txn",
              Txn(success=[good, put(key=b"b", lease=LEASE, ignore_lease=True)]), LEASE_GIVEN)
    # Passes etcd's check of duplicates, which does not know "from key", and then kills each member.
    for flag in ("ignore_lease", "ignore_value"):
        kept = put(key=b"b", **{flag: True})
        wipe = delete(key=b"a", range_end=FROM_KEY)
        yield Row(f"txn: {flag} of what it deleted", "KV.Txn", Txn(success=[wipe, kept]),
                  NOT_FOUND, peers="none")
        yield Row(f"txn: {flag} of what a nested one deleted", "KV.Txn",
                  Txn(success=[nested(success=[wipe]), nested(success=[kept])]),
                  NOT_FOUND, peers="none")
    yield Row("txn: over --max-request-bytes", "KV.Txn",
              Txn(success=[put(key=b"a", value=b"v" * LIMIT_BYTES)]), TOO_LARGE)
    for field, value in (("result", 9), ("target", 9), ("result", -1), ("target", -1)):
        yield Row(f"txn: compare {field} {value}", "KV.Txn",
                  Txn(compare=[Compare(key=b"a", version=5, **{field: value})],
                      success=[rng(key=b"a")], failure=[rng(key=b"b")]))
    yield Row("txn: empty", "KV.Txn", Txn())
    yield Row("txn: compare over an interval that ends before it begins", "KV.Txn",
              Txn(compare=[Compare(key=b"m", range_end=b"a", version=0)], success=[rng(key=b"a")]))
    yield Row("txn: compare with another union member", "KV.Txn",
              Txn(compare=[Compare(key=b"a", target=3, version=5)], success=[rng(key=b"a")]))


def other_rows():
    yield Row("grant: id in use", "Lease.LeaseGrant", Grant(ID=LEASE, TTL=60), LEASE_EXISTS)
    for ttl in (9_000_000_001, 2**63 - 1):
        yield Row(f"grant: TTL {ttl}", "Lease.LeaseGrant", Grant(ID=5, TTL=ttl), TTL_TOO_LARGE)
    # Not refused, but raised to the minimum; each takes an id of its own.
    for lease, ttl in ((-9, 0), (-10, -1), (-11, -(2**63)), (12, 1)):
        yield Row(f"grant: id {lease}, TTL {ttl}", "Lease.LeaseGrant", Grant(ID=lease, TTL=ttl))
    for lease in (NO_SUCH_LEASE, 0, -1, 2**63 - 1):
        yield Row(f"revoke: {lease}", "Lease.LeaseRevoke", Revoke(ID=lease), NO_LEASE)
        yield Row(f"time to live: {lease}", "Lease.LeaseTimeToLive",
                  TimeToLive(ID=lease, keys=True))
        yield Row(f"keep alive: {lease}", "Lease.LeaseKeepAlive", [KeepAlive(ID=lease)])
    yield Row("hashkv: future", "Maintenance.HashKV", HashKV(revision=999), FUTURE)
    yield Row("hashkv: compacted", "Maintenance.HashKV", HashKV(revision=2), COMPACTED)
    yield Row("hashkv: greatest revision", "Maintenance.HashKV", HashKV(revision=2**63 - 1), FUTURE)
    yield Row("hashkv: negative", "Maintenance.HashKV", HashKV(revision=-1), peers="new")
    yield Row("alarm: unknown action", "Maintenance.Alarm", Alarm(action=9),
              ("INVALID_ARGUMENT", "etcdserver: unknown alarm action"), peers="none")
    yield Row("alarm: action -1", "Maintenance.Alarm", Alarm(action=-1),
              ("INVALID_ARGUMENT", "etcdserver: unknown alarm action"), peers="none")
    # An older etcd answers these without a header, and the first with an alarm of type NONE.
    yield Row("alarm: activate none", "Maintenance.Alarm", Alarm(action=1, memberID=1, alarm=0),
              peers="new")
    yield Row("alarm: deactivate what is not set", "Maintenance.Alarm",
              Alarm(action=2, memberID=1, alarm=1), peers="new")
    yield Row("alarm: get of an unknown type", "Maintenance.Alarm", Alarm(action=0, alarm=9),
              peers="new")


def watch(*requests):
    return [etcd.WatchRequest(create_request=create) for create in requests]


def watch_rows():
    yield Row("watch: end below key", "Watch.Watch", watch(Create(key=b"m", range_end=b"a")))
    yield Row("watch: end is key", "Watch.Watch", watch(Create(key=b"a", range_end=b"a")))
    yield Row("watch: negative start", "Watch.Watch", watch(Create(key=b"a", start_revision=-1)),
              peers="new")
    yield Row("watch: compacted start", "Watch.Watch", watch(Create(key=b"a", start_revision=2)))
    yield Row("watch: id in use", "Watch.Watch",
              watch(Create(key=b"x", watch_id=5), Create(key=b"y", watch_id=5)))
    yield Row("watch: negative id", "Watch.Watch", watch(Create(key=b"x", watch_id=-5)))
    yield Row("watch: greatest start", "Watch.Watch",
              watch(Create(key=b"x", start_revision=2**63 - 1)))
    yield Row("watch: unknown filters", "Watch.Watch", watch(Create(key=b"x", filters=[9, -1, 0])))
    yield Row("watch: empty key", "Watch.Watch", watch(Create()))
    yield Row("watch: nothing asked, unknown cancelled, then one", "Watch.Watch",
              [etcd.WatchRequest(),
               etcd.WatchRequest(cancel_request=etcd.WatchCancelRequest(watch_id=99)),
               *watch(Create(key=b"x"))])


def corrupt_rows():
    """While CORRUPT is raised: what goes through the log is refused, also if it would only read."""
    yield Row("corrupt: put", "KV.Put", Put(key=b"a", value=b"1"), CORRUPT)
    yield Row("corrupt: delete", "KV.DeleteRange", Delete(key=b"a"), CORRUPT)
    yield Row("corrupt: compact", "KV.Compact", Compact(revision=6), CORRUPT)
    yield Row("corrupt: grant", "Lease.LeaseGrant", Grant(TTL=60), CORRUPT)
    yield Row("corrupt: revoke", "Lease.LeaseRevoke", Revoke(ID=LEASE), CORRUPT)
    yield Row("corrupt: transaction that writes", "KV.Txn",
              Txn(success=[put(key=b"a", value=b"1")]), CORRUPT)
    yield Row("corrupt: transaction with a nested one of ranges", "KV.Txn",
              Txn(success=[nested(success=[rng(key=b"a")])]), CORRUPT)
    yield Row("corrupt: the same in the branch that is not taken", "KV.Txn",
              Txn(failure=[nested(failure=[rng(key=b"a")])]), CORRUPT)
    yield Row("corrupt: transaction of ranges", "KV.Txn", Txn(success=[rng(key=b"a")]))
    yield Row("corrupt: range", "KV.Range", Range(key=b"a"))
    yield Row("corrupt: keep alive", "Lease.LeaseKeepAlive", [KeepAlive(ID=NO_SUCH_LEASE)])


def set_alarm(client, action):
    client.Maintenance.Alarm(Alarm(action=action, memberID=1, alarm=etcd.CORRUPT))


def set_up(client):
    """The state that the rows speak of: current revision 6, compacted at 4."""
    client.Lease.LeaseGrant(Grant(ID=LEASE, TTL=6000))
    client.KV.Put(Put(key=b"a", value=b"1"))
    client.KV.Put(Put(key=b"gone", value=b"1"))
    client.KV.DeleteRange(Delete(key=b"gone"))
    client.KV.Put(Put(key=b"b", value=b"2", lease=LEASE))
    client.KV.Put(Put(key=b"a", value=b"3"))
    client.KV.Compact(Compact(revision=4, physical=True))


def strip(message):
    """Takes out what differs between any two servers."""
    if message.HasField("header"):
        message.header.cluster_id = message.header.member_id = message.header.raft_term = 0
    if isinstance(message, etcd.LeaseTimeToLiveResponse) and message.TTL > 0:
        message.TTL = 1
    return message


def watch_answer_count(requests):
    """Created and canceled messages; a watch that is refused late has one of each."""
    creates = [r.create_request for r in requests if r.HasField("create_request")]
    return len(creates) + sum(0 < c.start_revision < 4 for c in creates)


def watch_answers(client, requests):
    outgoing = queue.Queue()
    for request in requests:
        outgoing.put(request)
    wanted = watch_answer_count(requests)
    stream = client.Watch.Watch(iter(outgoing.get, None))
    answers = [strip(next(stream)) for _ in range(wanted)]
    outgoing.put(None)
    stream.cancel()
    return answers


def ask(client, row):
    service, method = row.call.split(".")
    call = getattr(getattr(client, service), method)
    try:
        if method == "Watch":
            return OK, watch_answers(client, row.request)
        if method == "LeaseKeepAlive":
            return OK, [strip(answer) for answer in call(iter(row.request))]
        if method == "RangeStream":
            return OK, [answer.range_response for answer in call(row.request)]
        return OK, strip(call(row.request))
    except grpc.RpcError as error:
        return (error.code().name, error.details()), None


def current_revision(client):
    return client.KV.Range(Range(key=b"a", count_only=True)).header.revision


def peer_version(binary):
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return text.split("etcd Version: ")[1].split("\n")[0]


class Failures(list):
    def expect(self, row, what, got, expected):
        self.append(f"{row.name}: {what}\n   got      {got}\n   expected {expected}")


def run(servers, failures):
    """`servers`: name -> client; the first is Quorate."""
    rows = [*range_rows(), *write_rows(), *range_stream_rows(), *txn_rows(), *txn_state_rows(),
            *other_rows(), *watch_rows()]
    count = run_rows(rows, servers, failures)
    for client in servers.values():
        set_alarm(client, Alarm.ACTIVATE)
    count += run_rows(list(corrupt_rows()), servers, failures)
    for client in servers.values():
        set_alarm(client, Alarm.DEACTIVATE)
    return count


def run_rows(rows, servers, failures):
    revisions = {name: current_revision(client) for name, client in servers.items()}
    for row in rows:
        status, answer = ask(servers["quorate"], row)
        if status != row.expected:
            failures.expect(row, "quorate's status", status, row.expected)
        for name, client in servers.items():
            if name != "quorate" and row.peers in ("all", name):
                their_status, theirs = ask(client, row)
                if status != their_status:
                    failures.expect(row, f"status beside the {name} etcd", status, their_status)
                elif answer != theirs and not hash_revision_alone(name, answer, theirs):
                    failures.expect(row, f"answer beside the {name} etcd", answer, theirs)
            if (now := current_revision(client)) != revisions[name]:
                failures.expect(row, f"revision of {name}", now, revisions[name])
                revisions[name] = now
    return len(rows)


def hash_revision_alone(name, mine, theirs):
    """HashKV tells its revision since 3.6."""
    if name != "old" or not isinstance(mine, etcd.HashKVResponse):
        return False
    return (mine.hash, mine.compact_revision) == (theirs.hash, theirs.compact_revision)


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
            print(f"bad input: the {name} etcd is {peer_version(binary)}", flush=True)
        else:
            print(f"bad input: SKIPPED beside the {name} etcd: none at {binary}", flush=True)
    failures = Failures()
    clients = {}
    try:
        for name, server in servers.items():
            server.start()
            clients[name] = Client(server.endpoint)
            set_up(clients[name])
        rows = run(clients, failures)
    finally:
        for client in clients.values():
            client.close()
        for server in servers.values():
            server.close()
    print("\n".join(failures))
    print(f"bad input: {rows} rows, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
