#!/usr/bin/python3
"""docs/flags.md beside etcd's flags (tests/wire/flags.tsv) and what the program does at its start.

Every flag of etcd's has one row: it works, it is accepted without effect, or it is rejected; the page's
reasons are those that the program gives. What is said to work or to be accepted is given to a server
that has to come up; what is said to be rejected has to end the start with a line that names the flag.

usage: flags_test.py
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import ROOT, Server, quorate_binary  # noqa: E402

TIME_LIMIT_S = 120
# Given by the harness itself, with other values, or not for a server that serves.
NOT_GIVEN = {"config-file", "version", "name", "data-dir", "listen-client-urls",
             "advertise-client-urls", "listen-peer-urls", "initial-advertise-peer-urls",
             "initial-cluster", "initial-cluster-state", "force-new-cluster", "listen-metrics-urls",
             "listen-client-http-urls", "wal-dir", "memory-mlock", "log-outputs",
             "discovery-token", "discovery-endpoints", "discovery-srv"}
# Other than etcd's default, so that a flag that is only accepted by its default shows.
VALUES = {"auto-compaction-mode": "revision", "auto-compaction-retention": "10m", "cors": "http://a",
          "backend-bbolt-freelist-type": "array", "discovery-fallback": "proxy",
          "election-timeout": "1500", "feature-gates": "AllAlpha=true", "host-whitelist": "localhost",
          "initial-cluster-token": "tok", "log-format": "console", "log-level": "debug",
          "log-rotation-config-json": '{"maxsize": 1}', "metrics": "extensive",
          "v2-deprecation": "gone", "auth-token": "simple,of=us", "logger": "zap",
          "max-request-bytes": "2000000", "max-concurrent-streams": "1000",
          "quota-backend-bytes": "100000000", "unsafe-no-fsync": "true",
          "cipher-suites": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "tls-min-version": "TLS1.2",
          "tls-max-version": "TLS1.3", "distributed-tracing-address": "localhost:1", "enable-log-rotation": "false"}


def rows_of(text, title):
    body = text.split(f"## {title}\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body.splitlines()
             if line.startswith("| `")]
    rows = {}
    for row in cells:
        name = row[0].strip("` -")
        assert name not in rows, f"{name} twice"
        rows[name] = row[1:]
    return rows


def value_for(name, kind, default):
    if name in VALUES:
        return VALUES[name]
    if kind == "bool":
        return "false" if default == "true" else "true"
    if kind == "time.Duration":
        return "7s"
    if kind.startswith(("uint", "int")):
        return "6"
    return "x"


def given(names, flags):
    return [f"--{name}={value_for(name, *flags[name])}" for name in names]


def accepted(works, without, flags):
    """All at once; the log names those without effect, and why."""
    tried = [name for name in (*works, *without) if name not in NOT_GIVEN]
    with Server(quorate_binary(), *given(tried, flags)) as server:
        told = {}
        for line in server.log_tail(1 << 30).splitlines():
            # Console lines: ..., message, fields as JSON.
            fields = line.split("\t")[-1]
            if "flag is accepted and has no effect" in line:
                entry = json.loads(fields)
                told[entry["flag"].lstrip("-")] = entry["why"]
    for name in tried:
        expected = without[name][1] if name in without else None
        assert told.get(name) == expected, f"--{name}: page: {expected}, log: {told.get(name)}"


def rejected(name, reason, flags):
    with tempfile.TemporaryDirectory(prefix="quorate-test-") as folder:
        done = subprocess.run([quorate_binary(), *given([name], flags)], cwd=folder, text=True,
                              capture_output=True, timeout=TIME_LIMIT_S, env={}, check=False)
    assert done.returncode != 0, f"--{name} is said to be rejected"
    said = done.stderr.replace('\\"', '"')
    assert f"--{name}: {reason}" in said, f"--{name}: page: {reason}\n{said}"


def main():
    page = (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
    table = [line.split("\t") for line in
             (ROOT / "tests" / "wire" / "flags.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    flags = {row[1].lstrip("-"): (row[3], row[2]) for row in table if row[0] == "etcd"}
    gates = {row[1] for row in table if row[0] == "feature-gate"}
    described = rows_of(page, "etcd's flags")
    assert set(described) == set(flags), set(described) ^ set(flags)
    assert set(rows_of(page, "Feature gates")) == gates
    by_state = {state: {name: row for name, row in described.items() if row[0] == state}
                for state in ("works", "accepted", "rejected")}
    assert sum(map(len, by_state.values())) == len(described), "a state that is none of the three"
    shown = subprocess.run([quorate_binary(), "--help"], check=True, capture_output=True, text=True)
    known = set(re.findall(r"^ +--([a-z0-9-]+)", shown.stdout, re.M))
    own = rows_of(page, "Quorate's own")
    assert known - set(flags) == set(own), (known - set(flags)) ^ set(own)
    accepted(by_state["works"], by_state["accepted"], flags)
    for name, (_, reason) in by_state["rejected"].items():
        rejected(name, reason, flags)
    print(", ".join(f"{len(rows)} {state}" for state, rows in by_state.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
