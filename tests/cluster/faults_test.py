#!/usr/bin/python3
"""Real clusters under faults, with a load that keeps book: kill -9, SIGSTOP, SIGTERM, links that are
cut, slow or break. Nothing acknowledged is lost, reads see what was acknowledged."""

import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import grpc  # noqa: E402

from cluster import SILENT, Cluster, Load, pause, resume, run_cases, wait_for  # noqa: E402
from proxy import Proxy  # noqa: E402
from stubs import Client, etcd  # noqa: E402


def kills(backend):
    with Cluster(3, backend=backend) as cluster, Load(cluster) as load:
        load.progress()
        for victim in (cluster.leader(), cluster.followers()[0], cluster.leader()):
            victim.kill()
            load.progress()  # the other two go on
            victim.start()
        load.progress()
        for member in cluster.running():
            member.kill()
        cluster.start_all()
        load.progress()
        cluster.check_equal()


def pauses(backend):
    with Cluster(3, backend=backend) as cluster, Load(cluster) as load:
        load.progress()
        old = cluster.leader()
        pause(old)
        others = [m for m in cluster.running() if m is not old]
        wait_for(lambda: cluster.leader(among=others) is not old, "new leader")
        load.progress()
        resume(old)
        load.progress()
        follower = cluster.followers()[0]
        pause(follower)
        load.progress()
        resume(follower)
        load.progress()
        cluster.check_equal()


def clean_stops(backend):
    with Cluster(3, backend=backend) as cluster, Load(cluster) as load:
        load.progress()
        leader = cluster.leader()
        assert leader.stop() == -signal.SIGTERM
        assert "leadership transfer finished" in leader.log_tail(1 << 20)
        load.progress()
        leader.start()
        load.progress()
        cluster.check_equal()
        # All at once: nobody is there to take over, and nobody waits long for that.
        stopping = [threading.Thread(target=m.stop) for m in cluster.running()]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        cluster.start_all()
        load.progress()


def links(backend):
    proxy = Proxy()
    try:
        with Cluster(3, backend=backend, advertise=proxy.front) as cluster, Load(cluster) as load:
            proxy.know(cluster.ids)
            load.progress()
            old = cluster.leader()
            others = [m for m in cluster.running() if m is not old]
            proxy.isolate(old.name, [m.name for m in others])
            SILENT.add(old.name)
            wait_for(lambda: cluster.leader(among=others) is not old, "leader on the other side")
            load.progress()
            proxy.heal()
            SILENT.clear()
            load.progress()
            cluster.check_equal()
            # One direction only: it hears nobody, or nobody hears it.
            deaf = cluster.followers()[0]
            SILENT.add(deaf.name)
            for m in cluster.running():
                if m is not deaf:
                    proxy.cut(m.name, deaf.name)
            load.progress()
            proxy.heal()
            SILENT.clear()
            for m in cluster.running():
                proxy.drop(m.name, 0.02)
                proxy.delay(m.name, 0.002)
            load.progress()
            proxy.heal()
            load.progress()
            cluster.check_equal()
    finally:
        proxy.close()


