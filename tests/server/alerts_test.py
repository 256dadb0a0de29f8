#!/usr/bin/python3
"""The alerts of packaging/quorate.prometheus.yml, judged by Prometheus' own promtool on the series that a
cluster of three really exports: while it is well, none fires; and each fires when what it is for is so,
and not yet just below. Time is promtool's: an hour passes at once.

usage: alerts_test.py [--rules FILE]
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from cluster import Cluster, wait_for  # noqa: E402
from servers import ROOT  # noqa: E402
from stubs import etcd  # noqa: E402

SKIPPED = 77
MINUTES = 60
MIB = 1 << 20


def still(value):
    return f"{value}+0x{MINUTES}"


def growing(per_minute):
    return f"0+{per_minute}x{MINUTES}"


def exported(member, wanted):
    """{series: value} of the metrics whose names are wanted, with the labels that a scrape adds."""
    with urllib.request.urlopen(f"{member.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    series = {}
    added = f'instance="{member.name}",job="quorate"'
    for line in lines:
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            if name in wanted and not (name == "grpc_server_handled_total" and value == "0"):
                series[f"{name}{{{labels + ',' if labels else ''}{added}}}"] = still(float(value))
    series[f"up{{{added}}}"] = still(1)
    return series


def of_live_cluster(wanted):
    with Cluster(3) as cluster:
        client = cluster.client(cluster.leader())
        for i in range(10):
            client.KV.Put(etcd.PutRequest(key=b"k%d" % i, value=b"v"))
        members = cluster.running()
        well = {}
        for member in members:
            well |= wait_for(lambda m=member: with_round_trips(exported(m, wanted)), "round trips to peers")
        client.Maintenance.Alarm(etcd.AlarmRequest(action=etcd.AlarmRequest.ACTIVATE, alarm=etcd.NOSPACE))
        alarms = wait_for(lambda: of_alarms(exported(members[0], wanted)), "alarm in the metrics")
    return well, alarms


def of_alarms(series):
    return {name: values for name, values in series.items() if name.startswith("etcd_debugging_server_alarms")}


def with_round_trips(series):
    counted = [name for name in series if name.startswith("etcd_network_peer_round_trip_time_seconds_bucket")
               and 'le="+Inf"' in name]
    return series if len(counted) == 2 else None


class Scenario:
    """The well cluster's series, some of them otherwise, and the alerts that fire behind an hour."""

    def __init__(self, well, name, *firing):
        self.name, self.firing, self.series = name, sorted(firing), dict(well)

    def set(self, pattern, values, member="m0"):
        """`values`: of each series that matches, or a function of its name."""
        matching = [name for name in self.series
                    if re.match(pattern, name) and (f'instance="{member}"' in name or member == "all")]
        assert matching, f"{self.name}: no member exports {pattern}"
        for name in matching:
            self.series[name] = values(name) if callable(values) else values
        return self

    def slow(self, histogram, seconds):
        """Each minute 60 things last as long as the first bucket from `seconds` on says."""
        def bucket(name):
            bound = float(re.search(r'le="([^"]+)"', name)[1])
            return growing(60 if bound >= seconds else 0)
        return self.set(f"{histogram}_bucket", bucket)

    def fails(self, percent):
        """Of puts, with a code that nobody wants."""
        name = next(name for name in self.series if name.startswith("grpc_server_handled_total")
                    and 'grpc_code="OK"' in name and 'grpc_method="Put"' in name)
        self.series[name] = growing(100 - percent)
        self.series[name.replace('"OK"', '"Unavailable"')] = growing(percent)
        return self

    def test(self):
        return {
            "name": self.name, "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in self.series.items()],
            "promql_expr_test": [{
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{MINUTES}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": count}
                                for alert, count in sorted(self.firing)]}]}


def scenarios(well, alarms):
    def when(name, *firing):
        return Scenario(well, name, *firing)

    yield when("all is well")
    down, lost = ("QuorateMembersDown", 1), ("QuorateQuorumAtRisk", 1)
    yield when("one down", down).set("up", still(0))
    yield when("two down", down, lost).set("up", still(0)).set("up", still(0), "m1")
    yield when("all down", down, lost).set("up", still(0), "all")
    yield when("no leader", ("QuorateNoLeader", 1)).set("etcd_server_has_leader", still(0))
    changes = "etcd_server_leader_changes_seen_total"
    yield when("leaders change", ("QuorateLeaderChangesOften", 1)).set(changes, growing(0.5))
    yield when("leaders change seldom").set(changes, growing(0.2))
    failed = "etcd_server_proposals_failed_total"
    yield when("proposals fail", ("QuorateProposalsFail", 1)).set(failed, growing(12))
    yield when("few proposals fail").set(failed, growing(3))
    yield when("calls fail", ("QuorateCallsFail", 1)).fails(6)
    yield when("few calls fail").fails(4)
    for alert, histogram, slow, quick in (
            ("QuorateLogSyncSlow", "etcd_disk_wal_fsync_duration_seconds", 1.0, 0.2),
            ("QuorateBackendSlow", "etcd_disk_backend_commit_duration_seconds", 2.0, 0.5)):
        yield when(f"{histogram} is long", (alert, 1)).slow(histogram, slow)
        yield when(f"{histogram} is not so long").slow(histogram, quick)
    round_trip = "etcd_network_peer_round_trip_time_seconds"
    yield when("peers are far", ("QuorateRoundTripSlow", 2)).slow(round_trip, 0.4)
    yield when("peers are not so far").slow(round_trip, 0.1)
    size, quota = "etcd_mvcc_db_total_size_in_bytes", "etcd_server_quota_backend_bytes"
    used = "etcd_mvcc_db_total_size_in_use_in_bytes"
    full = when("nearly full", ("QuorateDatabaseNearQuota", 1))
    yield full.set(quota, still(1000 * MIB)).set(size, still(950 * MIB)).set(used, still(900 * MIB))
    yield when("not so full").set(quota, still(1000 * MIB)).set(size, still(850 * MIB)).set(
        used, still(850 * MIB))
    yield when("fragmented", ("QuorateDatabaseFragmented", 1)).set(size, still(200 * MIB)).set(
        used, still(90 * MIB))
    yield when("small and fragmented").set(size, still(50 * MIB)).set(used, still(10 * MIB))
    alarmed = when("an alarm", ("QuorateAlarm", 1))
    alarmed.series |= alarms
    yield alarmed
    files = when("few descriptors are left", ("QuorateFileDescriptors", 1))
    yield files.set("process_max_fds", still(1000)).set("process_open_fds", still(950))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rules", type=Path, default=ROOT / "packaging/quorate.prometheus.yml")
    rules = parser.parse_args().rules
    if shutil.which("promtool") is None:
        print("alerts: SKIPPED: no promtool (apt-get install prometheus)")
        return SKIPPED
    subprocess.run(["promtool", "check", "rules", rules], check=True)
    texts = yaml.safe_load(rules.read_text())["groups"][0]["rules"]
    alerts = {rule["alert"] for rule in texts}
    wanted = {name for rule in texts for name in re.findall(r"\w+", rule["expr"])}
    every = list(scenarios(*of_live_cluster(wanted)))
    silent = alerts - {alert for scenario in every for alert, _ in scenario.firing}
    assert not silent, f"no scenario makes these fire: {silent}"
    with tempfile.TemporaryDirectory(prefix="quorate-test-") as folder:
        file = Path(folder, "alerts.yml")
        file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m",
                                        "tests": [scenario.test() for scenario in every]}))
        done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True)
    print(done.stdout + done.stderr)
    print(f"alerts: {len(alerts)} alerts in {len(every)} scenarios")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
