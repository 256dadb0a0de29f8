#!/usr/bin/python3
"""The gateway's streams over websockets, by Debian's python3-websockets, beside a real etcd.

usage: websocket_test.py
"""

import asyncio
import base64
import json
import socket
import ssl
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import websockets  # noqa: E402
from certificates import Authority, server_flags  # noqa: E402
from cluster import wait_for  # noqa: E402
from servers import ROOT, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

REAL_ETCD = ROOT / "build" / "peers" / "bin" / "etcd"
PATIENCE_SECONDS = 60
OWN = ("cluster_id", "member_id", "raft_term")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {"Host": "x", "Connection": "Upgrade", "Upgrade": "websocket",
           "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}


def b64(text):
    return base64.b64encode(text.encode()).decode()


def create(key, **more):
    return json.dumps({"create_request": {"key": b64(key), **more}})


async def next_message(stream):
    """The next one, without what differs between servers; None at the end."""
    try:
        message = json.loads(await asyncio.wait_for(stream.recv(), PATIENCE_SECONDS))
    except websockets.ConnectionClosed as closed:
        return f"closed: {closed}"
    header = message.get("result", {}).get("header", {})
    for name in OWN:
        header.pop(name, None)
    return message


def connect(server, path, **options):
    return websockets.connect(f"{server.url.replace('http', 'ws', 1)}{path}", close_timeout=5, **options)


async def watch(server):
    """Requests in messages whole, in parts and several at once; answers as they come."""
    heard = []
    client = Client(server.endpoint)
    async with connect(server, "/v3/watch", origin="http://example.com") as stream:
        await stream.send(create("one"))
        heard.append(await next_message(stream))
        await stream.send(create("two", watch_id="7") + create("three", watch_id=8))
        heard += [await next_message(stream), await next_message(stream)]
        for part in ("{", '"cancel_request":{"watch_id":"7"', "}}"):
            await stream.send(part)
        heard.append(await next_message(stream))
        await stream.send(create("binary", watch_id=9).encode())
        heard.append(await next_message(stream))
        for value in (b"1", b"2" * 300_000):
            client.KV.Put(etcd.PutRequest(key=b"three", value=value))
            heard.append(await next_message(stream))
        assert await asyncio.wait_for(await stream.ping(), PATIENCE_SECONDS) is not None
        # What cannot be read ends the requests; the watches go on.
        await stream.send('{"create_request": ]}')
        await stream.send(create("unheard"))
        client.KV.Put(etcd.PutRequest(key=b"one"))
        heard.append(await next_message(stream))
    client.close()
    return heard


async def keepalive(server):
    """Ends when its requests do, without a word."""
    client = Client(server.endpoint)
    client.Lease.LeaseGrant(etcd.LeaseGrantRequest(ID=5, TTL=600))
    client.close()
    heard = []
    async with connect(server, "/v3/lease/keepalive") as stream:
        for request in ('{"ID":5}', '{"ID":"6"}', "[]"):
            await stream.send(request)
        heard += [await next_message(stream) for _ in range(3)]
    return heard


async def refused_late(server):
    """What the gateway refuses is said in the websocket."""
    heard = []
    for path in ("/v3/nothing", "/v3/kv"):
        async with connect(server, path) as stream:
            heard.append([await next_message(stream), await next_message(stream)])
    return heard


async def handshakes(server):
    """(status, fields) of handshakes good and bad."""
    heard = []
    for path, changes in (("/v3/watch", {}),
                          ("/v3/watch", {"Sec-WebSocket-Protocol": "Bearer, abc"}),
                          ("/v3/watch", {"Sec-WebSocket-Protocol": "chat"}),
                          ("/v3/watch", {"Sec-WebSocket-Version": "8"}),
                          ("/v3/watch", {"Sec-WebSocket-Key": "short"}),
                          ("/v3/watch", {"Sec-WebSocket-Key": None}),
                          ("/v3/watch", {"Upgrade": "h2c"}),
                          ("/health", {})):
        fields = {name: value for name, value in {**UPGRADE, **changes}.items() if value is not None}
        head = f"GET {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields.items()) + "\r\n"
        with socket.create_connection(("127.0.0.1", server.client_port), timeout=PATIENCE_SECONDS) as raw:
            raw.sendall(head.encode())
            text = b""
            while b"\r\n\r\n" not in text:
                text += raw.recv(4096)
        lines = text.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        kept = sorted(line for line in lines[1:] if line.lower().startswith(
            ("sec-", "upgrade", "connection", "access-", "content-type")))
        heard.append((lines[0], kept))
    return heard


async def tokens(server):
    """A token comes with the subprotocols or in a cookie."""
    client = Client(server.endpoint)
    client.Auth.UserAdd(etcd.AuthUserAddRequest(name="root", password="r"))
    client.Auth.RoleAdd(etcd.AuthRoleAddRequest(name="root"))
    client.Auth.UserGrantRole(etcd.AuthUserGrantRoleRequest(user="root", role="root"))
    client.Auth.AuthEnable(etcd.AuthEnableRequest())
    token = client.Auth.Authenticate(etcd.AuthenticateRequest(name="root", password="r")).token
    heard = []
    for options in ({}, {"subprotocols": ["Bearer", token]}, {"subprotocols": ["Bearer", "wrong.1"]},
                    {"extra_headers": {"Cookie": f"a=b; token={token}"}},
                    {"extra_headers": {"Authorization": token}}):
        async with connect(server, "/v3/watch", **options) as stream:
            await stream.send(create("one"))
            message = await next_message(stream)
            heard.append((stream.subprotocol, "error" in message or message["result"].get("canceled"),
                          message.get("result", {}).get("cancel_reason")))
    metadata = (("token", token),)
    client.Auth.AuthDisable(etcd.AuthDisableRequest(), metadata=metadata)
    client.close()
    return heard


def metric(server, name):
    with socket.create_connection(("127.0.0.1", server.client_port), timeout=PATIENCE_SECONDS) as raw:
        raw.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = b""
        while chunk := raw.recv(65536):
            text += chunk
    return [line for line in text.decode().splitlines() if line.startswith(name + " ")]


async def own(server):
    """Where Quorate does more: unary calls are answered; whoever leaves holds nothing."""
    async with connect(server, "/v3/kv/put") as stream:
        await stream.send(json.dumps({"key": b64("unary")}))
        assert "header" in await next_message(stream)
        assert (await next_message(stream)).startswith("closed")
    async with connect(server, "/v3/kv/put") as stream:
        await stream.send("{]")
        assert (await next_message(stream))["code"] == 3
    streams = [await connect(server, "/v3/watch") for _ in range(3)]
    for stream in streams:
        await stream.send(create("gone"))
        await next_message(stream)
    assert metric(server, "etcd_debugging_mvcc_watcher_total") == ["etcd_debugging_mvcc_watcher_total 3"]
    await streams[0].close()
    streams[1].transport.abort()
    # A frame that breaks the rules.
    streams[2].transport.write(b"\xff\xff")
    for stream in streams:
        await stream.wait_closed()
    wait_for(lambda: metric(server, "etcd_debugging_mvcc_watcher_total") ==
             ["etcd_debugging_mvcc_watcher_total 0"], "end of all watchers")
    # An object without an end has a limit.
    async with connect(server, "/v3/watch") as stream:
        await stream.send(create("huge"))
        await next_message(stream)
        await stream.send('{"create_request":{"key":"')
        for _ in range(70):
            await stream.send("A" * 65536)
        await stream.send('"}}' + create("unheard"))
        client = Client(server.endpoint)
        client.KV.Put(etcd.PutRequest(key=b"huge"))
        client.close()
        assert "events" in (await next_message(stream))["result"]


async def over_tls():
    with Authority() as authority:
        server = Server(quorate_binary(), *server_flags(authority.issue("server")))
        server.scheme = "https"
        with server:
            async with connect(server, "/v3/watch", ssl=ssl.create_default_context(cafile=authority.ca)) \
                    as stream:
                await stream.send(create("one"))
                assert (await next_message(stream))["result"]["created"]


async def compare(servers):
    for case in (handshakes, watch, keepalive, refused_late, tokens):
        heard = {name: await case(server) for name, server in servers.items()}
        for name, theirs in heard.items():
            assert heard["quorate"] == theirs, \
                f"{case.__name__}: {heard['quorate']}\n  beside {name}: {theirs}"
        print(f"websocket: {case.__name__}", flush=True)
    await own(servers["quorate"])
    await over_tls()
    print("websocket: own and over TLS", flush=True)


def main():
    servers = {"quorate": Server(quorate_binary())}
    if REAL_ETCD.exists():
        servers["etcd"] = Server(REAL_ETCD)
    else:
        print(f"websocket: SKIPPED beside etcd: none at {REAL_ETCD}")
    try:
        for server in servers.values():
            server.start()
        asyncio.run(compare(servers))
    finally:
        for server in servers.values():
            server.close()


if __name__ == "__main__":
    main()
