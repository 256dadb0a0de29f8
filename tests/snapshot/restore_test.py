#!/usr/bin/python3
"""quorateutl: snapshots of etcd and of Quorate restored into Quorate with everything that they hold,
its answers beside etcdutl's, and what it refuses. Cases that need an etcd say so where there is none.

usage: restore_test.py [CASE[:BACKEND]]...
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from files import (BUILT, DEBIAN, PASSWORD, Client, contents, copy_of, etcd, fill, hash_kv,  # noqa: E402
                   quorate_binary, run, save, tool)

import grpc  # noqa: E402
from cluster import Cluster, run_cases, wait_for  # noqa: E402
from servers import BACKENDS, Server, ServerDied  # noqa: E402

UTL = quorate_binary().with_name("quorateutl")
FORMATS = ("simple", "json", "fields", "table")


def restore_into(server, snapshot, backend, *flags, code=0, program=None):
    """Makes the data directory of a server that was not started yet."""
    command = [program or UTL, "snapshot", "restore", snapshot, "--data-dir", server.data_dir,
               "--name", server.name, "--initial-cluster",
               server.initial_cluster or f"{server.name}={server.peer_url}",
               "--initial-advertise-peer-urls", server.peer_url, *flags]
    if program is None:
        command += ["--backend", backend]
    return run(*command, code=code)


class Folder:
    """A temporary folder with a snapshot of a server that is not there any more."""

    def __init__(self, binary, *flags, alarm=True, fill_it=True):
        self.folder = tempfile.TemporaryDirectory(prefix="quorate-test-")
        self.path = Path(self.folder.name)
        self.snapshot = self.path / "snapshot.db"
        with Server(binary, *flags) as server:
            if fill_it:
                fill(server.endpoint, alarm=alarm)
            if binary == quorate_binary():
                save(server.endpoint, self.snapshot)
            else:
                etcdctl = Path(binary).with_name("etcdctl")
                run(etcdctl, "--endpoints", server.endpoint, "snapshot", "save", self.snapshot)
            self.hashed = hash_kv(server.endpoint)
            self.seen = contents(server.endpoint)
            database = Path(server.data_dir, "member", "snap", "db")
            if database.exists():
                told = run(UTL, "snapshot", "status", database, code=1)[1]
                assert "in use by another process" in told, told
                server.stop()
                self.database = Path(shutil.copy(database, self.path / "db"))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.folder.cleanup()


def answers_are_etcdutls(backend):
    etcdutl, binary = tool("etcdutl"), tool("etcd")
    if etcdutl is None or binary is None:
        return print(f"  skipped: no etcdutl in {BUILT}")
    for made_by in (binary, quorate_binary()):
        with Folder(made_by, *([] if made_by == binary else [f"--backend={backend}"])) as there:
            changed = copy_of(there.snapshot, "changed.db")
            for form in FORMATS:
                for words in (["snapshot", "status", there.snapshot], ["hashkv", changed],
                              ["hashkv", changed, "--rev", "200"]):
                    theirs = run(etcdutl, *words, "-w", form)[0]
                    assert run(UTL, *words, "-w", form)[0] == theirs, (words, form, theirs)
            for words, code in ((["snapshot", "status"], 128), (["hashkv"], 1),
                                (["hashkv", changed, "--rev", "9"], 1),
                                (["hashkv", changed, "--rev", "9999"], 1),
                                (["snapshot", "status", there.path / "none.db"], 1),
                                (["snapshot", "status", there.snapshot, "-w", "protobuf"], 4),
                                (["snapshot", "status", there.snapshot, "-w", "bad"], 4)):
                theirs = run(etcdutl, *words, code=code)[1].splitlines()[0]
                assert run(UTL, *words, code=code)[1].splitlines()[0] == theirs, words


def from_etcd(backend):
    """Revisions, pairs, leases, alarms and HashKV are the same; the new member goes on from there."""
    etcds = [tool("etcd"), tool("etcd", DEBIAN)]
    if None in etcds:
        print(f"  note: no etcd in {BUILT if etcds[0] is None else DEBIAN}")
    for binary in filter(None, etcds):
        with Folder(binary) as there:
            # Out of a data directory, as it was left there.
            found = run(UTL, "hashkv", there.database, "-w", "json")[0]
            assert json.loads(found)["hash"] == there.hashed["hash"]
            rescued = Server(quorate_binary(), f"--backend={backend}")
            restore_into(rescued, there.database, backend, "--skip-hash-check")
            with rescued:
                assert contents(rescued.endpoint) == there.seen
            server = Server(quorate_binary(), f"--backend={backend}")
            restore_into(server, there.snapshot, backend)
            assert "no damage found" in run(UTL, "verify", "--data-dir", server.data_dir)[0]
            with server:
                assert hash_kv(server.endpoint)["hash"] == there.hashed["hash"]
                assert contents(server.endpoint) == there.seen
                client = Client(server.endpoint)
                client.Maintenance.Alarm(
                    etcd.AlarmRequest(action="DEACTIVATE", memberID=77, alarm="NOSPACE"))
                put = client.KV.Put(etcd.PutRequest(key=b"next", value=b"1"))
                assert put.header.revision == there.seen["revision"] + 1
                members = client.Cluster.MemberList(etcd.MemberListRequest()).members
                assert [m.name for m in members] == [server.name], members
                client.close()
                server.kill()
                server.start()
                assert contents(server.endpoint)["revision"] == there.seen["revision"] + 1


def there_and_back(backend):
    """Quorate's own snapshot, and the one of what came out of it."""
    with Folder(quorate_binary(), f"--backend={backend}") as there:
        server = Server(quorate_binary(), f"--backend={backend}")
        restore_into(server, there.snapshot, backend, "--wal-dir", server.root + "/wal")
        server.flags.append(f"--wal-dir={server.root}/wal")
        with server:
            assert hash_kv(server.endpoint) == there.hashed
            assert contents(server.endpoint) == there.seen
            again = Path(server.root, "again.db")
            save(server.endpoint, again)
            assert json.loads(run(UTL, "hashkv", again, "-w", "json")[0]) == there.hashed


