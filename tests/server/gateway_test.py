#!/usr/bin/python3
"""`quorate gateway start` in front of servers: connections are spread, a server that is not there is
passed over until it is, large messages and watches go through, streams end with their server.

usage: gateway_test.py
"""

import signal
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from cluster import wait_for  # noqa: E402
from servers import Server, free_ports, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402


class Gateway:
    def __init__(self, *endpoints):
        self.port, = free_ports(1)
        self.endpoint = f"127.0.0.1:{self.port}"
        self.log = ""
        self.process = subprocess.Popen(
            [quorate_binary(), "gateway", f"--endpoints={','.join(endpoints)}", "start",
             f"--listen-addr={self.endpoint}", "--retry-delay=50ms"],
            stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        self.wait_log("ready to proxy client requests")

    def _read(self):
        for line in self.process.stderr:
            self.log += line

    def wait_log(self, text):
        wait_for(lambda: text in self.log, f"{text} in the gateway's log")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        assert self.process.wait() == -signal.SIGTERM


def cluster_of(client):
    return client.KV.Range(etcd.RangeRequest(key=b"k")).header.cluster_id


def clusters_seen(gateway, connections):
    seen = []
    for _ in range(connections):
        client = Client(gateway.endpoint)
        seen.append(cluster_of(client))
        client.close()
    return seen


def spread(one, two):
    with Gateway(one.endpoint, f"http://{two.endpoint}") as gateway:
        seen = clusters_seen(gateway, 6)
        assert len(set(seen)) == 2 and seen[:2] == seen[2:4] == seen[4:], seen


def large_and_live(one, _):
    with Gateway(one.endpoint) as gateway:
        client = Client(gateway.endpoint)
        stop = threading.Event()

        def requests():
            yield etcd.WatchRequest(create_request=etcd.WatchCreateRequest(key=b"k"))
            stop.wait()

        stream = client.Watch.Watch(requests())
        assert next(stream).created
        for i in range(20):
            client.KV.Put(etcd.PutRequest(key=b"k", value=b"%d" % i * 700_000))
            value = client.KV.Range(etcd.RangeRequest(key=b"k")).kvs[0].value
            assert value == b"%d" % i * 700_000
            assert next(stream).events[0].kv.value == value
        stop.set()
        stream.cancel()
        client.close()


def absent_ones(one, _):
    late = Server(quorate_binary())
    with Gateway(late.endpoint, one.endpoint) as gateway:
        assert len(set(clusters_seen(gateway, 4))) == 1
        assert "deactivated endpoint" in gateway.log
        try:
            late.start()
            gateway.wait_log("activated")
            wait_for(lambda: len(set(clusters_seen(gateway, 2))) == 2, "connection to the late one")
            # A server that goes ends its connections, and the other serves on.
            late.stop()
            assert len(set(clusters_seen(gateway, 4))) == 1
        finally:
            late.close()


def nobody():
    port, = free_ports(1)
    with Gateway(f"127.0.0.1:{port}") as gateway:
        client = Client(gateway.endpoint)
        try:
            cluster_of(client)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        else:
            raise AssertionError("nobody answered")
        client.close()


def bad_flags():
    for words in (["--endpoints=nowhere", "start"], ["stop"], ["start", "--no-such-flag"],
                  ["start", "--discovery-srv=none.invalid"], ["start", "--retry-delay=soon"]):
        run = subprocess.run([quorate_binary(), "gateway", *words], capture_output=True, text=True)
        assert run.returncode == 1 and run.stderr.startswith("Error: "), (words, run)


def main():
    one, two = Server(quorate_binary()), Server(quorate_binary())
    try:
        one.start()
        two.start()
        for case in (spread, large_and_live, absent_ones):
            case(one, two)
            print(f"gateway: {case.__name__}", flush=True)
    finally:
        one.close()
        two.close()
    nobody()
    bad_flags()
    print("gateway: as expected")


if __name__ == "__main__":
    sys.exit(main())
