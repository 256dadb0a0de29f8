"""What a client may get wrong below the API: heads, gRPC's framing of messages, HTTP/2 itself.

A case is what is sent on a new connection that has exchanged settings; stream 1 is the one that
counts."""

import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from connection import (  # noqa: E402
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_BYTES_MAX, GOAWAY, HEADERS, PADDED, PING,
    PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW, WINDOW_UPDATE, WITH_PRIORITY,
    block, frame, head, message)
from stubs import etcd  # noqa: E402

number = struct.Struct(">I").pack
RANGE = etcd.RangeRequest(key=b"no such key").SerializeToString()
WATCH = etcd.WatchRequest(create_request=etcd.WatchCreateRequest(key=b"k")).SerializeToString()
KEEP_ALIVE = etcd.LeaseKeepAliveRequest(ID=404).SerializeToString()
LONG = "x" * 5000
MIB = 1 << 20


@dataclass
class Case:
    group: str
    name: str
    sent: bytes
    bare: bool = False  # without the preface
    last: bool = False  # the client says that nothing follows


def fields(path="/etcdserverpb.KV/Range", **changed):
    """The head of a good call, with some fields others: None for absent. `_`: more, behind it."""
    good = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "127.0.0.1",
            "te": "trailers", "content-type": "application/grpc"}
    more = changed.pop("_", [])
    for name, value in changed.items():
        name = {"method": ":method", "scheme": ":scheme", "authority": ":authority",
                "content_type": "content-type"}.get(name, name)
        if value is None:
            good.pop(name)
        else:
            good[name] = value
    return list(good.items()) + more


def call(head_fields, body=message(RANGE)):
    return head(head_fields) + frame(DATA, END_STREAM, 1, body)


def with_more(*more):
    return call(fields(_=list(more)))


def heads():
    """What a head must have."""
    yield "good", call(fields())
    for name in ("method", "scheme", "authority", "te", "content_type"):
        yield f"no {name}", call(fields(**{name: None}))
    yield "no path", call([field for field in fields() if field[0] != ":path"])
    yield "nothing at all", call([])
    for value in ("", "GET", "PUT", "post", "OPTIONS", "CONNECT", "PO ST", "PRI"):
        yield f"method {value!r}", call(fields(method=value))
    for value in ("", "https", "ftp", "ht tp", "1http"):
        yield f"scheme {value!r}", call(fields(scheme=value))
    for value in ("", "http://127.0.0.1:2379", "a b", "user@host", "[::1]:1", "#initially=[x]"):
        yield f"authority {value!r}", call(fields(authority=value))
    for value in ("", "gzip", "trailers, deflate", "Trailers"):
        yield f"te {value!r}", call(fields(te=value))
    for value in ("", "text/plain", "application/grpc+proto", "application/grpc+json",
                  "application/grpc;charset=utf-8", "application/grpc; x", "application/grpcx",
                  "application/grpc-web", "Application/GRPC", "application/json",
                  "application/grpc+", "application/x-protobuf"):
        yield f"content-type {value!r}", call(fields(content_type=value))
    for value in ("", "/", "*", "etcdserverpb.KV/Range", "/etcdserverpb.KV", "/etcdserverpb.KV/",
                  "/etcdserverpb.KV/Nope", "/etcdserverpb.KV/range", "//etcdserverpb.KV/Range",
                  "/etcdserverpb.KV/Range/", "/etcdserverpb.KV/Range?x=1", "/nope/Range",
                  "/etcdserverpb.KV//Range", "/etcdserverpb.KV/Ran%67e", "/etcdserverpb.KV/Range x",
                  "/version", "/health", "/v3/kv/range", "/a/b/c", "/x/" + LONG):
        yield f"path {value[:40]!r}", call(fields(value))
    yield "the head ends the stream", head(fields(), flags=END_HEADERS | END_STREAM)


