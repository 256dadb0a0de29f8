#!/usr/bin/python3
"""Every path of the JSON gateway with good and bad input, to Quorate and to real etcds beside it.

The servers get the same requests in the same order; status, headers that matter and bodies, field by
field, must be equal. Texts of a JSON parser are its own: of those the code alone counts. Streams are
read line by line. A method that Quorate does not have yet is named and left out. All is asked twice:
in plain text over HTTP/1.1, and over TLS by curl, which speaks HTTP/2 there.

usage: json_test.py [--old PATH] [--new PATH]
"""

import argparse
import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from certificates import Authority, server_flags  # noqa: E402
from cluster import wait_for  # noqa: E402
from servers import ROOT, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd, lock  # noqa: E402

TABLE = ROOT / "tests" / "wire" / "services.tsv"
PATIENCE_SECONDS = 120
# What differs between any two servers, wherever it stands.
OWN = {"cluster_id", "member_id", "raft_term", "dbSize", "dbSizeInUse", "dbSizeQuota", "leader",
       "raftIndex", "raftTerm", "raftAppliedIndex", "memberID", "peerURLs", "clientURLs", "token",
       "storageVersion", "authRevision"}
HEADERS = ("Content-Type", "Grpc-Metadata-Content-Type", "Transfer-Encoding", "Www-Authenticate",
           "Access-Control-Allow-Origin", "Access-Control-Allow-Methods",
           "Access-Control-Allow-Headers", "Location", "Allow", "X-Content-Type-Options")
# It was not asked everything.
CURL_STREAM_WAS_RESET = 92
OLD_OWN = {"revision", "create_revision", "mod_revision", "compact_revision"}
FRACTION = {"TTL": 100}  # counts down: alike within so much


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


@dataclass
class Row:
    path: str
    body: object = field(default_factory=dict)  # text and bytes are sent as they are
    method: str = "POST"
    headers: dict = field(default_factory=dict)
    lines: int = 0      # of a stream: so many are read, then it is left
    own: tuple = ()     # more fields that differ
    parser: bool = False  # the message is a JSON parser's
    old: bool = True    # the older etcd answers alike
    text: bool = True   # the body counts


def kv_rows():
    key, value = b64("foo"), b64(b"\x00\xff\xfe bar")
    yield Row("/v3/kv/put", {"key": key, "value": value})
    yield Row("/v3/kv/put", {"key": key, "value": b64("2"), "prev_kv": True})
    yield Row("/v3/kv/put", {"key": key, "prevKv": True, "ignoreValue": True})
    yield Row("/v3/kv/put", {"key": "_-8", "value": "_-8="}, old=False)
    yield Row("/v3/kv/put", {"key": b64("n"), "value": None, "ignore_lease": None, "new": {"x": [1]}},
              old=False)
    yield Row("/v3/kv/put", {})
    yield Row("/v3/kv/put", {"key": key, "lease": 99})
    yield Row("/v3/kv/put", {"key": key, "lease": "1e2"}, old=False)
    yield Row("/v3/kv/put", {"key": key, "value": value, "ignore_value": True})
    yield Row("/v3/kv/put", '{"key":"Zm9v"} trailing words')
    yield Row("/v3/kv/range", {"key": key})
    yield Row("/v3/kv/range", {"key": b64("none")})
    yield Row("/v3/kv/range", {"key": "AA==", "range_end": "AA==", "limit": "2"}, old=False)
    yield Row("/v3/kv/range", {"key": "AA==", "rangeEnd": "AA==", "sort_order": "DESCEND",
                               "sort_target": "MOD", "keysOnly": True}, old=False)
    yield Row("/v3/kv/range", {"key": "AA==", "range_end": "AA==", "count_only": True}, old=False)
    yield Row("/v3/kv/range", {"key": key, "sort_order": "SIDEWAYS"}, old=False)
    yield Row("/v3/kv/range", {"key": key, "sort_order": 7}, old=False)
    yield Row("/v3/kv/range", {"key": key, "revision": 1000})
    yield Row("/v3/kv/range", {"key": key, "serializable": True})
    yield Row("/v3beta/kv/range", {"key": key})
    yield Row("/v3/kv/range", {"key": key}, headers={"Grpc-Metadata-hasleader": "true",
                                                    "Authorization": "nobody", "Accept": "*/*"}, old=False)
    ops = [{"request_put": {"key": b64("t"), "value": b64("v")}},
           {"requestRange": {"key": key}},
           {"request_delete_range": {"key": b64("t0")}},
           {"request_txn": {"success": [{"request_range": {"key": b64("t")}}]}}]
    yield Row("/v3/kv/txn", {"compare": [{"target": "VERSION", "key": b64("t"), "version": "0"}],
                             "success": ops, "failure": [{"request_range": {"key": b64("t")}}]})
    yield Row("/v3/kv/txn", {"compare": [{"target": "VALUE", "result": "NOT_EQUAL", "key": key,
                                          "value": "YQ=="}], "success": ops[1:2]})
    yield Row("/v3/kv/txn", {"compare": [{"target": 1, "result": 2, "key": key,
                                          "create_revision": 1}], "failure": ops[1:2]})
    yield Row("/v3/kv/txn", {"success": [{}]})
    yield Row("/v3/kv/txn", {})
    yield Row("/v3/kv/txn", {"success": [None]}, parser=True, old=False)
    yield Row("/v3/kv/txn", {"success": [{"request_range": {"key": key}, "request_put": {"key": key}}]},
              parser=True, old=False)
    yield Row("/v3/kv/deleterange", {"key": key, "prev_kv": True})
    yield Row("/v3/kv/deleterange", {"key": key})
    yield Row("/v3/kv/deleterange", {"key": ""})
    yield Row("/v3/kv/compaction", {"revision": "3"})
    yield Row("/v3/kv/compaction", {"revision": "3"})
    yield Row("/v3/kv/compaction", {"revision": "3000", "physical": True})


