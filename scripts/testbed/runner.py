"""Runs an experiment: all combinations, interleaved in random order, each on a fresh server.

What one run leaves in results/<run>/runs/<name>/: result.json (what quorate-bench measured, raw),
samples.json (CPU, memory, bytes written over time), metrics-before.txt.gz and metrics-after.txt.gz
(/metrics around the load), workload.yaml (effective), bench.log, server.log (its middle left out if
it is long) and run.json (what was started, how it ended, the numbers that are compared).
"""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from . import manifest, metrics, servers
from .definition import ROOT
from .sampler import Sampler, peak_rss, write_bytes

BENCH_TIMEOUT_S = 3600
LOG_END_BYTES = 16 << 10
OUTCOMES = {0: "complete", 1: "failed", 2: "failed", 3: "void", 130: "partial"}


class Interrupted(Exception):
    """Ctrl-C: what was measured so far stays."""


def _write(path, text):
    Path(path).write_text(text, encoding="utf-8")


def _write_packed(path, text):
    """The same text makes the same file."""
    Path(path).write_bytes(gzip.compress(text.encode(), mtime=0))


def _shorten(path):
    """Of a long log the beginning and the end."""
    text = path.read_bytes()
    if len(text) > 2 * LOG_END_BYTES:
        left_out = len(text) - 2 * LOG_END_BYTES
        path.write_bytes(text[:LOG_END_BYTES] + f"\n... {left_out} bytes left out ...\n".encode() +
                         text[-LOG_END_BYTES:])


def _compact(value):
    return json.dumps(value, separators=(",", ":")) + "\n"