class Users:
    """Who may do what at a server with authentication on, as files.fill made them."""

    def __init__(self, endpoint):
        self.client = Client(endpoint)

    def sign_in(self, name, password=PASSWORD):
        return self.client.Auth.Authenticate(
            etcd.AuthenticateRequest(name=name, password=password)).token

    def status(self):
        status = self.client.Auth.AuthStatus(etcd.AuthStatusRequest())
        return status.enabled, status.authRevision

    def read(self, key, token=None):
        """The name of the status."""
        try:
            self.client.KV.Range(etcd.RangeRequest(key=key),
                                 metadata=[("token", token)] if token else [])
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

    def save(self, path):
        metadata = [("token", self.sign_in("root"))]
        path.write_bytes(b"".join(message.blob for message in self.client.Maintenance.Snapshot(
            etcd.SnapshotRequest(), metadata=metadata)))


def users_and_rights(backend):
    """Authentication that was on is on again, from and to either: passwords, permissions and the auth
    revision are the same, and nobody is signed in."""
    etcdutl, binary = tool("etcdutl"), tool("etcd")
    if etcdutl is None or binary is None:
        print(f"  note: no etcdutl in {BUILT}")
    ours = (quorate_binary(), [f"--backend={backend}"], None)
    kinds = [ours] if etcdutl is None or binary is None else [ours, (binary, [], etcdutl)]
    for made_by, flags, _ in kinds:
        with Server(made_by, *flags) as server:
            fill(server.endpoint, alarm=False)
            users = Users(server.endpoint)
            users.client.Auth.AuthEnable(etcd.AuthEnableRequest())
            before = users.sign_in("alice")
            assert users.read(b"key-001", before) == "OK"
            snapshot = Path(server.root, "snapshot.db")
            users.save(snapshot)
            status = users.status()
            users.client.close()
            for program, more, restorer in kinds:
                restored = Server(program, *more)
                restore_into(restored, snapshot, backend, program=restorer)
                with restored:
                    # etcd waits for the log index in it for as long as the client does.
                    keeps_rights(Users(restored.endpoint), status,
                                 before if program == quorate_binary() else None)


def keeps_rights(users, status, token_of_before):
    assert users.status() == status, (users.status(), status)
    assert users.read(b"key-001") == "INVALID_ARGUMENT"
    if token_of_before is not None:
        assert users.read(b"key-001", token_of_before) == "UNAUTHENTICATED"
    alice = users.sign_in("alice")
    assert users.read(b"key-001", alice) == "OK"
    assert users.read(b"large", alice) == "PERMISSION_DENIED"
    assert users.read(b"large", users.sign_in("root")) == "OK"
    try:
        users.sign_in("alice", "another")
        raise AssertionError("a wrong password was taken")
    except grpc.RpcError as error:
        assert error.code().name == "INVALID_ARGUMENT", error
    users.client.close()


