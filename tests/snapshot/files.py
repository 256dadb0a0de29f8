"""What the snapshot suites share: a server with a bit of everything in it, streams, and tools."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from servers import ROOT, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

BLOB_BYTES = 32 * 1024
PASSWORD = "a password"
BUILT = ROOT / "build" / "peers" / "bin"  # scripts/build_etcd.sh
DEBIAN = Path("/usr/bin")


def tool(name, folder=BUILT):
    """A program of etcd's, or None where it is not at hand."""
    path = Path(folder) / name
    return path if path.exists() else None


def run(*command, code=0, **more):
    """Runs a program that has to end with `code`; answers (standard output, standard error)."""
    environment = {"PATH": os.environ.get("PATH", ""), "ETCDCTL_API": "3"}
    for name, value in os.environ.items():
        if name.endswith("SAN_OPTIONS"):
            environment[name] = value
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          env=environment, **more)
    assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stderr}"
    return done.stdout, done.stderr


def fill(endpoint, alarm=True):
    """Several revisions, deletes, leases, a compaction, users and a role, an alarm. Answers the lease's
    id."""
    client = Client(endpoint)
    for number in range(300):
        client.KV.Put(etcd.PutRequest(key=b"key-%03d" % (number % 200), value=b"v" * number))
    client.KV.Put(etcd.PutRequest(key=b"large", value=bytes(range(256)) * 2000))
    client.KV.Put(etcd.PutRequest(key=b"empty"))
    client.KV.DeleteRange(etcd.DeleteRangeRequest(key=b"key-010", range_end=b"key-020"))
    lease = client.Lease.LeaseGrant(etcd.LeaseGrantRequest(TTL=10000)).ID
    client.KV.Put(etcd.PutRequest(key=b"leased", value=b"1", lease=lease))
    client.KV.Txn(etcd.TxnRequest(success=[
        etcd.RequestOp(request_put=etcd.PutRequest(key=b"txn-a", value=b"1")),
        etcd.RequestOp(request_put=etcd.PutRequest(key=b"txn-b", value=b"2"))]))
    client.KV.Compact(etcd.CompactionRequest(revision=150, physical=True))
    client.KV.Put(etcd.PutRequest(key=b"key-001", value=b"after the compaction"))
    client.Auth.RoleAdd(etcd.AuthRoleAddRequest(name="reader"))
    permission = etcd.AuthRoleGrantPermissionRequest(name="reader")
    permission.perm.key, permission.perm.range_end = b"key-0", b"key-1"
    client.Auth.RoleGrantPermission(permission)
    for name, role in (("root", "root"), ("alice", "reader")):
        client.Auth.UserAdd(etcd.AuthUserAddRequest(name=name, password=PASSWORD))
        client.Auth.UserGrantRole(etcd.AuthUserGrantRoleRequest(user=name, role=role))
    if alarm:
        client.Maintenance.Alarm(
            etcd.AlarmRequest(action="ACTIVATE", memberID=77, alarm="NOSPACE"))
    client.close()
    return lease


def hash_kv(endpoint, revision=0):
    client = Client(endpoint)
    answer = client.Maintenance.HashKV(etcd.HashKVRequest(revision=revision))
    client.close()
    return {"hash": answer.hash, "hashRevision": answer.hash_revision,
            "compactRevision": answer.compact_revision}


def contents(endpoint):
    """What a client can see, but for members and who answers."""
    client = Client(endpoint)
    ranged = client.KV.Range(etcd.RangeRequest(key=b"\0", range_end=b"\0"))
    leases = [lease.ID for lease in client.Lease.LeaseLeases(etcd.LeaseLeasesRequest()).leases]
    granted = {}
    for lease in leases:
        state = client.Lease.LeaseTimeToLive(
            etcd.LeaseTimeToLiveRequest(ID=lease, keys=True))
        granted[lease] = (state.grantedTTL, list(state.keys))
    users = client.Auth.UserList(etcd.AuthUserListRequest()).users
    roles = client.Auth.RoleList(etcd.AuthRoleListRequest()).roles
    permissions = {role: client.Auth.RoleGet(etcd.AuthRoleGetRequest(role=role)).perm
                   for role in roles}
    alarms = client.Maintenance.Alarm(etcd.AlarmRequest(action="GET")).alarms
    seen = {
        "revision": ranged.header.revision,
        "pairs": [kv.SerializeToString() for kv in ranged.kvs],
        "leases": granted,
        "users": {user: list(client.Auth.UserGet(etcd.AuthUserGetRequest(name=user)).roles)
                  for user in users},
        "permissions": {role: [(p.permType, p.key, p.range_end) for p in granted]
                        for role, granted in permissions.items()},
        "alarms": sorted((alarm.memberID, alarm.alarm) for alarm in alarms),
    }
    client.close()
    return seen


def save(endpoint, path):
    """Takes a snapshot over the wire, looks at the form of the stream, and writes the file."""
    client = Client(endpoint)
    file, left = b"", None
    for message in client.Maintenance.Snapshot(etcd.SnapshotRequest()):
        assert not message.HasField("header"), message.header
        assert message.version == "3.7.0", message.version
        assert 0 < len(message.blob) <= BLOB_BYTES
        if left is not None and left > 0:
            assert message.remaining_bytes == left - len(message.blob), (left, message)
        left = message.remaining_bytes
        file += message.blob
    client.close()
    assert left == 0
    assert hashlib.sha256(file[:-32]).digest() == file[-32:]
    assert len(file) % 4096 == 32
    Path(path).write_bytes(file)
    return file


def copy_of(path, name):
    """`etcdutl hashkv` changes the file it reads."""
    copy = Path(path).with_name(name)
    shutil.copy(path, copy)
    return copy


__all__ = ["BLOB_BYTES", "BUILT", "DEBIAN", "Client", "PASSWORD", "contents", "copy_of", "etcd",
           "fill", "hash_kv", "quorate_binary", "run", "save", "tool"]
