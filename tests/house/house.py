#!/usr/bin/python3
"""The house rules: layers, sizes, names, words, registration of tests, format.

    tests/house/house.py [ROOT]      exit 0 and one line when all rules hold, else one line each

A rule is a function (tree) -> list of Violation; RULES lists them. `exceptions.txt` beside this
file holds long functions that already were there, with their length: it can only shrink, because a
longer function fails and so does an entry that is no longer needed.
"""

import ast
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
FORMATTER = "clang-format-14"

# Who may include whom: docs/architecture.md, "Rooms". A name that ends in .h allows that file only.
LAYERS = {
    "base": {"base"},
    "proto": {"proto"},
    "consensus": {"consensus", "base"},
    "backends/kv": {"backends/kv", "base"},
    "backends/log": {"backends/log", "base"},
    "backends/bbolt": {"backends/bbolt", "base", "backends/kv/kv_backend.h"},
    "engine": {"engine", "base", "proto", "backends/kv/kv_backend.h"},
    "transport": {"transport", "base", "proto"},
    "server": {"server", "base", "proto", "consensus", "backends/kv", "backends/log",
               "backends/bbolt", "engine", "transport", "ctl/sync_client.h",
               "proxy/grpc_proxy_command.h"},
    "proxy": {"proxy", "base", "proto", "transport", "server/config.h", "server/discovered_endpoints.h",
              "server/cpu_profiler.h", "server/http_client.h", "server/http_texts.h",
              "server/profile_endpoint.h",
              "server/metrics_text.h", "server/rpc_metrics.h", "server/sd_notify.h",
              "server/stop_signals.h", "server/worker_pool.h"},
    "ctl": {"ctl", "base", "proto", "transport", "backends/kv", "backends/log", "backends/bbolt"},
    "utl": {"utl", "base", "proto", "backends/kv", "backends/log", "backends/bbolt", "engine",
            "ctl/text_forms.h", "server/bootstrap.h", "server/config.h", "server/data_dir.h"},
    "workloads": {"workloads", "base", "proto", "transport"},
}
# Tests of a room may besides use real neighbours of an interface that the room only names.
TEST_LAYERS = {"engine": {"backends/kv"}}
OUTSIDE = ("absl/", "google/", "grpcpp/", "grpc/")  # packages that are included with quotes

# Rooms in which nothing may differ between two runs of one seed.
PURE = ("consensus/", "engine/")
IMPURE_INCLUDES = re.compile(
    r"#include\s*[<\"](thread|mutex|shared_mutex|condition_variable|future|chrono|random|ctime|time\.h"
    r"|fstream|filesystem|iostream|unistd\.h|fcntl\.h|pthread\.h|sys/\w+\.h"
    r"|unordered_map|unordered_set|absl/synchronization/.*|absl/time/clock\.h)[>\"]"
)