def lease_rows():
    yield Row("/v3/lease/grant", {"TTL": 600, "ID": 4242})
    yield Row("/v3/lease/grant", {"TTL": "600", "ID": "4242"}, old=False)
    yield Row("/v3/lease/grant", {"TTL": "99999999999"})
    yield Row("/v3/kv/put", {"key": b64("leased"), "lease": "4242"})
    for root in ("/v3/lease", "/v3/kv/lease"):
        yield Row(root + "/timetolive", {"ID": 4242, "keys": True})
        yield Row(root + "/timetolive", {"ID": 5})
        yield Row(root + "/leases")
        yield Row(root + "/revoke", {"ID": 5})
    yield Row("/v3/lease/keepalive", '{"ID":"4242"}\n{"ID":4242}{"ID":7}', lines=4)
    yield Row("/v3/lease/keepalive", '{"ID":4242}{"ID":"word"}{"ID":4242}', lines=3)
    yield Row("/v3/lease/keepalive", '{"ID":"word"}', lines=1, old=False)
    yield Row("/v3/lease/keepalive", "", lines=1, old=False)
    yield Row("/v3/lease/revoke", {"ID": "4242"})


def watch_rows():
    create = {"key": b64("w"), "range_end": b64("x")}
    yield Row("/v3/kv/put", {"key": b64("w1"), "value": b64("1")})
    yield Row("/v3/kv/put", {"key": b64("w2"), "value": b64("2")})
    yield Row("/v3/kv/deleterange", {"key": b64("w1")})
    yield Row("/v3/watch", {"create_request": {**create, "start_revision": 5, "prev_kv": True}},
              lines=2, old=False)
    yield Row("/v3/watch", json.dumps({"create_request": create}) +
              json.dumps({"createRequest": {"key": b64("q"), "watch_id": "7"}}) +
              json.dumps({"cancel_request": {"watch_id": 7}}), lines=3)
    yield Row("/v3/watch", {"create_request": {"key": b64("b"), "range_end": b64("a")}}, lines=1)
    yield Row("/v3/watch", {"create_request": {"key": b64("b"), "start_revision": "1"}}, lines=2)
    yield Row("/v3/watch", json.dumps({"create_request": {"key": b64("b")}}) + "{oops", lines=1)


