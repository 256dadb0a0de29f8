#!/usr/bin/python3
"""python3-etcd3 (Debian) against every backend: a client library nobody here wrote."""

import queue
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import BACKENDS, Server, quorate_binary  # noqa: E402

try:
    import etcd3
except ImportError:
    print("SKIPPED: python3-etcd3 is not installed")
    sys.exit(77)


def run(server):
    client = etcd3.client(host="127.0.0.1", port=server.client_port)
    assert client.status().version == "3.7.1"
    client.put("a", "1")
    assert client.get("a")[0] == b"1"
    assert client.get("none") == (None, None)
    for number in range(10):
        client.put(f"p/{number}", str(number))
    assert [value for value, _ in client.get_prefix("p/")] == [b"%d" % n for n in range(10)]
    assert len(list(client.get_range("p/3", "p/7"))) == 4
    assert client.delete("a") and not client.delete("a")
    assert client.delete_prefix("p/").deleted == 10

    assert client.put_if_not_exists("once", "x") and not client.put_if_not_exists("once", "y")
    assert client.replace("once", "x", "z") and client.get("once")[0] == b"z"
    done, answers = client.transaction(
        compare=[client.transactions.value("once") == "z",
                 client.transactions.version("once") > 0],
        success=[client.transactions.put("then", "1"), client.transactions.get("once")],
        failure=[client.transactions.put("else", "1")],
    )
    assert done and answers[1][0][0] == b"z", answers
    assert client.get("then")[0] == b"1" and client.get("else")[0] is None

    events = queue.Queue()
    watch = client.add_watch_prefix_callback("w/", events.put)
    client.put("w/1", "one")
    client.delete("w/1")
    first = events.get().events
    rest = first[1:] or events.get().events
    assert isinstance(first[0], etcd3.events.PutEvent) and first[0].value == b"one"
    assert isinstance(rest[0], etcd3.events.DeleteEvent) and rest[0].key == b"w/1"
    client.cancel_watch(watch)

    lease = client.lease(100)
    client.put("leased", "x", lease)
    assert lease.remaining_ttl in range(95, 101) and lease.keys == [b"leased"]
    assert list(lease.refresh())[0].TTL == 100
    lease.revoke()
    assert client.get("leased")[0] is None
    with client.lock("mutex", ttl=30) as lock:
        assert lock.is_acquired()

    revision = client.get_response("then").header.revision
    client.compact(revision, physical=True)
    assert client.hash() > 0
    assert [member.name for member in client.members] == ["test"]
    client.defragment()
    assert list(client.list_alarms()) == []
    client.close()


for backend in sys.argv[1:] or BACKENDS:
    with Server(quorate_binary(), f"--backend={backend}") as server:
        run(server)
        print(f"python3-etcd3: backend {backend}: as expected")
