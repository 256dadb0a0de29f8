"""Each method with what it is made for, in an order in which each finds what it needs. The store is
as api/bad_input_test.py sets it up; SECRET stands where nobody without permission may look."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "api"))
import bad_input_test as rows  # noqa: E402
from cases import Case  # noqa: E402
from stubs import election, etcd, health, lock  # noqa: E402

SECRET = b"SECRET-VALUE"
LEASE, LOCK_LEASE, CHAIR_LEASE = 301, 302, 303
TTL_SECONDS = 6000
FROM_KEY = b"\0"
# Leases that do not end by themselves while cases run.
LASTING = {rows.LEASE, LEASE, LOCK_LEASE, CHAIR_LEASE, -1, 2**63 - 1, -(2**63)}


def own_member(side):
    return etcd.MemberUpdateRequest(ID=side.own_id(), peerURLs=[side.server.peer_url])


def learner_id(side):
    answer = side.eyes.Cluster.MemberList(etcd.MemberListRequest(), metadata=side.root)
    return next((m.ID for m in answer.members if m.isLearner), 1)


def leader_key(side):
    """Of the election `e`, as its winner was told."""
    key = b"e/%x" % CHAIR_LEASE
    kvs = side.eyes.KV.Range(etcd.RangeRequest(key=key), metadata=side.root).kvs
    return election.LeaderKey(name=b"e", key=key, lease=CHAIR_LEASE,
                              rev=kvs[0].create_revision if kvs else 0)


def current(side):
    return side.eyes.KV.Range(etcd.RangeRequest(key=b"a"), metadata=side.root).header.revision


def forget_sessions(side):
    """Locks that a server's own sessions hold have names that differ: away with them."""
    side.eyes.KV.Put(etcd.PutRequest(key=b"/"), metadata=side.root)
    side.eyes.KV.DeleteRange(etcd.DeleteRangeRequest(key=b"/", range_end=b"0"), metadata=side.root)
    side.eyes.KV.Compact(etcd.CompactionRequest(revision=current(side), physical=True),
                           metadata=side.root)


def key_calls():
    yield "KV.Put", etcd.PutRequest(key=b"g/1", value=b"one", lease=0, prev_kv=True)
    yield "KV.Put", etcd.PutRequest(key=b"g/secret", value=SECRET)
    yield "KV.Range", etcd.RangeRequest(key=b"g/", range_end=b"g0", limit=5, sort_order=2,
                                        sort_target=2, min_mod_revision=1)
    yield "KV.RangeStream", etcd.RangeRequest(key=b"g/", range_end=b"g0", limit=5)
    yield "KV.Txn", etcd.TxnRequest(
        compare=[etcd.Compare(key=b"g/1", target=0, result=0, version=1)],
        success=[etcd.RequestOp(request_put=etcd.PutRequest(key=b"g/2", value=b"two"))],
        failure=[etcd.RequestOp(request_range=etcd.RangeRequest(key=b"g/secret"))])
    yield "KV.DeleteRange", etcd.DeleteRangeRequest(key=b"g/2", range_end=b"g/3", prev_kv=True)
    yield "KV.Compact", etcd.CompactionRequest(revision=7, physical=True)
    yield "Watch.Watch", etcd.WatchRequest(create_request=etcd.WatchCreateRequest(
        key=b"g/", range_end=b"g0", prev_kv=True, watch_id=9))


def lease_calls():
    yield "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=LEASE, TTL=TTL_SECONDS)
    yield "Lease.LeaseKeepAlive", etcd.LeaseKeepAliveRequest(ID=LEASE)
    yield "Lease.LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=LEASE, keys=True)
    yield "Lease.LeaseLeases", etcd.LeaseLeasesRequest()
    yield "Lease.LeaseRevoke", etcd.LeaseRevokeRequest(ID=LEASE)


def cluster_calls():
    yield "Cluster.MemberList", etcd.MemberListRequest(linearizable=True)
    yield "Cluster.MemberAdd", etcd.MemberAddRequest(
        peerURLs=["http://127.0.0.1:1"], isLearner=True)
    yield "Cluster.MemberPromote", lambda side: etcd.MemberPromoteRequest(ID=learner_id(side))
    yield "Cluster.MemberUpdate", own_member
    yield "Cluster.MemberRemove", lambda side: etcd.MemberRemoveRequest(ID=learner_id(side))


