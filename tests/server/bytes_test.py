#!/usr/bin/python3
"""Bytes that no client sends: random ones, broken HTTP/2 and HTTP/1.1, connections that are left
half-open, and thousands of resets. The server answers or closes, goes on serving, and has its
memory, descriptors and calls back where they were.

The peaks of the first round are memory that a process keeps; the second round, which does the same,
must not add to it. Random input prints its seed and is repeated by --seed.

usage: bytes_test.py [--seed S]
"""

import argparse
import os
import random
import re
import signal
import socket
import struct
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import Server, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
GROWTH_BYTES_MAX = 12 << 20  # what a second round like the first may add
FIELDS = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"),
          (b"content-type", b"application/grpc"), (b"te", b"trailers")]


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def header_block(path):
    """Literals without indexing (RFC 7541, 6.2.2)."""
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
                    for name, value in [(b":path", path), *FIELDS])


def call(stream, message=b"", path=b"/etcdserverpb.KV/Range"):
    body = b"\0" + struct.pack(">I", len(message)) + message
    return (frame(HEADERS, 4, stream, header_block(path))
            + frame(DATA, 1, stream, body))


def broken(rng):
    """One connection's bytes, none of which is what a client should send."""
    noise = rng.randbytes(rng.randrange(1, 4000))
    start = PREFACE + frame(SETTINGS)
    return rng.choice([
        noise,
        PREFACE + noise,
        start + noise,
        start + frame(rng.randrange(256), rng.randrange(256), rng.randrange(1 << 31), noise),
        start + struct.pack(">I", 0xFFFFFF)[1:] + bytes([DATA, 0, 0, 0, 0, 1]) + noise,
        start + frame(HEADERS, 4, 1, noise),
        start + frame(HEADERS, 0, 1, header_block(b"/x")) + frame(PING, 0, 0, bytes(8)),
        start + frame(CONTINUATION, 4, 1, noise),
        start + frame(WINDOW, 0, 0, struct.pack(">I", 0)),
        start + frame(WINDOW, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 3,
        start + frame(PUSH, 4, 1, noise),
        start + frame(HEADERS, 4, 2, header_block(b"/x")),
        start + call(3) + call(1),
        start + call(1, noise),
        start + call(1, b"", b"/no/such"),
        start + frame(HEADERS, 4, 1, header_block(b"/etcdserverpb.KV/Put"))
        + frame(DATA, 1, 1, b"\0" + struct.pack(">I", 1 << 31)),
        start + frame(HEADERS, 4, 1, header_block(b"/etcdserverpb.KV/Put"))
        + frame(DATA, 1, 1, b"\1" + struct.pack(">I", len(noise)) + noise),
        start + frame(SETTINGS, 1, 0, noise[:6]),
        start + frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)),
        start + frame(GOAWAY, 0, 0, noise[:3]),
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + noise.hex().encode() * 10 + b"\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + noise,
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n" + noise,
        b"\x16\x03\x01" + noise,  # a TLS greeting on a plain port
    ])


def speak(port, data, rng):
    """Sends, and leaves in one of the ways there are."""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        way = rng.randrange(3)
        try:
            peer.sendall(data)
            if way == 0:
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):
                    pass
            elif way == 1:  # a reset instead of an end
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # the server was first


def resets(port, streams):
    """Calls that are taken back at once, all on one connection."""
    with socket.create_connection(("127.0.0.1", port)) as peer:
        data = PREFACE + frame(SETTINGS)
        for number in range(streams):
            stream = 2 * number + 1
            data += frame(HEADERS, 4, stream, header_block(b"/etcdserverpb.Watch/Watch"))
            data += frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
        except OSError:
            pass  # the server may close on who resets that much


def half_open(port, count, rng):
    """Connections that are open at the same time, said something or nothing, and say no more."""
    peers = []
    for _ in range(count):
        peer = socket.create_connection(("127.0.0.1", port))
        peers.append(peer)
        peer.sendall(rng.choice([b"", b"P", PREFACE[:10], PREFACE, PREFACE + frame(SETTINGS)[:5],
                                 b"GET /hea", PREFACE + frame(SETTINGS) + call(1)[:40]]))
    return peers


def gauges(server):
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        text = answer.read().decode()
    names = ("process_open_fds", "process_resident_memory_bytes", "quorate_client_connections",
             "quorate_client_streams")
    return {name: float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1]) for name in names}


def settled(server, base):
    """Gauges once the connections of the round are gone."""
    while True:
        now = gauges(server)
        if (now["quorate_client_connections"] <= base["quorate_client_connections"]
                and now["quorate_client_streams"] == 0):
            return now


def round_of_abuse(server, rng, works):
    port = server.client_port
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(speak, port, broken(rng), random.Random(rng.random()))
                for _ in range(4000)]
        jobs += [pool.submit(resets, port, 2000) for _ in range(8)]
        for job in jobs:
            job.result()
    peers = half_open(port, 300, rng)
    works()  # while they are there
    for peer in peers:
        peer.close()
    works()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    seed = parser.parse_args().seed
    print(f"seed {seed}", flush=True)
    with Server(quorate_binary()) as server:
        written = []

        def works():
            client = Client(server.endpoint)
            key = b"k%d" % len(written)
            written.append(client.KV.Put(etcd.PutRequest(key=key, value=b"v")).header.revision)
            answer = client.KV.Range(etcd.RangeRequest(key=b"k", range_end=b"l"))
            assert [kv.mod_revision for kv in answer.kvs] == written
            client.close()

        works()
        base = gauges(server)
        rng = random.Random(seed)
        round_of_abuse(server, rng, works)
        first = settled(server, base)
        round_of_abuse(server, rng, works)
        second = settled(server, base)
        print(f"before {base}\nafter one round {first}\nafter two {second}")
        assert second["process_open_fds"] <= base["process_open_fds"] + 2
        growth = second["process_resident_memory_bytes"] - first["process_resident_memory_bytes"]
        assert growth <= GROWTH_BYTES_MAX, f"{growth} bytes more after the second round"
        # Revisions tell that nothing of all that was taken for a write.
        assert written == list(range(written[0], written[0] + len(written)))
        assert server.stop() == -signal.SIGTERM
    return 0


if __name__ == "__main__":
    sys.exit(main())
