"""A proxy in user space between the members of a cluster: one port per member, which the others are
told as its peer URL. Links are cut, slowed down or made to drop connections by who dials whom; who
dials is known from rafthttp's X-Server-From header."""

import random
import re
import select
import socket
import threading

from servers import free_ports


class Proxy:
    def __init__(self):
        self._lock = threading.Lock()
        self._connections = []  # (from id in hex or None, to name, sockets)
        self._ids = {}  # member id in hex -> name
        self._cut = set()  # (from name, to name)
        self._delay_s = {}  # to name -> seconds per piece
        self._drop = {}  # to name -> probability per piece that the connection breaks
        self._listeners = []

    def front(self, member):
        """Opens the member's port; answers the peer URL to advertise."""
        (port,) = free_ports(1)
        listener = socket.create_server(("127.0.0.1", port))
        self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener, member.name, member.peer_port),
                         daemon=True).start()
        return f"http://127.0.0.1:{port}"

    def know(self, ids):
        """Names by member id, once the members exist."""
        self._ids = {f"{member_id:x}": name for name, member_id in ids.items()}

    def close(self):
        for listener in self._listeners:
            listener.close()
        self._break(lambda source, to: True)

    # --- faults
    def isolate(self, name, others):
        for other in others:
            self.cut(name, other)
            self.cut(other, name)

    def cut(self, source, to):
        with self._lock:
            self._cut.add((source, to))
        self._break(lambda s, t: (self._ids.get(s), t) == (source, to))

    def delay(self, name, seconds):
        self._delay_s[name] = seconds

    def drop(self, name, probability):
        self._drop[name] = probability

    def heal(self):
        with self._lock:
            self._cut.clear()
        self._delay_s.clear()
        self._drop.clear()

    # --- the inside
    def _break(self, which):
        with self._lock:
            hit = [c for c in self._connections if which(c[0], c[1])]
        for _, _, pair in hit:
            for sock in pair:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self, listener, name, port):
        while True:
            try:
                dialler, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(dialler, name, port), daemon=True).start()

    def _serve(self, dialler, name, port):
        connection = None
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = dialler.recv(65536)
                if not piece:
                    return
                head += piece
            found = re.search(rb"(?i)x-server-from: *([0-9a-f]+)", head)
            source = found[1].decode() if found else None
            with self._lock:
                if (self._ids.get(source), name) in self._cut:
                    return
            target = socket.create_connection(("127.0.0.1", port))
            connection = (source, name, (dialler, target))
            with self._lock:
                self._connections.append(connection)
            target.sendall(head)
            self._pump(dialler, target, name)
        except OSError:
            pass
        finally:
            with self._lock:
                if connection in self._connections:
                    self._connections.remove(connection)
            for sock in connection[2] if connection else (dialler,):
                sock.close()

    def _pump(self, one, other, name):
        ends = {one: other, other: one}
        while True:
            ready, _, _ = select.select(list(ends), [], [])
            for sock in ready:
                piece = sock.recv(65536)
                if not piece or random.random() < self._drop.get(name, 0):
                    return
                if name in self._delay_s:
                    threading.Event().wait(self._delay_s[name])  # the fault itself
                ends[sock].sendall(piece)