def other_rows():
    yield Row("/v3/cluster/member/list", own=("ID",))
    yield Row("/v3/cluster/member/list", {"linearizable": True}, own=("ID",), old=False)
    yield Row("/v3/cluster/member/add", {"peerURLs": ["no url <&>"]})
    yield Row("/v3/cluster/member/remove", {"ID": 12345})
    yield Row("/v3/cluster/member/update", {"ID": "12345", "peerURLs": ["http://127.0.0.1:1"]})
    yield Row("/v3/cluster/member/promote", {"ID": "12345"})
    yield Row("/v3/cluster/member/add", {"peerURLs": ["http://127.0.0.1:1"], "isLearner": True},
              own=("ID", "members"))  # they stand in the order of ids
    yield Row("/v3/maintenance/status", own=("version",), old=False)
    yield Row("/v3/maintenance/alarm", {"action": "GET"}, old=False)
    yield Row("/v3/maintenance/alarm", {"action": "ACTIVATE", "memberID": "5", "alarm": "NOSPACE"}, old=False)
    yield Row("/v3/kv/put", {"key": b64("full")}, old=False)
    yield Row("/v3/maintenance/alarm", {"action": 2, "memberID": 5, "alarm": 1}, old=False)
    yield Row("/v3/maintenance/alarm", {"action": "FOO"}, old=False)
    yield Row("/v3/maintenance/hash", own=("hash",))
    yield Row("/v3/maintenance/hashkv", {"revision": 0}, old=False)
    yield Row("/v3/maintenance/hashkv", {"revision": "77777"}, old=False)
    yield Row("/v3/maintenance/defragment")
    yield Row("/v3/maintenance/transfer-leadership", {"targetID": "1"}, old=False)
    yield Row("/v3/maintenance/downgrade", {"action": "VALIDATE", "version": "x"}, old=False)
    yield Row("/v3/maintenance/snapshot", "[]", parser=True, old=False)
    yield Row("/v3/lock/lock", {"name": b64("l"), "lease": "99"}, old=False)
    yield Row("/v3/lock/unlock", {"key": b64("l/none")}, old=False)
    yield Row("/v3/lock/unlock", {})
    yield Row("/v3/election/leader", {"name": b64("e")})
    yield Row("/v3/lease/grant", {"TTL": 600, "ID": 17})
    yield Row("/v3/lock/lock", {"name": b64("l"), "lease": "17"}, old=False)
    yield Row("/v3/election/campaign", {"name": b64("e"), "lease": 17, "value": b64("v")}, old=False)
    leader = {"name": b64("e"), "key": b64("e/11"), "lease": "17"}
    yield Row("/v3/election/leader", {"name": b64("e")}, old=False)
    yield Row("/v3/election/observe", {"name": b64("e")}, lines=1, old=False)
    yield Row("/v3/election/proclaim", {"leader": leader, "value": b64("w")}, old=False)
    yield Row("/v3/election/resign", {"leader": leader}, old=False)
    yield Row("/v3/election/resign", {})


def auth_rows():
    user, role = {"name": "u", "password": "p"}, {"name": "r"}
    yield Row("/v3/auth/status", old=False)
    yield Row("/v3/auth/authenticate", user, old=False)
    yield Row("/v3/auth/enable", old=False)
    yield Row("/v3/auth/disable", old=False)
    for path, body in (("user/add", user), ("user/add", user), ("user/add", {}), ("user/get", {"name": "u"}),
                       ("user/get", {"name": "x"}), ("user/list", {}), ("role/add", role),
                       ("role/add", role), ("role/get", {"role": "x"}), ("role/list", {}),
                       ("role/grant", {"name": "r", "perm": {"permType": "WRITE", "key": b64("k"),
                                                             "range_end": b64("l")}}),
                       ("role/grant", {"name": "r"}), ("role/get", {"role": "r"}),
                       ("user/grant", {"user": "u", "role": "r"}), ("user/get", {"name": "u"}),
                       ("user/grant", {"user": "u", "role": "x"}), ("user/changepw", {**user, "password": "q"}),
                       ("user/revoke", {"name": "u", "role": "r"}), ("user/revoke", {"name": "u", "role": "r"}),
                       ("role/revoke", {"role": "r", "key": b64("k"), "range_end": b64("l")}),
                       ("role/revoke", {"role": "r", "key": b64("k")}), ("role/delete", {"role": "r"}),
                       ("role/delete", {"role": "r"}), ("user/delete", {"name": "u"}),
                       ("user/delete", {"name": "u"})):
        yield Row("/v3/auth/" + path, body, old=False)


