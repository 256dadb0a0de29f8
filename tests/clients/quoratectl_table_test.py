#!/usr/bin/python3
"""docs/quoratectl.md tells the truth: it has every command and flag of tests/wire/etcdctl.tsv, and what
it says of each is so. What works is in the program's --help; what is refused is refused with a reason.
"""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import ROOT, quorate_binary  # noqa: E402

PROGRAM = str(quorate_binary().with_name("quoratectl"))
STATES = ("works", "without effect", "refused")


def etcdctls():
    """Names as the page writes them, with etcdctl's default for flags: `get --limit`, 0."""
    names = {}
    with open(ROOT / "tests" / "wire" / "etcdctl.tsv", encoding="utf-8") as table:
        for row in csv.reader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            kind, command, flag, _, default = row[:5]
            command = command.removeprefix("etcdctl").strip()
            if kind == "command":
                names[command] = None
            elif kind == "global-flag":
                names[flag] = default.strip('"[]')
            elif kind in ("flag", "persistent-flag"):
                # A group's flag belongs to each of its commands.
                owner = "endpoint status" if command == "endpoint" else command
                names[f"{owner} {flag}"] = default.strip('"[]')
    return names


def pages():
    """What the page says: state and remark by name."""
    text = (ROOT / "docs" / "quoratectl.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+?) \| ?(.*?) ?\|$", text, re.MULTILINE)
    names = [name for name, _, _ in rows]
    assert len(names) == len(set(names)), "a name stands twice on the page"
    return {name: (state, remark) for name, state, remark in rows}


def run(*words):
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False,
                          env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL)


def help_of(name):
    """(the help that lists a command or flag, the flag)"""
    words = name.split()
    flag = words.pop() if words[-1].startswith("--") else None
    return run(*words, "--help") if words else run("options"), flag


def check_listed(name, default):
    shown, flag = help_of(name)
    assert shown.returncode == 0, shown.stderr
    if flag is None:
        assert f"quoratectl {name}" in shown.stdout, shown.stdout
        return
    entry = re.search(rf"^  {flag}\b(?!-)(.*(?:\n {{10,}}.*)*)", shown.stdout, re.MULTILINE)
    assert entry, f"{flag} is not in {shown.stdout}"
    text = " ".join(entry[1].split())
    if default:
        assert re.search(rf'\(default "?{re.escape(default)}"?[;)]', text), f"{default}: {text}"


def check_refused(name):
    words = name.split()
    if words[-1].startswith("--"):
        words[-1] += "=value"
    refused = run(*(words if " " in name or not name.startswith("--") else ["get", "k", *words]))
    assert refused.returncode != 0 and refused.stderr.startswith("Error: "), refused


def main():
    expected, page = etcdctls(), pages()
    wrong = [f"not on the page: {name}" for name in expected if name not in page]
    wrong += [f"not etcdctl's: {name}" for name in page if name not in expected]
    for name, (state, remark) in page.items():
        try:
            assert state in STATES, f"no such state: {state}"
            assert state == "works" or remark, "a reason is missing"
            if state == "refused":
                check_refused(name)
            elif name in expected:
                check_listed(name, expected[name])
        except AssertionError as failed:
            wrong.append(f"{name}: {failed}")
    print("\n".join(wrong) if wrong else f"{len(page)} commands and flags are as the page says")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