def fields_of_grpc():
    for value in ("", "1", "S", "1x", "1s", "-1S", "+1S", "1.5S", " 1S", "1S ", "99999999S",
                  "999999999S", "0S", "0n", "60S", "1M", "1H", "1H1M", "1\u00b5"):
        yield f"grpc-timeout {value!r}", with_more(("grpc-timeout", value))
    yield "two grpc-timeouts", with_more(("grpc-timeout", "60S"), ("grpc-timeout", "1x"))
    for value in ("", "identity", "gzip", "deflate", "GZIP", "nope", "gzip, identity"):
        yield f"grpc-encoding {value!r}", with_more(("grpc-encoding", value))
    for value in ("", "nope", "gzip", "identity,gzip", ",,,"):
        yield f"grpc-accept-encoding {value!r}", with_more(("grpc-accept-encoding", value))
    yield "a token that is none", with_more(("token", "nope.1"))
    yield "an authorization", with_more(("authorization", "Bearer x"))
    yield "two tokens", with_more(("token", "a"), ("token", "b"))
    yield "hasleader", with_more(("hasleader", "true"))
    yield "hasleader of another value", with_more(("hasleader", "nope"))
    yield "a client's version", with_more(("client-api-version", "3.0.0"))


def fields_of_http():
    for name in ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"):
        yield f"{name}", with_more((name, "close"))
    yield "host and authority", with_more(("host", "127.0.0.1"))
    yield "another host", with_more(("host", "elsewhere"))
    yield "two hosts", with_more(("host", "127.0.0.1"), ("host", "elsewhere"))
    yield "host alone", call(fields(authority=None, _=[("host", "127.0.0.1")]))
    for name in (":method", ":scheme", ":path", ":authority"):
        good = fields()
        field = next(one for one in good if one[0] == name)
        yield f"{name} twice", call([field] + good)
        yield f"{name} behind the others", call([one for one in good if one[0] != name] + [field])
    yield "an unknown pseudo-header", call([(":nope", "x")] + fields())
    yield "a status", call([(":status", "200")] + fields())
    for name in ("te", "content-type"):
        field = next(one for one in fields() if one[0] == name)
        yield f"{name} twice", with_more(field)
    for name, value in (("upper case", ("X-Name", "v")), ("no name", ("", "v")),
                        ("a space in a name", ("a b", "v")), ("a colon in a name", ("a:b", "v")),
                        ("no value", ("x", "")), ("spaces around", ("x", " v ")),
                        ("a new line", ("x", "a\nb")), ("a zero byte", ("x", "a\0b")),
                        ("a byte over ASCII", ("x", b"\xff\xfe")), ("DEL in a value", ("x", "\x7f")),
                        ("a long value", ("x", LONG)), ("a long name", ("x" * 300, "v")),
                        ("-bin that is base64", ("x-bin", "AAEC")),
                        ("-bin that is not", ("x-bin", "!!!")),
                        ("-bin with padding", ("x-bin", "AAE=")),
                        ("a name of gRPC's", ("grpc-nope", "x")),
                        ("a name of gRPC's answers", ("grpc-status", "0")),
                        ("a message of gRPC's", ("grpc-message", "x")),
                        ("trace context", ("grpc-trace-bin", "!!!")),
                        ("tags", ("grpc-tags-bin", "AAA"))):
        yield name, with_more(value)
    size = 5 + len(RANGE)
    for value in (size, size - 1, size + 1, 0, "", "x", -1, "1e1", 1 << 70):
        yield f"content-length {str(value)[:8]!r}, {size} come", with_more(
            ("content-length", str(value)))
    yield "content-length twice", with_more(("content-length", str(size)),
                                            ("content-length", str(size)))
    yield "two lengths", with_more(("content-length", str(size)), ("content-length", "1"))
    yield "expect", with_more(("expect", "100-continue"))
    yield "200 fields", with_more(*[(f"x{i}", "v") for i in range(200)])


def gzipped(data):
    squeeze = zlib.compressobj(wbits=31)
    return squeeze.compress(data) + squeeze.flush()


