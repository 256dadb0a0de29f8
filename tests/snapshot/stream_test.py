#!/usr/bin/python3
"""Maintenance.Snapshot: the stream is etcd's, the state that of one moment, the file one that
etcdutl and a real etcd take; nothing stays behind in the data directory.

usage: stream_test.py [CASE[:BACKEND]]...
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from files import (BUILT, DEBIAN, Client, contents, copy_of, etcd, fill, hash_kv,  # noqa: E402
                   quorate_binary, run, save, tool)

from cluster import run_cases, wait_for  # noqa: E402
from servers import BACKENDS, Server  # noqa: E402


def stream_is_whole(backend):
    with Server(quorate_binary(), f"--backend={backend}") as server:
        fill(server.endpoint, alarm=False)
        file = save(server.endpoint, Path(server.root, "s.db"))
        assert b"after the compaction" in file
        names = sorted(path.name for path in Path(server.data_dir, "member").iterdir())
        assert names == ["LOCK", "backend", "log"], names
        # One after a write holds it: what is applied is in, flushed or not.
        client = Client(server.endpoint)
        client.KV.Put(etcd.PutRequest(key=b"last", value=b"just before the snapshot"))
        client.close()
        assert b"just before the snapshot" in save(server.endpoint, Path(server.root, "t.db"))


def one_moment_while_writes_go_on(backend):
    """Every transaction writes one number to all keys of a group: a snapshot never holds half."""
    etcdutl = tool("etcdutl")
    with Server(quorate_binary(), f"--backend={backend}") as server:
        client = Client(server.endpoint)
        for number in range(40):
            client.KV.Txn(etcd.TxnRequest(success=[
                etcd.RequestOp(request_put=etcd.PutRequest(
                    key=b"g-%d" % i, value=b"%d-" % number + b"x" * 20000)) for i in range(10)]))
        stream = client.Maintenance.Snapshot(etcd.SnapshotRequest())
        first = next(stream)
        for number in range(40, 80):  # while the rest is on its way
            client.KV.Txn(etcd.TxnRequest(success=[
                etcd.RequestOp(request_put=etcd.PutRequest(
                    key=b"g-%d" % i, value=b"%d-" % number)) for i in range(10)]))
        file = first.blob + b"".join(message.blob for message in stream)
        client.close()
        path = Path(server.root, "s.db")
        path.write_bytes(file)
        if etcdutl is None:
            return
        status = json.loads(run(etcdutl, "snapshot", "status", path, "-w", "json")[0])
        assert status["revision"] == 41, status
        hashed = json.loads(run(etcdutl, "hashkv", copy_of(path, "h.db"), "-w", "json")[0])
        assert hashed == hash_kv(server.endpoint, revision=41), hashed


def a_real_etcd_takes_it(backend):
    etcdutl, binary = tool("etcdutl"), tool("etcd")
    if etcdutl is None or binary is None:
        return print(f"  skipped: no etcdutl in {BUILT}")
    with Server(quorate_binary(), f"--backend={backend}") as server:
        fill(server.endpoint)
        path = Path(server.root, "s.db")
        save(server.endpoint, path)
        hashed, seen = hash_kv(server.endpoint), contents(server.endpoint)
        assert json.loads(run(etcdutl, "hashkv", copy_of(path, "h.db"), "-w", "json")[0]) == hashed
        peer = Server(binary)
        run(etcdutl, "snapshot", "restore", path, "--data-dir", peer.data_dir, "--name", peer.name,
            "--initial-cluster", f"{peer.name}={peer.peer_url}",
            "--initial-advertise-peer-urls", peer.peer_url)
        with peer:
            assert hash_kv(peer.endpoint) == hashed
            assert contents(peer.endpoint) == seen
            client = Client(peer.endpoint)
            client.Maintenance.Alarm(
                etcd.AlarmRequest(action="DEACTIVATE", memberID=77, alarm="NOSPACE"))
            # bbolt goes on with our pages: all are rewritten, taken together and freed.
            client.KV.DeleteRange(etcd.DeleteRangeRequest(key=b"\0", range_end=b"\0"))
            revision = client.KV.Put(etcd.PutRequest(key=b"a", value=b"b")).header.revision
            client.KV.Compact(etcd.CompactionRequest(revision=revision, physical=True))
            client.Maintenance.Defragment(etcd.DefragmentRequest())
            client.close()
            assert peer.stop() in (0, -15)
            peer.start()
            assert len(contents(peer.endpoint)["pairs"]) == 1


def an_old_etcd_takes_it(backend):
    etcdctl, binary = tool("etcdctl", DEBIAN), tool("etcd", DEBIAN)
    if etcdctl is None or binary is None:
        return print(f"  skipped: no etcd in {DEBIAN}")
    with Server(quorate_binary(), f"--backend={backend}") as server:
        fill(server.endpoint)
        path = Path(server.root, "s.db")
        run(etcdctl, "--endpoints", server.endpoint, "snapshot", "save", path)
        hashed, seen = hash_kv(server.endpoint), contents(server.endpoint)
        peer = Server(binary)
        run(etcdctl, "snapshot", "restore", path, "--data-dir", peer.data_dir, "--name", peer.name,
            "--initial-cluster", f"{peer.name}={peer.peer_url}",
            "--initial-advertise-peer-urls", peer.peer_url)
        with peer:
            assert hash_kv(peer.endpoint)["hash"] == hashed["hash"]
            assert contents(peer.endpoint) == seen


def clients_that_leave(backend):
    """They hold nothing back: not a place among those that may take one, nor a file."""
    with Server(quorate_binary(), f"--backend={backend}") as server:
        client = Client(server.endpoint)
        for number in range(60):
            client.KV.Put(etcd.PutRequest(key=b"k-%d" % number, value=b"x" * 200000))
        for _ in range(10):
            stream = client.Maintenance.Snapshot(etcd.SnapshotRequest())
            next(stream)
            stream.cancel()

        def taken():
            try:
                return save(server.endpoint, Path(server.root, "s.db"))
            except Exception as error:  # noqa: BLE001: only one kind may come
                assert "too many snapshots" in str(error), error
                return None

        wait_for(taken, "place for one more snapshot")
        client.close()


def no_file_outlives_a_crash(backend):
    with Server(quorate_binary(), f"--backend={backend}") as server:
        assert server.kill() == -9
        left = Path(server.data_dir, "member", "snapshot-spool-3")
        left.write_bytes(b"as a kill right after its creation leaves it")
        server.start()
        assert not left.exists()


def saved_by_quoratectl(backend):
    quoratectl = quorate_binary().with_name("quoratectl")
    with Server(quorate_binary(), f"--backend={backend}") as server:
        fill(server.endpoint)
        path = Path(server.root, "saved.db")
        at = ["--endpoints", server.endpoint]
        out = run(quoratectl, *at, "snapshot", "save", path)[0]
        assert out == f"Snapshot saved at {path}\nServer version 3.7.0\n", out
        assert path.read_bytes() == save(server.endpoint, Path(server.root, "s.db"))
        assert path.stat().st_mode & 0o777 == 0o600
        etcdctl = tool("etcdctl")
        for words, code in (([*at, "snapshot", "save"], 128),
                            (["--endpoints", "a:1,b:2", "snapshot", "save", path], 5)):
            told = run(quoratectl, *words, code=code)[1]
            if etcdctl is not None:  # behind what it says of the environment
                assert run(etcdctl, *words, code=code)[1].endswith(told), told
        none = Path(server.root, "none.db")
        run(quoratectl, *at, "snapshot", "save", Path(server.root, "no/folder.db"), code=5)
        server.stop()
        run(quoratectl, *at, "snapshot", "save", none, "--command-timeout=2s", code=5)
        assert not list(Path(server.root).glob("none.db*"))


CASES = [
    (stream_is_whole, BACKENDS),
    (one_moment_while_writes_go_on, BACKENDS),
    (a_real_etcd_takes_it, BACKENDS),
    (an_old_etcd_takes_it, ("lmdb",)),
    (saved_by_quoratectl, ("memory",)),
    (clients_that_leave, ("lmdb",)),
    (no_file_outlives_a_crash, ("memory",)),
]


if __name__ == "__main__":
    run_cases(CASES, sys.argv[1:])
