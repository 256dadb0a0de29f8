"""The planted bugs as read from bugs/: what each takes out of which file, and who must say so.

A file bugs/NN_name.txt is a head of `field: value` lines, then `--- before`, a text that stands in
the source file exactly once, and `--- after`, what stands there instead. There, PLANTED is true while
this bug is the chosen one and false else, so that all bugs fit into one build.

    what      the rule that is broken
    file      the source file (no header: only the file itself is compiled again)
    found by  a regular expression: what a checker or an invariant says because of this bug
    seeds     within so many, counted from 1, it must be found
    options   of the simulator
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUGS = Path(__file__).resolve().parent / "bugs"
FIELDS = {"what", "file", "found by", "seeds", "options"}


@dataclass
class Bug:
    name: str
    number: int
    what: str
    file: str
    found_by: str
    seeds: int
    options: list
    before: str
    after: str

    def stale(self, text):
        """What is wrong with it where the file is `text`; empty = nothing."""
        times = text.count(self.before)
        if times != 1:
            return f"{self.file} has its text {times} times"
        return "" if "PLANTED" in self.after else "its text does not ask whether it is PLANTED"


def read_bug(path):
    head, _, rest = path.read_text(encoding="utf-8").partition("--- before\n")
    before, _, after = rest.partition("--- after\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    if set(fields) != FIELDS or not path.name[:2].isdigit():
        raise ValueError(f"{path}: fields must be {', '.join(sorted(FIELDS))}, its name begin with NN_")
    re.compile(fields["found by"])
    return Bug(path.stem, int(path.name[:2]), fields["what"], fields["file"], fields["found by"],
               int(fields["seeds"]), fields["options"].split(), before, after)


def read_bugs():
    bugs = [read_bug(path) for path in sorted(BUGS.glob("*.txt"))]
    if len({bug.number for bug in bugs}) != len(bugs):
        raise ValueError("two bugs have the same number")
    return bugs
