#!/usr/bin/python3
"""What supervisors see of the program: the ready line and notification, the shape of its log,
signals and exit status under load, and what it says under the name of etcd.

usage: lifecycle_test.py [--backend NAME]...
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from servers import BACKENDS, READY, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

WRITERS = 6
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class Load:
    """Writers that put until told to stop or the server is gone, and what was acknowledged."""

    def __init__(self, server):
        self.acknowledged = [0] * WRITERS
        self.changed = threading.Condition()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(server.endpoint, number))
                        for number in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def _write(self, endpoint, number):
        client = Client(endpoint)
        try:
            while not self.stopping.is_set():
                key = b"w%d/%08d" % (number, self.acknowledged[number])
                client.KV.Put(etcd.PutRequest(key=key, value=key * 10))
                with self.changed:
                    self.acknowledged[number] += 1
                    self.changed.notify()
        except grpc.RpcError:
            pass
        finally:
            client.close()

    def wait_for(self, count):
        with self.changed:
            self.changed.wait_for(lambda: min(self.acknowledged) >= count)

    def check(self, server):
        # A put that had not left when its connection went may be sent again to the new server; its
        # writer would then go on for good.
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        client = Client(server.endpoint)
        for number, count in enumerate(self.acknowledged):
            found = client.KV.Range(etcd.RangeRequest(
                key=b"w%d/" % number, range_end=b"w%d0" % number, count_only=True)).count
            # The last one may have been done and not answered.
            assert found in (count, count + 1), f"writer {number}: {count} answered, {found} there"
        client.close()


def signals(backend):
    with Server(quorate_binary(), f"--backend={backend}") as server:
        for first, second in ((signal.SIGTERM, None), (signal.SIGINT, None),
                              (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)):
            load = Load(server)
            load.wait_for(100)
            server.process.send_signal(first)
            if second is not None:
                server.process.send_signal(second)
            status = server.stop(second or first)
            assert status in (-first, -(second or first)), f"{first}, {second}: exit {status}"
            last = json.loads(server.log_tail(100_000).splitlines()[-1])
            assert last["msg"] == "closed etcd server", last
            server.start()
            load.check(server)
            client = Client(server.endpoint)
            client.KV.DeleteRange(etcd.DeleteRangeRequest(key=b"w", range_end=b"x"))
            client.close()
        assert server.stop() == -signal.SIGTERM


def messages(server):
    entries = [json.loads(line) for line in Path(server.log_path).read_text().splitlines()]
    for entry in entries:
        assert list(entry)[:2] == ["level", "ts"] and entry["caller"] and entry["msg"], entry
        assert STAMP.fullmatch(entry["ts"]), entry
        assert re.fullmatch(r"[\w./-]+:\d+", entry["caller"]), entry
        assert entry["level"] in ("debug", "info", "warn"), entry
    return [entry["msg"] for entry in entries]


def log_and_notification(backend):
    server = Server(quorate_binary(), f"--backend={backend}", "--log-level=debug")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        path = os.path.join(server.root, "notify")
        notified.bind(path)
        server.environment = {"NOTIFY_SOCKET": path}
        with server:
            assert notified.recv(100).startswith(b"STATUS=waiting for a leader")
            assert notified.recv(100) == b"READY=1\nSTATUS=serving clients"
            while "successfully notified init daemon" not in server.log_tail(100_000):
                pass  # told by another thread than the one that waits for signals
            server.stop()
            found = messages(server)
    ready = READY.decode()
    wanted = ["Running: ", "starting an etcd server", "configuring peer listeners",
              "configuring client listeners", "starting local member", "starting etcd server",
              "serving peer traffic", "published local member to cluster through raft",
              "now serving peer/client/metrics", ready,
              "serving client traffic insecurely; this is strongly discouraged!",
              "successfully notified init daemon", "received signal; shutting down",
              "skipped leadership transfer for single voting member cluster",
              "closing etcd server", "closed etcd server"]
    places = [found.index(text) for text in wanted]
    assert places == sorted(places), list(zip(wanted, places))
    assert found.count(ready) == 1


def refusal_notified():
    """A service manager is told why a start was refused, in the words of the log."""
    with tempfile.TemporaryDirectory(prefix="quorate-test-") as folder, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        path = os.path.join(folder, "notify")
        notified.bind(path)
        config = Path(folder, "quorate.yaml")
        config.write_text("name: a\nheartbeat-interval: soon\n", encoding="utf-8")
        for flag, words in ((f"--config-file={config}", b"quorate.yaml:2: heartbeat-interval"),
                            ("--data-dir=/proc/none", b"create folder /proc/none")):
            done = subprocess.run([quorate_binary(), flag], capture_output=True, check=False,
                                  env={"NOTIFY_SOCKET": path})
            assert done.returncode == 1, done
            status = notified.recv(1000, socket.MSG_DONTWAIT)
            assert status.startswith(b"STATUS=") and words in status and b"\n" not in status, status


def console_log():
    with Server(quorate_binary(), "--log-format=console") as server:
        server.stop()
        lines = Path(server.log_path).read_text().splitlines()
    for line in lines:
        stamp, level, *rest = line.split("\t")
        assert STAMP.fullmatch(stamp) and level == "info" or level == "warn", line
        assert len(rest) >= 2, line


def as_etcd():
    with tempfile.TemporaryDirectory(prefix="quorate-test-") as folder:
        link = os.path.join(folder, "etcd")
        os.symlink(quorate_binary(), link)
        for words in (["--version"], ["-version"]):
            result = subprocess.run([link, *words], capture_output=True, text=True, check=True)
            lines = result.stdout.splitlines()
            assert lines[0] == "etcd Version: 3.7.1" and lines[3].startswith("Go OS/Arch: "), lines
            assert result.stderr == ""
        own = subprocess.run([quorate_binary(), "--version"], capture_output=True, text=True,
                             check=True).stdout
        assert own.startswith("quorate Version: ") and "etcd API: 3.7.1" in own, own
        with Server(link) as server:
            assert server.stop() == -signal.SIGTERM


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    arguments = parser.parse_args()
    for backend in arguments.backend or BACKENDS:
        signals(backend)
        log_and_notification(backend)
        print(f"backend {backend}: as expected")
    refusal_notified()
    console_log()
    as_etcd()
    return 0


if __name__ == "__main__":
    sys.exit(main())
