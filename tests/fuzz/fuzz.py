#!/usr/bin/python3
"""Runs the fuzz targets of a build for some time each, side by side on all cores.

A target begins with its kept inputs (tests/fuzz/corpus/NAME) and with what earlier runs on this machine
found worth keeping (FUZZ_BUILD/corpus/NAME). An input that ends a target is a finding: it is left in
FUZZ_BUILD/findings and the command to see it again is printed. --keep makes the kept inputs anew, as few as
reach the same code.

usage: fuzz.py [--build FOLDER] [--seconds N] [--seed N] [--keep] [NAME...]
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "tests" / "fuzz" / "corpus"
INPUT_BYTES_MAX = 4096
RSS_MIB_MAX = 2048
SECONDS_PER_INPUT_MAX = 60  # a hang; the machine may be busy


class Target:
    def __init__(self, program, build):
        self.program = program
        self.name = program.name.removesuffix("_fuzz")
        self.kept = KEPT / self.name
        self.grown = build / "corpus" / self.name
        self.findings = build / "findings"
        self.grown.mkdir(parents=True, exist_ok=True)
        self.findings.mkdir(parents=True, exist_ok=True)

    def fuzz(self, seconds, seed):
        """Returns whether nothing was found, and a line that says what was done."""
        command = [
            self.program, f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={INPUT_BYTES_MAX}",
            f"-rss_limit_mb={RSS_MIB_MAX}", f"-timeout={SECONDS_PER_INPUT_MAX}",
            f"-artifact_prefix={self.findings}/{self.name}-", "-print_final_stats=1",
            self.grown, self.kept,
        ]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        log = result.stderr
        executed = re.search(r"number_of_executed_units: (\d+)", log)
        covered = re.findall(r"cov: (\d+)", log)
        line = (f"{self.name:14} {executed.group(1) if executed else '?':>10} inputs  "
                f"{covered[-1] if covered else '?':>6} edges")
        if result.returncode == 0:
            return True, line
        artifact = re.search(r"Test unit written to (\S+)", log)
        again = f"see it again: {self.program} {artifact.group(1)}" if artifact else "no input was left"
        tail = "\n".join(log.splitlines()[-60:])
        return False, f"{line}  FOUND (seed {seed})\n{tail}\n{again}"

    def keep(self):
        """As few inputs as reach what all of them reach take the place of the kept ones."""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([self.program, "-merge=1", f"-max_len={INPUT_BYTES_MAX}", folder, self.kept,
                            self.grown], check=True, capture_output=True)
            named = [path for path in self.kept.iterdir() if not re.fullmatch(r"[0-9a-f]{40}", path.name)]
            contents = {path.read_bytes() for path in named}
            for path in self.kept.iterdir():
                if path not in named:
                    path.unlink()
            for path in Path(folder).iterdir():
                if path.read_bytes() not in contents:
                    shutil.copy(path, self.kept / path.name)
        return len(list(self.kept.iterdir()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", action="store_true", help="then make tests/fuzz/corpus anew")
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets (default: all)")
    arguments = parser.parse_args()
    targets = [Target(program, arguments.build)
               for program in sorted((arguments.build / "bin").glob("*_fuzz"))]
    unknown = set(arguments.names) - {target.name for target in targets}
    if unknown or not targets:
        known = ", ".join(target.name for target in targets) or "none; build them with ./dev fuzz"
        print(f"fuzz.py: no target {', '.join(sorted(unknown))}; there are: {known}", file=sys.stderr)
        return 2
    targets = [target for target in targets if not arguments.names or target.name in arguments.names]
    clean = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        runs = [pool.submit(target.fuzz, arguments.seconds, arguments.seed) for target in targets]
        for run in concurrent.futures.as_completed(runs):
            ok, line = run.result()
            print(line, flush=True)
            clean += ok
    if arguments.keep:
        for target in targets:
            print(f"{target.name:14} {target.keep()} inputs kept")
    print(f"{clean} of {len(targets)} targets found nothing in {arguments.seconds} s each")
    return 0 if clean == len(targets) else 1


if __name__ == "__main__":
    sys.exit(main())
