"""Where a result came from: commit, build, machine, disk, load, versions."""

import hashlib
import json
import os
import platform
import re
import subprocess
import time
from pathlib import Path

from .definition import ROOT
from .servers import bin_dir


def _output(*command):
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60,
                              check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _first(pattern, path):
    try:
        match = re.search(pattern, Path(path).read_text(encoding="utf-8"), re.M)
    except OSError:
        return None
    return match[1].strip() if match else None


def source():
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", "--", ".",
                      ":!results")
    return {"commit": _output("git", "rev-parse", "HEAD"),
            "changed_files": changed.splitlines() if changed is not None else None}


def build():
    """Of the tree that build/bin points at."""
    cache = bin_dir().resolve().parent / "CMakeCache.txt"
    kind = _first(r"^CMAKE_BUILD_TYPE:\w+=(.*)$", cache)
    compiler = _first(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache)
    flags = None
    if kind:
        flags = _first(rf'^set\(CMAKE_CXX_FLAGS_{kind.upper()} "(.*)"\)$',
                       ROOT / "cmake" / "QuorateBuild.cmake")
    version = _output(compiler, "--version") if compiler else None
    return {"type": kind, "flags": flags, "compiler": version.splitlines()[0] if version else None}


def machine(data_root):
    disk = _output("findmnt", "-no", "SOURCE,FSTYPE,OPTIONS", "-T", str(data_root))
    memory = _first(r"^MemTotal:\s+(\d+) kB", "/proc/meminfo")
    return {
        "kernel": platform.release(),
        "system": _first(r'^PRETTY_NAME="?([^"\n]*)', "/etc/os-release"),
        "cpu": _first(r"^model name\s*: (.*)$", "/proc/cpuinfo"),
        "cores": os.cpu_count(),
        "memory_bytes": int(memory) * 1024 if memory else None,
        "disk": disk,
        "load_before": os.getloadavg(),
    }


def probe_disk(data_root, count=300):
    """What one durable append of 256 bytes costs where the servers keep their data."""
    text = _output(str(bin_dir() / "quorate-bench"), "disk", str(data_root), "--count", str(count))
    if text is None:
        return None
    probe = json.loads(text)
    probe.pop("dir", None)  # a path of this machine says nothing to a reader
    return probe


def program(path, version):
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    package = _output("dpkg-query", "-S", str(path))
    row = {"version": version, "sha256": digest}
    if package:
        name = package.split(":")[0]
        row["package"] = f"{name} {_output('dpkg-query', '-W', '-f=${Version}', name)}"
    return row


def collect(experiment, data_root):
    return {
        "format": "quorate-result/1",
        "experiment": experiment.name,
        "setting": experiment.setting,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seed": experiment.seed,
        "repetitions": experiment.repetitions,
        "source": source(),
        "build": build(),
        "machine": machine(data_root),
        "disk_probe": probe_disk(data_root),
    }
