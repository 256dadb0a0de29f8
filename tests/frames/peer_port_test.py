#!/usr/bin/python3
"""What a member answers at its peer port to whoever is no peer of it, beside a current etcd: members
of other clusters, of other versions, removed or unknown ones, and requests that mean nothing.

Paths that Go would first redirect to others are left out: no peer asks for them.

usage: peer_port_test.py [--new PATH] [--all]
"""

import argparse
import http.client
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from cluster import wait_for  # noqa: E402
from servers import ROOT, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

STRANGER = "abcdef"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "NOPE")
PATHS = ("/", "/nope", "/version", "/health", "/metrics", "/raft", "/raft/", "/raft/probing", "/raft/nope",
         "/raft/stream/", "/raft/stream/message", "/raft/stream/message/",
         "/raft/stream/message/zz", f"/raft/stream/message/{STRANGER}", f"/raft/stream/msgapp/{STRANGER}",
         f"/raft/stream/nope/{STRANGER}", "/raft/snapshot", "/members", "/members/", "/members/promote/",
         "/members/promote/1", "/members/promote/x", "/members/hashkv", "/leases",
         "/leases/internal", "/leases/nope", "/downgrade/enabled", "/v3/kv/range", "/version?x")
# etcd answers, or closes the connection, as follows.
KNOWN = {
    "POST /raft": "a message of no type is an error of the server",
    "much: POST /raft": "the same, told before all has come",
    "POST /leases/internal": "no lease is asked for, and its handler ends",
    **{f"a version that is none: {request}": "its handler ends"
       for request in (f"GET /raft/stream/message/{STRANGER}", "POST /raft", "POST /raft/snapshot")},
}


class Peer:
    """Quorate or etcd, and what it would have a peer say."""

    def __init__(self, binary):
        self.server = Server(binary).start()
        client = Client(self.server.endpoint)
        header = client.Maintenance.Status(etcd.StatusRequest()).header
        client.close()
        self.headers = {
            "X-Server-From": STRANGER, "X-Server-Version": "3.7.1", "X-Min-Cluster-Version": "3.0.0",
            "X-Etcd-Cluster-ID": f"{header.cluster_id:x}", "X-Raft-To": f"{header.member_id:x}",
            "X-PeerURLs": "http://127.0.0.1:1"}
        self.own = (f"{header.cluster_id:x}", f"{header.member_id:x}", str(header.member_id),
                    str(self.server.peer_port), str(self.server.client_port))

    def settled(self):
        """Whether it has brought what it stores to its own version, after the cluster's is decided."""
        return '"storage":"3.7.0"' in self.ask("GET", "/version", {}, None)

    def ask(self, method, path, changed, body):
        headers = {name: value for name, value in {**self.headers, **changed}.items() if value is not None}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.peer_port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            try:
                answer = connection.getresponse()
            except http.client.RemoteDisconnected:
                return "closed"
            streams = answer.status == 200 and path.startswith("/raft/stream")
            try:
                text = "" if streams else answer.read().decode(errors="replace")
            except http.client.IncompleteRead as cut:
                text = cut.partial.decode(errors="replace") + " (cut)"
        finally:
            connection.close()
        for own in self.own:
            text = text.replace(own, "OWN")
        text = re.sub(r'"Now":"[^"]*"', '"Now":"..."', text)
        return f"{answer.status} {text!r}"


def cases():
    """(name, method, path, headers that are not as they should be, body)"""
    for path in PATHS:
        for method in METHODS:
            yield f"{method} {path}", method, path, {}, b"" if method in ("POST", "PUT") else None
    wrong = {"another cluster": {"X-Etcd-Cluster-ID": "1"}, "no cluster": {"X-Etcd-Cluster-ID": None},
             "a cluster that is none": {"X-Etcd-Cluster-ID": "xyz"},
             "a version too old": {"X-Server-Version": "2.3.8"}, "no version": {"X-Server-Version": None},
             "a version that is none": {"X-Server-Version": "x"},
             "a cluster too new": {"X-Min-Cluster-Version": "3.8.0"}, "nobody": {"X-Server-From": None},
             "to another": {"X-Raft-To": "1"}, "to nobody": {"X-Raft-To": None},
             "from a member that is none": {"X-Server-From": "xyz"},
             "URLs that are none": {"X-PeerURLs": "nope"}}
    for name, changed in wrong.items():
        for method, path in (("GET", f"/raft/stream/message/{STRANGER}"), ("POST", "/raft"),
                             ("POST", "/raft/snapshot"), ("GET", "/members"), ("GET", "/version"),
                             ("GET", "/members/hashkv")):
            yield f"{name}: {method} {path}", method, path, changed, b"\xff" if method == "POST" else b"{}"
    for path in ("/raft", "/raft/snapshot", "/leases", "/leases/internal"):
        for what, body in (("garbage", b"\xff" * 20), ("zeros", b"\0" * 20), ("text", b"hello"),
                           ("much", b"x" * (1 << 20))):
            yield f"{what}: POST {path}", "POST", path, {}, body
    for body in (b"", b"{", b"[]", b'{"revision":1}', b'{"revision":99}', b'{"revision":-1}', b'{"revision":"x"}'):
        yield f"{body}: GET /members/hashkv", "GET", "/members/hashkv", {}, body
    lease = etcd.LeaseKeepAliveRequest(ID=404).SerializeToString()
    yield "an unknown lease: POST /leases", "POST", "/leases", {}, lease


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--new", default=str(ROOT / "build" / "peers" / "bin" / "etcd"))
    parser.add_argument("--all", action="store_true", help="prints what comes back of every case")
    arguments = parser.parse_args()
    if not os.access(arguments.new, os.X_OK):
        print(f"peer_port: SKIPPED: no current etcd at {arguments.new}")
        return 77
    failures, count = 0, 0
    peers = [Peer(quorate_binary()), Peer(arguments.new)]
    try:
        for peer in peers:
            wait_for(peer.settled, "a storage version")
        for name, *request in cases():
            count += 1
            mine, theirs = (peer.ask(*request) for peer in peers)
            if arguments.all:
                print(f"{name}\n   {mine}\n   {theirs}")
            if (mine == theirs) == (name in KNOWN):
                failures += 1
                print(f"{name}:\n   quorate {mine}\n   etcd    {theirs}", flush=True)
    finally:
        for peer in peers:
            peer.server.close()
    print(f"peer_port: {count} cases, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
