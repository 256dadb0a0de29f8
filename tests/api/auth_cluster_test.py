#!/usr/bin/python3
"""Authentication as programs and clusters see it: Debian's etcdctl says the same of Quorate as of a
current etcd, and three members tell one story, theirs and ours.

usage: auth_cluster_test.py [--new PATH]
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from auth_table import (  # noqa: E402
    BAD_TOKEN, DENIED, NO_NAME, OK, READWRITE, Side, Table, delete, grant, put, run_suite,
    user)
from cluster import Cluster  # noqa: E402
from servers import quorate_binary  # noqa: E402
from stubs import etcd  # noqa: E402


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

A = "Auth."


class Story:
    """The same calls at any etcd of three members; what must be is said here."""

    def __init__(self, table, label, cluster):
        self.table, self.label, self.cluster = table, label, cluster
        self.tokens = {}
        self.leader = cluster.leader()
        self.a, self.b = cluster.followers()

    def call(self, member, name, request, who=None):
        side = Side.__new__(Side)
        side.client, side.tokens = self.cluster.client(member), self.tokens
        return side.call(name, request, who)

    def expect(self, wanted, what, member, name, request, who=None):
        got = self.call(member, name, request, who)[:2]
        self.table.check(got == wanted, f"{self.label}: {what} at {member.name}: {got}, "
                         f"expected {wanted}")

    def sign_in(self, member, name, password, as_name):
        code, text, answer = self.call(member, A + "Authenticate",
                                       etcd.AuthenticateRequest(name=name, password=password))
        self.table.check((code, text) == OK, f"{self.label}: sign-in of {name}: {code} {text}")
        self.tokens[as_name] = answer.token

    def set_up(self):
        a, b, leader = self.a, self.b, self.leader
        for member, name, request in (
                (a, A + "UserAdd", user("root", "rootpw")),
                (b, A + "UserAdd", user("bob", "bobpw")),
                (leader, A + "RoleAdd", etcd.AuthRoleAddRequest(name="w")),
                (a, A + "RoleGrantPermission", grant("w", READWRITE, b"w/", b"w0")),
                (b, A + "UserGrantRole", etcd.AuthUserGrantRoleRequest(user="root", role="root")),
                (b, A + "UserGrantRole", etcd.AuthUserGrantRoleRequest(user="bob", role="w")),
                (a, "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=5, TTL=6000)),
                (a, "Lease.LeaseGrant", etcd.LeaseGrantRequest(ID=6, TTL=6000)),
                (a, "KV.Put", etcd.PutRequest(key=b"w/leased", lease=5)),
                (a, "KV.Put", etcd.PutRequest(key=b"secret", lease=6)),
                (a, A + "AuthEnable", etcd.AuthEnableRequest())):
            self.expect(OK, name, member, name, request)
        self.sign_in(a, "bob", "bobpw", "bob")
        self.sign_in(b, "root", "rootpw", "root")

    def fresh_tokens(self):
        """A token is good at every member, at once: one that is behind waits for it. (A real etcd
        waits too, and was seen not to find it then.)"""
        if self.label == "etcd":
            return
        for member in (self.a, self.b, self.leader):
            self.sign_in(member, "bob", "bobpw", "fresh")
            for other in (self.b, self.leader, self.a):
                self.expect(OK, "a fresh token", other, "KV.Range",
                            etcd.RangeRequest(key=b"w/1", serializable=True), "fresh")

    def everywhere(self):
        put1, get1 = etcd.PutRequest(key=b"w/1"), etcd.RangeRequest(key=b"w/1")
        for member in (self.a, self.b, self.leader):
            self.expect(OK, "put", member, "KV.Put", put1, "bob")
            self.expect(DENIED, "put", member, "KV.Put", etcd.PutRequest(key=b"x"), "bob")
            self.expect(NO_NAME, "put", member, "KV.Put", put1)
            self.expect(BAD_TOKEN, "put", member, "KV.Put", put1, "=x.1")
            self.expect(OK, "get", member, "KV.Range", get1, "bob")
            self.expect(DENIED, "get", member, "KV.Range", etcd.RangeRequest(key=b"x"), "bob")
            for lease, wanted in ((5, OK), (6, DENIED)):
                self.expect(wanted, "renewal", member, "Lease.LeaseKeepAlive",
                            etcd.LeaseKeepAliveRequest(ID=lease), "bob")
                self.expect(wanted, "keys of a lease", member, "Lease.LeaseTimeToLive",
                            etcd.LeaseTimeToLiveRequest(ID=lease, keys=True), "bob")
            self.expect(DENIED, "hash", member, "Maintenance.HashKV", etcd.HashKVRequest(), "bob")
            self.expect(OK, "hash", member, "Maintenance.HashKV", etcd.HashKVRequest(), "root")

    def changes(self):
        """What changes at one member holds at all."""
        get1 = etcd.RangeRequest(key=b"w/1")
        self.expect(OK, "revoke", self.a, A + "UserRevokeRole",
                    etcd.AuthUserRevokeRoleRequest(name="bob", role="w"), "root")
        for member in (self.b, self.leader, self.a):
            # The read first: by then the member has heard of it, and what it proposes is of now.
            self.expect(DENIED, "get without the role", member, "KV.Range", get1, "bob")
            self.expect(DENIED, "put without the role", member, "KV.Put",
                        etcd.PutRequest(key=b"w/1"), "bob")
        self.expect(OK, "grant", self.b, A + "UserGrantRole",
                    etcd.AuthUserGrantRoleRequest(user="bob", role="w"), "root")
        self.expect(OK, "password", self.a, A + "UserChangePassword",
                    etcd.AuthUserChangePasswordRequest(name="bob", password="bobpw2"), "root")
        for member in (self.b, self.leader, self.a):
            self.expect(BAD_TOKEN, "a token of before the new password", member, "KV.Range", get1,
                        "bob")
        self.sign_in(self.b, "bob", "bobpw2", "bob")

    def restart(self):
        """Tokens are in memory: a member that starts again knows those alone whose entries it has to
        apply again, if any; the others know all."""
        a = self.a
        self.cluster.clients.pop(a.name).close()
        a.stop()
        a.start()
        get1 = etcd.RangeRequest(key=b"w/1")
        self.expect(OK, "elsewhere", self.b, "KV.Range", get1, "bob")
        self.sign_in(a, "bob", "bobpw2", "bob")
        for member in (a, self.b, self.leader):
            self.expect(OK, "a new token", member, "KV.Range", get1, "bob")

    def off(self):
        self.expect(OK, "disable", self.leader, A + "AuthDisable", etcd.AuthDisableRequest(),
                    "root")
        for member in (self.a, self.b):
            self.expect(OK, "off", member, "KV.Range", etcd.RangeRequest(key=b"secret"))
        self.cluster.check_equal()

    def tell(self):
        for part in (self.set_up, self.fresh_tokens, self.everywhere, self.changes, self.restart,
                     self.off):
            part()


def run_cluster(_, new):
    t = Table([])
    with Cluster(3, "--bcrypt-cost=4") as cluster:
        Story(t, "quorate", cluster).tell()
    if new:
        with Cluster(3, "--bcrypt-cost=4", binary=new) as cluster:
            Story(t, "etcd", cluster).tell()
    return t


def run(old, new):
    t = Table([])
    for part in (run_etcdctl(old, new), run_cluster(old, new)):
        t.rows += part.rows
        t.failures += part.failures
    return t


if __name__ == "__main__":
    sys.exit(run_suite("auth, etcdctl and clusters", run))
