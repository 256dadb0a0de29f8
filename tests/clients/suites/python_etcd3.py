"""The parts in the idiom of python3-etcd3 (Debian): one channel to one member, no retries, a token
that is fetched once."""

import io
import queue
import sys
import threading
from pathlib import Path

import etcd3
import grpc

import reporting

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))
from etcd3_events import shape, take  # noqa: E402
from reporting import CERTIFICATES, ENDPOINTS, PASSWORDS, TLS, NotOffered, certificate, please

BETWEEN_LOOKS = threading.Event()  # never set


def client(user="app", endpoint=None, password=None):
    host, port = (endpoint or ENDPOINTS[0]).split(":")
    shown = {}
    if TLS:
        shown["ca_cert"] = certificate("ca.pem")
    if CERTIFICATES:
        shown |= {"cert_cert": certificate(f"{user}.pem"), "cert_key": certificate(f"{user}.key")}
    if PASSWORDS:
        shown |= {"user": user, "password": password or f"{user}pw"}
    return etcd3.client(host=host, port=int(port), timeout=60, **shown)


def refused(call, words):
    try:
        call()
    except grpc.RpcError as error:
        assert words in error.details(), error
        return
    raise AssertionError(f"done, though it should be refused: {words}")


def kv():
    c, elsewhere = client(), client(endpoint=ENDPOINTS[1])
    c.put("kv/a", "1")
    assert c.put("kv/a", "2", prev_kv=True).prev_kv.value == b"1"
    for number in range(10):
        c.put(f"kv/list/{number}", str(9 - number))
    value, meta = elsewhere.get("kv/a")
    assert (value, meta.version, meta.mod_revision - meta.create_revision) == (b"2", 2, 1)
    by_value = elsewhere.get_prefix("kv/list/", sort_order="ascend", sort_target="value")
    assert [value for value, _ in by_value] == [b"%d" % n for n in range(10)]
    down = c.get_prefix("kv/list/", sort_order="descend", keys_only=True)
    assert [(value, meta.key) for value, meta in down][0] == (b"", b"kv/list/9")
    assert len(list(c.get_range("kv/list/3", "kv/list/7"))) == 4
    assert c.get("kv/a", serializable=True)[0] == b"2"
    assert c.delete("kv/a", prev_kv=True, return_response=True).prev_kvs[0].value == b"2"
    assert not c.delete("kv/a") and elsewhere.get("kv/a") == (None, None)
    assert c.delete_prefix("kv/list/").deleted == 10


def txn():
    c = client()
    ops = c.transactions
    assert c.put_if_not_exists("txn/a", "x") and not c.put_if_not_exists("txn/a", "y")
    assert c.replace("txn/a", "x", "z") and not c.replace("txn/a", "x", "q")
    done, answers = c.transaction(
        compare=[ops.value("txn/a") == "z", ops.version("txn/a") > 1, ops.create("txn/b") == 0],
        success=[ops.put("txn/b", "1"), ops.get("txn/a")], failure=[ops.put("txn/c", "1")])
    assert done and answers[1][0][0] == b"z", answers
    done, _ = c.transaction(
        compare=[ops.mod("txn/a") == 1], success=[],
        failure=[ops.delete("txn/b"),
                 ops.txn(compare=[], success=[ops.put("txn/c", "2")], failure=[])])
    assert not done and c.get("txn/b")[0] is None and c.get("txn/c")[0] == b"2"
    refused(lambda: c.transaction(
        compare=[], success=[ops.put("txn/d", "1"), ops.put("txn/d", "2")], failure=[]),
        "etcdserver: duplicate key given in txn request")


def lease():
    c = client()
    held = c.lease(100)
    c.put("lease/a", "x", held)
    c.put("lease/b", "x", held)
    assert held.remaining_ttl in range(1, 101) and held.granted_ttl == 100, (held.remaining_ttl, held.granted_ttl)
    assert sorted(held.keys) == [b"lease/a", b"lease/b"]
    assert list(held.refresh())[0].TTL == 100
    assert c.get("lease/a")[1].lease_id == held.id
    held.revoke()
    assert c.get("lease/a")[0] is None and c.get_lease_info(held.id).TTL == -1
    chosen = c.lease(50, lease_id=4242)
    try:
        c.lease(50, lease_id=4242)
        raise AssertionError("a lease twice")
    except etcd3.exceptions.PreconditionFailedError:
        pass
    chosen.revoke()
    events = queue.Queue()
    watch_id = c.add_watch_callback("lease/short", events.put)
    c.put("lease/short", "x", c.lease(1))
    assert [name for name, _, _ in shape(take(events, 2))] == ["PutEvent", "DeleteEvent"]
    c.cancel_watch(watch_id)


def watch():
    c, elsewhere = client(), client(endpoint=ENDPOINTS[2])
    first = c.put("watch/a", "0").header.revision
    for number in range(1, 4):
        c.put("watch/a", str(number))
    events = queue.Queue()
    old = elsewhere.add_watch_prefix_callback("watch/", events.put, start_revision=first,
                                              prev_kv=True)
    found = take(events, 4)
    assert shape(found) == [("PutEvent", b"watch/a", b"%d" % n) for n in range(4)]
    assert [event.prev_value for event in found[1:]] == [b"0", b"1", b"2"]
    c.delete("watch/a")
    assert shape(take(events, 1)) == [("DeleteEvent", b"watch/a", b"")]
    elsewhere.cancel_watch(old)
    iterator, cancel = c.watch("watch/b")
    elsewhere.put("watch/b", "x")
    assert next(iterator).value == b"x"
    cancel()


