#!/usr/bin/python3
"""A member whose disk holds another history than the others': found at its start, by the leader's
look now and then, and by the hashes of compactions; the CORRUPT alarm and its way out."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import grpc  # noqa: E402
from alter import alter_lmdb  # noqa: E402
from cluster import Cluster, run_cases, wait_for  # noqa: E402
from servers import ServerDied  # noqa: E402
from stubs import etcd  # noqa: E402

OLD, NEW = b"what was written", b"what was altered"


def write(cluster):
    client = cluster.client(cluster.leader())
    for number in range(20):
        client.KV.Put(etcd.PutRequest(key=b"k%d" % (number % 10), value=b"%d" % number))
    client.KV.Put(etcd.PutRequest(key=b"altered", value=OLD))
    for number in range(20):
        client.KV.Put(etcd.PutRequest(key=b"k%d" % (number % 10), value=b"%d" % number))


def alter(cluster, member):
    member.stop()
    alter_lmdb(member, OLD, NEW)


def alarms(cluster, member):
    answer = cluster.client(member).Maintenance.Alarm(etcd.AlarmRequest(), timeout=20)
    return [(alarm.memberID, alarm.alarm) for alarm in answer.alarms]


def wait_for_alarm(cluster, member_id):
    def raised():
        try:
            return alarms(cluster, cluster.leader())
        except grpc.RpcError:
            return None

    assert wait_for(raised, "CORRUPT alarm") == [(member_id, etcd.CORRUPT)]


def refused_while_corrupt(cluster):
    """Writes are refused everywhere, reads are not; disarming ends it."""
    for member in cluster.running():
        wait_for(lambda m=member: alarms(cluster, m), "alarm on every member")
        client = cluster.client(member)
        client.KV.Range(etcd.RangeRequest(key=b"k1"))
        nested = etcd.TxnRequest(success=[etcd.RequestOp(request_txn=etcd.TxnRequest(
            success=[etcd.RequestOp(request_range=etcd.RangeRequest(key=b"k1"))]))])
        for call, request in ((client.KV.Put, etcd.PutRequest(key=b"x", value=b"y")),
                              (client.KV.DeleteRange, etcd.DeleteRangeRequest(key=b"k1")),
                              (client.KV.Txn, nested)):  # goes through the log, though it reads
            try:
                call(request)
                raise AssertionError(f"{request} was let pass")
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.DATA_LOSS, error
                assert error.details() == "etcdserver: corrupt cluster", error
    client = cluster.client(cluster.leader())
    for member_id, alarm in alarms(cluster, cluster.leader()):
        client.Maintenance.Alarm(etcd.AlarmRequest(
            action=etcd.AlarmRequest.DEACTIVATE, memberID=member_id, alarm=alarm))
    client.KV.Put(etcd.PutRequest(key=b"x", value=b"y"))


def at_start(backend):
    with Cluster(3, "--feature-gates=InitialCorruptCheck=true", backend=backend) as cluster:
        write(cluster)
        good, bad = cluster.followers()
        good.stop()
        good.start()
        assert "initial corruption checking passed; no corruption" in good.log_tail(1 << 30)
        alter(cluster, bad)
        try:
            bad.start()
        except ServerDied:
            last = json.loads(Path(bad.log_path).read_text().splitlines()[-1])
            assert last["level"] == "fatal" and "found data inconsistency with peers" in last["error"]
        else:
            raise AssertionError("a member with another history serves")
        assert not alarms(cluster, cluster.leader())  # nobody else is held up by it


def now_and_then(backend):
    with Cluster(3, "--corrupt-check-time=100ms", backend=backend) as cluster:
        write(cluster)
        bad = cluster.followers()[0]
        bad_id = cluster.member_id(bad)
        alter(cluster, bad)
        bad.start()
        wait_for_alarm(cluster, bad_id)
        leader = cluster.leader()
        assert "same compact revision then hashes must match" in leader.log_tail(1 << 30)


def by_compaction(backend):
    with Cluster(3, "--feature-gates=CompactHashCheck=true", "--compact-hash-check-time=100ms",
                 backend=backend) as cluster:
        write(cluster)
        client = cluster.client(cluster.leader())
        revision = client.KV.Range(etcd.RangeRequest(key=b"k1")).header.revision
        client.KV.Compact(etcd.CompactionRequest(revision=10))
        wait_for(lambda: any("successfully checked hash on whole cluster" in m.log_tail(1 << 30)
                             for m in cluster.running()), "check of equal hashes")
        bad = cluster.followers()[0]
        bad_id = cluster.member_id(bad)
        alter(cluster, bad)
        bad.start()
        assert not alarms(cluster, cluster.leader())
        # Also when the one that differs leads: a majority says who it is.
        cluster.client(cluster.leader()).Maintenance.MoveLeader(
            etcd.MoveLeaderRequest(targetID=bad_id))
        wait_for(lambda: cluster.leader() is bad, "altered member that leads")
        cluster.client(bad).KV.Compact(etcd.CompactionRequest(revision=revision))
        wait_for_alarm(cluster, bad_id)
        refused_while_corrupt(cluster)


if __name__ == "__main__":
    run_cases([(at_start, ["lmdb"]), (now_and_then, ["lmdb"]), (by_compaction, ["lmdb"])],
              sys.argv[1:])
