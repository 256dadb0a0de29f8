#!/usr/bin/python3
"""A client that nobody here wrote against clusters of three: plain, with TLS and client certificates,
with users and passwords over TLS, and with users whose certificates say who they are.

What is tried is in suites/parts.py, which client is made how in suites/toolchains.py.

usage: suites_test.py CLIENT [--mode MODE]... [--part PART]... [--binary PATH]    (another etcd)
"""

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE / "suites")]
from parts import MODES, PARTS, parts_of  # noqa: E402
from toolchains import CLIENTS, CannotBeHad  # noqa: E402
from world import World  # noqa: E402


def run_mode(command, mode, wanted, binary):
    parts = [part for part in parts_of(mode) if not wanted or part in wanted]
    with World(mode, binary) as world:
        begin = time.monotonic()
        reports, status = world.run(command, parts)
        for part, why in reports.items():
            if why:
                print(f"    {part}: not offered: {why}")
        if status != 0:
            raise AssertionError(f"{mode}: the program ended with {status}")
        missing = [part for part in parts if part not in reports]
        assert not missing, f"{mode}: no word of {' '.join(missing)}"
        offered = sum(1 for why in reports.values() if not why)
        print(f"  {mode}: {offered} of {len(parts)} parts as expected, "
              f"{len(parts) - offered} not offered by the client; "
              f"{time.monotonic() - begin:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("--mode", choices=MODES, action="append")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--binary")
    arguments = parser.parse_args()
    try:
        command, version = CLIENTS[arguments.client]()
    except CannotBeHad as why:
        print(f"SKIPPED: {arguments.client}: {why}")
        return 77
    print(f"{version} against {arguments.binary or 'quorate'}", flush=True)
    for mode in arguments.mode or MODES:
        run_mode(command, mode, arguments.part, arguments.binary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
