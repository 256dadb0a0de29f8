"""Every call, and who may make it, for tests/api/auth_test.py. alice may read r/ to r0; bob may read
and write w/ to w0, write only/ to only0, and read p, m to o, and from z on; nobody may touch no key.
Leases: 101 holds w/lease, 102 secret, 103 r/lease, 104 nothing."""

from auth_table import FROM_KEY, READ, delete, grant, put, rng, user
from stubs import etcd

R, P, D = etcd.RangeRequest, etcd.PutRequest, etcd.DeleteRangeRequest
T = etcd.TxnRequest
ANYBODY = {"alice", "bob", "nobody"}


def every_call():
    """(call, request, who may beside root: a set of users, or None where it is no matter of that)"""
    for part in (key_calls, txn_calls, lease_and_watch_calls, root_calls, other_calls):
        yield from part()


def key_calls():
    yield "KV.Range", R(key=b"r/1"), {"alice"}
    yield "KV.Range", R(key=b"r/", range_end=b"r0"), {"alice"}
    yield "KV.Range", R(key=b"r/", range_end=b"r0", serializable=True), {"alice"}
    yield "KV.Range", R(key=b"r/", range_end=b"r1"), set()
    yield "KV.Range", R(key=b"r", range_end=b"r0"), set()
    yield "KV.Range", R(key=b"r/", range_end=FROM_KEY), set()
    yield "KV.Range", R(key=FROM_KEY, range_end=FROM_KEY), set()
    yield "KV.Range", R(key=b"r/9", range_end=b"r/1"), {"alice"}
    yield "KV.Range", R(key=b"q", range_end=b"a"), set()
    yield "KV.Range", R(key=b"p"), {"bob"}
    yield "KV.Range", R(key=b"p", range_end=b"p\0"), {"bob"}
    yield "KV.Range", R(key=b"p", range_end=b"p\0\0"), set()
    yield "KV.Range", R(key=b"m", range_end=b"o"), {"bob"}
    yield "KV.Range", R(key=b"m", range_end=b"o\0"), set()
    yield "KV.Range", R(key=b"z", range_end=FROM_KEY), {"bob"}
    yield "KV.Range", R(key=b"zz", range_end=FROM_KEY), {"bob"}
    yield "KV.Range", R(key=b"zz", range_end=b"zzz"), {"bob"}
    yield "KV.Range", R(key=b"only/1"), set()
    yield "KV.Range", R(key=b"r/1", revision=10_000), None
    yield "KV.Put", P(key=b"w/1", value=b"new"), {"bob"}
    yield "KV.Put", P(key=b"w/1", value=b"new", prev_kv=True), {"bob"}
    yield "KV.Put", P(key=b"only/1", value=b"new"), {"bob"}
    yield "KV.Put", P(key=b"only/1", value=b"new", prev_kv=True), set()
    yield "KV.Put", P(key=b"r/1", value=b"new"), set()
    yield "KV.Put", P(key=b"z", value=b"new"), set()
    yield "KV.Put", P(key=b"w/3", value=b"v", lease=101), {"bob"}
    yield "KV.Put", P(key=b"w/3", value=b"v", lease=102), set()
    yield "KV.Put", P(key=b"w/3", value=b"v", lease=104), {"bob"}
    yield "KV.DeleteRange", D(key=b"w/3"), {"bob"}
    yield "KV.DeleteRange", D(key=b"w/", range_end=b"w/1"), {"bob"}
    yield "KV.DeleteRange", D(key=b"w/", range_end=b"w/1", prev_kv=True), {"bob"}
    yield "KV.DeleteRange", D(key=b"only/8", range_end=b"only/9"), {"bob"}
    yield "KV.DeleteRange", D(key=b"only/8", range_end=b"only/9", prev_kv=True), set()
    yield "KV.DeleteRange", D(key=b"w/", range_end=b"w1"), set()
    yield "KV.DeleteRange", D(key=b"r/1"), set()


def txn_calls():
    compare = etcd.Compare(key=b"r/1", target=0, result=0, version=1)
    yield "KV.Txn", T(success=[rng(b"r/1")]), {"alice"}
    yield "KV.Txn", T(compare=[compare], success=[rng(b"r/2")]), {"alice"}
    yield "KV.Txn", T(compare=[etcd.Compare(key=b"r/", range_end=b"r0")]), {"alice"}
    yield "KV.Txn", T(compare=[etcd.Compare(key=b"r/", range_end=b"r1")]), set()
    yield "KV.Txn", T(compare=[compare], success=[put(b"w/1", value=b"x")]), set()
    yield "KV.Txn", T(success=[put(b"w/1", value=b"x"), rng(b"w/2")]), {"bob"}
    yield "KV.Txn", T(success=[put(b"w/1", value=b"x")], failure=[rng(b"r/1")]), set()
    yield "KV.Txn", T(success=[put(b"only/1", prev_kv=True)]), set()
    yield "KV.Txn", T(success=[put(b"only/1", value=b"t")]), {"bob"}
    yield "KV.Txn", T(success=[delete(b"only/5")]), {"bob"}
    yield "KV.Txn", T(success=[delete(b"only/5", prev_kv=True)]), set()
    yield "KV.Txn", T(success=[put(b"w/5", lease=102)]), set()
    deep = etcd.RequestOp(request_txn=T(failure=[put(b"w/1", value=b"y")]))
    deeper = etcd.RequestOp(request_txn=T(success=[deep], failure=[rng(b"secret")]))
    yield "KV.Txn", T(success=[deep]), {"bob"}
    yield "KV.Txn", T(success=[deeper]), set()
    yield "KV.Txn", T(), {"alice", "bob", "nobody", None}


