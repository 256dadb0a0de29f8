#!/usr/bin/python3
"""Writes a source file with all of its bugs planted: tests/planted/plant.py FILE OUTPUT

FILE is relative to the tree. A step of the build of quorate-sim-planted. A bug whose text is not
there any more is left out here and fails the suite that looks for it, not the build.
"""

import sys
from pathlib import Path

from bugs import ROOT, read_bugs

HEADER = '#include "tests/planted/choice.h"\n'


def plant(name):
    original = (ROOT / name).read_text(encoding="utf-8")
    text = original
    for bug in read_bugs():
        if bug.file != name or bug.stale(original):
            continue
        after = bug.after.replace("PLANTED", f"(::quorate::planted::chosen == {bug.number})")
        text = text.replace(bug.before, after)
    return HEADER + text


def main():
    name, output = sys.argv[1:]
    target = Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(plant(name), encoding="utf-8")


if __name__ == "__main__":
    main()
