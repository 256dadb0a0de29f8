"""HTTP/2 by hand (RFC 9113): frames as they are asked for, right or wrong, and what comes back."""

import select
import socket
import struct
from dataclasses import dataclass, field

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20
WINDOW = 65_535           # bytes, of a stream or a connection at its beginning
FRAME_BYTES_MAX = 16_384  # of the payload
PATIENCE_SECONDS = 30     # a server that is silent so long will not answer


def frame(kind, flags, stream, payload=b"", length=None):
    """`length`: what the head says, if not the truth."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def block(fields):
    """A header block of literals that are not indexed (RFC 7541 §6.2.2), whatever they hold."""
    out = b""
    for name, value in fields:
        out += b"\x00"
        for text in (name, value):
            raw = text if isinstance(text, bytes) else text.encode()
            out += length_of(len(raw)) + raw
    return out


def length_of(number):
    """An integer with a prefix of 7 bits (RFC 7541 §5.1)."""
    if number < 127:
        return bytes([number])
    out, number = b"\x7f", number - 127
    while number >= 128:
        out += bytes([number % 128 + 128])
        number //= 128
    return out + bytes([number])


def head(fields, stream=1, flags=END_HEADERS):
    return frame(HEADERS, flags, stream, block(fields))


def message(payload, compressed=0, length=None):
    """gRPC's prefix and a message."""
    size = len(payload) if length is None else length
    return struct.pack(">BI", compressed, size) + payload


@dataclass
class Stream:
    """What came back on one stream."""
    heads: list = field(default_factory=list)  # of [(name, value)]
    body: bytes = b""
    ended: bool = False
    reset: int | None = None  # the error code

    @property
    def over(self):
        return self.ended or self.reset is not None


class Connection:
    """`port` of 127.0.0.1. The preface and empty settings are sent at once, unless `bare`."""

    def __init__(self, port, bare=False):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.decoder = hpack.Decoder()
        self.streams = {}
        self.goaway = None  # the error code
        self.closed = False
        self.pongs = 0
        self.buffer = b""
        self.fragments = b""
        if not bare:
            self.send(PREFACE + frame(SETTINGS, 0, 0))

    def close(self):
        self.socket.close()

    def send(self, data):
        """What a server that has closed does not take is lost, as in life."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def stream(self, number):
        return self.streams.setdefault(number, Stream())

    def wait(self, until):
        """Reads until `until()` or the connection is closed; False if nothing comes any more."""
        while not until() and not self.closed:
            readable, _, _ = select.select([self.socket], [], [], PATIENCE_SECONDS)
            if not readable:
                return False
            try:
                got = self.socket.recv(1 << 16)
            except OSError:
                got = b""
            if not got:
                self.closed = True
            self.buffer += got
            self._take_frames()
        return True

    def _take_frames(self):
        while len(self.buffer) >= 9:
            size = int.from_bytes(self.buffer[:3], "big")
            kind, flags, number = struct.unpack(">BBI", self.buffer[3:9])
            if len(self.buffer) < 9 + size:
                return
            payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
            self._take(kind, flags, number, payload)

    def _take(self, kind, flags, number, payload):
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == PING:
            self.pongs += 1
        elif kind == GOAWAY:
            code = struct.unpack(">I", payload[4:8])[0]
            self.goaway = code if self.goaway in (None, 0) else self.goaway
        elif kind == RST_STREAM:
            self.stream(number).reset = struct.unpack(">I", payload)[0]
        elif kind == DATA:
            stream = self.stream(number)
            stream.body += payload
            stream.ended = stream.ended or bool(flags & END_STREAM)
            if payload:  # for a stream that has ended, nobody minds
                self.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
        elif kind in (HEADERS, CONTINUATION):
            self.fragments += payload
            stream = self.stream(number)
            if kind == HEADERS:
                self.ends = bool(flags & END_STREAM)
            if flags & END_HEADERS:
                stream.heads.append(self.decoder.decode(self.fragments))
                self.fragments = b""
                stream.ended = stream.ended or self.ends
