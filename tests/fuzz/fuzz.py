#!/usr/bin/python3
"""Runs the fuzz targets of a build for some CPU time each, side by side on all cores.

A target begins with its kept inputs (tests/fuzz/corpus/NAME) and with what earlier runs on this machine
found worth keeping (corpus/NAME in the build folder). An input that ends a target is a finding: it is left in
findings/ there and the command to see it again is printed. --keep makes the kept inputs anew, as few as
reach the same code. --record adds what was run to tests/fuzz/hours.tsv.

usage: fuzz.py [--build FOLDER] [--seconds N] [--seed N] [--keep] [--record] [NAME...]
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "tests" / "fuzz" / "corpus"
INPUT_BYTES_MAX = 4096
RSS_MIB_MAX = 2048
SECONDS_PER_INPUT_MAX = 60  # a hang; the machine may be busy
SLICE_SECONDS_MIN, SLICE_SECONDS_MAX = 5, 300  # of one run; so often progress is told
HOURS = ROOT / "tests" / "fuzz" / "hours.tsv"


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
        """Yields (CPU seconds, inputs, edges, finding or None) after each of the runs that fill `seconds`."""
        used = 0.0
        while used < seconds:
            wall = min(max(int(seconds - used), SLICE_SECONDS_MIN), SLICE_SECONDS_MAX)
            cpu, inputs, edges, finding = self.run(wall, seed)
            used += cpu
            seed += 1
            yield cpu, inputs, edges, finding
            if finding:
                return

    def run(self, wall_seconds, seed):
        command = [
            self.program, f"-max_total_time={wall_seconds}", f"-seed={seed}", f"-max_len={INPUT_BYTES_MAX}",
            f"-rss_limit_mb={RSS_MIB_MAX}", f"-timeout={SECONDS_PER_INPUT_MAX}",
            f"-artifact_prefix={self.findings}/{self.name}-", "-print_final_stats=1",
            self.grown, self.kept,
        ]
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=output)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            log = output.read().decode(errors="replace")
        executed = re.search(r"number_of_executed_units: (\d+)", log)
        covered = re.findall(r"cov: (\d+)", log)
        finding = None
        if process.returncode != 0:
            artifact = re.search(r"Test unit written to (\S+)", log)
            again = f"see it again: {self.program} {artifact.group(1)}" if artifact else "no input was left"
            tail = "\n".join(log.splitlines()[-60:])
            finding = f"{self.name} FOUND (seed {seed})\n{tail}\n{again}"
        return (usage.ru_utime + usage.ru_stime, int(executed.group(1)) if executed else 0,
                int(covered[-1]) if covered else 0, finding)

    def keep(self):
        """As few inputs as reach what all of them reach take the place of the kept ones."""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([self.program, "-set_cover_merge=1", f"-max_len={INPUT_BYTES_MAX}", folder, self.kept,
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


RECORDING = threading.Lock()


def record(name, cpu, inputs, edges, found):
    """Adds one run to what this target ran at this commit."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True,
                            check=True).stdout.strip()
    with RECORDING:
        head, *lines = HOURS.read_text().splitlines()
        rows = {}
        for line in lines:
            of_target, at, *numbers = line.split("\t")
            rows[of_target, at] = [int(number) for number in numbers]
        before = rows.get((name, commit), [0, 0, 0, 0])
        rows[name, commit] = [before[0] + round(cpu), before[1] + inputs, max(before[2], edges), before[3] + found]
        text = "\n".join([head] + ["\t".join(map(str, [*key, *numbers])) for key, numbers in sorted(rows.items())])
        HOURS.write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "asan")
    parser.add_argument("--seconds", type=int, default=60, help="of CPU time for each target (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", action="store_true", help="then make tests/fuzz/corpus anew")
    parser.add_argument("--record", action="store_true", help="add what was run to tests/fuzz/hours.tsv")
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
    def fuzz(target):
        cpu, inputs, edges = 0.0, 0, 0
        for used, executed, covered, finding in target.fuzz(arguments.seconds, arguments.seed):
            cpu, inputs, edges = cpu + used, inputs + executed, max(edges, covered)
            print(f"{target.name:14} {cpu:6.0f} CPU s {inputs:>10} inputs  {edges:>6} edges", flush=True)
            if arguments.record:
                record(target.name, used, executed, covered, finding is not None)
            if finding:
                print(finding, flush=True)
                return False
        return True

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        clean = sum(pool.map(fuzz, targets))
    if arguments.keep:
        for target in targets:
            print(f"{target.name:14} {target.keep()} inputs kept")
    print(f"{clean} of {len(targets)} targets found nothing in {arguments.seconds} s each")
    return 0 if clean == len(targets) else 1


if __name__ == "__main__":
    sys.exit(main())
