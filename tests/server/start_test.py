#!/usr/bin/python3
"""A start that cannot be: the program ends with an exit code and one line that names the flag, the
variable, the line of the file or the path, and the choices or the way out.

usage: start_test.py
"""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import BACKENDS, Server, ServerDied, free_ports, quorate_binary  # noqa: E402

USAGE, REFUSED = 2, 1  # exit codes, as etcd's
TIME_LIMIT_S = 120  # a program that serves in spite of all would run for ever


def run(*flags, environment=(), files=(), addresses=True):
    """Exit code and the line that tells why, of a program that must not come to serve."""
    with tempfile.TemporaryDirectory(prefix="quorate-test-") as folder:
        for name, text in dict(files).items():
            Path(folder, name).write_text(text, encoding="utf-8")
        client, peer = free_ports(2)
        address = {"listen-client-urls": client, "advertise-client-urls": client,
                   "listen-peer-urls": peer, "initial-advertise-peer-urls": peer}
        given = " ".join(flags)
        defaults = [f"--{name}=http://127.0.0.1:{port}" for name, port in address.items()
                    if addresses and name not in given and not files]
        if addresses and not files:
            defaults.append(f"--initial-cluster=default=http://127.0.0.1:{peer}")
        result = subprocess.run(
            [quorate_binary(), *defaults, *flags], capture_output=True, text=True, check=False,
            cwd=folder, env={"PATH": "/usr/bin:/bin", **dict(environment)}, timeout=TIME_LIMIT_S)
    lines = [line for line in result.stderr.splitlines() if line]
    if result.returncode == USAGE:
        assert lines[-1] == "Run 'quorate --help' for all flags.", result.stderr
        return result.returncode, lines[-2]
    return result.returncode, json.loads(lines[-1])["error"]


def refuse(code, pattern, *flags, **more):
    got, text = run(*flags, **more)
    assert got == code and re.search(pattern, text), f"{flags} {more}: exit {got}: {text}"


def flags():
    refuse(USAGE, r"unknown flag --data-dri; did you mean --data-dir\?", "--data-dri=x")
    refuse(USAGE, r"unknown flag --colour; --help lists", "--colour")
    refuse(USAGE, r"'word' is not a valid flag", "word")
    refuse(USAGE, r"--name: needs a value", "--name")
    refuse(USAGE, r'--quota-backend-bytes: invalid value "much": expected a whole number',
           "--quota-backend-bytes=much")
    refuse(USAGE, r'--batch-max-entries: invalid value "0": at least 1', "--batch-max-entries=0")
    refuse(USAGE, r'--election-timeout: invalid value "60000": at most 50000',
           "--election-timeout=60000")
    refuse(USAGE, r'--backend-commit-interval: invalid duration "soon"',
           "--backend-commit-interval=soon")
    refuse(USAGE, r'--pre-vote: invalid boolean "maybe"', "--pre-vote=maybe")
    refuse(USAGE, r"--log-sync: unknown value \"never\"; known: fdatasync, dsync, none",
           "--log-sync=never")
    refuse(USAGE, r"unrecognized feature gate: Teleport; known: AllAlpha",
           "--feature-gates=Teleport=true")
    refuse(REFUSED, r"--election-timeout\[200ms\] should be at least as 5 times",
           "--election-timeout=200")
    refuse(REFUSED, r'--backend: unknown value "bolt"; known: memory, lmdb, rocksdb',
           "--backend=bolt")
    refuse(REFUSED, r'--allocator: unknown value "slab"; known: .*arena', "--allocator=slab")
    refuse(REFUSED, r'--transport: unknown value "quic"; known: native, grpc', "--transport=quic")
    refuse(REFUSED, r'--log-level: unknown log level "loud"; known: debug, info', "--log-level=loud")
    refuse(REFUSED, r"--log-outputs: open log output /nonexistent/log",
           "--log-outputs=/nonexistent/log")
    refuse(REFUSED, r"--advertise-client-urls is required when --listen-client-urls",
           "--listen-client-urls=http://127.0.0.1:1", addresses=False)
    for url, why in (("ftp://127.0.0.1:1", "scheme must be"), ("http://127.0.0.1", "host:port"),
                     ("http://127.0.0.1:99999", "host:port"), ("http://127.0.0.1:1/x", "path")):
        refuse(REFUSED, rf"--listen-client-urls: .*{why}.*{re.escape(url)}",
               f"--listen-client-urls={url}", "--advertise-client-urls=http://127.0.0.1:1")
    refuse(REFUSED, r"couldn't find local name \"other\"", "--name=other")


def environment():
    refuse(REFUSED, r'ETCD_QUOTA_BACKEND_BYTES: invalid value "x"',
           environment={"ETCD_QUOTA_BACKEND_BYTES": "x"})
    refuse(REFUSED, r"ETCD_NAME is shadowed by the corresponding command-line flag --name",
           "--name=y", environment={"ETCD_NAME": "x"})
    refuse(REFUSED, r'--backend: unknown value "bolt"', environment={"ETCD_BACKEND": "bolt"})
    # An unknown variable is no error, as with etcd, but told with what it may have meant.
    with Server(quorate_binary()) as server:
        server.stop()
        server.environment = {"ETCD_DATA_DRI": "x", "ETCD_VERIFY": "all"}
        server.start()
        lines = [json.loads(text) for text in Path(server.log_path).read_text().splitlines()]
        told = [entry for entry in lines if entry["msg"] == "unrecognized environment variable"]
        assert [entry["environment-variable"] for entry in told] == ["ETCD_DATA_DRI"], told
        assert "did you mean data-dir" in told[0]["hint"], told


