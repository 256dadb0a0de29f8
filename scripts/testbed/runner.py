"""Runs an experiment: all combinations, interleaved in random order, each on a fresh server.

What one run leaves in results/<run>/runs/<name>/: result.json (what quorate-bench measured, raw),
samples.json (CPU, memory, bytes written over time), metrics-before.txt.gz and metrics-after.txt.gz
(/metrics around the load), workload.yaml (effective), bench.log, server.log (its middle left out if
it is long; of a cluster server-NAME.log for each member) and run.json (what was started, how it
ended, the numbers that are compared). A run of a fault (faults.py) has no samples and no metrics.
"""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import faults, manifest, metrics, servers
from .access import Access
from .cluster import Cluster, etcdctl_command
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
            {"name": v.name, "server": v.server, "flags": v.flags, "members": v.members,
             **({"tls": v.tls} if v.tls else {}), **({"user": v.user} if v.user else {}),
             **({"absent": self.absent[v.name]} if v.name in self.absent else {})}
            for v in self.experiment.variants]
        known["workloads"] = [vars(w) for w in self.experiment.workloads]
        self.manifest = known
        shutil.copy(self.experiment.path, self.out / "experiment.yaml")
        for workload in self.experiment.workloads:
            if workload.file:
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
        program = self.programs[variant.server]
        certificates = tempfile.TemporaryDirectory(prefix="access-", dir=self.data_root)
        access = Access(variant, Path(certificates.name) / "files")
        if variant.members > 1:
            server = Cluster(program, variant, self.data_root, folder)
        else:
            server = servers.RunningServer(program, variant.flags, self.data_root,
                                           folder / "server.log", access=access)
        run["flags"] = variant.flags
        usage = {}
        try:
            with certificates, server:
                access.switch_users_on(
                    lambda *words: etcdctl_command(server.url, *words, flags=access.tls_flags()))
                if workload.fault:
                    self._run_fault(server, workload, variant, folder, run)
                else:
                    self._measure(server, access, workload, folder, run)
                    usage = run.pop("_usage")
                    usage["written_by_end"] = _written_after_stop(server)
                    if workload.restart and run["outcome"] == "complete":
                        usage["restart_s"] = server.restart()
        except servers.ServerError as error:
            run.update(outcome="not started", reason=str(error))
        for member in server.members:
            code = member.process.returncode if member.process else None
            # etcd ends itself with the signal that stopped it; a crash is another matter.
            if code not in (None, 0, -signal.SIGTERM, 128 + signal.SIGTERM):
                run["server_exit"] = code
        if run["outcome"] == "complete" and not workload.fault:
            self._evaluate(folder, run, usage)
        for log in folder.glob("server*.log"):
            _shorten(log)
        _write(folder / "run.json", _compact(run))
        return run

    def _run_fault(self, cluster, workload, variant, folder, run):
        run["loadavg"] = os.getloadavg()[0]
        try:
            numbers, why_not = faults.run(cluster, workload, variant, folder)
        except servers.ServerError as error:
            numbers, why_not = None, str(error)
        if numbers is None:
            run.update(outcome="failed", reason=why_not)
        else:
            run.update(outcome="complete", numbers=numbers)

    def _measure(self, server, access, workload, folder, run):
        """Drives the running server and leaves the raw files."""
        usage = {"start_s": server.start_s,
                 "written_by_start": [write_bytes(m.pid) for m in server.members]}
        run["_usage"] = usage
        _write_packed(folder / "metrics-before.txt.gz", server.leader().metrics())
        command = [str(servers.bin_dir() / "quorate-bench"), "run", str(ROOT / workload.file),
                   f"--endpoints={server.endpoint}", f"--out={folder / 'result.json'}", "--plain",
                   *access.client_flags()]
        for name, value in workload.parameters.items():
            command += ["--set", f"{name}={value}"]
        if workload.duration:
            command.append(f"--duration={workload.duration}")
        if workload.rate:
            command.append(f"--rate={workload.rate}")
        run["loadavg"] = os.getloadavg()[0]
        probes = [self._probe(workload)]
        with Sampler(*[m.pid for m in server.members]) as sampler, open(folder / "bench.log", "wb") as log:
            code = _drive(command, log)
        probes.append(self._probe(workload))
        text = (folder / "bench.log").read_text(encoding="utf-8", errors="replace")
        _write(folder / "bench.log", text.replace(f"{folder}/", "").replace(f"{ROOT}/", ""))
        if None not in probes:
            usage["disk_append_ns"] = sum(probes) / len(probes)
        run["outcome"] = OUTCOMES.get(code, "failed")
        ended = [m.process.returncode for m in server.members if m.process.poll() is not None]
        if ended:
            run.update(outcome="failed", reason=f"the server ended with {ended[0]}")
        else:
            self._look_at_members(server, sampler, folder, usage)
        if run["outcome"] != "complete" and "reason" not in run:
            run["reason"] = _last_line(folder / "bench.log")
        _write(folder / "samples.json",
               _compact({"fields": Sampler.FIELDS, "rows": sampler.samples}))

    def _look_at_members(self, server, sampler, folder, usage):
        """What they used, after the load; of a cluster also each of them and which one led."""
        leader = server.leader()
        _write_packed(folder / "metrics-after.txt.gz", leader.metrics())
        peaks = [peak_rss(m.pid) for m in server.members]
        usage["peak_rss"] = sum(peaks)
        if len(server.members) == 1:
            return
        usage["leader_samples"] = sampler.members[server.members.index(leader)]
        cpu = Sampler.FIELDS.index("cpu_ns")
        usage["members"] = [
            {"name": member.name, "leads": member is leader, "peak_rss": peak,
             "cpu_s": (rows[-1][cpu] - rows[0][cpu]) / 1e9}
            for member, peak, rows in zip(server.members, peaks, sampler.members, strict=True)]

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
        written = [_sum(usage[name]) for name in ("written_by_start", "written_by_end")]
        if None not in written:
            usage["written_bytes"] = written[1] - written[0]
        for row, begin, end in zip(usage.get("members", []), usage["written_by_start"],
                                   usage["written_by_end"], strict=False):
            if None not in (begin, end):
                row["written_bytes"] = end - begin
        samples = json.loads((folder / "samples.json").read_text(encoding="utf-8"))["rows"]
        before, after = (metrics.parse_prometheus(
            gzip.decompress((folder / f"metrics-{when}.txt.gz").read_bytes()).decode())
            for when in ("before", "after"))
        run["numbers"] = metrics.run_numbers(result, samples, before, after, usage)
        _write(folder / "result.json", _compact(metrics.lean(result)))


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
    """Stops the server, all its members, and answers for each all that it wrote, its last flush
    included; None for one that had ended before."""
    running = [m for m in server.members if m.process.poll() is None]
    for member in running:
        member.process.send_signal(signal.SIGTERM)
    return [_written_at_end(m.process) if m in running else None for m in server.members]


def _written_at_end(process):
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


def _sum(values):
    """None when one of them is missing."""
    values = list(values)
    return None if None in values else sum(values)


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
    if told := faults.describe(run["numbers"]):
        return f"{text} {told}"
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
