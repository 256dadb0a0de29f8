"""The proxy as a process, for the tests: ours and etcd's, whose flags are the same."""

import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from cluster import wait_for  # noqa: E402
from servers import ROOT, free_ports, quorate_binary  # noqa: E402
from stubs import Client  # noqa: E402

ETCD = ROOT / "build" / "peers" / "bin" / "etcd"


class Proxy:
    """`grpc-proxy start` in front of `endpoints`; has what the suites want of a server. OWN in a flag
    is where it listens."""

    def __init__(self, endpoints, *flags, binary=None, scheme="http"):
        self.client_port, = free_ports(1)
        self.endpoint = f"127.0.0.1:{self.client_port}"
        self.url = f"{scheme}://{self.endpoint}"
        self.log = ""
        self.folder = tempfile.TemporaryDirectory(prefix="quorate-test-")
        self.process = subprocess.Popen(
            [binary or quorate_binary(), "grpc-proxy", "start",
             f"--endpoints={','.join(endpoints)}", f"--listen-addr={self.endpoint}",
             f"--data-dir={self.folder.name}",
             *(flag.replace("OWN", self.endpoint) for flag in flags)],
            stderr=subprocess.PIPE, text=True)
        self.pump = threading.Thread(target=self._read, daemon=True)
        self.pump.start()
        self.wait_log("started gRPC proxy")

    def _read(self):
        for line in self.process.stderr:
            self.log += line

    def wait_log(self, text):
        wait_for(lambda: text in self.log or not self.pump.is_alive(), f"{text} in the log")
        if text not in self.log:
            raise AssertionError(f"the proxy ended: {self.log}")

    def client(self, credentials=None):
        return Client(self.endpoint, credentials)

    def get(self, path, port=None):
        """Status and text of an HTTP answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port or self.client_port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name):
        return metric_in(self.get("/proxy/metrics")[1], f"etcd_grpc_proxy_{name}")

    def stop(self):
        self.process.terminate()
        return self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.pump.join()
        self.folder.cleanup()


def metric_in(text, name):
    for line in text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"no {name}")


def metric_of(server, name):
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        return metric_in(answer.read().decode(), name)


class WatchStream:
    """One Watch call: requests as they are given, answers as they come."""

    def __init__(self, client, metadata=()):
        self.requests = []
        self.changed = threading.Condition()
        self.done = False
        self.call = client.Watch.Watch(self._requests(), metadata=metadata)

    def _requests(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.requests or self.done)
                if not self.requests:
                    return
                request = self.requests.pop(0)
            yield request

    def send(self, **union):
        from stubs import etcd
        with self.changed:
            self.requests.append(etcd.WatchRequest(**union))
            self.changed.notify()

    def create(self, key, **fields):
        from stubs import etcd
        self.send(create_request=etcd.WatchCreateRequest(key=key, **fields))
        return self.next()

    def next(self):
        return next(self.call)

    def events(self, count):
        """The next `count` events as (type, key, value, mod_revision)."""
        found = []
        while len(found) < count:
            found += [(e.type, e.kv.key, e.kv.value, e.kv.mod_revision) for e in self.next().events]
        assert len(found) == count, found
        return found

    def close(self):
        with self.changed:
            self.done = True
            self.changed.notify()
        self.call.cancel()
