"""A name server for tests, and programs that ask it and no other.

It answers on port 53 of a loopback address of its own, and a program sees it by an /etc/resolv.conf
in a mount namespace of its own: nothing outside changes. Both need root.
"""

import os
import random
import socket
import struct
import subprocess
import tempfile
import threading

A, SRV, IN = 1, 33, 1


def labels(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.strip(".").split(".")) + b"\0"


class NameServer:
    """`srv`: {"_service._tcp.domain": [(host, port)]}; every other name is 127.0.0.1, but those that
    begin with "none"."""

    def __init__(self, srv):
        self.srv = srv
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        numbers = random.SystemRandom()
        self.address = "127." + ".".join(str(numbers.randrange(1, 255)) for _ in range(3))
        self.socket.bind((self.address, 53))
        with tempfile.NamedTemporaryFile("w", prefix="quorate-resolv-", delete=False) as file:
            file.write(f"nameserver {self.address}\noptions timeout:1 attempts:2\n")
        self.resolv_conf = file.name
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                query, sender = self.socket.recvfrom(4096)
            except OSError:
                return
            self.socket.sendto(self._answer(query), sender)

    def _answer(self, query):
        at, parts = 12, []
        while query[at]:
            parts.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack(">H", query[at + 1:at + 3])[0]
        name = ".".join(parts).lower()
        records = []
        if kind == SRV:
            records = [struct.pack(">HHH", 0, 0, port) + labels(host)
                       for host, port in self.srv.get(name, [])]
        elif kind == A and not name.startswith(("_", "none")):
            records = [socket.inet_aton("127.0.0.1")]
        absent = 3 if kind == SRV and not records or name.startswith("none") else 0
        answer = query[:2] + struct.pack(">HHHHH", 0x8580 | absent, 1, len(records), 0, 0)
        answer += query[12:at + 5]
        for data in records:
            answer += b"\xc0\x0c" + struct.pack(">HHIH", kind, IN, 1, len(data)) + data
        return answer

    def around(self, command):
        """The command line that runs `command`, in the same process, with this name server."""
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, self.resolv_conf, *map(str, command)]

    def close(self):
        self.socket.close()
        os.unlink(self.resolv_conf)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def why_not():
    """Why there can be no such thing here; nothing where it can."""
    try:
        with NameServer({}) as server:
            done = subprocess.run(server.around(["grep", server.address, "/etc/resolv.conf"]),
                                  capture_output=True, text=True)
            return None if done.returncode == 0 else done.stderr.strip()
    except OSError as error:
        return str(error)