def framing():
    watch, keep_alive = "/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive"
    snapshot = "/etcdserverpb.Maintenance/Status"
    gzip = fields(_=[("grpc-encoding", "gzip")])
    good = message(RANGE)
    bodies = {
        "nothing": b"",
        "part of a prefix": good[:3],
        "a prefix alone": good[:5],
        "a message cut short": good[:-1],
        "more than a message": good + b"\0\0",
        "two messages": good + good,
        "a message and half": good + good[:7],
        "an empty message": message(b""),
        "flag 1 without an encoding": message(RANGE, 1),
        "flag 2": message(RANGE, 2),
        "flag 255": message(RANGE, 255),
        "a length over all": message(RANGE, 0, 0xFFFFFFFF),
        "a length over the limit": message(RANGE, 0, 4 * MIB),
        "a length that is longer": message(RANGE, 0, len(RANGE) + 1),
        "a length that is shorter": message(RANGE, 0, len(RANGE) - 1),
        "no message of the kind": message(b"\xff\xff\xff"),
    }
    for path in ("/etcdserverpb.KV/Range", watch, keep_alive, snapshot):
        method = path.rsplit("/", 1)[1]
        for name, body in bodies.items():
            yield f"{method}: {name}", call(fields(path), body)
    for name, body in {
            "plain": good, "gzip": message(gzipped(RANGE), 1),
            "no gzip": message(RANGE, 1), "an empty gzip": message(b"", 1),
            "a cut gzip": message(gzipped(RANGE)[:-6], 1),
            "a gzip with a wrong sum": message(gzipped(RANGE)[:-8] + b"\0" * 8, 1),
            "a gzip with more behind": message(gzipped(RANGE) + b"x", 1),
            "two gzips": message(gzipped(RANGE[:3]) + gzipped(RANGE[3:]), 1),
            "a bomb": message(gzipped(b"\0" * (8 * MIB)), 1),
            "flag 2": message(gzipped(RANGE), 2)}.items():
        yield f"Range with gzip: {name}", call(gzip, body)
    yield "Watch: then open", head(fields(watch)) + frame(DATA, 0, 1, message(WATCH))
    yield "Watch: bad, then open", head(fields(watch)) + frame(DATA, 0, 1, message(b"\xff\xff"))
    yield "Watch: flag 2, then open", head(fields(watch)) + frame(DATA, 0, 1, message(WATCH, 2))
    yield "Watch: a length over all, then open", \
        head(fields(watch)) + frame(DATA, 0, 1, message(WATCH, 0, 0xFFFFFFFF))
    yield "LeaseKeepAlive: then open", \
        head(fields(keep_alive)) + frame(DATA, 0, 1, message(KEEP_ALIVE))
    yield "Range: then open", head(fields()) + frame(DATA, 0, 1, good)
    yield "Range: a length over all, then open", \
        head(fields()) + frame(DATA, 0, 1, message(RANGE, 0, 0xFFFFFFFF))
    yield "byte by byte", head(fields()) + b"".join(
        frame(DATA, 0, 1, good[i:i + 1]) for i in range(len(good))) + frame(DATA, END_STREAM, 1)
    yield "empty frames between", head(fields()) + frame(DATA, 0, 1) * 50 + \
        frame(DATA, 0, 1, good) + frame(DATA, 0, 1) * 50 + frame(DATA, END_STREAM, 1)
    yield "padded", head(fields()) + frame(DATA, END_STREAM | PADDED, 1, b"\x07" + good + b"\0" * 7)
    yield "padding that is not zero", \
        head(fields()) + frame(DATA, END_STREAM | PADDED, 1, b"\x03" + good + b"abc")
    trailers = [("x-trailer", "v")]
    yield "trailers", head(fields()) + frame(DATA, 0, 1, good) + \
        head(trailers, flags=END_HEADERS | END_STREAM)
    yield "trailers that do not end", head(fields()) + frame(DATA, 0, 1, good) + head(trailers)
    yield "trailers with a pseudo-header", head(fields()) + frame(DATA, 0, 1, good) + \
        head([(":path", "/x")], flags=END_HEADERS | END_STREAM)
    yield "a second head", head(fields()) + head(fields()) + frame(DATA, END_STREAM, 1, good)


