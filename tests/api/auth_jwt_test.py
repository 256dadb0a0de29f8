#!/usr/bin/python3
"""Signed tokens (--auth-token jwt) beside a current etcd: what one signs the other reads, with every
method; forged, expired and stale tokens get the same answers.

usage: auth_jwt_test.py [--new PATH]
"""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from auth_table import (  # noqa: E402
    BAD_TOKEN, DENIED, FROM_KEY, NO_NAME, NO_USER, OK, OLD, READWRITE, Side, Table, WRONG,
    grant, put, rng, run_suite, user, words)
from servers import quorate_binary  # noqa: E402
from stubs import etcd  # noqa: E402


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


if __name__ == "__main__":
    sys.exit(run_suite("auth, signed tokens", run_jwt))
