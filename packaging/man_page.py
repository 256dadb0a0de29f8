#!/usr/bin/python3
"""A man page out of a text of ours and what the program says to --help.

The text has sections ("# NAME"), paragraphs, and indented lines that are set as they stand; a line
"@HELP" is replaced by the program's own help.

usage: man_page.py PROGRAM TEXT VERSION OUT.gz
"""

import gzip
import re
import subprocess
import sys
from pathlib import Path


def escaped(line):
    line = line.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + line if line.startswith((".", "'")) else line


def marked(line):
    """*bold* and _italic_ words, also in brackets."""
    line = re.sub(r"(?<![^\s\[])\*([^*]+)\*", r"\\fB\1\\fP", line)
    return re.sub(r"(?<![^\s\[])_([^_]+)_", r"\\fI\1\\fP", line)


def verbatim(lines):
    return [".nf", *[escaped(line) for line in lines], ".fi"]


def page(text, help_text, name, section, version):
    out = [f'.TH {name.upper()} {section} "" "Quorate {version}" "Quorate"']
    block = []

    def flush():
        while block and not block[-1].strip():
            block.pop()
        if block:
            out.extend([".PP", *verbatim(block)])
            block.clear()

    for line in text.splitlines():
        if line.startswith("    ") or (block and not line.strip()):
            block.append(line)
            continue
        flush()
        if line.startswith("# "):
            out.append(f".SH {line[2:]}")
        elif line == "@HELP":
            out.extend([".PP", *verbatim(help_text.splitlines())])
        elif not line.strip():
            out.append(".PP")
        else:
            out.append(marked(escaped(line)))
    flush()
    return "\n".join(out) + "\n"


def main():
    program, source, version, out = sys.argv[1:]
    name, section, _ = Path(source).name.split(".")
    asked = subprocess.run([program, "--help"], check=True, capture_output=True, text=True)
    text = page(Path(source).read_text(encoding="utf-8"), asked.stdout, name, section, version)
    with open(out, "wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as z:
        z.write(text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
