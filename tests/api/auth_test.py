#!/usr/bin/python3
"""Users, roles and permissions beside real etcds: every Auth call good and bad, and every other call
by everybody who may or may not make it.

One script of calls goes to all servers, which stand in the same state. A row is who asks, the call,
the request, and the code and text that must come back; whole answers must be equal too, and at the
end what is stored. Rows that an older etcd answers otherwise go to the current one alone.

usage: auth_test.py [--old PATH] [--new PATH] [SECTION...]   (simple, jwt, etcdctl, cluster)
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import queue
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from cluster import Cluster, wait_for  # noqa: E402
from servers import ROOT, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

READ, WRITE, READWRITE = 0, 1, 2
FROM_KEY = b"\x00"

OK = ("OK", "")
NO_NAME = ("INVALID_ARGUMENT", "etcdserver: user name is empty")
BAD_TOKEN = ("UNAUTHENTICATED", "etcdserver: invalid auth token")
DENIED = ("PERMISSION_DENIED", "etcdserver: permission denied")
OLD = ("INVALID_ARGUMENT", "etcdserver: revision of auth store is old")
NO_USER = ("FAILED_PRECONDITION", "etcdserver: user name not found")
USER_EXISTS = ("FAILED_PRECONDITION", "etcdserver: user name already exists")
NO_ROLE = ("FAILED_PRECONDITION", "etcdserver: role name not found")
ROLE_EXISTS = ("FAILED_PRECONDITION", "etcdserver: role name already exists")
ROLE_EMPTY = ("INVALID_ARGUMENT", "etcdserver: role name is empty")
NOT_GRANTED = ("FAILED_PRECONDITION", "etcdserver: role is not granted to the user")
NOT_PERMITTED = ("FAILED_PRECONDITION", "etcdserver: permission is not granted to the role")
NO_PERMISSION = ("INVALID_ARGUMENT", "etcdserver: permission not given")
BAD_MANAGEMENT = ("INVALID_ARGUMENT", "etcdserver: invalid auth management")
WRONG = ("INVALID_ARGUMENT", "etcdserver: authentication failed, invalid user ID or password")
IS_OFF = ("FAILED_PRECONDITION", "etcdserver: authentication is not enabled")
NO_ROOT = ("FAILED_PRECONDITION", "etcdserver: root user does not exist")
NO_ROOT_ROLE = ("FAILED_PRECONDITION", "etcdserver: root user does not have root role")
NO_PASSWORD = ("UNKNOWN",
               "auth: authentication failed, password was given for no password user")
EMPTY_KEY = ("INVALID_ARGUMENT", "etcdserver: key is not provided")

NEW = ("new", "quorate")
ALL = ("old", "new", "quorate")


def perm(kind, key, end=b""):
    return etcd.AuthRoleGrantPermissionRequest().perm.__class__(
        permType=kind, key=key, range_end=end)


def grant(role, kind, key, end=b""):
    return etcd.AuthRoleGrantPermissionRequest(name=role, perm=perm(kind, key, end))


def user(name, password="", **fields):
    request = etcd.AuthUserAddRequest(name=name, password=password)
    if fields.get("no_password"):
        request.options.no_password = True
    if "hashed" in fields:
        request.hashedPassword = fields["hashed"]
    return request


def put(key, **fields):
    return etcd.RequestOp(request_put=etcd.PutRequest(key=key, **fields))


def rng(key, end=b""):
    return etcd.RequestOp(request_range=etcd.RangeRequest(key=key, range_end=end))


def delete(key, end=b"", **fields):
    return etcd.RequestOp(
        request_delete_range=etcd.DeleteRangeRequest(key=key, range_end=end, **fields))


class Side:
    """One server, a client of it, and the tokens that it gave."""

    def __init__(self, name, binary, *flags):
        self.name = name
        self.server = Server(binary, *flags)
        self.flags = flags
        self.tokens = {}
        self.client = None

    def start(self):
        self.server.start()
        self.client = Client(self.server.endpoint)
        return self

    def restart(self):
        self.client.close()
        self.server.stop()
        self.start()

    def close(self):
        if self.client:
            self.client.close()
        self.server.close()

    def metadata(self, who):
        if who is None:
            return []
        if who.startswith("="):  # the token itself
            return [("token", who[1:])]
        return [("token", self.tokens[who])]

    def call(self, name, request, who=None, metadata=None):
        """(code, text, answer)"""
        service, method = name.split(".")
        stub = getattr(getattr(self.client, service), method)
        metadata = self.metadata(who) if metadata is None else metadata
        try:
            if method in ("RangeStream", "Snapshot"):
                answer = list(stub(request, metadata=metadata, timeout=60))
            elif method == "LeaseKeepAlive":
                answer = list(stub(iter([request]), metadata=metadata, timeout=60))
            elif method == "Watch":
                return self.watch(stub, request, metadata)
            else:
                answer = stub(request, metadata=metadata, timeout=60)
            return "OK", "", answer
        except grpc.RpcError as error:
            return error.code().name, error.details(), None

    def watch(self, stub, request, metadata):
        """The first answer; a refusal's reason in the place of the text."""
        requests = queue.Queue()
        requests.put(request)
        stream = stub(iter(requests.get, None), metadata=metadata, timeout=60)
        first = next(stream)
        requests.put(None)
        stream.cancel()
        return "OK", first.cancel_reason, first

    def sign_in(self, name, password, as_name=None):
        answer = self.client.Auth.Authenticate(
            etcd.AuthenticateRequest(name=name, password=password), timeout=60)
        self.tokens[as_name or name] = answer.token
        return answer.token


# Whose answers differ from server to server, beyond the header.
UNEQUAL = {"Cluster.MemberList", "Maintenance.Status", "Maintenance.Hash", "Maintenance.Snapshot",
           "Auth.Authenticate", "Lease.LeaseTimeToLive", "Cluster.MemberAdd"}


def plain(name, answer):
    if answer is None or name in UNEQUAL:
        return None
    if isinstance(answer, list):
        return [plain(name, one) for one in answer]
    copy = answer.__class__()
    copy.CopyFrom(answer)
    if name == "KV.RangeStream":
        copy = copy.range_response
    if "header" in copy.DESCRIPTOR.fields_by_name and copy.HasField("header"):
        for field in ("cluster_id", "member_id", "raft_term"):
            copy.header.ClearField(field)
    return copy


