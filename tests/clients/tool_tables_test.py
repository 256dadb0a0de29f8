#!/usr/bin/python3
"""docs/quoratectl.md and docs/quorateutl.md tell the truth: each has every command and flag of the table
of its etcd's (tests/wire/etcdctl.tsv, etcdutl.tsv), and what it says of each is so. What works is in the
program's --help; what is refused is refused with a reason.
"""

import csv
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import ROOT, quorate_binary  # noqa: E402

STATES = ("works", "without effect", "refused")
OWN = "ours"  # a row of what etcd's program has not


@dataclass(frozen=True)
class Program:
    name: str
    etcds: str
    help_of_globals: tuple
    lists_all: bool     # its help has every command, by its full name
    takes_flags: tuple  # a command line to which a flag that is refused can be added

    def run(self, *words):
        return subprocess.run([str(quorate_binary().with_name(self.name)), *words],
                              capture_output=True, text=True, check=False,
                              env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL)


PROGRAMS = (Program("quoratectl", "etcdctl", ("options",), False, ("get", "k")),
            Program("quorateutl", "etcdutl", ("--help",), True, ("version",)))


def etcds_names(program):
    """Names as the page writes them, with etcd's default for flags: `get --limit`, 0."""
    names = {}
    with open(ROOT / "tests" / "wire" / f"{program.etcds}.tsv", encoding="utf-8") as table:
        for row in csv.reader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            kind, command, flag, _, default = row[:5]
            command = command.removeprefix(program.etcds).strip()
            if kind == "command":
                names[command] = None
            elif kind == "global-flag":
                names[flag] = default.strip('"[]')
            elif kind in ("flag", "persistent-flag"):
                # A group's flag belongs to each of its commands.
                owner = "endpoint status" if command == "endpoint" else command
                names[f"{owner} {flag}"] = default.strip('"[]')
    return names


def page_of(program):
    """What the page says: state and remark by name."""
    text = (ROOT / "docs" / f"{program.name}.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+?) \| ?(.*?) ?\|$", text, re.MULTILINE)
    names = [name for name, _, _ in rows]
    assert len(names) == len(set(names)), "a name stands twice on the page"
    return {name: (state, remark) for name, state, remark in rows}


def check_listed(program, name, default):
    words = name.split()
    flag = words.pop() if words[-1].startswith("--") else None
    shown = program.run(*words, "--help") if words else program.run(*program.help_of_globals)
    assert shown.returncode == 0 or flag is None and program.lists_all, shown.stderr
    if flag is None:
        listed = program.run("--help").stdout if program.lists_all else shown.stdout
        wanted = rf"^  {name}  " if program.lists_all else f"{program.name} {name}"
        assert re.search(wanted, listed, re.MULTILINE), listed
        return
    entry = re.search(rf"^  {flag}\b(?!-)(.*(?:\n {{10,}}.*)*)", shown.stdout, re.MULTILINE)
    assert entry, f"{flag} is not in {shown.stdout}"
    text = " ".join(entry[1].split())
    if default:
        assert re.search(rf'\(default "?{re.escape(default)}"?[;)]', text), f"{default}: {text}"


def check_refused(program, name):
    words = name.split()
    if words[-1].startswith("--"):
        words[-1] += "=value"
    is_global = " " not in name and name.startswith("--")
    refused = program.run(*(program.takes_flags if is_global else ()), *words)
    assert refused.returncode != 0 and refused.stderr.startswith("Error: "), refused


def wrongs(program):
    expected, page = etcds_names(program), page_of(program)
    for name in expected:
        if name not in page:
            yield f"not on the page: {name}"
    for name, (state, remark) in page.items():
        try:
            assert state in (*STATES, OWN), f"no such state: {state}"
            assert (state == OWN) == (name not in expected), f"not {program.etcds}'s, or not ours"
            assert state == "works" or remark, "a reason is missing"
            if state == "refused":
                check_refused(program, name)
            else:
                check_listed(program, name, expected.get(name))
        except AssertionError as failed:
            yield f"{program.name} {name}: {failed}"
    print(f"{program.name}: {len(page)} commands and flags")


def main():
    wrong = [line for program in PROGRAMS for line in wrongs(program)]
    print("\n".join(wrong) if wrong else "all are as the pages say")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
