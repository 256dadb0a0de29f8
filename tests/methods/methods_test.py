#!/usr/bin/python3
"""Every method of services.tsv beside a real etcd, with good and bad input, over gRPC, JSON and TLS,
by everybody: docs/compatibility.md has the result as a table, and this test says when it is not so.

usage: methods_test.py [--new PATH] [--write] [PART ...]
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import page  # noqa: E402
from compare import Book  # noqa: E402
from methods import every_method  # noqa: E402
from parts import PARTS  # noqa: E402
from servers import ROOT  # noqa: E402

def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--new", default=str(ROOT / "build" / "peers" / "bin" / "etcd"))
    parser.add_argument("--write", action="store_true", help="writes docs/compatibility.md anew")
    parser.add_argument("parts", nargs="*")
    arguments = parser.parse_args()
    methods = every_method()
    if not os.access(arguments.new, os.X_OK):
        print(f"methods: SKIPPED: no current etcd at {arguments.new}")
        return 77
    book = Book(page.KNOWN)
    try:
        for name, part in PARTS.items():
            if not arguments.parts or name in arguments.parts:
                before = sum(book.compared.values())
                part(methods, book, arguments.new)
                print(f"methods: {name}: {sum(book.compared.values()) - before} cases", flush=True)
    finally:
        print("\n".join(book.failures))
    if arguments.write:
        page.write(page.rendered(methods, book))
    wrong = [] if arguments.parts else list(page.problems(methods, book))
    print("\n".join(wrong))
    print(f"methods: {sum(book.compared.values())} cases, {len(book.failures)} failures")
    return 1 if book.failures or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