def config_file():
    def bad(text, pattern):
        refuse(REFUSED, pattern, "--config-file=c.yaml", files={"c.yaml": text})

    bad("name: a\nname: b\n", r'c\.yaml:2: key "name" appears twice; the first is in line 1')
    bad("name: a\ndata-dri: b\n", r'c\.yaml:2: unknown option "data-dri"; did you mean data-dir\?')
    bad("# none\n\nquota-backend-bytes: much\n", r"c\.yaml:3: quota-backend-bytes: invalid value")
    bad("name: [\n", r"c\.yaml:\d+: not valid YAML")
    bad("- a\n- b\n", r"c\.yaml:1: expected keys and values")
    bad("client-transport-security:\n  cert-flie: x\n", r"c\.yaml:2: .*cert-flie.*cert-file")
    refuse(REFUSED, r"--config-file: open missing\.yaml: No such file", "--config-file=missing.yaml")


def paths():
    with tempfile.TemporaryDirectory(prefix="quorate-test-") as folder:
        Path(folder, "file").touch()
        refuse(REFUSED, r"--data-dir .*file: create folder .*file: Not a directory",
               f"--data-dir={folder}/file")
        # A folder whose parent is missing is made, as etcd does; below a file it cannot be.
        refuse(REFUSED, r"--data-dir .*Not a directory", f"--data-dir={folder}/file/below")
    refuse(REFUSED, r"--data-dir /proc/none: create folder", "--data-dir=/proc/none")
    if os.geteuid() == 0:
        print("note: run as root, who may write anywhere; the folder without rights is /proc")
    else:
        refuse(REFUSED, r"--data-dir /etc/quorate: create folder .*Permission denied",
               "--data-dir=/etc/quorate")
    with tempfile.TemporaryDirectory(prefix="quorate-test-") as folder:
        Path(folder, "member", "wal").mkdir(parents=True)
        refuse(REFUSED, r"--data-dir .* was made by etcd", f"--data-dir={folder}")


def ports():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        refuse(REFUSED, rf"listen tcp {url[7:]}: bind: address already in use",
               f"--listen-client-urls={url}", f"--advertise-client-urls={url}")
        refuse(REFUSED, rf"listen tcp {url[7:]}: bind: address already in use",
               f"--listen-metrics-urls={url}")


def lock():
    """A second server on the same folder waits for the first, as etcd does."""
    with Server(quorate_binary()) as first:
        second = Server(quorate_binary())
        shutil.rmtree(second.root)
        second.root, second.data_dir = first.root, first.data_dir
        second.log_path = first.log_path + ".second"
        starting = threading.Thread(target=second.start)
        starting.start()
        while "in use by another process; waiting" not in second.log_tail():
            starting.join(timeout=0.05)
            assert starting.is_alive(), second.log_tail()
        assert first.stop() == -signal.SIGTERM
        starting.join()
        assert second.was_ready and second.stop() == -signal.SIGTERM


def expect_death(server, pattern):
    try:
        server.start()
    except ServerDied:
        last = json.loads(server.log_tail(100_000).splitlines()[-1])
        assert last["level"] == "fatal", last
        assert re.search(pattern, last["error"]), last["error"]
        return
    raise AssertionError(f"started in spite of: {pattern}")


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def newer_format():
    with Server(quorate_binary()) as server:
        server.stop()
        marker = Path(server.data_dir, "member", "backend", "BACKEND")
        kept = marker.read_text()
        marker.write_text("lmdb 99\n")
        expect_death(server, r"BACKEND: this folder has format 99 .* knows up to 1; start the newer")
        marker.write_text("lmdb\n")
        expect_death(server, r"BACKEND is damaged at offset 0")
        marker.write_text(kept)
        segment = sorted(Path(server.data_dir, "member", "log").glob("*.seg"))[-1]
        head = bytearray(segment.read_bytes()[:92])
        head[8:12] = struct.pack("<I", 99)  # docs/formats/log.md
        head[88:92] = struct.pack("<I", crc32c(head[:88]))
        with open(segment, "r+b") as file:
            file.write(head)
        expect_death(server, rf"{segment.name}: offset 8: log format 99 is newer")


def other_backend():
    for index, backend in enumerate(BACKENDS):
        with Server(quorate_binary(), f"--backend={backend}") as server:
            server.stop()
            other = BACKENDS[(index + 1) % len(BACKENDS)]
            server.flags = [f"--backend={other}"]
            expect_death(server, rf"(?s){backend}.*")
            assert other in server.log_tail() and "--backend" in server.log_tail()
            server.flags = [f"--backend={backend}"]
            server.start()
            server.stop()


def main():
    for case in (flags, environment, config_file, paths, ports, lock, other_backend, newer_format):
        case()
        print(f"{case.__name__}: as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