def lease_and_watch_calls():
    yield "Lease.LeaseRevoke", etcd.LeaseRevokeRequest(ID=102), set()
    yield "Lease.LeaseRevoke", etcd.LeaseRevokeRequest(ID=999), None
    yield "Lease.LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=102), ANYBODY
    yield ("Lease.LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=101, keys=True), {"bob"})
    yield ("Lease.LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=103, keys=True), {"alice"})
    yield ("Lease.LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=102, keys=True), set())
    yield ("Lease.LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=999, keys=True),
           ANYBODY)
    yield "Lease.LeaseKeepAlive", etcd.LeaseKeepAliveRequest(ID=101), {"bob"}
    yield "Lease.LeaseKeepAlive", etcd.LeaseKeepAliveRequest(ID=102), set()
    yield "Lease.LeaseKeepAlive", etcd.LeaseKeepAliveRequest(ID=999), ANYBODY
    yield "Lease.LeaseLeases", etcd.LeaseLeasesRequest(), set()
    yield "Cluster.MemberList", etcd.MemberListRequest(), ANYBODY
    yield "Cluster.MemberList", etcd.MemberListRequest(linearizable=True), ANYBODY
    yield "Maintenance.Status", etcd.StatusRequest(), ANYBODY
    yield "Maintenance.Alarm", etcd.AlarmRequest(), ANYBODY
    watch = etcd.WatchCreateRequest
    for create, may in ((watch(key=b"r/", range_end=b"r0"), {"alice"}),
                        (watch(key=b"r/1"), {"alice"}), (watch(key=b"r/", range_end=b"r1"), set()),
                        (watch(key=b"", range_end=FROM_KEY), set()),
                        (watch(key=b"z", range_end=FROM_KEY), {"bob"}),
                        (watch(key=b"only/1"), set())):
        yield "Watch.Watch", etcd.WatchRequest(create_request=create), may


def root_calls():
    for name, request in (
            ("KV.Compact", etcd.CompactionRequest(revision=2)),
            ("Maintenance.Alarm", etcd.AlarmRequest(action=1, memberID=1, alarm=0)),
            ("Maintenance.Alarm", etcd.AlarmRequest(action=2, memberID=1, alarm=1)),
            ("Maintenance.Defragment", etcd.DefragmentRequest()),
            ("Maintenance.Hash", etcd.HashRequest()),
            ("Maintenance.HashKV", etcd.HashKVRequest()),
            ("Maintenance.Snapshot", etcd.SnapshotRequest()),
            ("Maintenance.MoveLeader", etcd.MoveLeaderRequest(targetID=1)),
            ("Cluster.MemberRemove", etcd.MemberRemoveRequest(ID=1)),
            ("Cluster.MemberUpdate", etcd.MemberUpdateRequest(ID=1, peerURLs=["http://h:1"])),
            ("Cluster.MemberPromote", etcd.MemberPromoteRequest(ID=1)),
            ("Auth.UserList", etcd.AuthUserListRequest()),
            ("Auth.RoleList", etcd.AuthRoleListRequest()),
            ("Auth.UserAdd", user("root", "x")),
            ("Auth.UserDelete", etcd.AuthUserDeleteRequest(name="who")),
            ("Auth.UserChangePassword",
             etcd.AuthUserChangePasswordRequest(name="who", password="x")),
            ("Auth.UserGrantRole", etcd.AuthUserGrantRoleRequest(user="who", role="root")),
            ("Auth.UserRevokeRole", etcd.AuthUserRevokeRoleRequest(name="who", role="x")),
            ("Auth.RoleAdd", etcd.AuthRoleAddRequest(name="root")),
            ("Auth.RoleDelete", etcd.AuthRoleDeleteRequest(role="who")),
            ("Auth.RoleGrantPermission", grant("who", READ, b"k")),
            ("Auth.RoleRevokePermission", etcd.AuthRoleRevokePermissionRequest(role="who")),
            ("Auth.AuthEnable", etcd.AuthEnableRequest())):
        yield name, request, set()


def other_calls():
    # oneself
    yield "Auth.UserGet", etcd.AuthUserGetRequest(name="alice"), {"alice"}
    yield "Auth.UserGet", etcd.AuthUserGetRequest(name="who"), set()
    yield "Auth.RoleGet", etcd.AuthRoleGetRequest(role="reader"), {"alice"}
    yield "Auth.RoleGet", etcd.AuthRoleGetRequest(role="writer"), {"bob"}
    yield "Auth.RoleGet", etcd.AuthRoleGetRequest(role="root"), set()
    yield "Auth.AuthStatus", etcd.AuthStatusRequest(), {"alice", "bob", "nobody", None}
    # what is wrong whoever asks
    yield "KV.Range", R(), None
    yield "KV.Put", P(value=b"v"), None
    yield "KV.DeleteRange", D(), None
    yield "KV.Txn", T(success=[put(b"")]), None
    yield "Cluster.MemberAdd", etcd.MemberAddRequest(peerURLs=["no url"]), None


# An etcd of 3.4 asks nobody there, has other texts, or no such call.
NOT_BESIDE_OLD = ("Lease.LeaseTimeToLive", "Lease.LeaseKeepAlive", "Lease.LeaseLeases", "Cluster.",
                  "Maintenance.", "KV.Compact", "Auth.AuthStatus", "Auth.RoleGet", "Auth.UserList")
