#!/usr/bin/python3
"""A cluster on this machine: N members with prefixed logs, until Ctrl-C. For `./dev cluster`.

Says how to talk to it, and how to kill, pause and add members. Data lie in a temporary folder that
goes with the cluster, unless --data names one to keep.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
READY = b"ready to serve client requests"
COLOURS = (36, 33, 35, 32, 34)


def member_command(binary, folder, name, index, base_port, initial, state, flags):
    client, peer = (f"http://127.0.0.1:{base_port + 10 * index + kind}" for kind in (0, 1))
    return [str(binary), f"--name={name}", f"--data-dir={folder / name}",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={initial}", f"--initial-cluster-state={state}",
            "--log-format=console", *flags]


def print_log(stream, name, colour, ready):
    with_colour = sys.stdout.isatty()
    prefix = f"\033[{colour}m{name}\033[0m | " if with_colour else f"{name} | "
    for line in stream:
        sys.stdout.write(prefix + line.decode(errors="replace"))
        sys.stdout.flush()
        if READY in line:
            ready.set()
    ready.set()


def advice(binary, folder, processes, base_port, size):
    endpoints = ",".join(f"127.0.0.1:{base_port + 10 * i}" for i in range(size))
    pids = "  ".join(f"{name}={process.pid}" for name, process in processes.items())
    fresh = f"m{size}"
    peer = f"http://127.0.0.1:{base_port + 10 * size + 1}"
    grown = ",".join([f"m{i}=http://127.0.0.1:{base_port + 10 * i + 1}" for i in range(size)]
                     + [f"{fresh}={peer}"])
    command = " ".join(member_command(binary, folder, fresh, size, base_port, grown, "existing", []))
    return f"""
  talk    export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={endpoints}
          etcdctl put greeting hello; etcdctl get greeting; etcdctl endpoint status -w table
  pids    {pids}
  kill    kill -9 PID     (start it again with the command that `ps -o args= PID` showed)
  pause   kill -STOP PID; kill -CONT PID
  add     etcdctl member add {fresh} --peer-urls={peer} --learner
          {command}
          etcdctl member promote ID
  remove  etcdctl member remove ID
  stop    Ctrl-C
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", type=int, choices=(1, 3, 5), nargs="?", default=3)
    parser.add_argument("--data", help="folder to keep; a later start goes on with it")
    parser.add_argument("--base-port", type=int, default=23790,
                        help="members take this and the next port, 10 higher each")
    parser.add_argument("--binary", default=ROOT / "build" / "bin" / "quorate", type=Path)
    parser.epilog = "What follows -- is given to every member."
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    options = parser.parse_args(own)
    folder = Path(options.data or tempfile.mkdtemp(prefix="quorate-cluster-"))
    initial = ",".join(f"m{i}=http://127.0.0.1:{options.base_port + 10 * i + 1}"
                       for i in range(options.size))
    processes, waits, pumps = {}, [], []
    for index in range(options.size):
        name = f"m{index}"
        # In a group of its own: Ctrl-C reaches this program alone, which stops them in order.
        process = subprocess.Popen(
            member_command(options.binary, folder, name, index, options.base_port, initial, "new",
                           flags),
            stderr=subprocess.PIPE, start_new_session=True)
        ready = threading.Event()
        pump = threading.Thread(target=print_log,
                                args=(process.stderr, name, COLOURS[index], ready))
        pump.start()
        processes[name], waits, pumps = process, [*waits, ready], [*pumps, pump]

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    for ready in waits:
        ready.wait()
    if not stop.is_set() and any(p.poll() is None for p in processes.values()):
        print(advice(options.binary, folder, processes, options.base_port, options.size), flush=True)
        stop.wait()
    for process in processes.values():
        if process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)
            process.terminate()
    for process in processes.values():
        process.wait()
    for pump in pumps:
        pump.join()
    if options.data is None:
        shutil.rmtree(folder, ignore_errors=True)
    print("all members have stopped")


if __name__ == "__main__":
    main()
