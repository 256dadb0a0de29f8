"""Users, roles and data as api/auth_calls.py speaks of them, and who asks: alice may read r/ to r0; bob
may read and write w/ to w0 and more; nobody may touch no key."""

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "api"))
from auth_calls import every_call  # noqa: E402
from auth_table import FROM_KEY, READ, READWRITE, WRITE, grant, user  # noqa: E402
from cases import Case  # noqa: E402
from good_calls import ANSWERS, SECRET, good_cases, leader_key  # noqa: E402
from stubs import election, etcd, lock  # noqa: E402

PASSWORD = "pw"
USERS = {"root": ["root"], "alice": ["reader"], "bob": ["writer"], "nobody": []}
ROLES = {"root": [], "reader": [(READ, b"r/", b"r0")],
         "writer": [(READWRITE, b"w/", b"w0"), (WRITE, b"only/", b"only0"), (READ, b"p", b""),
                    (READ, b"m", b"o"), (READ, b"z", FROM_KEY)]}
LEASES = {101: b"w/lease", 102: b"secret", 103: b"r/lease", 104: None, 105: None, 106: None}
TTL_SECONDS = 6000
JWT_SECRET = b"a secret of some length, for both"
# Turning authentication off is for the end.
LAST = ("Auth.AuthDisable",)


def populate(client):
    """Everything but turning it on, and no sign-in."""
    for key in (b"r/1", b"r/2", b"w/1", b"w/2", b"only/1", b"p", b"m1", b"n1", b"o1", b"z1"):
        value = SECRET if key.startswith(b"only/") else b"v"  # bob may write it
        client.KV.Put(etcd.PutRequest(key=key, value=value))
    for lease, key in LEASES.items():
        client.Lease.LeaseGrant(etcd.LeaseGrantRequest(ID=lease, TTL=TTL_SECONDS))
        if key is not None:
            client.KV.Put(etcd.PutRequest(
                key=key, value=SECRET if key == b"secret" else b"v", lease=lease))
    for role, permissions in ROLES.items():
        client.Auth.RoleAdd(etcd.AuthRoleAddRequest(name=role))
        for kind, key, end in permissions:
            client.Auth.RoleGrantPermission(grant(role, kind, key, end))
    for name, roles in USERS.items():
        client.Auth.UserAdd(user(name, PASSWORD))
        for role in roles:
            client.Auth.UserGrantRole(etcd.AuthUserGrantRoleRequest(user=name, role=role))


def switch_on(side, sign_in=True):
    populate(side.client)
    side.client.Auth.AuthEnable(etcd.AuthEnableRequest())
    for name in USERS if sign_in else ():
        side.sign_in(name, PASSWORD)
    if sign_in:
        side.root_token = lambda: side.tokens["root"]


def session_calls():
    """Locks and elections under what bob may write, and under what only root may."""
    for name, held, chair in ((b"w/", 104, 105), (b"s/", 104, 105)):
        yield "Lock.Lock", lock.LockRequest(name=name + b"l", lease=held)
        yield "Lock.Unlock", lock.UnlockRequest(key=name + b"l/%x" % held)
        yield "Election.Campaign", election.CampaignRequest(
            name=name + b"e", lease=chair, value=b"v")
        yield "Election.Leader", election.LeaderRequest(name=name + b"e")
        yield "Election.Proclaim", election.ProclaimRequest(
            leader=election.LeaderKey(name=name + b"e", key=name + b"e/%x" % chair, rev=1,
                                      lease=chair), value=b"v")
        yield "Election.Resign", election.ResignRequest(
            leader=election.LeaderKey(name=name + b"e", key=name + b"e/%x" % chair, rev=1,
                                      lease=chair))


def matrix_cases():
    """What everybody asks: each method at least once, and all that api/auth_calls.py asks."""
    for call, request, _ in every_call():
        yield Case(call, "auth", f"{call} {shown(request)}", request, ANSWERS.get(call))
    for call, request in session_calls():
        yield Case(call, "auth", f"{call} {shown(request)}", request)
    for case in good_cases():
        if case.call not in LAST and case.call != "Auth.AuthEnable":
            yield case.of_kind("auth", name=f"good {case.call}")


def shown(request):
    return " ".join(str(request).split())[:120]


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(claims, secret=JWT_SECRET, alg="HS256"):
    text = url64(json.dumps({"alg": alg, "typ": "JWT"}).encode()) + "." + url64(
        json.dumps(claims).encode())
    signed = b"" if alg == "none" else hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{url64(signed)}"


def signed_tokens(revision):
    """Tokens of root that are not good, and one that is; `revision`: auth's of now."""
    good = {"username": "root", "revision": revision, "exp": 4_000_000_000}
    return {
        "good": jwt(good),
        "expired": jwt({**good, "exp": 1_000_000_000}),
        "forged": jwt(good, secret=b"another secret"),
        "unsigned": jwt(good, alg="none"),
        "stale": jwt({**good, "revision": revision - 1}),
        "of nobody known": jwt({**good, "username": "eve"}),
        "without a name": jwt({"revision": revision, "exp": 4_000_000_000}),
    }


__all__ = ["JWT_SECRET", "PASSWORD", "USERS", "leader_key", "matrix_cases", "signed_tokens",
           "switch_on"]