def streams():
    """Frames in a wrong order, or of a wrong stream."""
    good_head, good = head(fields()), frame(DATA, END_STREAM, 1, message(RANGE))
    whole = good_head + good
    yield "data on stream 0", frame(DATA, END_STREAM, 0, b"x") + whole
    yield "data on a stream that is not open", frame(DATA, END_STREAM, 1, b"x")
    yield "data after the end", whole + frame(DATA, END_STREAM, 1, b"x")
    yield "data after a reset", good_head + frame(RST_STREAM, 0, 1, number(8)) + good
    yield "a head after the end", whole + good_head
    yield "a head on stream 0", head(fields(), 0)
    yield "a head on an even stream", head(fields(), 2) + frame(DATA, END_STREAM, 2, message(RANGE))
    yield "a stream number that goes back", head(fields(), 5) + \
        frame(DATA, END_STREAM, 5, message(RANGE)) + whole
    yield "the same stream twice", whole + whole
    yield "reset of a stream that is not open", frame(RST_STREAM, 0, 1, number(8))
    yield "reset of stream 0", frame(RST_STREAM, 0, 0, number(8))
    yield "a reset of 3 bytes", good_head + frame(RST_STREAM, 0, 1, b"abc")
    yield "reset with a code that is none", good_head + frame(RST_STREAM, 0, 1, number(999))
    yield "window of 0 more", whole + frame(WINDOW_UPDATE, 0, 0, number(0))
    yield "window of 0 more for a stream", good_head + frame(WINDOW_UPDATE, 0, 1, number(0))
    yield "window over 2^31", frame(WINDOW_UPDATE, 0, 0, number(2**31 - 1)) * 2 + whole
    yield "window over 2^31 of a stream", good_head + \
        frame(WINDOW_UPDATE, 0, 1, number(2**31 - 1)) * 2
    yield "window of 3 bytes", frame(WINDOW_UPDATE, 0, 0, b"abc") + whole
    yield "window of a stream that is not open", frame(WINDOW_UPDATE, 0, 1, number(1))
    yield "more than the window", good_head + frame(
        DATA, 0, 1, message(b"", 0, MIB) + b"\0" * (FRAME_BYTES_MAX - 5)) + frame(
            DATA, 0, 1, b"\0" * FRAME_BYTES_MAX) * 500
    yield "a client's goaway", frame(GOAWAY, 0, 0, number(0) * 2) + whole
    yield "a client's goaway with an error", frame(GOAWAY, 0, 0, number(0) + number(2)) + whole
    yield "a goaway of a stream", frame(GOAWAY, 0, 1, number(0) * 2) + whole
    yield "a goaway of 7 bytes", frame(GOAWAY, 0, 0, b"abcdefg") + whole
    yield "a promise", frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + block(fields()))
    yield "a frame of an unknown kind", frame(0x77, 0xFF, 1, b"abc") + whole
    yield "a frame that is too long", good_head + frame(DATA, END_STREAM, 1,
                                                        b"\0" * (FRAME_BYTES_MAX + 1))
    yield "an unknown frame that is too long", frame(0x77, 0, 0, b"\0" * (FRAME_BYTES_MAX + 1)) + whole


def settings_and_pings():
    whole = call(fields())

    def setting(identifier, value):
        return frame(SETTINGS, 0, 0, struct.pack(">HI", identifier, value)) + whole

    yield "settings of 5 bytes", frame(SETTINGS, 0, 0, b"abcde") + whole
    yield "settings of a stream", frame(SETTINGS, 0, 1) + whole
    yield "an acknowledgement with content", frame(SETTINGS, ACK, 0, b"abcdef") + whole
    yield "an acknowledgement of nothing", frame(SETTINGS, ACK, 0) * 3 + whole
    yield "unknown settings", setting(0x999, 7)
    yield "push 2", setting(2, 2)
    yield "initial window over 2^31", setting(4, 2**31)
    yield "initial window 0", setting(4, 0) + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, WINDOW))
    yield "frames of 1 byte", setting(5, 1)
    yield "frames over 2^24", setting(5, 2**24)
    yield "no dynamic table", setting(1, 0)
    yield "a ping of 7 bytes", frame(PING, 0, 0, b"abcdefg") + whole
    yield "a ping of a stream", frame(PING, 0, 1, b"abcdefgh") + whole
    yield "an answer to no ping", frame(PING, ACK, 0, b"abcdefgh") + whole