class Table:
    """Sends rows to all sides and compares."""

    def __init__(self, sides):
        self.sides = sides
        self.failures = []
        self.rows = 0

    def row(self, who, name, request, expected=OK, sides=ALL, what=""):
        self.rows += 1
        answers = {}
        for side in self.sides:
            if side.name not in sides:
                continue
            code, text, answer = side.call(name, request, who)
            answers[side.name] = (code, text, plain(name, answer))
            if expected is not None and (code, text) != expected:
                self.fail(what, who, name, request, f"{side.name}: {code} {text!r}, "
                          f"expected {expected[0]} {expected[1]!r}")
        if len({str(answer) for answer in answers.values()}) > 1:
            shown = str({side: str(one) for side, one in answers.items()})
            self.fail(what, who, name, request, f"answers differ: {shown[:1500]}")
        return answers

    def fail(self, what, who, name, request, text):
        shown = str(request).replace("\n", " ")[:160]
        self.failures.append(f"{what or name} by {who}: {name} {{{shown}}}: {text}")

    def check(self, holds, text):
        self.rows += 1
        if not holds:
            self.failures.append(text)

    def sign_in(self, name, password, as_name=None):
        for side in self.sides:
            side.sign_in(name, password, as_name)

    def same_content(self, who):
        everything = etcd.RangeRequest(key=FROM_KEY, range_end=FROM_KEY)
        self.row(who, "KV.Range", everything, what="content")
        self.row(who, "Maintenance.HashKV", etcd.HashKVRequest(), sides=NEW, what="content")


# --- users and roles while auth is off


def user_rows(t):
    A, add = "Auth.", etcd.AuthUserAddRequest
    t.row(None, A + "AuthStatus", etcd.AuthStatusRequest(), sides=NEW)
    t.row(None, A + "Authenticate", etcd.AuthenticateRequest(name="root", password="x"), IS_OFF)
    t.row(None, A + "AuthDisable", etcd.AuthDisableRequest())
    t.row(None, A + "AuthEnable", etcd.AuthEnableRequest(), NO_ROOT)
    t.row(None, A + "UserAdd", add(), NO_NAME)
    t.row(None, A + "UserAdd", user("root", "rootpw"))
    t.row(None, A + "UserAdd", user("root", "again"), USER_EXISTS)
    t.row(None, A + "AuthEnable", etcd.AuthEnableRequest(), NO_ROOT_ROLE)
    t.row(None, A + "UserAdd", user("alice", "alicepw"))
    t.row(None, A + "UserAdd", user("bob", "bobpw"))
    t.row(None, A + "UserAdd", user("nobody", "nobodypw"))
    t.row(None, A + "UserAdd", user("cert", no_password=True))
    t.row(None, A + "UserAdd", user("cert2", "ignored", no_password=True), sides=NEW)
    t.row(None, A + "UserAdd", user("blank", ""), sides=NEW)
    t.row(None, A + "UserAdd", user("hashed", "", hashed="not base64!"), sides=NEW)
    t.row(None, A + "UserAdd", user("gone", "gonepw"))
    t.row(None, A + "UserAdd", user("long", "x" * 73),
          ("UNKNOWN", "bcrypt: password length exceeds 72 bytes"), sides=NEW)
    t.row(None, A + "UserAdd", user("long", "x" * 72), sides=NEW)
    t.row(None, A + "UserGet", etcd.AuthUserGetRequest(name="alice"))
    t.row(None, A + "UserGet", etcd.AuthUserGetRequest(name="who"), NO_USER)
    t.row(None, A + "UserGet", etcd.AuthUserGetRequest(), NO_USER)
    t.row(None, A + "UserList", etcd.AuthUserListRequest(), sides=NEW)
    t.row(None, A + "UserDelete", etcd.AuthUserDeleteRequest(name="who"), NO_USER)
    t.row(None, A + "UserDelete", etcd.AuthUserDeleteRequest(name="gone"))
    t.row(None, A + "UserDelete", etcd.AuthUserDeleteRequest(name="gone"), NO_USER)
    change = etcd.AuthUserChangePasswordRequest
    t.row(None, A + "UserChangePassword", change(name="who", password="x"), NO_USER)
    t.row(None, A + "UserChangePassword", change(name="alice", password="alice2"))
    t.row(None, A + "UserChangePassword", change(name="cert", password="x"))
    t.row(None, A + "UserChangePassword", change(name="alice", hashedPassword="%%%"),
          NO_PASSWORD, sides=NEW)
    t.row(None, A + "UserChangePassword", change(name="alice", password="y" * 73),
          ("UNKNOWN", "bcrypt: password length exceeds 72 bytes"), sides=NEW)


