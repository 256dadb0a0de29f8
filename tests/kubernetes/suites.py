#!/usr/bin/python3
"""Kubernetes' own tests of what it keeps in etcd, unchanged, from its modules, against Quorate: those of
the storage layer start a server each (go/embedded), those of custom resources share a cluster of three.

usage: suites.py [--peer PATH] [SUITE]...    a peer: a real etcd instead; a SUITE: see SUITES
Skipped (77) where Go or the modules cannot be had.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from cluster import Cluster  # noqa: E402
from servers import quorate_binary  # noqa: E402
import programs  # noqa: E402

SUITES = ("etcd3", "factory", "cacher", "integration")


def run(suite, environment):
    """Counts what passed and failed; those that failed are printed."""
    log = programs.BUILT / f"{suite}.log"
    with open(log, "wb") as output:
        done = subprocess.run(
            [str(programs.built(f"{suite}.test")), "-test.v", "-test.timeout=30m"],
            cwd=programs.source_folder(f"{suite}.test"), stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, **environment})
    text = log.read_text(encoding="utf-8", errors="replace")
    said = re.findall(r"--- (PASS|FAIL|SKIP): (\S+)", text)
    failed = sorted(name for verdict, name in said if verdict == "FAIL")
    counts = {verdict: sum(v == verdict for v, _ in said) for verdict in ("PASS", "FAIL", "SKIP")}
    print(f"{suite}: {counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped",
          flush=True)
    for name in failed:
        print(f"   failed: {name}")
    assert counts["PASS"] > 0, text[-2000:]
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer")
    parser.add_argument("suite", nargs="*", metavar="SUITE")
    arguments = parser.parse_args()
    if not set(arguments.suite) <= set(SUITES):
        parser.error(f"known suites: {' '.join(SUITES)}")
    good = True
    try:
        for suite in arguments.suite or SUITES:
            if suite == "integration":
                with Cluster(3, binary=arguments.peer) as cluster:
                    good &= run(suite, {"KUBE_INTEGRATION_ETCD_URL": cluster.leader().url})
                    cluster.check_equal()
            else:
                server = arguments.peer or quorate_binary()
                good &= run(suite, {"KUBERNETES_ETCD": str(server)})
    except programs.Missing as why:
        print(f"SKIPPED: {why}")
        return programs.SKIPPED
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
