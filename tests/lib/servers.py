"""Servers under test: started in a temporary directory on free loopback ports, stopped by pid.

Used by the Python suites. A server is ready when its log says so; nothing here waits for a time.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY = b"ready to serve client requests"
BACKENDS = ("memory", "lmdb", "rocksdb")


def _ports_below_the_ephemeral():
    """Ports of which the system gives none to outgoing connections: a server that comes back to its
    port, or is slow to take it, would find it in use by somebody's client."""
    try:
        low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        low = 32768
    return range(10_000, low) if low > 12_000 else range(1024, 65_536)


def free_ports(count):
    """Ports that were free a moment ago, all different."""
    ports = []
    candidates = _ports_below_the_ephemeral()
    while len(ports) < count:
        port = random.SystemRandom().choice(candidates)  # not by a test's own seed
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def quorate_binary():
    return Path(os.environ.get("QUORATE_BIN", ROOT / "build" / "bin")) / "quorate"


class ServerDied(RuntimeError):
    pass


class Server:
    """One etcd-compatible server process and its data directory."""

    def __init__(self, binary, *flags, name="test", data_root=None, keep_ports=True):
        self.binary = str(binary)
        self.flags = list(flags)
        self.name = name
        self.root = tempfile.mkdtemp(prefix="quorate-test-", dir=data_root)
        self.data_dir = os.path.join(self.root, "data")
        self.log_path = os.path.join(self.root, "server.log")
        self.client_port, self.peer_port = free_ports(2)
        self.keep_ports = keep_ports
        self.environment = {}  # beside what every server gets
        self.advertised_peer_url = None  # where others reach it, if not at its own port
        self.initial_cluster = None  # of a cluster of several; and ...
        self.initial_state = "new"
        self.scheme = "http"  # of clients, and ...
        self.peer_scheme = "http"
        self.process = None

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def url(self):
        return f"{self.scheme}://{self.endpoint}"

    @property
    def peer_url(self):
        return self.advertised_peer_url or f"{self.peer_scheme}://127.0.0.1:{self.peer_port}"

    def command(self):
        return [
            self.binary,
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.peer_scheme}://127.0.0.1:{self.peer_port}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self.initial_cluster or f'{self.name}={self.peer_url}'}",
            f"--initial-cluster-state={self.initial_state}",
            *self.flags,
        ]

    def start(self):
        """Starts and returns when the server is ready; raises ServerDied with its log otherwise."""
        return self.launch().wait_ready()

    def launch(self):
        """Starts and returns at once: a member of several is not ready before there is a quorum."""
        assert self.process is None
        environment = {"PATH": os.environ.get("PATH", ""), "ETCD_UNSUPPORTED_ARCH": "amd64"}
        for name, value in os.environ.items():
            if name.endswith("SAN_OPTIONS"):
                environment[name] = value
        environment.update(self.environment)
        self.process = subprocess.Popen(
            self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
        )
        self.was_ready = False
        self._ready = threading.Event()
        self._pump = threading.Thread(
            target=self._copy_log, args=(self.process.stderr, self._ready), daemon=True
        )
        self._pump.start()
        return self

    def wait_ready(self):
        self._ready.wait()
        if not self.was_ready:
            self.process.wait()
            self.process = None
            raise ServerDied(f"{self.binary} did not become ready:\n{self.log_tail()}")
        return self

    def _copy_log(self, stream, ready):
        with open(self.log_path, "ab") as log:
            for line in stream:
                log.write(line)
                log.flush()
                if READY in line:
                    self.was_ready = True
                    ready.set()
        ready.set()

    def log_tail(self, size=4000):
        try:
            return Path(self.log_path).read_text(errors="replace")[-size:]
        except FileNotFoundError:
            return "(no log)"

    def wait(self):
        """Until it ends by itself; answers the exit status."""
        status = self.process.wait()
        self._pump.join()
        self.process = None
        return status

    def send(self, sig):
        self.process.send_signal(sig)

    def stop(self, sig=signal.SIGTERM):
        """Sends `sig` to our own process and waits for its end; answers the exit status."""
        if self.process is None:
            return None
        self.process.send_signal(sig)
        return self.wait()

    def kill(self):
        return self.stop(signal.SIGKILL)

    def close(self):
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.close()