def role_rows(t):
    A = "Auth."
    revoke = etcd.AuthRoleRevokePermissionRequest
    for name, expected in (("", ROLE_EMPTY), ("reader", OK), ("reader", ROLE_EXISTS),
                           ("writer", OK), ("point", OK), ("root", OK), ("spare", OK)):
        t.row(None, A + "RoleAdd", etcd.AuthRoleAddRequest(name=name), expected)
    t.row(None, A + "RoleList", etcd.AuthRoleListRequest())
    t.row(None, A + "RoleGet", etcd.AuthRoleGetRequest(role="who"), NO_ROLE)
    t.row(None, A + "RoleGet", etcd.AuthRoleGetRequest(role="root"), sides=NEW)
    t.row(None, A + "RoleDelete", etcd.AuthRoleDeleteRequest(role="who"), NO_ROLE)
    for role, key, end, expected in (
            ("who", b"a", b"", NO_ROLE), ("reader", b"", b"", BAD_MANAGEMENT),
            ("reader", b"", FROM_KEY, BAD_MANAGEMENT), ("reader", b"b", b"a", BAD_MANAGEMENT),
            ("reader", b"b", b"b", BAD_MANAGEMENT), ("who", b"", b"", BAD_MANAGEMENT)):
        t.row(None, A + "RoleGrantPermission", grant(role, READ, key, end), expected, sides=NEW)
    t.row(None, A + "RoleGrantPermission", etcd.AuthRoleGrantPermissionRequest(name="reader"),
          NO_PERMISSION, sides=NEW)
    t.row(None, A + "RoleGrantPermission", grant("reader", READ, b"r/", b"r0"))
    t.row(None, A + "RoleGrantPermission", grant("writer", READWRITE, b"w/", b"w0"))
    t.row(None, A + "RoleGrantPermission", grant("writer", WRITE, b"only/", b"only0"))
    t.row(None, A + "RoleGrantPermission", grant("point", READ, b"p"))
    # Adjacent intervals are one; the same interval again changes its kind.
    t.row(None, A + "RoleGrantPermission", grant("point", READ, b"m", b"n"))
    t.row(None, A + "RoleGrantPermission", grant("point", READ, b"n", b"o"))
    t.row(None, A + "RoleGrantPermission", grant("point", WRITE, b"z", FROM_KEY))
    t.row(None, A + "RoleGrantPermission", grant("point", READ, b"z", FROM_KEY))
    # Of two that begin alike only the first is found again: a quirk of etcd's.
    for kind, end in ((READ, b""), (READ, b"s9"), (WRITE, b"s9"), (READWRITE, b"")):
        t.row(None, A + "RoleGrantPermission", grant("spare", kind, b"s", end))
    t.row(None, A + "RoleGrantPermission", grant("spare", 7, b"odd"))
    for role in ("reader", "writer", "point", "spare"):
        t.row(None, A + "RoleGet", etcd.AuthRoleGetRequest(role=role))
    t.row(None, A + "RoleRevokePermission", revoke(role="who", key=b"s"), NO_ROLE)
    t.row(None, A + "RoleRevokePermission", revoke(role="spare", key=b"x"), NOT_PERMITTED)
    t.row(None, A + "RoleRevokePermission", revoke(role="spare", key=b"s", range_end=b"s9"))
    t.row(None, A + "RoleRevokePermission", revoke(role="spare", key=b"s", range_end=b"s9"),
          NOT_PERMITTED)
    t.row(None, A + "RoleGet", etcd.AuthRoleGetRequest(role="spare"))
    user_grant, user_revoke = etcd.AuthUserGrantRoleRequest, etcd.AuthUserRevokeRoleRequest
    t.row(None, A + "UserGrantRole", user_grant(user="who", role="reader"), NO_USER)
    t.row(None, A + "UserGrantRole", user_grant(user="alice", role="who"), NO_ROLE)
    for name, role in (("alice", "spare"), ("alice", "reader"), ("alice", "reader"),
                       ("bob", "writer"), ("bob", "point"), ("root", "root"), ("blank", "spare")):
        sides = NEW if name == "blank" else ALL
        t.row(None, A + "UserGrantRole", user_grant(user=name, role=role), sides=sides)
    t.row(None, A + "UserGet", etcd.AuthUserGetRequest(name="alice"))
    t.row(None, A + "UserRevokeRole", user_revoke(name="who", role="reader"), NO_USER)
    t.row(None, A + "UserRevokeRole", user_revoke(name="alice", role="writer"), NOT_GRANTED)
    t.row(None, A + "UserRevokeRole", user_revoke(name="alice", role="spare"))
    t.row(None, A + "UserGrantRole", user_grant(user="alice", role="spare"))
    t.row(None, A + "RoleDelete", etcd.AuthRoleDeleteRequest(role="spare"))
    t.row(None, A + "UserGet", etcd.AuthUserGetRequest(name="alice"))
    t.row(None, A + "AuthStatus", etcd.AuthStatusRequest(), sides=("quorate", "new"))


# --- turning it on, signing in


