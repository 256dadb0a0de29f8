#!/usr/bin/python3
"""The whole program quorate-bench: Ctrl-C, wrong answers, and workloads that cannot be meant so.

usage: bench_test.py [--rewrite]
"""

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import BACKENDS, Server, quorate_binary  # noqa: E402

BENCH = quorate_binary().with_name("quorate-bench")
CASES = Path(__file__).resolve().with_name("bad_workloads.txt")
COMPLETE, WRONG_USE, VOID, INTERRUPTED = 0, 2, 3, 130
WORKLOAD = """
name: endless
keys:
  - {name: items, prefix: /bench/, count: 50, size: 16B}
phases:
  - name: fill
    measure: false
    loop: closed
    count: 50
    operations:
      - {op: put, keys: items, distribution: sequential, value: 512B}
  - name: work
    duration: 24h
    loop: closed
    clients: 4
    connections: 2
    operations:
      - {op: put, keys: items, value: 512B}
      - {op: get, keys: items}
    watchers:
      - {keys: items, count: 3}
"""


class Bench:
    """A running quorate-bench with a result file."""

    def __init__(self, endpoint, *flags):
        self.folder = tempfile.TemporaryDirectory(prefix="quorate-bench-")
        workload = Path(self.folder.name, "w.yaml")
        workload.write_text(WORKLOAD, encoding="utf-8")
        self.out = Path(self.folder.name, "result.json")
        self.process = subprocess.Popen(
            [BENCH, "run", workload, f"--endpoints={endpoint}", f"--out={self.out}", *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for_progress(self, count):
        """Until so many plain lines told of the phase that is measured."""
        for line in self.process.stderr:
            count -= "work" in line
            if count <= 0:
                return
        raise AssertionError(f"ended early: {self.process.wait()}")

    def end(self):
        """Exit code, the summary and the result."""
        out, err = self.process.communicate()
        result = json.loads(self.out.read_text()) if self.out.exists() else None
        self.folder.cleanup()
        return self.process.returncode, out, result, err


def interrupts(server):
    for number in (signal.SIGINT, signal.SIGTERM):
        bench = Bench(server.endpoint)
        bench.wait_for_progress(2)
        bench.process.send_signal(number)
        code, out, result, err = bench.end()
        assert code == INTERRUPTED, f"exit {code}:\n{out}{err}"
        assert "partial" in out.lower(), out
        assert result["outcome"] == "partial", list(result)
        assert "wrong" not in out.lower() or "0 wrong" in out.lower(), out
        work = [phase for phase in result["phases"] if phase["name"] == "work"]
        assert len(work) == 1, [phase["name"] for phase in result["phases"]]
    # Who does not want to wait for the checks asks twice.
    bench = Bench(server.endpoint)
    bench.wait_for_progress(1)
    bench.process.send_signal(signal.SIGSTOP)
    bench.process.send_signal(signal.SIGINT)
    bench.process.send_signal(signal.SIGTERM)
    bench.process.send_signal(signal.SIGCONT)
    code, _, _, _ = bench.end()
    assert code in (INTERRUPTED, -signal.SIGTERM, -signal.SIGINT), code


class LyingProxy:
    """Passes bytes on, and once changes one in the middle of what must be a value: the server's
    answers with 512 bytes of value are the only long ones."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.lied = False
        self.lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            for source, sink, lies in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass, args=(source, sink, lies), daemon=True).start()

    def _pass(self, source, sink, lies):
        # A frame of data with one value is a little above its length and far below two.
        try:
            while data := source.recv(1 << 16):
                with self.lock:
                    if lies and not self.lied and 560 < len(data) < 700:
                        self.lied = True
                        middle = len(data) // 2
                        data = data[:middle] + bytes([data[middle] ^ 0x20]) + data[middle + 1:]
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


def wrong_answers(server):
    proxy = LyingProxy(server.client_port)
    bench = Bench(proxy.endpoint, "--duration=3s")
    code, out, result, err = bench.end()
    proxy.close()
    assert proxy.lied, "no answer was changed"
    assert code == VOID, f"exit {code}:\n{out}{err}"
    assert "void" in out.lower() and result["outcome"] == "void", out


def complete(server):
    code, out, result, err = Bench(server.endpoint, "--duration=1s").end()
    assert code == COMPLETE and result["outcome"] == "complete", f"exit {code}:\n{out}{err}"


def answer_to(text):
    with tempfile.TemporaryDirectory(prefix="quorate-bench-") as folder:
        Path(folder, "w.yaml").write_text(text, encoding="utf-8")
        done = subprocess.run([BENCH, "check", "w.yaml"], cwd=folder, capture_output=True,
                              text=True, check=False)
    assert done.returncode == WRONG_USE, f"exit {done.returncode} of:\n{text}"
    assert done.stderr.startswith("quorate-bench: w.yaml:"), done.stderr
    return done.stderr


def bad_workloads(rewrite):
    head, *cases = CASES.read_text(encoding="utf-8").split("\n\n")
    written, different = [head], 0
    for case in cases:
        asked, expected = case.strip("\n").split("----")
        title, text = asked.split("\n", 1)
        got = answer_to(text)
        if got.strip() != expected.strip():
            different += 1
            print(f"{title}\n  wanted: {expected.strip()}\n  got:    {got.strip()}")
        written.append(f"{title}\n{text}----\n{got.strip()}")
    if rewrite:
        CASES.write_text("\n\n".join(written) + "\n", encoding="utf-8")
    assert rewrite or different == 0, f"{different} of {len(cases)} answers are different"
    print(f"{len(cases)} workloads refused as written down")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rewrite", action="store_true")
    bad_workloads(parser.parse_args().rewrite)
    with Server(quorate_binary(), f"--backend={BACKENDS[0]}") as server:
        for case in (complete, interrupts, wrong_answers):
            case(server)
            print(f"{case.__name__}: as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