def maintenance_calls():
    yield "Maintenance.Alarm", etcd.AlarmRequest(action=1, memberID=7, alarm=1)
    yield "Maintenance.Alarm", etcd.AlarmRequest(action=2, memberID=7, alarm=1)
    yield "Maintenance.Status", etcd.StatusRequest()
    # What the alarms of the cases before have left.
    for member, alarm in ((2**64 - 1, 1), (7, 99), (7, -1)):
        yield "Maintenance.Alarm", etcd.AlarmRequest(action=2, memberID=member, alarm=alarm)
    yield "Maintenance.Defragment", etcd.DefragmentRequest()
    yield "Maintenance.Hash", etcd.HashRequest()
    yield "Maintenance.HashKV", etcd.HashKVRequest(revision=8)
    yield "Maintenance.Snapshot", etcd.SnapshotRequest()
    yield "Maintenance.MoveLeader", lambda side: etcd.MoveLeaderRequest(targetID=side.own_id())
    yield "Maintenance.Downgrade", etcd.DowngradeRequest(action=0, version="3.6")
    yield "Maintenance.Downgrade", etcd.DowngradeRequest(action=2)


def auth_calls():
    A = "Auth."
    yield A + "AuthStatus", etcd.AuthStatusRequest()
    yield A + "UserAdd", etcd.AuthUserAddRequest(name="gu", password="gp")
    yield A + "Authenticate", etcd.AuthenticateRequest(name="gu", password="gp")
    yield A + "UserChangePassword", etcd.AuthUserChangePasswordRequest(name="gu", password="gq")
    yield A + "UserList", etcd.AuthUserListRequest()
    yield A + "RoleAdd", etcd.AuthRoleAddRequest(name="gr")
    yield A + "RoleList", etcd.AuthRoleListRequest()
    permission = etcd.AuthRoleGrantPermissionRequest(name="gr")
    permission.perm.permType, permission.perm.key, permission.perm.range_end = 2, b"g/", b"g0"
    yield A + "RoleGrantPermission", permission
    yield A + "RoleGet", etcd.AuthRoleGetRequest(role="gr")
    yield A + "UserGrantRole", etcd.AuthUserGrantRoleRequest(user="gu", role="gr")
    yield A + "UserGet", etcd.AuthUserGetRequest(name="gu")
    yield A + "UserRevokeRole", etcd.AuthUserRevokeRoleRequest(name="gu", role="gr")
    yield A + "RoleRevokePermission", etcd.AuthRoleRevokePermissionRequest(
        role="gr", key=b"g/", range_end=b"g0")
    yield A + "RoleDelete", etcd.AuthRoleDeleteRequest(role="gr")
    yield A + "UserDelete", etcd.AuthUserDeleteRequest(name="gu")
    yield A + "AuthEnable", etcd.AuthEnableRequest()  # there is no root
    yield A + "AuthDisable", etcd.AuthDisableRequest()


def lock_calls():
    yield "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=LOCK_LEASE, TTL=TTL_SECONDS)
    yield "Lock.Lock", lock.LockRequest(name=b"l", lease=LOCK_LEASE)
    yield "Lock.Unlock", lock.UnlockRequest(key=b"l/%x" % LOCK_LEASE)
    # With all its locks: those of an election of that name would be waited for.
    yield "Lease.LeaseRevoke", etcd.LeaseRevokeRequest(ID=LOCK_LEASE)
    yield "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=CHAIR_LEASE, TTL=TTL_SECONDS)
    yield "Election.Campaign", election.CampaignRequest(name=b"e", lease=CHAIR_LEASE, value=b"v")
    yield "Election.Leader", election.LeaderRequest(name=b"e")
    yield "Election.Observe", election.LeaderRequest(name=b"e")
    yield "Election.Proclaim", lambda side: election.ProclaimRequest(
        leader=leader_key(side), value=b"w")
    yield "Election.Resign", lambda side: election.ResignRequest(leader=leader_key(side))


def health_calls():
    yield "Health.Check", health.HealthCheckRequest()
    yield "Health.List", health.HealthListRequest()
    yield "Health.Watch", health.HealthCheckRequest()


# Streams that do not end by themselves.
ANSWERS = {"Watch.Watch": 1, "Election.Observe": 1, "Health.Watch": 1}


def good_cases():
    for part in (key_calls, lease_calls, cluster_calls, maintenance_calls, auth_calls, lock_calls,
                 health_calls):
        for call, request in part():
            yield Case(call, "good", "good", request, ANSWERS.get(call))

STAY_OPEN = set(ANSWERS)

__all__ = ["ANSWERS", "LASTING", "STAY_OPEN", "SECRET", "forget_sessions", "good_cases"]