def data_rows(t):
    for key in (b"r/1", b"r/2", b"w/1", b"w/2", b"only/1", b"p", b"m1", b"n1", b"o1", b"z1"):
        t.row(None, "KV.Put", etcd.PutRequest(key=key, value=b"v"))
    for lease, key in ((101, b"w/lease"), (102, b"secret"), (103, b"r/lease")):
        t.row(None, "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=lease, TTL=6000))
        t.row(None, "KV.Put", etcd.PutRequest(key=key, value=b"v", lease=lease))
    t.row(None, "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=104, TTL=6000))


def sign_in_rows(t):
    A = "Auth."
    sign_in = etcd.AuthenticateRequest
    t.row("=whatever", A + "AuthStatus", etcd.AuthStatusRequest(), sides=NEW,
          what="a token while auth is off")
    t.row("=whatever", "KV.Range", etcd.RangeRequest(key=b"p"), sides=NEW,
          what="a token while auth is off")
    t.row(None, A + "AuthEnable", etcd.AuthEnableRequest())
    t.row(None, A + "AuthEnable", etcd.AuthEnableRequest(), NO_NAME)
    for name, password, expected, sides in (
            ("root", "wrong", WRONG, ALL), ("who", "rootpw", WRONG, ALL), ("", "", WRONG, ALL),
            ("root", "", WRONG, ALL), ("alice", "alicepw", WRONG, ALL),
            ("cert", "x", NO_PASSWORD, ALL), ("cert", "", NO_PASSWORD, ALL),
            ("cert2", "ignored", NO_PASSWORD, NEW), ("blank", "", OK, NEW),
            ("blank", "x", WRONG, NEW), ("hashed", "", OK, NEW),
            ("long", "x" * 72, OK, NEW), ("long", "x" * 73, OK, NEW), ("long", "x" * 71, WRONG, NEW)):
        t.row(None, A + "Authenticate", sign_in(name=name, password=password), expected, sides)
    t.row("=no token at all", A + "Authenticate", sign_in(name="root", password="rootpw"),
          sides=NEW, what="a bad token does not matter here")
    for name, password in (("root", "rootpw"), ("alice", "alice2"), ("bob", "bobpw"),
                           ("nobody", "nobodypw")):
        t.sign_in(name, password)
    for side in t.sides:
        if side.name == "old":
            continue
        letters, _, index = side.tokens["root"].partition(".")
        t.check(len(letters) == 16 and letters.isalpha() and index.isdigit(),
                f"{side.name}: the token {side.tokens['root']}")
        # Both places, and the word before it.
        for key in ("token", "authorization"):
            for prefix in ("", "Bearer "):
                code, text, _ = side.call("KV.Range", etcd.RangeRequest(key=b"p"), metadata=[
                    (key, prefix + side.tokens["root"])])
                t.check((code, text) == OK, f"{side.name}: {key} {prefix}: {code} {text}")


# --- everybody calls everything


def every_call():
    """(call, request, who may: a set of users, what the others get)"""
    R, P, D = etcd.RangeRequest, etcd.PutRequest, etcd.DeleteRangeRequest
    T = etcd.TxnRequest
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
    yield "Lease.LeaseRevoke", etcd.LeaseRevokeRequest(ID=102), set()
    yield "Lease.LeaseRevoke", etcd.LeaseRevokeRequest(ID=999), None
    yield "Lease.LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=102), {"alice", "bob", "nobody"}
    yield ("Lease.LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=101, keys=True), {"bob"})
    yield ("Lease.LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=103, keys=True), {"alice"})
    yield ("Lease.LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=102, keys=True), set())
    yield ("Lease.LeaseTimeToLive", etcd.LeaseTimeToLiveRequest(ID=999, keys=True),
           {"alice", "bob", "nobody"})
    yield "Lease.LeaseKeepAlive", etcd.LeaseKeepAliveRequest(ID=101), {"bob"}
    yield "Lease.LeaseKeepAlive", etcd.LeaseKeepAliveRequest(ID=102), set()
    yield "Lease.LeaseKeepAlive", etcd.LeaseKeepAliveRequest(ID=999), {"alice", "bob", "nobody"}
    yield "Lease.LeaseLeases", etcd.LeaseLeasesRequest(), set()
    yield "Cluster.MemberList", etcd.MemberListRequest(), {"alice", "bob", "nobody"}
    yield "Cluster.MemberList", etcd.MemberListRequest(linearizable=True), {
        "alice", "bob", "nobody"}
    yield "Maintenance.Status", etcd.StatusRequest(), {"alice", "bob", "nobody"}
    yield "Maintenance.Alarm", etcd.AlarmRequest(), {"alice", "bob", "nobody"}
    watch = etcd.WatchCreateRequest
    for create, may in ((watch(key=b"r/", range_end=b"r0"), {"alice"}),
                        (watch(key=b"r/1"), {"alice"}), (watch(key=b"r/", range_end=b"r1"), set()),
                        (watch(key=b"", range_end=FROM_KEY), set()),
                        (watch(key=b"z", range_end=FROM_KEY), {"bob"}),
                        (watch(key=b"only/1"), set())):
        yield "Watch.Watch", etcd.WatchRequest(create_request=create), may
    # root's business
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


def beside(name, request, who):
    """In transactions it asks less, so that only root may make the same there."""
    asks_less = name == "KV.Txn" and who != "root" and any(
        op.HasField("request_txn") or op.request_put.prev_kv or op.request_put.lease
        for op in request.success)
    asks_less |= name == "Lease.LeaseRevoke" and request.ID == 999
    return NEW if asks_less or name.startswith(NOT_BESIDE_OLD) else ALL


def words(expected, name):
    """As a watch says it."""
    if name != "Watch.Watch" or expected[0] == "OK":
        return expected
    code = {"PERMISSION_DENIED": "PermissionDenied", "UNAUTHENTICATED": "Unauthenticated",
            "INVALID_ARGUMENT": "InvalidArgument"}[expected[0]]
    return "OK", f"rpc error: code = {code} desc = {expected[1]}"


def matrix_rows(t):
    """Root last: what he does must not change what the others see."""
    for who in (None, "=garbage", "=abcdefghijklmnop.5", "=abcdefghijklmnop.x",
                "=abcdefghijklmnop.5.6", "=", "nobody", "alice", "bob", "root"):
        for name, request, may in every_call():
            expected = None
            if may is not None and who != "root":
                if who is not None and who.startswith("="):
                    expected = BAD_TOKEN
                elif who in may:
                    expected = OK
                else:
                    expected = NO_NAME if who is None else DENIED
            t.row(who, name, request, expected and words(expected, name), beside(name, request, who),
                  what="matrix")
        t.same_content("root")


# --- what changes while they are signed in


def change_rows(t):
    A = "Auth."
    t.sign_in("alice", "alice2", "alice-old")
    r1 = etcd.RangeRequest(key=b"r/1")
    t.row("alice", "KV.Range", r1)
    # A role that goes takes its permissions along, at once; one that comes gives them.
    t.row("root", A + "UserRevokeRole",
          etcd.AuthUserRevokeRoleRequest(name="alice", role="reader"))
    t.row("alice", "KV.Range", r1, DENIED)
    t.row("root", A + "UserGrantRole", etcd.AuthUserGrantRoleRequest(user="alice", role="reader"))
    t.row("alice", "KV.Range", r1)
    t.row("root", A + "RoleRevokePermission",
          etcd.AuthRoleRevokePermissionRequest(role="reader", key=b"r/", range_end=b"r0"))
    t.row("alice", "KV.Range", r1, DENIED)
    t.row("root", A + "RoleGrantPermission", grant("reader", READ, b"r/", b"r0"))
    t.row("alice", "KV.Range", r1)
    # A new password ends all sessions of that user, and of no other.
    change = etcd.AuthUserChangePasswordRequest
    t.row("root", A + "UserChangePassword", change(name="alice", password="alice3"))
    t.row("alice", "KV.Range", r1, BAD_TOKEN)
    t.row("alice-old", "KV.Range", r1, BAD_TOKEN)
    t.row("bob", "KV.Range", etcd.RangeRequest(key=b"p"))
    t.row(None, A + "Authenticate", etcd.AuthenticateRequest(name="alice", password="alice2"),
          WRONG)
    t.sign_in("alice", "alice3")
    t.row("alice", "KV.Range", r1)
    t.row("root", A + "UserChangePassword", change(name="nobody", password="", hashedPassword=""),
          sides=NEW)
    t.row(None, A + "Authenticate", etcd.AuthenticateRequest(name="nobody", password=""), WRONG,
          sides=NEW)
    # A hash that somebody else made is taken as it is ("swordfish", cost 4).
    given = base64.b64encode(
        b"$2b$04$abcdefghijklmnopqrstuu.2bhTLYQL7LWqCDhsnFUxYNWxIdUGBi").decode()
    t.row("root", A + "UserChangePassword", change(name="nobody", hashedPassword=given),
          sides=NEW)
    # A user that goes, and comes again, is not signed in any more.
    t.row("root", A + "UserAdd", user("temp", "temppw"))
    t.row("root", A + "UserGrantRole", etcd.AuthUserGrantRoleRequest(user="temp", role="root"))
    t.sign_in("temp", "temppw")
    t.row("temp", A + "UserGet", etcd.AuthUserGetRequest(name="temp"))
    t.row("temp", "KV.Compact", etcd.CompactionRequest(revision=3))
    t.row("temp", A + "UserDelete", etcd.AuthUserDeleteRequest(name="temp"))
    t.row("temp", "KV.Range", r1, BAD_TOKEN)
    t.row("root", A + "UserAdd", user("temp", "temppw"))
    t.row("temp", "KV.Range", r1, BAD_TOKEN)
    # What protects root, while auth is on.
    t.row("root", A + "UserDelete", etcd.AuthUserDeleteRequest(name="root"), BAD_MANAGEMENT)
    t.row("root", A + "RoleDelete", etcd.AuthRoleDeleteRequest(role="root"), BAD_MANAGEMENT)
    t.row("root", A + "UserRevokeRole", etcd.AuthUserRevokeRoleRequest(name="root", role="root"),
          BAD_MANAGEMENT)
    t.row("root", A + "UserRevokeRole", etcd.AuthUserRevokeRoleRequest(name="root", role="x"),
          NOT_GRANTED)
    t.row("root", A + "AuthEnable", etcd.AuthEnableRequest())
    # Leases: whoever may write all its keys may end it.
    t.row("bob", "Lease.LeaseRevoke", etcd.LeaseRevokeRequest(ID=101))
    t.row("alice", "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=105, TTL=6000))
    t.row("alice", "Lease.LeaseRevoke", etcd.LeaseRevokeRequest(ID=105))
    for who, expected in ((None, NO_NAME), ("=x", BAD_TOKEN)):
        t.row(who, "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=106, TTL=6000), expected,
              sides=NEW)
    t.row("root", "Lease.LeaseLeases", etcd.LeaseLeasesRequest(), sides=NEW)
    t.row("root", A + "AuthStatus", etcd.AuthStatusRequest(), sides=NEW)
    t.same_content("root")


def expiry_rows(t):
    """A lease ends by itself, whoever wrote its keys."""
    t.row("bob", "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=201, TTL=1))
    t.row("bob", "KV.Put", etcd.PutRequest(key=b"w/short", lease=201))
    for side in t.sides:
        gone = etcd.RangeRequest(key=b"w/short")
        wait_for(lambda s=side: s.call("KV.Range", gone, "bob")[2].count == 0,
                 f"end of a lease on {side.name}")
    t.same_content("root")


def restart_rows(t):
    """Users and rights come back with a member, its tokens do not."""
    for side in t.sides:
        side.restart()
    t.row("root", "KV.Range", etcd.RangeRequest(key=b"p"), None, sides=NEW)
    for name, password in (("root", "rootpw"), ("alice", "alice3"), ("bob", "bobpw")):
        t.sign_in(name, password)
    t.row("alice", "KV.Range", etcd.RangeRequest(key=b"r/1"))
    t.row("alice", "KV.Range", etcd.RangeRequest(key=b"p"), DENIED)
    t.row("root", "Auth.UserList", etcd.AuthUserListRequest(), sides=NEW)
    t.row("root", "Auth.RoleList", etcd.AuthRoleListRequest())
    t.row("root", "Auth.AuthStatus", etcd.AuthStatusRequest(), sides=NEW)
    t.same_content("root")


def off_rows(t):
    t.row("alice", "Auth.AuthDisable", etcd.AuthDisableRequest(), DENIED)
    t.row("root", "Auth.AuthDisable", etcd.AuthDisableRequest())
    t.row("root", "Auth.AuthDisable", etcd.AuthDisableRequest(), sides=NEW)
    t.row(None, "KV.Range", etcd.RangeRequest(key=b"r/1"))
    t.row("root", "KV.Range", etcd.RangeRequest(key=b"r/1"), sides=NEW)
    t.row(None, "Auth.AuthEnable", etcd.AuthEnableRequest())
    t.row("root", "KV.Range", etcd.RangeRequest(key=b"r/1"), BAD_TOKEN,
          what="a token of before it was off")
    t.sign_in("root", "rootpw")
    t.row("root", "Auth.AuthStatus", etcd.AuthStatusRequest(), sides=NEW)
    t.row("root", "Auth.AuthDisable", etcd.AuthDisableRequest())
    for name, request in (("Auth.UserDelete", etcd.AuthUserDeleteRequest(name="root")),
                          ("Auth.RoleDelete", etcd.AuthRoleDeleteRequest(role="root"))):
        t.row(None, name, request)
    t.row(None, "Auth.AuthEnable", etcd.AuthEnableRequest(), NO_ROOT)
    t.same_content(None)


def run_simple(old, new):
    flags = ["--bcrypt-cost=4"]
    sides = [Side("quorate", quorate_binary(), *flags, "--backend=lmdb")]
    if new:
        sides.append(Side("new", new, *flags))
    if old:
        sides.append(Side("old", old, *flags))
    t = Table(sides)
    try:
        for side in sides:
            side.start()
        for rows in (user_rows, role_rows, data_rows, sign_in_rows, matrix_rows, change_rows,
                     expiry_rows, restart_rows, off_rows):
            before = len(t.failures)
            rows(t)
            print(f"{rows.__name__}: {t.rows} rows so far, {len(t.failures) - before} failures",
                  flush=True)
    finally:
        for side in sides:
            side.close()
    return t


# --- signed tokens


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(claims, sign, alg, **header):
    text = url64(json.dumps({"alg": alg, "typ": "JWT", **header}).encode())
    text += "." + url64(json.dumps(claims).encode())
    return f"{text}.{url64(sign(text.encode()))}"


class Keys:
    """Key files of every kind, made by the openssl program."""

    MADE_BY = {
        "rsa": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "other": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "p256": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "p384": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        "p521": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
        "ed": ["genpkey", "-algorithm", "ED25519"],
    }
    METHODS = {"RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "PS384": "rsa",
               "PS512": "rsa", "ES256": "p256", "ES384": "p384", "ES512": "p521", "EdDSA": "ed",
               "HS256": "hmac", "HS384": "hmac", "HS512": "hmac"}

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="quorate-keys-")
        for name, arguments in self.MADE_BY.items():
            self.openssl(*arguments, "-out", self.private(name))
            self.openssl("pkey", "-in", self.private(name), "-pubout", "-out", self.public(name))
        Path(self.private("hmac")).write_bytes(b"a secret of some length, for both")

    def private(self, name):
        return os.path.join(self.folder.name, name + ".key")

    def public(self, name):
        return os.path.join(self.folder.name, name + ".pub")

    @staticmethod
    def openssl(*arguments, data=None):
        return subprocess.run(["openssl", *arguments], input=data, check=True,
                              capture_output=True).stdout

    def rs256(self, name):
        return lambda text: self.openssl("dgst", "-sha256", "-sign", self.private(name), data=text)

    def options(self, method, which=("pub", "priv"), ttl="10m"):
        name = self.METHODS[method]
        words = ["--auth-token=jwt", f"sign-method={method}", f"ttl={ttl}"]
        if "pub" in which and name != "hmac":
            words.append("pub-key=" + self.public(name))
        if "priv" in which:
            words.append("priv-key=" + self.private(name))
        return ",".join(words)


def forged_tokens(keys):
    """(what, token, what a read by it gets); at revision 1 or 1000 of the auth store."""
    now = time.time()
    good = {"username": "root", "revision": 1000, "exp": now + 600}
    sign = keys.rs256("rsa")
    public = Path(keys.public("rsa")).read_bytes()
    by_public = lambda text: hmac.new(public, text, hashlib.sha256).digest()  # noqa: E731
    # A revision ahead of the store's is none of now.
    yield "of a revision to come", jwt(good, sign, "RS256"), OLD
    yield "of revision 1", jwt({**good, "revision": 1}, sign, "RS256"), OLD
    yield "of revision 0", jwt({**good, "revision": 0}, sign, "RS256"), NO_NAME
    yield "without an end", jwt({"username": "root", "revision": 1}, sign, "RS256"), OLD
    yield "with a header more", jwt({**good, "revision": 1}, sign, "RS256", kid="x"), OLD
    for what, change in (("expired", {"exp": now - 1}), ("not begun", {"nbf": now + 600}),
                         ("exp no number", {"exp": "soon"}), ("revision no number",
                                                              {"revision": "1"}),
                         ("name no text", {"username": 7}), ("no name", {"username": None}),
                         ("revision null", {"revision": None})):
        yield what, jwt({**good, **change}, sign, "RS256"), BAD_TOKEN
    yield "of another key", jwt(good, keys.rs256("other"), "RS256"), BAD_TOKEN
    yield "unsigned", jwt(good, lambda text: b"", "none"), BAD_TOKEN
    yield "of another method", jwt(good, by_public, "HS256"), BAD_TOKEN
    yield "of the method's name only", jwt(good, by_public, "RS256"), BAD_TOKEN
    yield "of RS512's name", jwt(good, sign, "RS512"), BAD_TOKEN
    parts = jwt(good, sign, "RS256").split(".")
    yield "two parts", ".".join(parts[:2]), BAD_TOKEN
    yield "four parts", ".".join(parts + ["x"]), BAD_TOKEN
    yield "without signature", ".".join(parts[:2]) + ".", BAD_TOKEN
    other = url64(json.dumps({**good, "username": "bob"}).encode())
    yield "other claims", ".".join([parts[0], other, parts[2]]), BAD_TOKEN
    yield "no header", "." + ".".join(parts[1:]), BAD_TOKEN
    yield "no JSON", ".".join([url64(b"{"), parts[1], parts[2]]), BAD_TOKEN
    yield "a list", ".".join([url64(b"[]"), parts[1], parts[2]]), BAD_TOKEN
    yield "nothing", "", BAD_TOKEN
    yield "a simple token", "abcdefghijklmnop.5", BAD_TOKEN


def jwt_rows(t, keys):
    A = "Auth."
    for name, role in (("root", "root"), ("bob", "writer")):
        t.row(None, A + "UserAdd", user(name, name + "pw"))
    t.row(None, A + "RoleAdd", etcd.AuthRoleAddRequest(name="writer"))
    t.row(None, A + "RoleGrantPermission", grant("writer", READWRITE, b"w/", b"w0"))
    t.row(None, A + "UserGrantRole", etcd.AuthUserGrantRoleRequest(user="root", role="root"))
    t.row(None, A + "UserGrantRole", etcd.AuthUserGrantRoleRequest(user="bob", role="writer"))
    t.row(None, A + "AuthEnable", etcd.AuthEnableRequest())
    for name in ("root", "bob"):
        t.row(None, A + "Authenticate", etcd.AuthenticateRequest(name=name, password="x"), WRONG)
        t.sign_in(name, name + "pw")
    for side in t.sides:
        header, claims, _ = (json.loads(base64.urlsafe_b64decode(part + "=="))
                             if i < 2 else None
                             for i, part in enumerate(side.tokens["bob"].split(".")))
        t.check(header == {"alg": "RS256", "typ": "JWT"}, f"{side.name}: header {header}")
        t.check(set(claims) == {"username", "revision", "exp"} and claims["username"] == "bob" and
                claims["revision"] == 7, f"{side.name}: claims {claims}")
    # What one server signed another reads: they have the same keys and stand in the same state.
    for side in t.sides:
        for other in t.sides:
            side.tokens["from " + other.name] = other.tokens["bob"]
    for other in t.sides:
        t.row("from " + other.name, "KV.Put", etcd.PutRequest(key=b"w/1"))
    t.row("bob", "KV.Put", etcd.PutRequest(key=b"r/1"), DENIED)
    t.row("bob", "KV.Range", etcd.RangeRequest(key=b"w/1"))
    t.row("bob", "Maintenance.Defragment", etcd.DefragmentRequest(), DENIED)
    t.row("root", "KV.Range", etcd.RangeRequest(key=FROM_KEY, range_end=FROM_KEY))
    watch = etcd.WatchCreateRequest
    for what, token, expected in forged_tokens(keys):
        for name, request in (("KV.Range", etcd.RangeRequest(key=b"w/1")),
                              ("KV.Range", etcd.RangeRequest(key=b"w/1", serializable=True)),
                              ("Watch.Watch",
                               etcd.WatchRequest(create_request=watch(key=b"w/1")))):
            get = expected
            if name == "Watch.Watch" and what == "of a revision to come":
                get = OK  # etcd lets it in
            t.row("=" + token, name, request, words(get, name), what=what)
        if expected == BAD_TOKEN:
            t.row("=" + token, "Maintenance.HashKV", etcd.HashKVRequest(), expected, what=what)
    stale_rows(t)


def stale_rows(t):
    """Whatever changes: tokens of before are good for nothing that hangs on keys."""
    t.row("root", "Auth.RoleAdd", etcd.AuthRoleAddRequest(name="more"))
    lease = etcd.LeaseGrantRequest(ID=7, TTL=600)
    for who in ("root", "bob"):
        for name, request in (
                ("KV.Range", etcd.RangeRequest(key=b"w/1")),
                ("KV.Range", etcd.RangeRequest(key=b"w/1", serializable=True)),
                ("KV.Put", etcd.PutRequest(key=b"w/1")),
                ("KV.DeleteRange", etcd.DeleteRangeRequest(key=b"w/1")),
                ("KV.Txn", etcd.TxnRequest(success=[rng(b"w/1")])),
                ("KV.Txn", etcd.TxnRequest(success=[put(b"w/1")])),
                ("Watch.Watch",
                 etcd.WatchRequest(create_request=etcd.WatchCreateRequest(key=b"w/1")))):
            t.row(who, name, request, words(OLD, name), what="stale")
    t.row("bob", "Lease.LeaseGrant", lease, what="stale, and does not hang on keys")
    t.row("bob", "Maintenance.Status", etcd.StatusRequest(), what="stale")
    t.row("bob", "Cluster.MemberList", etcd.MemberListRequest(), what="stale")
    t.row("bob", "Auth.UserGet", etcd.AuthUserGetRequest(name="bob"), what="stale")
    t.row("root", "Maintenance.HashKV", etcd.HashKVRequest(), what="stale")
    t.row("root", "Auth.UserList", etcd.AuthUserListRequest(), what="stale")
    t.row("root", "Auth.UserDelete", etcd.AuthUserDeleteRequest(name="bob"), what="stale")
    t.row("bob", "Lease.LeaseRevoke", etcd.LeaseRevokeRequest(ID=7), what="of a user that is gone")
    t.row("bob", "Maintenance.HashKV", etcd.HashKVRequest(), NO_USER, what="of a user that is gone")
    t.sign_in("root", "rootpw")
    t.row("root", "KV.Put", etcd.PutRequest(key=b"w/1"))
    t.same_content("root")


def run_jwt(_, new):
    keys = Keys()
    flags = ["--bcrypt-cost=4", keys.options("RS256")]
    sides = [Side("quorate", quorate_binary(), *flags)]
    if new:
        sides.append(Side("new", new, *flags))
    t = Table(sides)
    try:
        for side in sides:
            side.start()
        jwt_rows(t, keys)
        verify_only_rows(t, keys)
    finally:
        for side in sides:
            side.close()
    methods_rows(t, keys, new)
    return t


def verify_only_rows(t, keys):
    """With the public key alone others' tokens are read and none are made."""
    for side in t.sides:
        side.server.flags[-1] = keys.options("RS256", ["pub"])
        side.restart()
    t.row("root", "KV.Range", etcd.RangeRequest(key=b"w/1"))
    t.row(None, "Auth.Authenticate", etcd.AuthenticateRequest(name="root", password="x"), WRONG)
    t.row(None, "Auth.Authenticate", etcd.AuthenticateRequest(name="root", password="rootpw"),
          ("UNKNOWN", "auth: token signing attempted with verify-only key"))


def methods_rows(t, keys, new):
    """Every method: what one server signs the other reads, both ways."""
    for method in Keys.METHODS:
        sides = [Side("quorate", quorate_binary(), "--bcrypt-cost=4", keys.options(method))]
        if new:
            sides.append(Side("new", new, "--bcrypt-cost=4", keys.options(method)))
        try:
            for side in sides:
                side.start()
                side.call("Auth.UserAdd", user("root", "rootpw"))
                side.call("Auth.UserGrantRole",
                          etcd.AuthUserGrantRoleRequest(user="root", role="root"))
                side.call("Auth.AuthEnable", etcd.AuthEnableRequest())
                side.sign_in("root", "rootpw")
            for side in sides:
                for other in sides:
                    token = other.tokens["root"]
                    got = side.call("KV.Range", etcd.RangeRequest(key=b"k"), "=" + token)[:2]
                    t.check(got == OK, f"{method} of {other.name} at {side.name}: {got}")
                    body, signature = token.rsplit(".", 1)
                    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
                    got = side.call("KV.Range", etcd.RangeRequest(key=b"k"),
                                    f"={body}.{flipped}")[:2]
                    t.check(got == BAD_TOKEN, f"{method}, changed, at {side.name}: {got}")
        finally:
            for side in sides:
                side.close()


# --- a program that nobody here wrote


def etcdctl(side, *arguments, given=None):
    """(exit status, what it says)"""
    environment = {"PATH": os.environ.get("PATH", ""), "ETCDCTL_API": "3"}
    done = subprocess.run(
        ["etcdctl", "--endpoints", side.server.endpoint, "--command-timeout=60s", *arguments],
        env=environment, capture_output=True, text=True, input=given)
    return done.returncode, done.stdout, done.stderr.split('"error":')[-1]


ETCDCTL_LINES = """
role add root
user add root:rootpw
user grant-role root root
user add ann --interactive=false < annpw
user add cert --no-password
role add store
role grant-permission store readwrite store/ --prefix=true
role grant-permission store read one
role grant-permission store write from --from-key=true
role get store
role list
user grant-role ann store
user get ann
user list
put store/1 v
put other v
auth enable
put store/1 v
--user root:wrong get store/1
--user root:rootpw get --prefix store/
--user ann:annpw get store/1
--user ann:annpw put store/2 w
--user ann:annpw get other
--user ann:annpw put one w
--user ann:annpw put zoo w
--user ann:annpw get zoo
--user ann:annpw del --prefix store/
--user ann:annpw del --prev-kv from
--user ann:annpw user list
--user ann:annpw user get ann
--user ann:annpw user get root
--user ann:annpw role get store
--user ann:annpw role get root
--user ann:annpw compact 3
--user ann:annpw user add eve:evepw
--user cert:x get store/1
--user root:rootpw user passwd ann --interactive=false < new
--user ann:annpw get store/1
--user ann:new get store/1
--user root:rootpw role revoke-permission store one
--user ann:new get one
--user root:rootpw user revoke-role ann store
--user root:rootpw user revoke-role ann store
--user ann:new get store/1
--user root:rootpw user delete root
--user root:rootpw role delete root
--user root:rootpw user delete ann
--user root:rootpw user delete ann
--user root:rootpw role delete store
--user root:rootpw auth disable
get other
user delete root
"""


def run_etcdctl(_, new):
    sides = [Side("quorate", quorate_binary(), "--bcrypt-cost=4")]
    if new:
        sides.append(Side("new", new, "--bcrypt-cost=4"))
    t = Table(sides)
    try:
        for side in sides:
            side.start()
        for line in ETCDCTL_LINES.strip().splitlines():
            command, _, given = line.partition(" < ")
            got = {side.name: etcdctl(side, *command.split(), given=given and given + "\n")
                   for side in sides}
            t.check(len(set(got.values())) == 1, f"etcdctl {line}: {got}")
    finally:
        for side in sides:
            side.close()
    return t


# --- three members


class At:
    """Calls at one member; the tokens are those of all."""

    def __init__(self, cluster, tokens):
        self.cluster, self.tokens = cluster, tokens

    def __call__(self, member, name, request, who=None):
        side = Side.__new__(Side)
        side.client, side.tokens = self.cluster.client(member), self.tokens
        return side.call(name, request, who)

    def say(self, *arguments):
        return self(*arguments)[:2]


def cluster_story(t, label, cluster):
    """The same story for any etcd; what must be is said here."""
    tokens = {}
    at = At(cluster, tokens)
    leader = cluster.leader()
    a, b = cluster.followers()

    def expect(what, got, wanted=OK):
        t.check(got == wanted, f"{label}: {what}: {got}, expected {wanted}")

    def sign_in(member, name, password, as_name):
        answer = at(member, "Auth.Authenticate",
                    etcd.AuthenticateRequest(name=name, password=password))
        expect(f"sign-in of {name}", answer[:2])
        tokens[as_name] = answer[2].token

    A = "Auth."
    expect("user", at.say(a, A + "UserAdd", user("root", "rootpw")))
    expect("user", at.say(b, A + "UserAdd", user("bob", "bobpw")))
    expect("role", at.say(leader, A + "RoleAdd", etcd.AuthRoleAddRequest(name="w")))
    expect("permission", at.say(a, A + "RoleGrantPermission", grant("w", READWRITE, b"w/", b"w0")))
    for name, role in (("root", "root"), ("bob", "w")):
        expect("grant", at.say(b, A + "UserGrantRole",
                               etcd.AuthUserGrantRoleRequest(user=name, role=role)))
    expect("lease", at.say(a, "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=5, TTL=6000)))
    expect("lease", at.say(a, "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=6, TTL=6000)))
    expect("key", at.say(a, "KV.Put", etcd.PutRequest(key=b"w/leased", lease=5)))
    expect("key", at.say(a, "KV.Put", etcd.PutRequest(key=b"secret", lease=6)))
    expect("enable", at.say(a, A + "AuthEnable", etcd.AuthEnableRequest()))
    sign_in(a, "bob", "bobpw", "bob")
    sign_in(b, "root", "rootpw", "root")
    # A token is good at every member, at once: one that is behind waits for it.
    for member in (a, b, leader):
        sign_in(member, "bob", "bobpw", "fresh")
        for other in (b, leader, a):
            expect("a fresh token elsewhere",
                   at.say(other, "KV.Range", etcd.RangeRequest(key=b"w/1", serializable=True),
                          "fresh"))
    for member in (a, b, leader):
        expect("put", at.say(member, "KV.Put", etcd.PutRequest(key=b"w/1"), "bob"))
        expect("put", at.say(member, "KV.Put", etcd.PutRequest(key=b"x"), "bob"), DENIED)
        expect("put", at.say(member, "KV.Put", etcd.PutRequest(key=b"w/1")), NO_NAME)
        expect("put", at.say(member, "KV.Put", etcd.PutRequest(key=b"w/1"), "=x.1"), BAD_TOKEN)
        expect("get", at.say(member, "KV.Range", etcd.RangeRequest(key=b"w/1"), "bob"))
        expect("get", at.say(member, "KV.Range", etcd.RangeRequest(key=b"x"), "bob"), DENIED)
        for lease, wanted in ((5, OK), (6, DENIED)):
            keep = etcd.LeaseKeepAliveRequest(ID=lease)
            expect("renewal", at.say(member, "Lease.LeaseKeepAlive", keep, "bob"), wanted)
            look = etcd.LeaseTimeToLiveRequest(ID=lease, keys=True)
            expect("keys of a lease", at.say(member, "Lease.LeaseTimeToLive", look, "bob"), wanted)
        expect("hash", at.say(member, "Maintenance.HashKV", etcd.HashKVRequest(), "bob"), DENIED)
        expect("hash", at.say(member, "Maintenance.HashKV", etcd.HashKVRequest(), "root"))
    # What changes at one member holds at all: the log decides.
    revoke = etcd.AuthUserRevokeRoleRequest(name="bob", role="w")
    expect("revoke", at.say(a, A + "UserRevokeRole", revoke, "root"))
    for member in (b, leader, a):
        # The read first: by then the member has heard of it, and what it proposes is of now.
        expect("get without the role",
               at.say(member, "KV.Range", etcd.RangeRequest(key=b"w/1"), "bob"), DENIED)
        expect("put without the role", at.say(member, "KV.Put", etcd.PutRequest(key=b"w/1"), "bob"),
               DENIED)
    grant_again = etcd.AuthUserGrantRoleRequest(user="bob", role="w")
    expect("grant", at.say(b, A + "UserGrantRole", grant_again, "root"))
    change = etcd.AuthUserChangePasswordRequest(name="bob", password="bobpw2")
    expect("password", at.say(a, A + "UserChangePassword", change, "root"))
    for member in (b, leader, a):
        expect("a token of before the new password",
               at.say(member, "KV.Range", etcd.RangeRequest(key=b"w/1"), "bob"), BAD_TOKEN)
    sign_in(b, "bob", "bobpw2", "bob")
    # Tokens are in memory: a member that starts again knows none of before, the others do.
    cluster.clients.pop(a.name).close()
    a.stop()
    a.start()
    expect("a member that started again",
           at.say(a, "KV.Range", etcd.RangeRequest(key=b"w/1"), "bob"), BAD_TOKEN)
    expect("elsewhere", at.say(b, "KV.Put", etcd.PutRequest(key=b"w/2"), "bob"))
    sign_in(a, "bob", "bobpw2", "bob")
    for member in (a, b, leader):
        expect("a new token", at.say(member, "KV.Range", etcd.RangeRequest(key=b"w/2"), "bob"))
    expect("disable", at.say(leader, A + "AuthDisable", etcd.AuthDisableRequest(), "root"))
    for member in (a, b):
        wait_for(lambda m=member: at.say(m, "KV.Range", etcd.RangeRequest(key=b"secret")) == OK,
                 "member that has heard that auth is off")
    cluster.check_equal()


def run_cluster(_, new):
    t = Table([])
    with Cluster(3, "--bcrypt-cost=4") as cluster:
        cluster_story(t, "quorate", cluster)
    if new:
        with Cluster(3, "--bcrypt-cost=4", binary=new) as cluster:
            cluster_story(t, "etcd", cluster)
    return t


def find(path):
    return path if path and Path(path).exists() else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--old", default="/usr/bin/etcd")
    parser.add_argument("--new", default=str(ROOT / "build/peers/bin/etcd"))
    parser.add_argument("sections", nargs="*", default=[])
    args = parser.parse_args()
    sections = {"simple": run_simple, "jwt": run_jwt, "etcdctl": run_etcdctl,
                "cluster": run_cluster}
    failures, rows = [], 0
    for name in args.sections or sections:
        table = sections[name](find(args.old), find(args.new))
        failures += [f"{name}: {failure}" for failure in table.failures]
        rows += table.rows
    print("\n".join(failures))
    print(f"auth: {rows} rows, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
