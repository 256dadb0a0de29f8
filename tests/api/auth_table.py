"""Rows of calls to several servers side by side, for the suites of authentication and authorisation:
who asks, the call, the request, and the code and text that must come back."""

import argparse
import queue
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from servers import ROOT, Server  # noqa: E402
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


def words(expected, name):
    """As a watch says it."""
    if name != "Watch.Watch" or expected[0] == "OK":
        return expected
    code = {"PERMISSION_DENIED": "PermissionDenied", "UNAUTHENTICATED": "Unauthenticated",
            "INVALID_ARGUMENT": "InvalidArgument"}[expected[0]]
    return "OK", f"rpc error: code = {code} desc = {expected[1]}"


def run_suite(name, run):
    """`run` gets the paths of an old and of a current etcd, or None, and answers its Table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--old", default="/usr/bin/etcd")
    parser.add_argument("--new", default=str(ROOT / "build/peers/bin/etcd"))
    args = parser.parse_args()
    old, new = (path if Path(path).exists() else None for path in (args.old, args.new))
    table = run(old, new)
    print("\n".join(table.failures))
    print(f"{name}: {table.rows} rows, {len(table.failures)} failures, beside "
          f"{' and '.join(path for path in (old, new) if path) or 'nothing'}")
    return 1 if table.failures else 0
