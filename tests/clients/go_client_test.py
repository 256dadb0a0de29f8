#!/usr/bin/python3
"""etcd's Go client and its concurrency package (tests/clients/go) against every backend.

The suite is built from pinned modules where Go is installed. It is skipped, with the reason, where
Go or the modules cannot be had.

usage: go_client_test.py [--backend NAME]... [--peer PATH]     a peer: a real etcd instead
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import BACKENDS, Server, quorate_binary  # noqa: E402

SOURCE = Path(__file__).resolve().parent / "go"


def build(folder):
    """The suite's program, or None and the reason."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if go is None:
        return None, "Go is not installed"
    program = os.path.join(folder, "clientsuite")
    done = subprocess.run([go, "build", "-o", program, "."], cwd=SOURCE, capture_output=True,
                          text=True, check=False, env={**os.environ, "GOTOOLCHAIN": "local"})
    if done.returncode == 0:
        return program, ""
    text = done.stderr.strip()
    for cause in ("dial tcp", "no such host", "connection refused", "GOPROXY", "go.mod requires go",
                  "requires go >="):
        if cause in text:
            return None, f"the modules cannot be had: {text.splitlines()[-1]}"
    raise AssertionError(f"the suite does not compile:\n{text}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    parser.add_argument("--peer")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quorate-go-") as folder:
        program, why = build(folder)
        if program is None:
            print(f"SKIPPED: {why}")
            return 77
        runs = [(arguments.peer, [])] if arguments.peer else [
            (quorate_binary(), [f"--backend={backend}"])
            for backend in arguments.backend or BACKENDS]
        for binary, flags in runs:
            print(f"{binary} {' '.join(flags)}", flush=True)
            with Server(binary, *flags) as server:
                if subprocess.run([program, server.endpoint], check=False).returncode != 0:
                    print(server.log_tail(2000))
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
