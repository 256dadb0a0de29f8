#!/usr/bin/python3
"""Planted bugs: is the simulator any good?

    tests/planted/planted.py --program PROGRAM [--jobs N] [NAME...]     ./dev test planted runs it

Each bug of bugs/ is switched on by itself, and seeds run from 1 on until a checker or an invariant
says what must be said of this bug; any other failure is no find. Then the seed that found it runs
without the bug, and must pass. A bug that is not found within its number of seeds fails the suite, and
so does one whose text no longer stands in its file.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bugs import ROOT, read_bugs

FOUND = re.compile(r"^FOUND (.*)", re.M)
SPENT = re.compile(r"^spent (\d+) seeds, (\d+) virtual seconds", re.M)
# A run that a failed CHECK ended: it says where it was.
ENDED = re.compile(r"^running seed (\d+)", re.M)


@dataclass
class Hunt:
    seed: int = 0  # that found it; 0 = none
    said: str = ""
    seeds: int = 0
    virtual_seconds: int = 0
    others: int = 0  # seeds that failed in another way
    last_other: str = ""


def run(program, number, arguments):
    environment = dict(os.environ, QUORATE_PLANTED=str(number))
    result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False,
                            env=environment)
    return result.returncode, result.stdout + result.stderr


def hunt(program, bug):
    found = Hunt()
    first = 1
    while first <= bug.seeds:
        code, text = run(program, bug.number, ["--seeds", f"{first}..{bug.seeds}", "--until",
                                               bug.found_by, *bug.options])
        spent = SPENT.search(text)
        if spent:
            found.seeds += int(spent[1])
            found.virtual_seconds += int(spent[2])
        said = FOUND.search(text)
        if said:
            found.seed, found.said = first + int(spent[1]) - 1, said[1]
            return found
        other = re.findall(r"VIOLATION (.*)", text)
        found.others += text.count("violations; again:")
        ended = ENDED.search(text)
        if not ended:
            found.last_other = other[-1] if other else found.last_other
            if code not in (0, 1):
                found.last_other = f"exit {code}: {text[-300:]}"
            return found
        # A CHECK of the product: the seeds go on behind it.
        check = re.search(r".*check failed.*", text)
        said = check[0] if check else f"exit {code}"
        if re.search(bug.found_by, said):
            found.seed, found.said = int(ended[1]), said
            return found
        found.others, found.last_other = found.others + 1, said
        first = int(ended[1]) + 1
    return found


def examine(program, bug):
    """(whether all is well, what to say)"""
    stale = bug.stale((ROOT / bug.file).read_text(encoding="utf-8"))
    if stale:
        return False, f"STALE   {bug.name}: {stale}"
    started = time.monotonic()
    found = hunt(program, bug)
    figures = (f"{found.seeds} seeds, {found.virtual_seconds} virtual seconds, "
               f"{time.monotonic() - started:.0f} s")
    if found.seed == 0:
        return False, (f"MISSED  {bug.name}: {figures}; {found.others} seeds failed otherwise "
                       f"{found.last_other[:200]}")
    code, _ = run(program, 0, ["--seeds", f"{found.seed}..{found.seed}", *bug.options])
    if code != 0:
        return False, f"BLIND   {bug.name}: seed {found.seed} fails without it as well"
    return True, f"found   {bug.name} by seed {found.seed} ({figures}): {found.said[:110]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="quorate-sim-planted")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("names", nargs="*", help="parts of names; all when there are none")
    options = parser.parse_args()
    bugs = [bug for bug in read_bugs()
            if not options.names or any(name in bug.name for name in options.names)]
    good = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for well, line in pool.map(lambda bug: examine(options.program, bug), bugs):
            good += well
            print(line, flush=True)
    print(f"{good} of {len(bugs)} planted bugs found, each by its own effect")
    return 0 if good == len(bugs) else 1


if __name__ == "__main__":
    sys.exit(main())