def three_members(backend):
    with Folder(quorate_binary(), f"--backend={backend}", alarm=False) as there:
        with_joined = Cluster(3, backend=backend)
        for member in with_joined.members.values():
            restore_into(member, there.snapshot, backend)
        with with_joined as cluster:
            for member in cluster.running():
                assert hash_kv(member.endpoint) == there.hashed
            leader = cluster.leader()
            cluster.client(leader).KV.Put(etcd.PutRequest(key=b"a", value=b"b"))
            cluster.check_equal()
            # One that joins gets what the snapshot held, and not only what the log has.
            cluster.add("joined", leader).wait_ready()
            cluster.check_equal()
            assert len(cluster.ids) == 4


def bumped_revision(backend):
    etcdutl, binary = tool("etcdutl"), tool("etcd")
    with Folder(quorate_binary(), f"--backend={backend}", alarm=False) as there:
        server = Server(quorate_binary(), f"--backend={backend}")
        restore_into(server, there.snapshot, backend, "--bump-revision=1000", "--mark-compacted")
        revision = there.seen["revision"] + 1000
        with server:
            seen = contents(server.endpoint)
            assert seen == {**there.seen, "revision": revision}
            client = Client(server.endpoint)
            watched = client.Watch.Watch(iter([etcd.WatchRequest(
                create_request=etcd.WatchCreateRequest(key=b"key-001",
                                                       start_revision=revision - 900))]))
            answers = [next(watched), next(watched)]
            assert answers[-1].canceled and answers[-1].compact_revision == revision, answers
            watched.cancel()
            client.close()
            # A snapshot of it restores as well.
            path = Path(server.root, "again.db")
            save(server.endpoint, path)
            other = Server(quorate_binary(), f"--backend={backend}")
            restore_into(other, path, backend)
            with other:
                assert contents(other.endpoint) == seen
            if etcdutl is None or binary is None:
                return print(f"  note: no etcdutl in {BUILT}")
            peer = Server(binary)
            restore_into(peer, there.snapshot, backend, "--bump-revision=1000", "--mark-compacted",
                         program=etcdutl)
            with peer:
                assert contents(peer.endpoint) == seen
                wait_for(lambda: hash_kv(peer.endpoint) == hash_kv(server.endpoint), "equal HashKV")


