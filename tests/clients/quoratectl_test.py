#!/usr/bin/python3
"""quoratectl beside etcdctl: the same command lines on the same histories print the same.

Both programs run every line against a server of their own that has seen the same lines before;
side_by_side.py says what is compared, quoratectl_lines*.py has the lines. The reference is etcdctl
3.7 where scripts/build_etcd.sh made it, else Debian's 3.4, for which the lines marked new, and the
groups that 3.4 does not know, are left out. Both servers are once etcd's and once Quorate.

usage: quoratectl_test.py [--etcdctl PATH] [--show] [--only GROUP]
"""

import argparse
import shutil
import subprocess
import sys

from quoratectl_lines import ALARMS, GROUPS, WATCHED, WATCHES, WATCHES_NEW
from quoratectl_lines_users import BAD_INPUT, DOWNGRADES, MEMBERS, ROLES, SIGNED_IN, USERS
from side_by_side import Comparison, Line, Side, start
from servers import ROOT, quorate_binary

BUILT = ROOT / "build" / "peers" / "bin"

# Not compared, because quoratectl differs on purpose; docs/quoratectl.md has the list.


def keys(comparison):
    for group in GROUPS:
        comparison.run(group)
    comparison.watch(WATCHED, WATCHES + (WATCHES_NEW if comparison.with_new else []))
    comparison.fill()
    comparison.run(ALARMS)


def bad_input(comparison):
    comparison.run(BAD_INPUT)


def members(comparison):
    comparison.run(MEMBERS)


def downgrades(comparison):
    comparison.run(DOWNGRADES)


def users(comparison):
    for group in (USERS, ROLES, SIGNED_IN):
        comparison.run(group)


# (what, its lines, a command that a server without this part does not know, if there are such)
SUITES = [
    ("keys", keys, None),
    ("bad input", bad_input, None),
    ("members", members, None),
    ("downgrades", downgrades, "downgrade validate 3.6.0"),
    ("users", users, "auth status"),
]


def compare(name, programs, binary, arguments, with_new):
    """Runs the suites beside each other on servers of their own; answers (lines, differences)."""
    reference, ours = programs
    total = differences = 0
    for what, run, probe in SUITES:
        if (arguments.only and what != arguments.only) or (what != "keys" and not with_new):
            continue
        with start(binary) as left, start(binary) as right:
            sides = (Side(reference, left), Side(ours, right))
            if probe and b"Unimplemented" in sides[1].run(Line(probe)).stderr:
                print(f"note: {name} does not serve {what} yet")
                continue
            comparison = Comparison(sides, arguments.show, with_new)
            run(comparison)
        print(f"beside {name}, {what}: {comparison.lines} lines, "
              f"{comparison.differences} differences", flush=True)
        total += comparison.lines
        differences += comparison.differences
    return total, differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--etcdctl")
    parser.add_argument("--show", action="store_true", help="print every line and its answer")
    parser.add_argument("--only", choices=[suite[0] for suite in SUITES])
    arguments = parser.parse_args()
    built = arguments.etcdctl or (str(BUILT / "etcdctl") if (BUILT / "etcdctl").exists() else None)
    reference = built or shutil.which("etcdctl")
    if reference is None:
        print("SKIPPED: no etcdctl; install etcd-client or run scripts/build_etcd.sh")
        return 77
    version = subprocess.run([reference, "version"], capture_output=True, text=True, check=True,
                             env={"ETCDCTL_API": "3"}).stdout.split()[2]
    with_new = not version.startswith("3.4.")
    print(f"reference: etcdctl {version} at {reference}"
          + ("" if with_new else "; lines that 3.4 does not know are left out"))
    servers = {"quorate": quorate_binary()}
    etcd = str(BUILT / "etcd") if (BUILT / "etcd").exists() else shutil.which("etcd")
    if etcd is not None and with_new == (str(BUILT) in etcd):
        servers["etcd"] = etcd
    else:
        print("note: no etcd server of the reference's version, Quorate's alone")
    failed = 0
    programs = (reference, quorate_binary().with_name("quoratectl"))
    for name, server in servers.items():
        count, differences = compare(name, programs, server, arguments, with_new)
        print(f"beside {name}: {count} command lines, {differences} differences")
        failed += differences
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