def timeout_rows():
    """The Grpc-Timeout header. What is over before it began is answered as a whole, streams as well.
    When it passes meanwhile, etcd's words depend on which end of its own connection is quicker."""
    kept = {"create_request": {"key": b64("t")}}
    for text in ("0S", "5", "S", "xS", "1.5S", "1s", "99999999999999999999S", "-1S", "20S"):
        headers = {"Grpc-Timeout": text}
        yield Row("/v3/kv/range", {"key": b64("foo")}, headers=headers, old=False)
        yield Row("/v3/kv/range", "{", headers=headers, parser=True, old=False)
        yield Row("/v3/lease/keepalive", {"ID": 5}, headers=headers, old=False)
    yield Row("/v3/watch", kept, headers={"Grpc-Timeout": "300m"}, lines=2,
              own=("message",), old=False)
    yield Row("/v3/election/observe", {"name": b64("t")}, headers={"Grpc-Timeout": "100m"},
              own=("message",), old=False)
    yield Row("/v3/lease/grant", {"TTL": 600, "ID": 18}, old=False)
    yield Row("/v3/lease/grant", {"TTL": 600, "ID": 19}, old=False)
    yield Row("/v3/lock/lock", {"name": b64("t"), "lease": "18"}, old=False)
    yield Row("/v3/lock/lock", {"name": b64("t"), "lease": "19"}, headers={"Grpc-Timeout": "100000u"},
              own=("message",), old=False)


def plain_rows():
    """What is no JSON gateway's."""
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        yield Row("/health", method=method, headers={"Origin": "http://example.com"}, old=False)
        yield Row("/version", method=method, own=("etcdserver",), old=False)
        yield Row("/readyz/serializable_read?verbose", method=method, old=False)
        yield Row("/metrics", method=method, text=False, old=False)
        yield Row("/", method=method, old=False)
        yield Row("/v2/keys", method=method, old=False)
    yield Row("/health?serializable=true", method="GET", old=False)
    yield Row("/livez", method="GET", old=False)


def general_rows(routes):
    """Every path: garbage, another method; and what is no path."""
    for path, client_streams in routes:
        if not client_streams:
            for body in ("{", "[1]", "null", "{'a':1}", b'{"a":"\xff"}', '{"a":1,}', "nonsense"):
                yield Row(path, body, parser=True, old=False)
        yield Row(path, method="GET", old=False)
    for method in ("PUT", "DELETE", "PATCH", "HEAD"):
        yield Row("/v3/kv/put", method=method, old=False)
    for path in ("/v3/", "/v3/kv", "/v3/kv/put/", "/v3/kv/PUT", "/v3/nothing", "/v3alpha/kv/put"):
        yield Row(path, old=path == "/v3alpha/kv/put")
        yield Row(path, method="GET", old=False)
    yield Row("/v3", old=False)
    yield Row("/v3/kv/put", method="OPTIONS", headers={"Origin": "http://example.com",
                                                       "Access-Control-Request-Method": "POST"})
    yield Row("/v3/kv/range", {"key": b64("foo")}, headers={"Origin": "http://example.com"})
    for body in ({"key": 5}, {"key": "%%"}, {"key": "Zg="}, {"lease": "1.5"}, {"lease": True},
                 {"prev_kv": "true"}, {"prev_kv": 1}, '{"key":"YQ==","key":"YQ=="}',
                 '{"lease":9223372036854775808}', '{"x":' + "[" * 20000):
        yield Row("/v3/kv/put", body, parser=True, old=False)
    # Too large for the log, too large for a message.
    yield Row("/v3/kv/put", {"key": b64("big"), "value": b64(b"v" * 1_600_000)})
    yield Row("/v3/kv/put", {"key": b64("big"), "value": b64(b"v" * 2_200_000)}, old=False)
    yield Row("/v3/kv/put", {"key": b64("big"), "value": b64(b"v" * 1_000_000)})
    yield Row("/v3/kv/range", {"key": b64("big")})