SOURCE = (".h", ".cc")
TEXT = (*SOURCE, ".py", ".sh", ".proto", ".cmake", ".md", ".yaml", ".yml", ".txt", ".json")
# Put together so that this file does not break its own rule.
FORBIDDEN_WORDS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:wor" + r"k|roo" + r"t|hom" + r"e)/\w")
SLEEPS = re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|SleepFor|time\.sleep|sleep)\s*\(")
REASON = "house-ok:"  # on a line that breaks a rule for a reason, followed by the reason


@dataclass(frozen=True)
class Violation:
    where: str
    text: str

    def __str__(self):
        return f"{self.where}: {self.text}"


class Tree:
    """The files of a checkout (or of a plain folder), read once."""

    def __init__(self, root):
        self.root = Path(root)
        self.files = sorted(self._list())
        self._text = {}

    def _list(self):
        if (self.root / ".git").exists():
            command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
            out = subprocess.run(command, cwd=self.root, check=True, capture_output=True).stdout
            names = [n for n in out.decode().split("\0") if n]
        else:
            names = [str(p.relative_to(self.root)) for p in self.root.rglob("*")]
        return [n for n in names if (self.root / n).is_file() and not n.startswith("results/")]

    def named(self, *endings):
        return [f for f in self.files if f.endswith(endings)]

    def lines(self, name):
        if name not in self._text:
            text = (self.root / name).read_text(encoding="utf-8", errors="replace")
            self._text[name] = text.splitlines()
        return self._text[name]


def is_test(name):
    return name.startswith("tests/") or re.search(r"_(test|bench|fuzz)\.(cc|py)$", name) is not None


def room_of(path):
    for room in sorted(LAYERS, key=len, reverse=True):
        if path.startswith(room + "/"):
            return room
    return None


def layers(tree):
    found = []
    include = re.compile(r'^\s*#include\s+"([^"]+)"')
    for name in tree.named(*SOURCE):
        room = room_of(name)
        if room is None:
            continue
        allowed = set(LAYERS[room])
        if is_test(name):
            allowed |= TEST_LAYERS.get(room, set())
        for number, line in enumerate(tree.lines(name), 1):
            match = include.match(line)
            if not match or match[1].startswith(OUTSIDE):
                continue
            target = room_of(match[1])
            if target is None and match[1].startswith("tests/") and is_test(name):
                continue
            if target not in allowed and match[1] not in allowed:
                known = ", ".join(sorted(allowed))
                found.append(Violation(f"{name}:{number}",
                                       f'{room} may not include "{match[1]}" (it may use: {known})'))
    return found


def determinism(tree):
    return [
        Violation(f"{name}:{number}", f"a pure room may not use this: {line.strip()}")
        for name in tree.named(*SOURCE) if name.startswith(PURE) and not is_test(name)
        for number, line in enumerate(tree.lines(name), 1)
        if IMPURE_INCLUDES.match(line) and REASON not in line
    ]


def file_sizes(tree):
    return [
        Violation(name, f"{len(tree.lines(name))} lines, the limit is {FILE_LINES_MAX}")
        for name in tree.named(*SOURCE, ".py", ".sh", ".proto", ".cmake", "CMakeLists.txt")
        if len(tree.lines(name)) > FILE_LINES_MAX
    ]


NOT_A_FUNCTION = re.compile(
    r"^\s*(if|for|while|switch|else|do|try|catch|return|case|default|namespace|class|struct|enum"
    r"|union|extern|template\s*<[^()]*>\s*(class|struct))\b"
)


def cpp_functions(lines):
    """(first line, name, length) of each function, for code that clang-format has laid out."""
    for end_of_head, line in enumerate(lines):
        if not line.endswith("{") or line.lstrip().startswith(("//", "}")):
            continue
        start = end_of_head
        while start > 0 and _continues(lines[start - 1]):
            start -= 1
        head = " ".join(part.strip() for part in lines[start : end_of_head + 1])
        if "(" not in head or NOT_A_FUNCTION.match(head) or re.search(r"=\s*\{$|\]\s*[({]", head):
            continue
        indent = len(lines[start]) - len(lines[start].lstrip())
        if indent > 4:
            continue
        closing = " " * indent + "}"
        for end in range(end_of_head + 1, len(lines)):
            if lines[end].startswith(closing) and lines[end].rstrip() in (closing, closing + ";"):
                name = re.search(r"([\w:~]+|\".*?\")\s*\(", head)
                case = re.match(r'\w+\("([^"]+)"', head)
                yield start + 1, case[1] if case else (name[1] if name else head), end - start + 1
                break


def _continues(line):
    """Is `line` part of the head of the function that goes on below it?"""
    text = line.rstrip()
    return bool(text) and not text.endswith((";", "}", "{", ":")) and not text.lstrip().startswith(
        ("//", "#", "public:", "private:"))


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.name, node.end_lineno - node.lineno + 1


def function_sizes(tree):
    allowed = _exceptions(tree)
    found, seen = [], set()
    for name in tree.named(*SOURCE, ".py"):
        lines = tree.lines(name)
        if name.endswith(".py"):
            try:
                functions = list(python_functions("\n".join(lines)))
            except SyntaxError as error:
                found.append(Violation(f"{name}:{error.lineno}", f"not Python: {error.msg}"))
                continue
        else:
            functions = cpp_functions(lines)
        for number, function, length in functions:
            if length <= FUNCTION_LINES_MAX:
                continue
            limit = allowed.get((name, function), FUNCTION_LINES_MAX)
            seen.add((name, function))
            if length > limit:
                found.append(Violation(f"{name}:{number}",
                                       f"{function}: {length} lines, the limit is {limit}"))
    for name, function in sorted(set(allowed) - seen):
        found.append(Violation("tests/house/exceptions.txt",
                               f"{name} {function} fits now: take its line out"))
    return found


def _exceptions(tree):
    """Lines `file<TAB>function<TAB>lines`."""
    name, allowed = "tests/house/exceptions.txt", {}
    if name in tree.files:
        for line in tree.lines(name):
            if line and not line.startswith("#"):
                file, function, lines = line.split("\t")
                allowed[(file, function)] = int(lines)
    return allowed


def names(tree):
    snake = re.compile(r"^[a-z0-9]+(_[a-z0-9]+)*$")
    found = []
    for name in tree.named(*SOURCE, ".py", ".sh", ".proto"):
        path = Path(name)
        bad = [part for part in (*path.parts[:-1], path.stem)
               if not snake.match(part) and not part.startswith(".") and part != "__init__"]
        if bad:
            found.append(Violation(name, f"'{bad[0]}' is not snake_case"))
    return found


def words(tree):
    found = []
    for name in tree.named(*TEXT, "dev"):
        for number, line in enumerate(tree.lines(name), 1):
            for pattern, what in ((FORBIDDEN_WORDS, "unfinished work"),
                                  (MACHINE_PATHS, "a path of one machine")):
                match = pattern.search(line)
                if match and REASON not in line:
                    found.append(Violation(f"{name}:{number}", f"{what}: {match[0]}"))
    return found


def sleeps(tree):
    return [
        Violation(f"{name}:{number}", "a test waits for a condition, not for a time")
        for name in tree.named(*SOURCE, ".py") if is_test(name)
        and not name.startswith("tests/house/")
        for number, line in enumerate(tree.lines(name), 1)
        if SLEEPS.search(line) and REASON not in line
    ]


def registration(tree):
    """Every *_test.* and *_bench.cc is named by the CMakeLists.txt of its folder or of one above."""
    found = []
    for name in tree.named("_test.cc", "_bench.cc", "_test.py"):
        folders = [Path(name).parent, *Path(name).parent.parents]
        if name.startswith("scripts/"):
            folders.append(Path("tests"))
        for folder in folders:
            build_file = str(folder / "CMakeLists.txt")
            if build_file in tree.files and Path(name).name in "\n".join(tree.lines(build_file)):
                break
        else:
            found.append(Violation(name, "is in no CMakeLists.txt, so it never runs"))
    return found


def headers(tree):
    found = []
    for name in tree.named(".h"):
        lines = tree.lines(name)
        if "#pragma once" not in lines:
            found.append(Violation(f"{name}:1", "has no #pragma once"))
        if not lines or not lines[0].startswith("//"):
            found.append(Violation(f"{name}:1", "does not begin by saying what it is for"))
        for number, line in enumerate(lines, 1):
            if re.match(r"\s*using namespace\b", line):
                found.append(Violation(f"{name}:{number}", "using namespace in a header"))
    return found


def formatting(tree):
    files = tree.named(*SOURCE)
    size = max(1, len(files) // (2 * (os.cpu_count() or 1)) + 1)
    groups = [files[i : i + size] for i in range(0, len(files), size)]

    def run(group):
        command = [FORMATTER, "--dry-run", "--Werror", "--ferror-limit=1", *group]
        return subprocess.run(command, cwd=tree.root, capture_output=True, text=True, check=False)

    try:
        with ThreadPoolExecutor() as pool:
            results = list(pool.map(run, groups))
    except FileNotFoundError:
        return [Violation(FORMATTER, "is not installed: ./dev deps")]
    wrong = {m[1]: m[2] for r in results
             for m in re.finditer(r"^(\S+?):(\d+):\d+: error:", r.stderr, re.M)}
    return [Violation(f"{f}:{n}", "is not formatted: ./dev fmt") for f, n in sorted(wrong.items())]


RULES = (layers, determinism, file_sizes, function_sizes, names, words, sleeps, registration, headers,
         formatting)


def check(root, rules=RULES):
    tree = Tree(root)
    return [violation for rule in rules for violation in rule(tree)], len(tree.files)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    violations, files = check(root)
    for violation in violations:
        print(violation)
    if violations:
        print(f"{len(violations)} house rules broken")
        return 1
    print(f"{len(RULES)} house rules hold in {files} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
