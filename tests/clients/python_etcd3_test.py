#!/usr/bin/python3
"""python3-etcd3 (Debian) against every backend: a client library nobody here wrote.

usage: python_etcd3_test.py [BACKEND]...
       python_etcd3_test.py --at PORT      what a proxy shall do as well, against what listens there
"""

import queue
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from etcd3_events import shape, take  # noqa: E402
from servers import BACKENDS, Server, quorate_binary  # noqa: E402

try:
    import etcd3
    import grpc
except ImportError:
    print("SKIPPED: python3-etcd3 is not installed")
    sys.exit(77)


def keys_and_values(client, server):
    client.put("a", "1")
    assert client.get("a")[0] == b"1"
    assert client.get("none") == (None, None)
    client.put("a", "2")
    assert client.put("a", "3", prev_kv=True).prev_kv.value == b"2"
    for number in range(10):
        client.put(f"p/{number}", str(9 - number))
    assert [value for value, _ in client.get_prefix("p/")] == [b"%d" % (9 - n) for n in range(10)]
    by_value = client.get_prefix("p/", sort_order="ascend", sort_target="value")
    assert [value for value, _ in by_value] == [b"%d" % n for n in range(10)]
    down = client.get_prefix("p/", sort_order="descend", keys_only=True)
    assert [meta.key for _, meta in down][:2] == [b"p/9", b"p/8"]
    assert len(list(client.get_range("p/3", "p/7"))) == 4
    meta = client.get("a", serializable=True)[1]
    assert (meta.version, meta.mod_revision - meta.create_revision) == (3, 2)
    assert len(list(client.get_all())) == 11
    assert client.delete("a") and not client.delete("a")
    assert client.delete_prefix("p/").deleted == 10
    assert client.delete("none", return_response=True).deleted == 0


def transactions(client, server):
    ops = client.transactions
    assert client.put_if_not_exists("once", "x") and not client.put_if_not_exists("once", "y")
    assert client.replace("once", "x", "z") and client.get("once")[0] == b"z"
    assert not client.replace("once", "x", "q")
    done, answers = client.transaction(
        compare=[ops.value("once") == "z", ops.version("once") > 0, ops.create("then") == 0],
        success=[ops.put("then", "1"), ops.get("once")],
        failure=[ops.put("else", "1")],
    )
    assert done and answers[1][0][0] == b"z", answers
    assert client.get("then")[0] == b"1" and client.get("else")[0] is None
    done, answers = client.transaction(
        compare=[ops.mod("once") == 1],
        success=[],
        failure=[ops.delete("then"),
                 ops.txn(compare=[], success=[ops.put("else", "2")], failure=[])],
    )
    assert not done and client.get("then")[0] is None and client.get("else")[0] == b"2"
    try:
        client.transaction(compare=[], success=[ops.put("d", "1"), ops.put("d", "2")], failure=[])
        raise AssertionError("a key twice in a transaction")
    except grpc.RpcError as error:
        assert error.details() == "etcdserver: duplicate key given in txn request"


def watches(client, server):
    first = client.put("w/0", "old").header.revision
    for number in range(1, 4):
        client.put("w/0", str(number))
    events = queue.Queue()
    old = client.add_watch_prefix_callback("w/", events.put, start_revision=first, prev_kv=True)
    found = take(events, 4)
    assert shape(found) == [("PutEvent", b"w/0", value) for value in (b"old", b"1", b"2", b"3")]
    assert found[3].prev_value == b"2"
    # Filters have to be asked for by the generated classes: the library's own argument for them
    # fails in the library.
    def only(key, left_out):
        create = etcd3.etcdrpc.WatchCreateRequest(key=key, filters=[left_out])
        asked = queue.SimpleQueue()
        asked.put(etcd3.etcdrpc.WatchRequest(create_request=create))
        answers = client.watcher._watch_stub.Watch(iter(asked.get, None))
        assert next(answers).created
        return asked, answers

    sides = [only(b"w/1", etcd3.etcdrpc.WatchCreateRequest.NODELETE),
             only(b"w/1", etcd3.etcdrpc.WatchCreateRequest.NOPUT)]
    client.put("w/1", "one")
    client.delete("w/1")
    client.put("w/1", "two")
    kinds = [[(event.type, event.kv.value) for _ in range(count) for event in next(answers).events]
             for (_, answers), count in zip(sides, (2, 1))]
    put, delete = 0, 1
    assert kinds == [[(put, b"one"), (put, b"two")], [(delete, b"")]], kinds
    for asked, answers in sides:
        asked.put(None)
        answers.cancel()
    assert len(take(events, 3)) == 3
    client.cancel_watch(old)
    iterator, cancel = client.watch("w/2")
    client.put("w/2", "x")
    assert next(iterator).value == b"x"
    cancel()


