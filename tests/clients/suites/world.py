"""A cluster of three in one of the modes, with users, for a client's program.

The program is told by its environment:

    QUORATE_ENDPOINTS   host:port,host:port,host:port
    QUORATE_MODE        plain, tls, auth or cn (parts.py)
    QUORATE_CERTS       folder of ca.pem and, for each user, NAME.pem and NAME.key; where there is TLS
    QUORATE_PARTS       the parts to run, with commas between them

Users are root, app, who may read and write all keys, and guest, who may read keys under guest/. The
password of NAME is NAMEpw. Where auth is off all are the same.

It answers by lines: `as expected: PART` or `not offered: PART: why`. It asks for help by a line
`please: kill HOST:PORT`, `please: start HOST:PORT` (both of a member) or `please: expire USER` (ends
what tokens that user has), and reads a line when that is done.
"""

import os
import subprocess

import grpc

from certificates import Authority, ClientSide, server_flags
from cluster import BETWEEN_LOOKS, Cluster, wait_for
from parts import MODES
from stubs import etcd

USERS = ("root", "app", "guest")
TOKEN_TTL_S = 5  # longer than any part is silent
FLAGS = ("--bcrypt-cost=4", f"--auth-token-ttl={TOKEN_TTL_S}")
ALL_KEYS = {"key": b"\0", "range_end": b"\0"}
GUEST_KEYS = {"key": b"guest/", "range_end": b"guest0"}


class World:
    def __init__(self, mode, binary=None):
        self.name, self.mode = mode, MODES[mode]
        self.authority = Authority()
        self.pairs = {}
        flags, tls = [*FLAGS], None
        if self.mode.tls:
            for name in (*USERS, "member"):
                self.pairs[name] = self.authority.issue(name)
            asked = self.authority.ca if self.mode.certificates else None
            flags += server_flags(self.pairs["member"], asked)
            flags += server_flags(self.pairs["member"], self.authority.ca, "peer-")
            tls = ClientSide(self.authority.ca, self.pairs["root"] if asked else None)
        self.cluster = Cluster(3, *flags, backend="lmdb", binary=binary, tls=tls)

    def __enter__(self):
        self.authority.__enter__()
        try:
            self.cluster.__enter__()
            self.cluster.leader()
            if self.mode.users:
                self._users()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, *what):
        self.cluster.__exit__(*what)
        self.authority.__exit__(*what)

    def _users(self):
        auth = self.cluster.client(self.cluster["m0"]).Auth
        for name, keys, kind in (("root", None, None), ("app", ALL_KEYS, "READWRITE"),
                                 ("guest", GUEST_KEYS, "READ")):
            auth.RoleAdd(etcd.AuthRoleAddRequest(name=name))
            if keys is not None:
                grant = etcd.AuthRoleGrantPermissionRequest(name=name)
                grant.perm.key, grant.perm.range_end = keys["key"], keys["range_end"]
                grant.perm.permType = type(grant.perm).Type.Value(kind)
                auth.RoleGrantPermission(grant)
            user = etcd.AuthUserAddRequest(name=name)
            if self.mode.certificates:
                user.options.no_password = True
            else:
                user.password = f"{name}pw"
            auth.UserAdd(user)
            auth.UserGrantRole(etcd.AuthUserGrantRoleRequest(user=name, role=name))
        auth.AuthEnable(etcd.AuthEnableRequest())

    def environment(self, parts):
        told = {name: value for name, value in os.environ.items()
                if not name.lower().endswith("_proxy")}
        return {**told, "QUORATE_MODE": self.name, "QUORATE_PARTS": ",".join(parts),
                "QUORATE_CERTS": self.authority.folder,
                "QUORATE_ENDPOINTS": ",".join(m.endpoint for m in self.cluster.members.values())}

    def member(self, endpoint):
        return next(m for m in self.cluster.members.values() if m.endpoint == endpoint)

    def kill(self, endpoint):
        self.member(endpoint).kill()

    def start(self, endpoint):
        self.member(endpoint).start()

    def expire(self, user):
        """Until tokens that were last used before now are unknown to every member. To look whether a
        token lives would renew it, so each look spends a fresh one of the same age or younger."""
        request = etcd.AuthenticateRequest(name=user, password=f"{user}pw")
        clients = [self.cluster.client(m) for m in self.cluster.members.values()]

        def signed_in():
            return [clients[0].Auth.Authenticate(request).token for _ in range(40)]

        def known(client, token):
            try:
                client.KV.Range(etcd.RangeRequest(key=b"guest/"), metadata=[("token", token)])
            except grpc.RpcError as error:
                assert error.details() == "etcdserver: invalid auth token", error
                return False
            return True

        for client in clients:
            tokens = signed_in()
            BETWEEN_LOOKS.wait(TOKEN_TTL_S / 2)  # spares looks that cannot succeed
            while known(client, tokens.pop()):
                tokens = tokens or signed_in()
                BETWEEN_LOOKS.wait(0.2)

    def run(self, command, parts):
        """The reports of the program, by part; its exit code and its last words."""
        reports = {}
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              bufsize=1, env=self.environment(parts)) as program:
            try:
                for line in program.stdout:
                    kind, _, rest = line.rstrip("\n").partition(": ")
                    if kind == "please":
                        verb, _, what = rest.partition(" ")
                        {"kill": self.kill, "start": self.start, "expire": self.expire}[verb](what)
                        print("done", file=program.stdin, flush=True)
                    elif kind in ("as expected", "not offered"):
                        part, _, why = rest.partition(": ")
                        reports[part] = why
                    else:
                        print("    " + line, end="", flush=True)
            except BaseException:
                program.kill()
                raise
        return reports, program.returncode
