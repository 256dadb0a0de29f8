#!/usr/bin/python3
"""Time and memory of snapshots of a million keys, quorateutl beside etcdutl, as a table.

usage: snapshot_figures.py [--keys N] [--value-bytes N] [--folder DIR]
Needs the release programs (QUORATE_BIN, else build/bin); etcdutl from scripts/build_etcd.sh.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "lib"))
from servers import ROOT, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

PER_TXN = 10_000
MIB = 1 << 20


def fill(endpoint, keys, value_bytes):
    client = Client(endpoint)
    noise = os.urandom(value_bytes + 4096)
    for first in range(0, keys, PER_TXN):
        client.KV.Txn(etcd.TxnRequest(success=[
            etcd.RequestOp(request_put=etcd.PutRequest(
                key=b"/registry/things/namespace/%09d" % i,
                value=noise[i % 4096:i % 4096 + value_bytes]))
            for i in range(first, min(first + PER_TXN, keys))]))
    client.close()


def memory(pid, what):
    """MiB of a line of its status, or 0 of a process that has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0


def measured(*command, beside=lambda: None):
    """(wall seconds, CPU seconds, peak MiB) of a program that has to succeed. `beside` is called now
    and then."""
    start = time.monotonic()
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    # What wait4 says of memory counts this program's own, as it was before the other took over.
    peak, ended = 0, 0
    while not ended:
        peak = max(peak, memory(process.pid, "VmHWM"))
        beside()
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        time.sleep(0.002)
    wall = time.monotonic() - start
    assert status == 0, f"{command} failed"
    return wall, usage.ru_utime + usage.ru_stime, peak


def row(name, figures):
    print(f"| {name} | {figures[0]:.2f} | {figures[1]:.2f} | {figures[2]:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    programs = quorate_binary().parent
    ours, ctl = programs / "quorateutl", programs / "quoratectl"
    theirs = ROOT / "build" / "peers" / "bin" / "etcdutl"
    work = Path(tempfile.mkdtemp(prefix="quorate-figures-", dir=arguments.folder))
    try:
        file = work / "snapshot.db"
        print("| what | s | CPU s | peak MiB |\n|---|---|---|---|")
        server = Server(quorate_binary(), f"--max-txn-ops={PER_TXN}", f"--max-request-bytes={64 * MIB}",
                        "--quota-backend-bytes=-1", data_root=arguments.folder)
        with server:
            fill(server.endpoint, arguments.keys, arguments.value_bytes)
            # Its own memory: what it maps of the backend's file is the system's to take back.
            server_mib = [memory(server.process.pid, "RssAnon")]
            save = measured(
                ctl, "--endpoints", server.endpoint, "snapshot", "save", file,
                beside=lambda: server_mib.append(memory(server.process.pid, "RssAnon")))
            row("quoratectl snapshot save", save)
        print(f"| the server meanwhile, above what it had | | | {max(server_mib) - server_mib[0]:.0f} |")
        for name, tool in (("quorateutl", ours), ("etcdutl", theirs)):
            if not tool.exists():
                continue
            row(f"{name} snapshot status", measured(tool, "snapshot", "status", file))
            copy = shutil.copy(file, work / f"{name}.db")
            row(f"{name} hashkv", measured(tool, "hashkv", copy))
        for backend in ("lmdb", "memory", "rocksdb"):
            row(f"quorateutl snapshot restore, {backend}",
                measured(ours, "snapshot", "restore", file, "--backend", backend, "--data-dir",
                         work / backend))
        if theirs.exists():
            row("etcdutl snapshot restore",
                measured(theirs, "snapshot", "restore", file, "--data-dir", work / "etcd"))
        print(f"\n{arguments.keys} keys, values of {arguments.value_bytes} bytes, a file of "
              f"{file.stat().st_size / MIB:.0f} MiB, {os.cpu_count()} cores")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