class Runner:
    def __init__(self, experiment, out, data_root, say):
        self.experiment, self.out, self.say = experiment, Path(out), say
        self.data_root = Path(data_root)
        self.programs = {}  # server name -> path
        self.absent = {}  # variant name -> why it did not run
        self.runs = []

    def prepare(self):
        """Finds the programs and writes manifest.json and the files that were run."""
        self.data_root.mkdir(parents=True, exist_ok=True)
        (self.out / "runs").mkdir(parents=True)
        known = manifest.collect(self.experiment, self.data_root)
        known["programs"] = {}
        for variant in self.experiment.variants:
            path, why = servers.find(variant.server)
            if variant.only_without and servers.find(variant.only_without)[0]:
                path, why = None, f"left out because {variant.only_without} is there"
            if path is None:
                self.absent[variant.name] = why
                self.say(f"{variant.name} does not run: {why}")
                continue
            self.programs[variant.server] = path
            if variant.server not in known["programs"]:
                version = servers.version(path)
                known["programs"][variant.server] = manifest.program(path, version)
        known["variants"] = [
            {"name": v.name, "server": v.server, "flags": v.flags,
             **({"absent": self.absent[v.name]} if v.name in self.absent else {})}
            for v in self.experiment.variants]
        known["workloads"] = [vars(w) for w in self.experiment.workloads]
        self.manifest = known
        shutil.copy(self.experiment.path, self.out / "experiment.yaml")
        for workload in self.experiment.workloads:
            shutil.copy(ROOT / workload.file, self.out / Path(workload.file).name)
        self._save_manifest()

    def _save_manifest(self):
        _write(self.out / "manifest.json", json.dumps(self.manifest, indent=1) + "\n")

    def order(self):
        """(repetition, workload, variant) of every run. A repetition is one shuffled block, so that
        whatever drifts on the machine meets all variants alike."""
        present = [v for v in self.experiment.variants if v.name not in self.absent]
        rows = []
        rounds = max(map(self.experiment.repetitions_of, self.experiment.workloads), default=0)
        for repetition in range(rounds):
            block = [(repetition, w, v) for w in self.experiment.workloads for v in present
                     if repetition < self.experiment.repetitions_of(w)]
            random.Random(f"{self.experiment.seed}/{repetition}").shuffle(block)
            rows += block
        return rows

    def run_all(self):
        order = self.order()
        self.manifest["order"] = [[r, w.name, v.name] for r, w, v in order]
        given_up = set()
        try:
            for number, (repetition, workload, variant) in enumerate(order, 1):
                if variant.name in given_up:
                    continue
                run = self._run(number, repetition, workload, variant)
                self.runs.append(run)
                self.say(f"[{number}/{len(order)}] {describe(run)}")
                if run["outcome"] == "not started":
                    given_up.add(variant.name)
                    self.absent[variant.name] = run["reason"]
                if run["outcome"] == "partial":
                    raise Interrupted
        except (KeyboardInterrupt, Interrupted):
            self.manifest["interrupted"] = True
            self.say("interrupted: the report has what was measured so far")
        self.manifest["absent"] = self.absent
        self.manifest["finished"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._save_manifest()
        return self.runs

    def _run(self, number, repetition, workload, variant):
        folder = self.out / "runs" / f"{number:03d}-{workload.name}-{_slug(variant.name)}"
        folder.mkdir()
        run = {"number": number, "repetition": repetition, "workload": workload.name,
               "variant": variant.name, "folder": folder.name}
        server = servers.RunningServer(self.programs[variant.server], variant.flags,
                                       self.data_root, folder / "server.log")
        run["flags"] = variant.flags
        try:
            with server:
                self._measure(server, workload, folder, run)
                usage = run.pop("_usage")
                usage["written_at_end"] = _written_after_stop(server)
                if workload.restart and run["outcome"] == "complete":
                    usage["restart_s"] = server.restart()
        except servers.ServerError as error:
            run.update(outcome="not started", reason=str(error))
            usage = {}
        code = server.process.returncode
        # etcd ends itself with the signal that stopped it; a crash is another matter.
        if code not in (None, 0, -signal.SIGTERM, 128 + signal.SIGTERM):
            run["server_exit"] = code
        if run["outcome"] == "complete":
            self._evaluate(folder, run, usage)
        if (folder / "server.log").exists():
            _shorten(folder / "server.log")
        _write(folder / "run.json", _compact(run))
        return run

    def _measure(self, server, workload, folder, run):
        """Drives the running server and leaves the raw files."""
        usage = {"start_s": server.start_s, "written_at_start": write_bytes(server.pid)}
        run["_usage"] = usage
        _write_packed(folder / "metrics-before.txt.gz", server.metrics())
        command = [str(servers.bin_dir() / "quorate-bench"), "run", str(ROOT / workload.file),
                   f"--endpoints={server.endpoint}", f"--out={folder / 'result.json'}", "--plain"]
        for name, value in workload.parameters.items():
            command += ["--set", f"{name}={value}"]
        if workload.duration:
            command.append(f"--duration={workload.duration}")
        if workload.rate:
            command.append(f"--rate={workload.rate}")
        run["loadavg"] = os.getloadavg()[0]
        probes = [self._probe(workload)]
        with Sampler(server.pid) as sampler, open(folder / "bench.log", "wb") as log:
            code = _drive(command, log)
        probes.append(self._probe(workload))
        text = (folder / "bench.log").read_text(encoding="utf-8", errors="replace")
        _write(folder / "bench.log", text.replace(f"{folder}/", "").replace(f"{ROOT}/", ""))
        if None not in probes:
            usage["disk_append_ns"] = sum(probes) / len(probes)
        run["outcome"] = OUTCOMES.get(code, "failed")
        if server.process.poll() is not None:
            run.update(outcome="failed", reason=f"the server ended with {server.process.returncode}")
        else:
            _write_packed(folder / "metrics-after.txt.gz", server.metrics())
            usage["peak_rss"] = peak_rss(server.pid)
        if run["outcome"] != "complete" and "reason" not in run:
            run["reason"] = _last_line(folder / "bench.log")
        _write(folder / "samples.json",
               _compact({"fields": Sampler.FIELDS, "rows": sampler.samples}))

    def _probe(self, workload):
        """Median of an append and fdatasync, on the server's disk while the server rests."""
        if not workload.probe_disk:
            return None
        probe = manifest.probe_disk(self.data_root, count=2000)
        return probe["growing"]["median_ns"] if probe else None

    def _evaluate(self, folder, run, usage):
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if result["program"]["build_type"] != "Optimized":
            raise servers.ServerError("quorate-bench is not a release build: results come from "
                                      "release builds only (./dev build)")
        _write(folder / "workload.yaml", result["workload"]["effective"])
        if None not in (usage["written_at_start"], usage["written_at_end"]):
            usage["written_bytes"] = usage["written_at_end"] - usage["written_at_start"]
        samples = json.loads((folder / "samples.json").read_text(encoding="utf-8"))["rows"]
        before, after = (metrics.parse_prometheus(
            gzip.decompress((folder / f"metrics-{when}.txt.gz").read_bytes()).decode())
            for when in ("before", "after"))
        run["numbers"] = metrics.run_numbers(result, samples, before, after, usage)
        _write(folder / "result.json", _compact(_lean(result)))


def _lean(result):
    """Without the buckets of the steps, once the numbers that need them are taken: they are the
    bulk of a result."""
    for phase in result["phases"]:
        for row in [o for load in phase["loads"] for o in load["operations"]] + phase["watchers"]:
            for step in row.get("series") or []:
                step.pop("buckets", None)
    return result


def _drive(command, log):
    """Runs quorate-bench; a Ctrl-C is passed on once, and it then ends with a partial result."""
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT,
                               start_new_session=True)
    try:
        return process.wait(BENCH_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return 1
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        return 130


def _written_after_stop(server):
    """Stops the server and answers all it wrote, its last flush included."""
    process = server.process
    if process.poll() is not None:
        return None
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + servers.STOP_TIMEOUT_S
    while True:
        # The kernel keeps the counters of an ended process until it is waited for.
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if ended is not None:
            break
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(0.01)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_oublock * 512


def _slug(text):
    return "".join(c if c.isalnum() or c in "-." else "-" for c in text)


def _last_line(path):
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    wrong = [line.strip() for line in lines if "WRONG" in line]
    return (wrong or lines or ["no output"])[-1][:400]


def describe(run):
    text = f"{run['workload']:<20} {run['variant']:<22}"
    if run["outcome"] != "complete":
        return f"{text} {run['outcome'].upper()}: {run.get('reason', '')}"
    found = metrics.values(run)
    parts = []
    if "throughput" in found:
        parts.append(f"{found['throughput']:8.0f}/s")
    if "p99" in found:
        parts.append(f"p99 {found['p99'] / 1e6:8.2f} ms")
    if "cpu_us_per_op" in found:
        parts.append(f"CPU {found['cpu_us_per_op']:6.1f} us")
    if "server_exit" in run:
        parts.append(f"server ended with {run['server_exit']}")
    return f"{text} {'  '.join(parts)}"