def refused(backend):
    """By name, with nothing left behind."""
    with Folder(quorate_binary(), f"--backend={backend}") as there:
        whole = there.snapshot.read_bytes()
        bad, out = there.path / "bad.db", there.path / "out"

        def fails(text, *flags, snapshot=bad, data_dir=out):
            words = run(UTL, "snapshot", "restore", snapshot, "--data-dir", data_dir, "--backend",
                        backend, *flags, code=1)[1].splitlines()[-1]
            assert text in words, words
            assert data_dir != out or not out.exists()

        at = whole.index(b"after the compaction")
        bad.write_bytes(whole[:at] + b"X" + whole[at + 1:])
        fails("expected sha256 [")
        bad.write_bytes(whole[:-32])
        fails("--skip-hash-check=false")
        for size in (len(whole) - 1, len(whole) - 33, len(whole) // 2, 9000, 4096, 100, 0):
            bad.write_bytes(whole[:size])
            fails(str(bad))
        # With the digest out of the way the reader itself has to see it.
        page = 3
        while page < len(whole) // 4096:
            overflow = int.from_bytes(whole[page * 4096 + 12:page * 4096 + 16], "little")
            broken = bytearray(whole[:-32])
            broken[page * 4096:page * 4096 + 4096] = bytes(4096)
            bad.write_bytes(broken)
            place = f"page {page} at offset {page * 4096}: "
            told = run(UTL, "verify", bad, code=1)[0]
            assert place in told, told
            if page % 40 == 3 or page == len(whole) // 4096 - 1:
                fails(f"{bad}: page {page} at offset {page * 4096}: ", "--skip-hash-check")
            page += 1 + overflow
        fails("no such file or directory", snapshot=there.path / "none.db")
        fails("couldn't find local name \"x\"", "--name=x", snapshot=there.snapshot)
        fails("but missing from --initial-advertise-peer-urls", "--initial-cluster=default=http://127.0.0.1:1",
              snapshot=there.snapshot)
        fails("--mark-compacted required", "--bump-revision=5", snapshot=there.snapshot)
        fails("--mark-compacted disallowed", "--mark-compacted", snapshot=there.snapshot)
        fails("unknown", "--backend=none", snapshot=there.snapshot)
        taken = there.path / "taken"
        taken.mkdir()
        (taken / "file").touch()
        fails("not empty", snapshot=there.snapshot, data_dir=taken)
        assert os.listdir(taken) == ["file"]


def cut_off_restore(backend):
    """A server does not take what a killed restore has left for a member that begins."""
    server = Server(quorate_binary(), f"--backend={backend}")
    Path(server.data_dir, "member.restoring", "backend").mkdir(parents=True)
    try:
        server.start()
        raise AssertionError("started on half a state")
    except ServerDied as error:
        assert "member.restoring: a restore of a snapshot was cut off here" in str(error)
    finally:
        server.close()


def only_when_stopped(backend):
    commands = (["defrag"], ["migrate", "--target-version=3.6"], ["verify"], ["dump", "log"],
                ["dump", "backend"], ["dump", "metrics"])
    with Server(quorate_binary(), f"--backend={backend}") as server:
        fill(server.endpoint)
        seen, hashed = contents(server.endpoint), hash_kv(server.endpoint)
        for command in commands:
            told = run(UTL, *command, "--data-dir", server.data_dir, "--timeout=10ms", code=1)[1]
            assert "the member is running" in told, told
            told = run(UTL, *command, "--data-dir", server.root + "/none", code=1)[1]
            assert "is no data directory of Quorate" in told, told
        server.stop()
        inspected(server)
        for command in commands:
            run(UTL, *command, "--data-dir", server.data_dir)
        server.start()
        assert contents(server.endpoint) == seen and hash_kv(server.endpoint) == hashed
        # What `migrate` wrote is what a snapshot says.
        client = Client(server.endpoint)
        file = b"".join(m.blob for m in client.Maintenance.Snapshot(etcd.SnapshotRequest()))
        client.close()
        path = Path(server.root, "s.db")
        path.write_bytes(file)
        assert json.loads(run(UTL, "snapshot", "status", path, "-w", "json")[0])["version"] == "3.6.0"


def inspected(server):
    entries = [json.loads(line) for line in run(
        UTL, "dump", "log", "--data-dir", server.data_dir, "-w", "json")[0].splitlines()]
    assert [entry["index"] for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[0]["content"]["type"] == "ConfChangeAddNode", entries[0]
    assert sum("put" in (entry["content"] or {}) for entry in entries) == 304
    rest = run(UTL, "dump", "log", "--data-dir", server.data_dir, "-w", "json", "--first=5",
               "--last=7")[0].splitlines()
    assert [json.loads(line) for line in rest] == entries[4:7]
    keys = run(UTL, "dump", "backend", "--data-dir", server.data_dir, "--table=key")[0]
    assert 'put "txn-b" = "2"' in keys and 'delete "key-010"' in keys
    metrics = run(UTL, "dump", "metrics", "--data-dir", server.data_dir)[0]
    assert "etcd_debugging_mvcc_keys_total 195\n" in metrics, metrics
    assert f"quorate_log_last_index {len(entries)}\n" in metrics, metrics


def every_damage_is_named(backend):
    """In two places of the log and one of the backend at a time."""
    with Server(quorate_binary(), f"--backend={backend}") as server:
        client = Client(server.endpoint)
        for number in range(400):
            client.KV.Put(etcd.PutRequest(key=b"k-%03d" % number,
                                          value=b"value-%03d-" % number + os.urandom(500)))
        client.close()
        server.stop()
        verify = [UTL, "verify", "--data-dir", server.data_dir]
        assert "no damage found" in run(*verify)[0]
        log, = Path(server.data_dir, "member", "log").glob("*.seg")
        flipped = [flip(log, b"value-%03d-" % number) for number in (100, 200)]
        told = [line for line in run(*verify, code=1)[0].splitlines() if line.startswith("damaged")]
        offsets = [int(line.split(": offset ")[1].split(":")[0]) for line in told if log.name in line]
        assert len(offsets) == 2, told
        for at, offset in zip(flipped, offsets):
            assert at - 200 < offset < at, (flipped, offsets)
        for path in Path(server.data_dir, "member", "backend").rglob("*"):
            if path.is_file() and flip(path, b"value-300-") is not None:
                break
        else:
            return print(f"  note: {backend} keeps no value as it is")
        told = run(*verify, code=1)[0]
        assert f"damaged: {log}" in told and f"{path}" in told, told


def flip(path, wanted):
    data = path.read_bytes()
    at = data.find(wanted)
    if at < 0:
        return None
    with open(path, "r+b") as file:
        file.seek(at + 3)
        file.write(bytes([data[at + 3] ^ 1]))
    return at


CASES = [
    (answers_are_etcdutls, ("lmdb",)),
    (from_etcd, BACKENDS),
    (there_and_back, BACKENDS),
    (users_and_rights, ("lmdb",)),
    (three_members, ("lmdb",)),
    (bumped_revision, ("memory",)),
    (refused, ("lmdb", "rocksdb")),
    (cut_off_restore, ("memory",)),
    (only_when_stopped, BACKENDS),
    (every_damage_is_named, BACKENDS),
]


if __name__ == "__main__":
    run_cases(CASES, sys.argv[1:])
