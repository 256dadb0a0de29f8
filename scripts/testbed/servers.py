"""Servers under measurement: found, named, started on free loopback ports, stopped by pid."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from .definition import ROOT

READY = b"ready to serve client requests"
READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
PORT_MIN, PORT_END = 10_000, 32_768


class ServerError(RuntimeError):
    pass


def bin_dir():
    return Path(os.environ.get("QUORATE_BIN", ROOT / "build" / "bin"))


def _peer_3_7():
    folder = ROOT / "build" / "peers" / "bin"
    if (folder / "etcd").is_file():
        return folder / "etcd", None
    reasons = sorted((ROOT / "build" / "peers").glob("*/why-not"))
    if reasons:
        return None, reasons[-1].read_text(encoding="utf-8").strip()
    return None, "it was not built: run ./dev peers (needs Go)"


def _peer_debian():
    for path in (Path("/usr/bin/etcd"),):
        if path.is_file():
            return path, None
    return None, "/usr/bin/etcd is not there: the Debian package etcd-server is not installed"


def _quorate():
    path = bin_dir() / "quorate"
    return (path, None) if path.is_file() else (None, f"{path} is not built: run ./dev build")


def find(server):
    """(path, None), or (None, why it is not there)."""
    return {"quorate": _quorate, "etcd-3.7": _peer_3_7, "etcd-debian": _peer_debian}[server]()


def version(path):
    """The first line of --version and all of it."""
    out = subprocess.run([str(path), "--version"], capture_output=True, text=True, timeout=20,
                         check=False)
    text = (out.stdout or out.stderr).strip()
    return text.splitlines()[0] if text else "unknown"


def free_ports(count):
    """Ports that were free a moment ago. Below those that outgoing connections are given: a server
    that is started again wants its own back."""
    ports = set()
    while len(ports) < count:
        port = random.SystemRandom().randrange(PORT_MIN, PORT_END)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.add(port)
    return list(ports)


class RunningServer:
    """One server process in a fresh data directory, which goes when the server is closed. `peers`:
    {name: peer URL} of all members of its cluster, itself included; without them it is alone.
    `access`: whom it lets in (access.py); without it everybody, in plain text."""

    def __init__(self, path, flags, data_root, log_path, name="measured", peers=None, access=None):
        ports = free_ports(2)
        self.access = access
        self.name, self.client_port = name, ports[0]
        self.log_path = Path(log_path)
        self.folder = tempfile.mkdtemp(prefix="server-", dir=data_root)
        peers = peers or {name: f"http://127.0.0.1:{ports[1]}"}
        self.peer_url = peers[name]
        cluster = ",".join(f"{member}={url}" for member, url in peers.items())
        self.command = [
            str(path), f"--name={name}", f"--data-dir={self.folder}/data",
            f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}", f"--initial-cluster={cluster}",
            *(access.server_flags() if access else []),
            *(f"--{flag}={_text(value)}" for flag, value in flags.items()),
        ]
        self.process = None
        self.start_s = None
        self._ready = threading.Event()
        self._was_ready = False

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def members(self):
        return [self]

    def leader(self):
        return self

    @property
    def url(self):
        return f"{self.access.scheme if self.access else 'http'}://{self.endpoint}"

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        self.start_s = self._start()
        return self

    def _start(self):
        """Answers how long it took until the server was ready."""
        began = time.monotonic()
        self.launch()
        self.wait_until_ready()
        return time.monotonic() - began

    def launch(self, *more_flags):
        """Starts the process, new or again on its data."""
        # No variable of the caller may configure a server that is measured.
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
        self._ready.clear()
        self._was_ready = False
        self.process = subprocess.Popen([*self.command, *more_flags], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=environment)
        self._reader = threading.Thread(target=self._copy_log, daemon=True)
        self._reader.start()

    def wait_until_ready(self):
        self._ready.wait(READY_TIMEOUT_S)
        if not self._was_ready:
            self.close()
            raise ServerError(self._last_words())

    def end(self, number):
        """Sends a signal that ends the process, and waits for that."""
        self.process.send_signal(number)
        self.process.wait(STOP_TIMEOUT_S)
        self._reader.join()
        self.process.stdout.close()

    def ask_to_end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def lose_data(self):
        """Moves it away: to delete it would burden the disk that is measured."""
        os.rename(f"{self.folder}/data", f"{self.folder}/lost")

    def restart(self):
        """Starts the server, which has ended, again on its data, and stops it. Answers how long it
        took until it was ready."""
        self._reader.join()
        self.process.stdout.close()
        took_s = self._start()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_TIMEOUT_S)
        return took_s

    def _copy_log(self):
        folder, tree = self.folder.encode(), f"{ROOT}/".encode()
        with open(self.log_path, "ab") as log:
            for line in self.process.stdout:
                # A path of this machine says nothing to a reader.
                log.write(line.replace(folder, b"DATA").replace(tree, b""))
                if READY in line:
                    self._was_ready = True
                    self._ready.set()
        self._ready.set()

    def _last_words(self):
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        text = lines[-1] if lines else "it wrote no log"
        error = re.search(r'"error":"((?:[^"\\]|\\.)*)"', text)
        return f"did not become ready: {error[1] if error else text}"[:400]

    def metrics(self):
        context = self.access.ssl_context() if self.access else None
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=20, context=context) as answer:
            return answer.read().decode()

    def close(self):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
            self._reader.join()
            self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(self, *unused):
        self.close()


def _text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)
