"""Streams in all the ways they can go: half-closed, left, asked again, with something going on
meanwhile."""

from cases import Case
from good_calls import CHAIR_LEASE, LEASE, TTL_SECONDS
from stubs import election, etcd, health

Create, Cancel = etcd.WatchCreateRequest, etcd.WatchCancelRequest
KEYS = 2_000


def create(**fields):
    return etcd.WatchRequest(create_request=Create(**fields))


def cancel(watch):
    return etcd.WatchRequest(cancel_request=Cancel(watch_id=watch))


PROGRESS = etcd.WatchRequest(progress_request=etcd.WatchProgressRequest())


def put(key, value=b"v"):
    return lambda side: side.client.KV.Put(etcd.PutRequest(key=key, value=value))


def watch_cases():
    def case(name, messages, answers, **more):
        return Case("Watch.Watch", "streams", name, messages, answers, **more)

    yield case("created and cancelled", [create(key=b"s"), cancel(0)], 2)
    yield case("cancelled twice", [create(key=b"s"), cancel(0), cancel(0), create(key=b"t")], 3)
    yield case("an unknown one cancelled", [cancel(5), create(key=b"s")], 1)
    yield case("ids given and taken", [create(key=b"s", watch_id=3), create(key=b"s"),
                                       create(key=b"s", watch_id=3), create(key=b"s")], 4)
    yield case("progress asked for", [create(key=b"s"), PROGRESS], 2)
    yield case("progress of nothing", [PROGRESS, create(key=b"s")], 1)
    yield case("half-closed, then an event", [create(key=b"s", prev_kv=True)], 2, half_close=True,
               meanwhile=put(b"s"))
    yield case("an event that is filtered, then one", [create(key=b"s", filters=[0])], 2,
               meanwhile=lambda side: (put(b"s")(side), side.client.KV.DeleteRange(
                   etcd.DeleteRangeRequest(key=b"s"))))
    yield case("two watches of one key", [create(key=b"s"), create(key=b"s", range_end=b"t")], 2)
    yield case("an event of before", [create(key=b"s", start_revision=20)], 2)
    yield case("a compaction overtakes it", [create(key=b"s", start_revision=2)], 2)
    yield case("a large event", [create(key=b"s", fragment=True)], 2,
               meanwhile=put(b"s", b"x" * 1_000_000))


def other_cases():
    keep = etcd.LeaseKeepAliveRequest
    yield Case("Lease.LeaseGrant", "streams", "for these", etcd.LeaseGrantRequest(
        ID=LEASE, TTL=TTL_SECONDS))
    yield Case("Lease.LeaseKeepAlive", "streams", "asked again",
               [keep(ID=LEASE), keep(ID=5), keep(ID=LEASE)])
    yield Case("Lease.LeaseKeepAlive", "streams", "left after an answer",
               [keep(ID=LEASE), keep(ID=LEASE)], 1)
    yield Case("Lease.LeaseRevoke", "streams", "of these", etcd.LeaseRevokeRequest(ID=LEASE))
    everything = etcd.RangeRequest(key=b"many/", range_end=b"many0")
    yield Case("KV.RangeStream", "streams", "left after an answer", everything, 1,
               status_alone=True)
    yield Case("KV.RangeStream", "streams", "many keys", everything)
    yield Case("Maintenance.Snapshot", "streams", "left after an answer", etcd.SnapshotRequest(), 1)
    yield Case("Lease.LeaseGrant", "streams", "for the next", etcd.LeaseGrantRequest(
        ID=CHAIR_LEASE, TTL=TTL_SECONDS))
    chair = election.CampaignRequest(name=b"o", lease=CHAIR_LEASE, value=b"1")
    yield Case("Election.Campaign", "streams", "for the next", chair)
    yield Case("Election.Observe", "streams", "a new value meanwhile",
               election.LeaderRequest(name=b"o"), 2,
               meanwhile=lambda side: side.client.Election.Campaign(
                   election.CampaignRequest(name=b"o", lease=CHAIR_LEASE, value=b"2")))
    yield Case("Lease.LeaseRevoke", "streams", "of those", etcd.LeaseRevokeRequest(ID=CHAIR_LEASE))
    yield Case("Health.Watch", "streams", "of what is not there",
               health.HealthCheckRequest(service="etcdserverpb.KV"), 1)


def stream_cases():
    yield from watch_cases()
    yield from other_cases()


def prepare(side):
    """Keys enough that an answer comes in several messages."""
    for start in range(0, KEYS, 100):
        side.client.KV.Txn(etcd.TxnRequest(success=[
            etcd.RequestOp(request_put=etcd.PutRequest(key=b"many/%05d" % i, value=b"v" * 1000))
            for i in range(start, start + 100)]))
    for i in range(10):
        put(b"s", b"%d" % i)(side)
    side.client.KV.Compact(etcd.CompactionRequest(revision=10, physical=True))


__all__ = ["prepare", "stream_cases"]