def watches_and_leases(backend):
    with Cluster(3, backend=backend) as cluster, Load(cluster, name="w") as load:
        follower = cluster.followers()[0]
        client = cluster.client(follower)
        seen = []
        create = etcd.WatchRequest(create_request=etcd.WatchCreateRequest(
            key=b"w/", range_end=b"w0", start_revision=1))
        done = threading.Event()

        def requests():
            yield create
            done.wait()

        stream = client.Watch.Watch(requests())

        def collect():
            try:
                for response in stream:
                    seen.extend(e.kv.key for e in response.events)
            except grpc.RpcError:
                pass  # cancelled below

        reader = threading.Thread(target=collect)
        reader.start()
        lease = client.Lease.LeaseGrant(etcd.LeaseGrantRequest(TTL=5), timeout=30)
        client.KV.Put(etcd.PutRequest(key=b"held", lease=lease.ID), timeout=30)
        for _ in range(2):
            leader = cluster.leader()
            if leader is not follower:
                leader.kill()
                load.progress()
                # Renewed through a follower, at whoever leads.
                answer = next(client.Lease.LeaseKeepAlive(
                    iter([etcd.LeaseKeepAliveRequest(ID=lease.ID)]), timeout=60))
                assert answer.TTL == 5, answer
                leader.start()
            load.progress()
        assert client.KV.Range(etcd.RangeRequest(key=b"held"), timeout=30).kvs, "lease ended early"
        wait_for(lambda: not client.KV.Range(etcd.RangeRequest(key=b"held"), timeout=30).kvs,
                 "end of a lease that nobody renews")
        wanted = len(load.acknowledged)
        wait_for(lambda: len(set(seen)) >= wanted, "all events")
        assert seen == sorted(seen), "events out of order or twice"
        done.set()
        stream.cancel()
        reader.join()


def without_a_leader(backend):
    with Cluster(3, backend=backend) as cluster:
        survivor = cluster.followers()[0]
        client = Client(survivor.endpoint)
        done = threading.Event()

        def requests():
            yield etcd.WatchRequest(create_request=etcd.WatchCreateRequest(key=b"k"))
            done.wait()

        stream = client.Watch.Watch(requests(), metadata=(("hasleader", "true"),))
        next(iter(stream))
        for member in cluster.running():
            if member is not survivor:
                member.kill()
        try:
            for _ in stream:
                pass
            raise AssertionError("the stream ended without an error")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            assert error.details() == "etcdserver: no leader", error
        done.set()
        for call, code, text in (
            (lambda: client.KV.Put(etcd.PutRequest(key=b"k"), metadata=(("hasleader", "true"),)),
             grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader"),
            (lambda: client.KV.Put(etcd.PutRequest(key=b"k")),
             grpc.StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded"),
            (lambda: client.KV.Range(etcd.RangeRequest(key=b"k")),
             grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out"),
        ):
            try:
                call()
                raise AssertionError(f"answered, not {text}")
            except grpc.RpcError as error:
                assert (error.code(), error.details()) == (code, text), error
        assert client.KV.Range(etcd.RangeRequest(key=b"k", serializable=True)).header.revision == 1
        client.close()


def leases_while_the_leader_lags(backend):
    """What a follower acknowledged is in what it then says of a lease, although the leader, whose disk
    is busy and which has to be asked, may have applied less."""
    with Cluster(3, backend=backend) as cluster:
        leader, done = cluster.leader(), threading.Event()

        def busy():
            client = cluster.new_client(leader)
            while not done.is_set():
                client.KV.Put(etcd.PutRequest(key=b"large", value=bytes(300_000)))
            client.close()

        threads = [threading.Thread(target=busy) for _ in range(4)]
        for thread in threads:
            thread.start()
        client, wrong = cluster.client(cluster.followers()[0]), []
        for _ in range(100):
            lease = client.Lease.LeaseGrant(etcd.LeaseGrantRequest(TTL=600)).ID
            ask = etcd.LeaseTimeToLiveRequest(ID=lease, keys=True)
            granted = client.Lease.LeaseTimeToLive(ask).grantedTTL
            client.KV.Put(etcd.PutRequest(key=b"leased", lease=lease))
            keys = list(client.Lease.LeaseTimeToLive(ask).keys)
            if (granted, keys) != (600, [b"leased"]):
                wrong.append((granted, keys))
        done.set()
        for thread in threads:
            thread.join()
        assert not wrong, wrong


CASES = [
    (leases_while_the_leader_lags, ("lmdb",)),
    (kills, ("lmdb",)),
    (pauses, ("memory",)),
    (clean_stops, ("rocksdb",)),
    (links, ("rocksdb",)),
    (watches_and_leases, ("lmdb",)),
    (without_a_leader, ("memory",)),
]


if __name__ == "__main__":
    run_cases(CASES, sys.argv[1:])