def in_pieces(whole_block, size):
    pieces = [whole_block[i:i + size] for i in range(0, len(whole_block), size)]
    return frame(HEADERS, 0, 1, pieces[0]) + b"".join(
        frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:]) + frame(CONTINUATION, END_HEADERS, 1)


def blocks():
    """Priorities, padding and header blocks."""
    good_head, good = head(fields()), frame(DATA, END_STREAM, 1, message(RANGE))
    whole = good_head + good
    yield "priority", frame(PRIORITY, 0, 1, number(0) + b"\x10") + whole
    yield "priority of 4 bytes", frame(PRIORITY, 0, 1, number(0)) + whole
    yield "priority of stream 0", frame(PRIORITY, 0, 0, number(0) + b"\x10") + whole
    yield "a stream that depends on itself", frame(PRIORITY, 0, 1, number(1) + b"\x10") + whole
    yield "a head with priority", frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, number(0) +
                                        b"\x10" + block(fields())) + good
    yield "a head that depends on itself", frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, number(1) +
                                                 b"\x10" + block(fields())) + good
    yield "a head with padding", frame(HEADERS, END_HEADERS | PADDED, 1, b"\x03" + block(fields()) +
                                       b"\0" * 3) + good
    yield "a head with too much padding", frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff\0") + good
    yield "data with too much padding", good_head + frame(DATA, END_STREAM | PADDED, 1, b"\xffab")
    yield "padded data of no bytes", good_head + frame(DATA, END_STREAM | PADDED, 1)
    whole_block = block(fields())
    yield "a head in pieces", in_pieces(whole_block, 64) + good
    yield "a head in many pieces", in_pieces(whole_block, 10) + good
    yield "something between the pieces", frame(HEADERS, 0, 1, whole_block[:10]) + \
        frame(PING, 0, 0, b"abcdefgh") + frame(CONTINUATION, END_HEADERS, 1, whole_block[10:]) + good
    yield "pieces of another stream", frame(HEADERS, 0, 1, whole_block[:10]) + \
        frame(CONTINUATION, END_HEADERS, 3, whole_block[10:]) + good
    yield "a piece of nothing", frame(CONTINUATION, END_HEADERS, 1, whole_block) + good
    yield "index 0", frame(HEADERS, END_HEADERS, 1, b"\x80") + good
    yield "an index of nothing", frame(HEADERS, END_HEADERS, 1, b"\xff\x80\x01") + good
    yield "a table too large", frame(HEADERS, END_HEADERS, 1, b"\x3f\xe1\xff\x03" + whole_block) + good
    yield "a table size behind fields", frame(HEADERS, END_HEADERS, 1, whole_block + b"\x20") + good
    yield "a text that is cut", frame(HEADERS, END_HEADERS, 1, whole_block[:-3]) + good
    yield "a bad Huffman code", frame(HEADERS, END_HEADERS, 1, whole_block +
                                      b"\x00\x01x\x82\xff\xff") + good
    yield "an empty block", frame(HEADERS, END_HEADERS, 1) + good


def prefaces():
    settings = frame(SETTINGS, 0, 0)
    whole = call(fields())
    yield "a preface of another version", PREFACE.replace(b"2.0", b"3.0") + settings + whole
    yield "a cut preface", PREFACE[:-2] + settings + whole
    yield "no settings", PREFACE + whole
    yield "a ping before the settings", PREFACE + frame(PING, 0, 0, b"abcdefgh") + settings + whole
    yield "settings that acknowledge", PREFACE + frame(SETTINGS, ACK, 0) + whole
    yield "the preface twice", PREFACE + PREFACE + whole
    yield "settings at once", PREFACE + settings + whole


def every_case():
    for group, makers in {"head": (heads, fields_of_grpc, fields_of_http), "message": (framing,),
                          "frame": (streams, settings_and_pings, blocks),
                          "preface": (prefaces,)}.items():
        for maker in makers:
            for name, sent in maker():
                yield Case(group, name, sent, bare=group == "preface",
                           last=name.startswith("a client's goaway"))
