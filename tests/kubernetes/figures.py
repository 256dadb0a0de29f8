#!/usr/bin/python3
"""What three members cost under the same load of a Kubernetes API server, beside three of a real etcd:
CPU of the members and of the API server, and the members' memory; prints the table of docs/kubernetes.md.

usage: figures.py [--objects N] [--repetitions N]       skipped (77) where something is missing
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from certificates import Authority  # noqa: E402
from cluster import Cluster  # noqa: E402
import programs  # noqa: E402
from api_server import ApiServer, client_result  # noqa: E402
from control_plane import define, secured  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(process):
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mib(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(binary, objects):
    """One run on fresh members: what it cost, in seconds and MiB."""
    with Authority() as authority:
        flags, client_side = secured(authority)
        with Cluster(3, *flags, binary=binary, tls=client_side) as cluster:
            urls = [member.url for member in cluster.members.values()]
            with ApiServer(authority, urls, client_side.pair) as api:
                define(api)
                processes = [member.process for member in cluster.members.values()]
                before = sum(map(cpu_s, processes)), cpu_s(api.process)
                seen = client_result(api.client("load", f"--objects={objects}"))
                after = sum(map(cpu_s, processes)), cpu_s(api.process)
                return {"members_cpu_s": after[0] - before[0], "api_cpu_s": after[1] - before[1],
                        "members_peak_mib": max(map(peak_mib, processes)), **seen}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    try:
        servers = {"Quorate": None, "etcd 3.7": programs.peer("etcd")}
        runs = {name: [] for name in servers}
        for _ in range(arguments.repetitions):
            for name, binary in servers.items():  # in turns: what else the machine does meets both
                runs[name].append(measure(binary, arguments.objects))
                print(f"{name}: {runs[name][-1]}", file=sys.stderr, flush=True)
    except programs.Missing as why:
        print(f"SKIPPED: {why}")
        return programs.SKIPPED
    rows = {"members_cpu_s": "CPU of the three members, s", "api_cpu_s": "CPU of the API server, s",
            "members_peak_mib": "largest member's peak memory, MiB",
            "create_s": "creating all, s", "update_s": "reading and updating all, s",
            "list_s": "listing all in pages, s", "delete_s": "deleting all, s"}
    print(f"| {arguments.objects} objects, median of {arguments.repetitions} runs | "
          f"{' | '.join(servers)} | ratio |\n|---|---|---|---|")
    for field, text in rows.items():
        ours, theirs = (statistics.median(run[field] for run in runs[name]) for name in servers)
        print(f"| {text} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