def leases(client, server):
    lease = client.lease(100)
    client.put("leased", "x", lease)
    client.put("leased/2", "x", lease)
    assert lease.remaining_ttl in range(1, 101) and lease.granted_ttl == 100
    assert sorted(lease.keys) == [b"leased", b"leased/2"]
    assert list(lease.refresh())[0].TTL == 100
    assert client.get("leased")[1].lease_id == lease.id
    lease.revoke()
    assert client.get("leased")[0] is None and client.get("leased/2")[0] is None
    assert client.get_lease_info(lease.id).TTL == -1
    chosen = client.lease(50, lease_id=4242)
    assert chosen.id == 4242
    try:
        client.lease(50, lease_id=4242)
        raise AssertionError("a lease twice")
    except etcd3.exceptions.PreconditionFailedError:
        pass
    chosen.revoke()
    # Ends by itself, which only the watch tells.
    events = queue.Queue()
    watch = client.add_watch_callback("short", events.put)
    client.put("short", "x", client.lease(1))
    assert [name for name, _, _ in shape(take(events, 2))] == ["PutEvent", "DeleteEvent"]
    client.cancel_watch(watch)
    with client.lock("mutex", ttl=30) as lock:
        assert lock.is_acquired()
        assert not client.lock("mutex", ttl=30).acquire(timeout=0)
    assert not lock.is_acquired()


def maintenance(client, server):
    status = client.status()
    assert status.version == "3.7.1" and status.leader.name == "test", status
    assert status.db_size > 0 and status.raft_index > 0 and status.raft_term > 0
    assert [member.name for member in client.members] == ["test"]
    assert list(next(iter(client.members)).client_urls) == [server.url]
    assert client.hash() > 0
    client.defragment()
    assert list(client.list_alarms()) == []


def compaction(client, server):
    revisions = [client.put("c", str(number)).header.revision for number in range(10)]
    client.compact(revisions[5], physical=True)
    for refused in (lambda: client.compact(revisions[2]),
                    lambda: client.compact(revisions[5])):
        try:
            refused()
            raise AssertionError("a compacted revision was served")
        except grpc.RpcError as error:
            assert "required revision has been compacted" in error.details(), error
    events = queue.Queue()
    client.add_watch_callback("c", events.put, start_revision=revisions[1])
    answer = events.get()
    assert isinstance(answer, etcd3.exceptions.RevisionCompactedError), answer
    assert answer.compacted_revision == revisions[5]


SUITE = [keys_and_values, transactions, watches, leases, maintenance, compaction]


def run(port, server, suite):
    client = etcd3.client(host="127.0.0.1", port=port)
    for case in suite:
        case(client, server)
    client.close()


def main():
    if sys.argv[1:2] == ["--at"]:
        run(int(sys.argv[2]), None, [case for case in SUITE if case is not maintenance])
        return
    for backend in sys.argv[1:] or BACKENDS:
        with Server(quorate_binary(), f"--backend={backend}") as server:
            run(server.client_port, server, SUITE)
            print(f"python3-etcd3: backend {backend}: as expected")


if __name__ == "__main__":
    main()
