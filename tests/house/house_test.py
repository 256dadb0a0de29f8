#!/usr/bin/python3
"""Plants one violation of each house rule in a small tree and sees that rule, and only it, find it."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import house  # noqa: E402

STYLE = (Path(__file__).resolve().parents[2] / ".clang-format").read_text()
CLEAN = {
    ".clang-format": STYLE,
    "base/check.h": "// Checks.\n#pragma once\n",
    "base/CMakeLists.txt": "quorate_room(base TESTS check_test.cc)\n",
    "base/check_test.cc": '#include "base/check.h"\n',
    "backends/kv/kv_backend.h": "// Stores.\n#pragma once\n",
    "engine/engine.h": '// What an etcd means.\n#pragma once\n\n#include "absl/status/status.h"\n'
                       '#include "backends/kv/kv_backend.h"\n#include "base/check.h"\n',
    "consensus/raft.h": "// Raft as a value.\n#pragma once\n",
    "server/main.cc": '#include "engine/engine.h"\n\nint main() { return 0; }\n',
    "scripts/plot.py": "def plot():\n    return 1\n",
}
# A head of two lines, as clang-format breaks it.
LONG_HEAD = ("int Long(const std::string& a_name_that_takes_room, const std::string& another_such_name,\n"
             "         const std::string& and_one_more)")


def body(lines):
    return "\n".join(f"  Step({i});" for i in range(lines))


class HouseRules(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        for name, text in CLEAN.items():
            self.plant(name, text)

    def plant(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def found(self, rules=house.RULES):
        return [str(v) for v in house.check(self.root, rules)[0]]

    def expect(self, rule, start):
        """`rule` finds exactly one thing, it begins with `start`, and the other rules find none."""
        mine = self.found([rule])
        self.assertEqual(len(mine), 1, mine)
        self.assertTrue(mine[0].startswith(start), mine[0])
        self.assertEqual(self.found(), mine)

    def test_clean_tree(self):
        rules = [r for r in house.RULES if r is not house.formatting]
        self.assertEqual(self.found(rules), [])

    def test_wrong_arrow(self):
        self.plant("consensus/raft.h", '// Raft.\n#pragma once\n\n#include "engine/engine.h"\n')
        self.expect(house.layers, "consensus/raft.h:4: consensus may not include \"engine/engine.h\"")

    def test_room_knows_only_the_interface(self):
        self.plant("backends/kv/lmdb.h", "// LMDB.\n#pragma once\n")
        self.plant("engine/engine.h", '// Meaning.\n#pragma once\n\n#include "backends/kv/lmdb.h"\n')
        self.expect(house.layers, "engine/engine.h:4:")

    def test_nobody_includes_server(self):
        self.plant("server/node.h", "// A node.\n#pragma once\n")
        self.plant("ctl/main.cc", '#include "server/node.h"\n')
        self.expect(house.layers, "ctl/main.cc:1:")

    def test_include_not_from_the_root(self):
        self.plant("base/check_test.cc", '#include "check.h"\n')
        self.expect(house.layers, "base/check_test.cc:1:")

    def test_clock_in_a_pure_room(self):
        self.plant("consensus/raft.h", "// Raft.\n#pragma once\n\n#include <chrono>\n")
        self.expect(house.determinism, "consensus/raft.h:4:")

    def test_long_file(self):
        self.plant("base/long.h", "// Long.\n#pragma once\n" + "// line\n" * 799)
        self.expect(house.file_sizes, "base/long.h: 801 lines")

    def test_long_function(self):
        self.plant("base/a.cc", f"{LONG_HEAD} {{\n{body(68)}\n}}\n")
        self.expect(house.function_sizes, "base/a.cc:1: Long: 71 lines")

    def test_longest_function_that_fits(self):
        self.plant("base/a.cc", f"int Fits() {{\n{body(68)}\n}}\n\nint B() {{\n{body(68)}\n}}\n")
        self.assertEqual(self.found(), [])

    def test_long_method_in_a_class(self):
        text = body(70).replace("  ", "    ")
        self.plant("base/a.h", f"// A.\n#pragma once\nclass A {{\n  int Long() {{\n{text}\n  }}\n}};\n")
        self.expect(house.function_sizes, "base/a.h:4: Long: 72 lines")

    def test_long_python_function(self):
        self.plant("scripts/plot.py", "def plot():\n" + "    a = 1\n" * 70)
        self.expect(house.function_sizes, "scripts/plot.py:1: plot: 71 lines")

    def test_exceptions_only_tighten(self):
        self.plant("base/a.cc", f"int Long() {{\n{body(80)}\n}}\n")
        self.plant("tests/house/exceptions.txt", "# why\nbase/a.cc\tLong\t82\n")
        self.assertEqual(self.found(), [])
        self.plant("base/a.cc", f"int Long() {{\n{body(81)}\n}}\n")
        self.expect(house.function_sizes, "base/a.cc:1: Long: 83 lines, the limit is 82")
        self.plant("base/a.cc", f"int Long() {{\n{body(8)}\n}}\n")
        self.expect(house.function_sizes, "tests/house/exceptions.txt: base/a.cc Long fits now")

    def test_name(self):
        self.plant("base/BadName.h", "// Bad.\n#pragma once\n")
        self.expect(house.names, "base/BadName.h: 'BadName'")

    def test_unfinished_work(self):
        self.plant("base/check.h", "// Checks.\n#pragma once\n// TO" "DO: more\n")
        self.expect(house.words, "base/check.h:3: unfinished work")

    def test_path_of_a_machine(self):
        self.plant("scripts/plot.py", "PATH = '/hom" "e/someone/data'\n")
        self.expect(house.words, "scripts/plot.py:1: a path of one machine")

    def test_sleep(self):
        sleep = "void Wait() { sleep" "_for(1); }\n"
        self.plant("base/check_test.cc", sleep)
        self.expect(house.sleeps, "base/check_test.cc:1:")
        self.plant("base/check_test.cc", sleep.replace(" }", " }  // house-ok: it says why"))
        self.assertEqual(self.found(), [])

    def test_unregistered_test(self):
        self.plant("base/other_test.cc", '#include "base/check.h"\n')
        self.expect(house.registration, "base/other_test.cc: is in no CMakeLists.txt")

    def test_header_without_guard(self):
        self.plant("base/check.h", "// Checks.\n")
        self.expect(house.headers, "base/check.h:1: has no #pragma once")

    def test_using_namespace(self):
        self.plant("base/check.h", "// Checks.\n#pragma once\nusing namespace std;\n")
        self.expect(house.headers, "base/check.h:3: using namespace")

    def test_format(self):
        self.plant("server/main.cc", "int main()\n{\nreturn 0; }\n")
        self.expect(house.formatting, "server/main.cc:1: is not formatted")

    def test_exit_code_and_output(self):
        program = Path(house.__file__)
        run = lambda: subprocess.run(  # noqa: E731
            [sys.executable, "-B", str(program), str(self.root)], capture_output=True, text=True,
            check=False)
        self.assertEqual(run().returncode, 0)
        self.plant("base/BadName.h", "// Bad.\n#pragma once\n")
        broken = run()
        self.assertEqual(broken.returncode, 1)
        self.assertIn("1 house rules broken", broken.stdout)


if __name__ == "__main__":
    unittest.main()
