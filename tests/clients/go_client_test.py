#!/usr/bin/python3
"""etcd's Go client and the packages beside it (tests/clients/go) against every backend.

The suite is built from pinned modules where Go is installed. It is skipped, with the reason, where
Go or the modules cannot be had.

usage: go_client_test.py [--backend NAME]... [--peer PATH]     a peer: a real etcd instead
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE / "suites")]
from parts import parts_of  # noqa: E402
from servers import BACKENDS, Server, quorate_binary  # noqa: E402
from toolchains import CannotBeHad, go  # noqa: E402

OF_A_CLUSTER = ("members", "failover")


def run(program, server):
    parts = [part for part in parts_of("plain") if part not in OF_A_CLUSTER]
    environment = {**os.environ, "QUORATE_ENDPOINTS": server.endpoint, "QUORATE_MODE": "plain",
                   "QUORATE_PARTS": ",".join(parts)}
    return subprocess.run(program, env=environment, check=False).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    parser.add_argument("--peer")
    arguments = parser.parse_args()
    try:
        program, version = go()
    except CannotBeHad as why:
        print(f"SKIPPED: {why}")
        return 77
    runs = [(arguments.peer, [])] if arguments.peer else [
        (quorate_binary(), [f"--backend={backend}"])
        for backend in arguments.backend or BACKENDS]
    for binary, flags in runs:
        print(f"{version}: {binary} {' '.join(flags)}", flush=True)
        with Server(binary, *flags) as server:
            if run(program, server) != 0:
                print(server.log_tail(2000))
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
