#!/usr/bin/python3
"""Users, roles and permissions beside real etcds: every Auth call good and bad, and every other call
by everybody who may or may not make it.

One script of calls goes to all servers, which stand in the same state. Codes, texts and whole
answers must be equal, and at the end what is stored. Rows that an older etcd answers otherwise go
to the current one alone.

usage: auth_test.py [--old PATH] [--new PATH]
"""

import base64
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from auth_calls import every_call  # noqa: E402
from auth_table import (  # noqa: E402
    ALL, BAD_MANAGEMENT, BAD_TOKEN, DENIED, FROM_KEY, IS_OFF, NEW, NOT_GRANTED, NOT_PERMITTED,
    NO_NAME, NO_PASSWORD, NO_PERMISSION, NO_ROLE, NO_ROOT, NO_ROOT_ROLE, NO_USER, OK, READ,
    READWRITE, ROLE_EMPTY, ROLE_EXISTS, Side, Table, USER_EXISTS, WRITE, WRONG, grant,
    run_suite, user, words)
from cluster import wait_for  # noqa: E402
from servers import quorate_binary  # noqa: E402
from stubs import etcd  # noqa: E402


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
        b"$2a$04$TxgNU1eUwYlNZaniOnXQB.a9f4G5Queuz9y5IK9yYBq4.U3Diup7O").decode()
    t.row("root", A + "UserChangePassword", change(name="nobody", hashedPassword=given),
          sides=NEW)
    t.row(None, A + "Authenticate", etcd.AuthenticateRequest(name="nobody", password="swordfish"),
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


if __name__ == "__main__":
    sys.exit(run_suite("auth", run_simple))