def compaction():
    c = client()
    revisions = [c.put("compact/a", str(number)).header.revision for number in range(10)]
    root = client("root")
    root.compact(revisions[5], physical=True)
    for again in (revisions[2], revisions[5]):
        refused(lambda: root.compact(again), "required revision has been compacted")
    for endpoint in ENDPOINTS:
        events = queue.Queue()
        client(endpoint=endpoint).add_watch_callback("compact/a", events.put,
                                                     start_revision=revisions[1])
        answer = events.get()
        assert isinstance(answer, etcd3.exceptions.RevisionCompactedError), answer
        assert answer.compacted_revision == revisions[5]


def lock():
    first, rounds, rivals = client(), 5, 3
    first.put("lock/count", "0")

    def rival(number, failures):
        try:
            c = client(endpoint=ENDPOINTS[number])
            for _ in range(rounds):
                held = c.lock("suite", ttl=60)
                while not held.acquire(timeout=0):  # the library's own waiting fails in the library
                    BETWEEN_LOOKS.wait(0.05)
                c.put("lock/count", str(int(c.get("lock/count")[0]) + 1))
                assert held.is_acquired() and held.release()
        except Exception as error:
            failures.append(error)

    failures = []
    threads = [threading.Thread(target=rival, args=(n, failures)) for n in range(rivals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert first.get("lock/count")[0] == b"%d" % (rivals * rounds)
    with first.lock("suite") as held:
        assert not client(endpoint=ENDPOINTS[1]).lock("suite").acquire(timeout=0)
    assert not held.is_acquired()


def not_offered(what):
    def part():
        raise NotOffered(what)

    return part


def denied():
    c, guest = client(), client("guest")
    c.put("guest/a", "1")
    c.put("other", "1")
    assert guest.get("guest/a")[0] == b"1"
    for call in (lambda: guest.get("other"), lambda: guest.put("guest/a", "2"),
                 lambda: guest.delete("guest/a"), lambda: list(guest.get_all()),
                 lambda: guest.compact(1), guest.defragment,
                 lambda: guest.put_if_not_exists("guest/b", "1")):
        refused(call, "etcdserver: permission denied")
    assert c.get("guest/a")[0] == b"1" and c.get("other")[0] == b"1"
    if PASSWORDS:
        refused(lambda: client("guest", password="wrong"),
                "etcdserver: authentication failed, invalid user ID or password")


def token():
    c = client()
    c.put("token/a", "1")
    please("expire app")
    refused(lambda: c.get("token/a"), "etcdserver: invalid auth token")
    assert client().get("token/a")[0] == b"1"


def maintenance():
    root = client("root")
    names = set()
    for endpoint in ENDPOINTS:
        status = client("root", endpoint).status()
        assert status.version.startswith("3.") and status.db_size > 0, status.version
        assert status.raft_index > 0 and status.raft_term > 0
        names.add(status.leader.name)
    assert len(names) == 1, names
    if PASSWORDS:  # the library shows no token with this call
        refused(root.hash, "etcdserver: user name is empty")
    else:
        assert root.hash() > 0
    root.defragment()
    assert list(root.list_alarms()) == []
    written = io.BytesIO()
    root.snapshot(written)
    # bbolt's magic, in the first page's meta.
    assert written.getvalue()[16:20] == bytes.fromhex("edda0ced") and written.tell() > 4096


def members():
    root = client("root")
    assert sorted(member.name for member in root.members) == ["m0", "m1", "m2"]
    scheme = "https" if TLS else "http"
    urls = [url for member in root.members for url in member.client_urls]
    assert sorted(urls) == sorted(f"{scheme}://{endpoint}" for endpoint in ENDPOINTS)
    for member in root.members:
        assert list(member.active_alarms) == []


def in_the_end(call):
    """What it answers when there is a leader, and the channel has come back."""
    while True:
        try:
            return call()
        except etcd3.exceptions.ConnectionFailedError:
            BETWEEN_LOOKS.wait(0.05)
        except grpc.RpcError as error:  # signing in is not translated by the library
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise


def failover():
    for turn, endpoint in enumerate(ENDPOINTS):
        c = in_the_end(lambda: client(endpoint=endpoint))
        in_the_end(lambda: c.put("failover/a", str(turn)))
        please(f"kill {endpoint}")
        try:
            c.get("failover/a")
            raise AssertionError("a member that is dead answered")
        except etcd3.exceptions.ConnectionFailedError:
            pass
        for other in ENDPOINTS[:turn] + ENDPOINTS[turn + 1:]:
            beside = in_the_end(lambda: client(endpoint=other))
            assert in_the_end(lambda: beside.get("failover/a"))[0] == b"%d" % turn
            in_the_end(lambda: beside.put("failover/b", str(turn)))
        please(f"start {endpoint}")
        if PASSWORDS:  # a member that starts anew need not know tokens of before
            c = in_the_end(lambda: client(endpoint=endpoint))
        assert in_the_end(lambda: c.get("failover/b"))[0] == b"%d" % turn


if __name__ == "__main__":
    reporting.run({
        "kv": kv, "txn": txn, "lease": lease, "watch": watch, "compaction": compaction,
        "lock": lock, "election": not_offered("no elections"),
        "namespace": not_offered("no prefix of its own"),
        "users": not_offered("no calls for users and roles"), "denied": denied, "token": token,
        "maintenance": maintenance, "members": members, "failover": failover,
    })
