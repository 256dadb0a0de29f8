#!/usr/bin/python3
"""Planted bugs: is the simulator any good?

    tests/planted/planted.py [--jobs N] [NAME...]     ./dev test planted runs it

Each file in bugs/ takes one rule out of the product: it names a source file, a text in it that must
be there exactly once, and what stands there instead. The tree is copied, the bug is put in, the
simulator is built and runs seeds from 1 on until one fails. A bug that is not found within its
number of seeds fails the suite, and so does one whose text is no longer there.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUGS = Path(__file__).resolve().parent / "bugs"
WORK = ROOT / "build" / "planted"
SOURCE = WORK / "src"
BUILD = SOURCE / "build" / "release"  # as in the tree itself, so that its compiler cache serves
CHUNK = 100  # seeds per start of the program: it prints every failure, one is enough


@dataclass
class Bug:
    name: str
    what: str
    file: str
    seeds: int
    options: list
    before: str
    after: str


def read_bug(path):
    head, _, rest = path.read_text(encoding="utf-8").partition("--- before\n")
    before, _, after = rest.partition("--- after\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    return Bug(path.stem, fields["what"], fields["file"], int(fields["seeds"]),
               fields["options"].split(), before, after)


def copy_tree():
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
                           cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    wanted = {n for n in names if n and not n.startswith(("results/", "docs/")) and (ROOT / n).is_file()}
    if SOURCE.is_dir():
        for old in SOURCE.rglob("*"):
            name = str(old.relative_to(SOURCE))
            if old.is_file() and name not in wanted and not name.startswith("build/"):
                old.unlink()
    for name in wanted:
        target = SOURCE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Unchanged files keep their times, so that nothing is built again for nothing.
        if not target.is_file() or target.read_bytes() != (ROOT / name).read_bytes():
            shutil.copy(ROOT / name, target)


def build(jobs):
    environment = dict(os.environ, CCACHE_BASEDIR=str(SOURCE), CCACHE_NOHASHDIR="1")
    if not (BUILD / "build.ninja").is_file():
        subprocess.run(["cmake", "-S", str(SOURCE), "-B", str(BUILD), "-G", "Ninja",
                        "-DCMAKE_BUILD_TYPE=Optimized"], check=True, capture_output=True, env=environment)
    result = subprocess.run(["ninja", "-C", str(BUILD), "-j", str(jobs), "quorate-sim"],
                            capture_output=True, text=True, check=False, env=environment)
    return None if result.returncode == 0 else result.stdout[-3000:]


def hunt(bug):
    """(seed that found it or None, what it said)"""
    program = BUILD / "bin" / "quorate-sim"
    for first in range(1, bug.seeds + 1, CHUNK):
        last = min(first + CHUNK - 1, bug.seeds)
        result = subprocess.run(
            [str(program), "--seeds", f"{first}..{last}", "--stop-at-failure", *bug.options],
            capture_output=True, text=True, check=False)
        if result.returncode == 0:
            continue
        text = result.stdout + result.stderr
        seed = re.search(r"^seed (\d+)", text, re.M) or re.search(r"running seed (\d+)", text)
        said = re.search(r"VIOLATION (.*)", text) or re.search(r"(.*check failed.*)", text)
        return (int(seed[1]) if seed else last), (said[1][:110] if said else f"exit {result.returncode}")
    return None, ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*", help="parts of names; all when there are none")
    options = parser.parse_args()
    bugs = [read_bug(path) for path in sorted(BUGS.glob("*.txt"))]
    if options.names:
        bugs = [bug for bug in bugs if any(name in bug.name for name in options.names)]
    copy_tree()
    missed = 0
    for bug in bugs:
        path = SOURCE / bug.file
        text = path.read_text(encoding="utf-8")
        started = time.monotonic()
        if text.count(bug.before) != 1:
            print(f"STALE   {bug.name}: {bug.file} has its text {text.count(bug.before)} times")
            missed += 1
            continue
        path.write_text(text.replace(bug.before, bug.after), encoding="utf-8")
        try:
            trouble = build(options.jobs)
            seed, said = (None, "does not build:\n" + trouble) if trouble else hunt(bug)
        finally:
            path.write_text(text, encoding="utf-8")
        seconds = time.monotonic() - started
        if seed is None:
            missed += 1
            print(f"MISSED  {bug.name} in {bug.seeds} seeds ({seconds:.0f} s) {said}", flush=True)
        else:
            print(f"found   {bug.name} by seed {seed} ({seconds:.0f} s): {said}", flush=True)
    print(f"{len(bugs) - missed} of {len(bugs)} planted bugs found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
