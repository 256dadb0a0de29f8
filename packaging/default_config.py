#!/usr/bin/python3
"""The configuration that is installed: every option explained, as the program prints it, and the few
set that a service needs.

usage: default_config.py PROGRAM OUT
"""

import subprocess
import sys
from pathlib import Path

SET = {"data-dir": "/var/lib/quorate"}


def main():
    program, out = sys.argv[1:]
    text = subprocess.run(
        [program, "--print-config"], check=True, capture_output=True, text=True).stdout
    lines = text.splitlines()
    for name, value in SET.items():
        places = [i for i, line in enumerate(lines) if line.startswith(f"#{name}: ")]
        assert len(places) == 1, f"{program} does not know {name}"
        lines[places[0]] = f"{name}: {value}"
    Path(out).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