# --- asking and comparing


def routes():
    """(path, whether the client may send many messages), each path once."""
    lines = [line.split("\t") for line in TABLE.read_text().splitlines()]
    at = {name: i for i, name in enumerate(lines[0])}
    return [(row[at["http_path"]], row[at["client_stream"]] == "true")
            for row in lines[1:] if row[at["http_path"]] != "-"]


def stripped(value, own):
    """Without what differs; names that are lost here are kept as such."""
    if isinstance(value, dict):
        return {name: "own" if name in OWN or name in own else stripped(inner, own)
                for name, inner in value.items()}
    return [stripped(inner, own) for inner in value] if isinstance(value, list) else value


def settled(text, row):
    try:
        value = stripped(json.loads(text), row.own)
    except ValueError:
        return text
    if isinstance(value, dict):
        if row.parser and "message" in value:
            value["message"] = "a parser's"
        # Of older gateways.
        if value.get("error") == value.get("message"):
            value.pop("error", None)
        for name, within in FRACTION.items():
            if name in value:
                value[name] = int(value[name]) // within
    return value


def body_of(row):
    return row.body if isinstance(row.body, (str, bytes)) else json.dumps(row.body)


def ask(server, row):
    connection = http.client.HTTPConnection("127.0.0.1", server.client_port, timeout=PATIENCE_SECONDS)
    connection.request(row.method, row.path, body=None if row.method == "GET" else body_of(row),
                       headers=row.headers)
    response = connection.getresponse()
    if row.lines:
        texts = [response.readline().decode() for _ in range(row.lines)]
    else:
        texts = [response.read().decode()]
    headers = {name: response.getheader(name) for name in HEADERS}
    if not row.lines:
        headers["Transfer-Encoding"] = None  # a whole answer may come in chunks or not
    connection.close()
    return response.status, headers, [settled(text, row) for text in texts]


def ask_by_curl(authority):
    """As `ask`, over TLS and HTTP/2. etcd may answer before it has read the request, and then resets
    the stream right behind its answer, which curl takes for a failure: it is asked again."""
    def asked(server, row):
        for _ in range(1 if server.binary == str(quorate_binary()) else 20):
            answer = asked_once(server, row)
            if answer is not None:
                return answer
        raise AssertionError(f"{row}: {server.binary} resets every answer")

    def asked_once(server, row):
        head = ["--head"] if row.method == "HEAD" else ["-i", "-X", row.method]
        body = [] if row.method in ("GET", "HEAD") else ["--data-binary", "@-", "-H", "Content-Type:"]
        fields = [f"-H{name}: {value}" for name, value in row.headers.items()]
        curl = subprocess.Popen(
            ["curl", "-sSN", "--noproxy", "*", "--http2", "--cacert", authority.ca, *head, *body,
             *fields, f"{server.url}{row.path}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        text = body_of(row) if body else b""
        try:
            curl.stdin.write(text if isinstance(text, bytes) else text.encode())
            curl.stdin.close()
        except BrokenPipeError:
            pass  # it was refused before all was said
        version, _, status = curl.stdout.readline().partition(b" ")
        if not version:
            curl.stdout.close()
            assert curl.wait() == CURL_STREAM_WAS_RESET, f"{row}: curl says {curl.returncode}"
            return None
        assert version == b"HTTP/2", f"{row}: {server.binary} says {version}"
        fields = {}
        for line in iter(lambda: curl.stdout.readline().strip(), b""):
            name, _, value = line.decode().partition(": ")
            fields[name.lower()] = value
        if row.lines:
            texts = [curl.stdout.readline().decode() for _ in range(row.lines)]
            curl.kill()
        else:
            texts = [curl.stdout.read().decode()]
        curl.stdout.close()
        ends = (0, -signal.SIGKILL) if row.lines else (0,)
        if curl.wait() == CURL_STREAM_WAS_RESET:
            return None
        assert curl.returncode in ends, f"{row}: curl says {curl.returncode}"
        headers = {name: fields.get(name.lower()) for name in HEADERS}
        if int(status) != 200 or not "".join(texts):
            # An accident of how etcd's gateway comes to it over TLS; in plain text it is not there.
            headers["Grpc-Metadata-Content-Type"] = None
        return int(status), headers, [settled(text, row) for text in texts]
    return asked


def differences(mine, theirs, row):
    (my_status, my_headers, my_texts), (status, headers, texts) = mine, theirs
    if my_status != status:
        yield f"status {my_status}, not {status}"
    for name in HEADERS:
        if my_headers[name] != headers[name]:
            yield f"{name} {my_headers[name]}, not {headers[name]}"
    for one, other in zip(my_texts, texts, strict=True):
        if row.text and one != other:
            yield f"body {str(one)[:400]}\n   not  {str(other)[:400]}"


def compare(servers, rows, ask, failures):
    absent, count = set(), 0
    for row in rows:
        answers = {name: ask(server, row) for name, server in servers.items()
                   if name != "old" or row.old}
        mine = answers["quorate"]
        if mine[0] == 501 and row.method == "POST":  # no such method
            absent.add(row.path)
            continue
        count += 1
        for name, theirs in answers.items():
            seen = mine
            if name == "old":  # its gateway sends other headers
                theirs = (theirs[0], mine[1], stripped(theirs[2], OLD_OWN))
                seen = (mine[0], mine[1], stripped(mine[2], OLD_OWN))
            found = list(differences(seen, theirs, row))
            if found:
                found = "\n   ".join(found)
                failures.append(f"{row.method} {row.path} {str(row.body)[:200]}: beside {name}\n   {found}")
    return count, absent


# --- what is not a matter of one question and one answer


class Stream:
    """A stream that is read while other things happen."""

    def __init__(self, server, path, body):
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", server.client_port, timeout=PATIENCE_SECONDS)
        self.connection.request("POST", path, body=body)
        self.response = self.connection.getresponse()

    def line(self):
        return json.loads(self.response.readline())["result"]

    def close(self):
        self.response.close()
        self.connection.close()


def live_watch(server):
    """Events come as they happen, each in a line of its own, and closing ends the watch."""
    client = Client(server.endpoint)
    stream = Stream(server, "/v3/watch", json.dumps({"create_request": {"key": b64("live")}}))
    assert stream.line()["created"]
    for value in (b"1", b"2" * 300_000, b""):
        client.KV.Put(etcd.PutRequest(key=b"live", value=value))
        kv = stream.line()["events"][0]["kv"]
        assert base64.b64decode(kv.get("value", "")) == value
    stream.close()
    client.close()


def slow_watch(server):
    """A client that does not read gets everything in the end."""
    client = Client(server.endpoint)
    stream = Stream(server, "/v3/watch", json.dumps({"create_request": {"key": b64("slow")}}))
    assert stream.line()["created"]
    for i in range(60):
        client.KV.Put(etcd.PutRequest(key=b"slow", value=b"%07d" % i * 30_000))
    seen = []
    while len(seen) < 60:
        seen += [base64.b64decode(e["kv"]["value"])[:7] for e in stream.line()["events"]]
    assert seen == [b"%07d" % i for i in range(60)], seen
    stream.close()
    client.close()


def waiting_lock(server):
    """A lock that is waited for in JSON: the client that goes leaves no key behind."""
    client = Client(server.endpoint)
    held = client.Lock.Lock(lock.LockRequest(name=b"json"))
    body = json.dumps({"name": b64("json")})
    head = f"POST /v3/lock/lock HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    waiting = socket.create_connection(("127.0.0.1", server.client_port), timeout=PATIENCE_SECONDS)
    waiting.sendall(head.encode())
    wait_for(lambda: keys_under(client, b"json/") == 2, "second key")
    waiting.close()
    wait_for(lambda: keys_under(client, b"json/") == 1, "waiter's key deleted")
    patient = socket.create_connection(("127.0.0.1", server.client_port), timeout=PATIENCE_SECONDS)
    patient.sendall(head.encode())
    wait_for(lambda: keys_under(client, b"json/") == 2, "second key again")
    client.KV.DeleteRange(etcd.DeleteRangeRequest(key=held.key))
    assert patient.recv(12) == b"HTTP/1.1 200"
    patient.close()
    client.close()


def keys_under(client, prefix):
    return client.KV.Range(etcd.RangeRequest(
        key=prefix, range_end=prefix[:-1] + b"0", count_only=True)).count


def switched_off():
    with Server(quorate_binary(), "--enable-grpc-gateway=false", "--cors=http://good.example") as server:
        status, headers, body = ask(server, Row("/v3/kv/range", {"key": b64("a")}))
        assert (status, body) == (404, ["404 page not found\n"]), (status, body)
        assert headers["Access-Control-Allow-Origin"] is None


def cors_list():
    with Server(quorate_binary(), "--cors=http://good.example", "--host-whitelist=good.host") as server:
        for origin, host, expected in (("http://good.example", "good.host", "http://good.example"),
                                       ("http://bad.example", "good.host", None)):
            row = Row("/v3/kv/range", {"key": b64("a")}, headers={"Origin": origin, "Host": host})
            status, headers, _ = ask(server, row)
            assert status == 200 and headers["Access-Control-Allow-Origin"] == expected, headers
        stream = Row("/v3/lease/keepalive", {"ID": 5}, lines=1,
                     headers={"Origin": "http://good.example", "Host": "good.host"})
        status, headers, _ = ask(server, stream)
        assert headers["Access-Control-Allow-Origin"] == "http://good.example", headers
        assert ask(server, Row("/v3/kv/range", {"key": b64("a")}))[0] == 421


def stops_at_once(server):
    """Streams and waiting calls do not hold up a stop."""
    client = Client(server.endpoint)
    client.Lock.Lock(lock.LockRequest(name=b"stop"))
    stream = Stream(server, "/v3/watch", json.dumps({"create_request": {"key": b64("stop")}}))
    assert stream.line()["created"]
    waiting = socket.create_connection(("127.0.0.1", server.client_port), timeout=PATIENCE_SECONDS)
    body = json.dumps({"name": b64("stop")})
    waiting.sendall(f"POST /v3/lock/lock HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
                    f"{body}".encode())
    wait_for(lambda: keys_under(client, b"stop/") == 2, "second key")
    client.close()
    assert server.stop() == -signal.SIGTERM
    waiting.close()
    stream.close()


def all_rows():
    rows = [*kv_rows(), *lease_rows(), *watch_rows(), *other_rows(), *auth_rows(), *timeout_rows(),
            *plain_rows(), *general_rows(routes())]
    asked = {row.path for row in rows}
    unasked = [path for path, _ in routes() if path not in asked]
    assert not unasked, f"no row asks {unasked}"
    return rows


def over_tls(binaries, failures):
    with Authority() as authority:
        flags = server_flags(authority.issue("server"))
        servers = {name: Server(binary, *flags) for name, binary in binaries.items() if name != "old"}
        try:
            for server in servers.values():
                server.scheme = "https"
                server.start()
            count, _ = compare(servers, all_rows(), ask_by_curl(authority), failures)
            print(f"json: {count} requests by HTTP/2 over TLS", flush=True)
        finally:
            for server in servers.values():
                server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--old", default="/usr/bin/etcd")
    parser.add_argument("--new", default=str(ROOT / "build" / "peers" / "bin" / "etcd"))
    arguments = parser.parse_args()
    binaries = {"quorate": quorate_binary()}
    for name in ("old", "new"):
        binary = getattr(arguments, name)
        if os.access(binary, os.X_OK):
            binaries[name] = binary
        else:
            print(f"json: SKIPPED beside the {name} etcd: none at {binary}")
    failures = []
    over_tls(binaries, failures)
    servers = {name: Server(binary) for name, binary in binaries.items()}
    try:
        for server in servers.values():
            server.start()
        count, absent = compare(servers, all_rows(), ask, failures)
        print(f"json: {count} requests beside {len(servers) - 1} etcds", flush=True)
        for path in sorted(absent):
            print(f"json: SKIPPED {path}: not served yet")
        for case in (live_watch, slow_watch, waiting_lock, stops_at_once):
            case(servers["quorate"])
            print(f"json: {case.__name__}", flush=True)
        switched_off()
        cors_list()
    finally:
        for server in servers.values():
            server.close()
    for failure in failures:
        print(f"FAILED: {failure}")
    print(f"json: {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
