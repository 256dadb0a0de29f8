#!/usr/bin/python3
"""/metrics beside etcd's table (tests/wire/metrics.tsv) and docs/metrics.md, and /debug/vars.

Every metric of etcd's is either printed, with etcd's type and labels, and listed under "Here", or
not printed and listed under "Not here" with a reason; what is printed besides is listed as ours.

usage: metrics_test.py
"""

import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from servers import ROOT, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (-?[\d.e+-]+|[+-]Inf|NaN)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def get(server, path):
    with urllib.request.urlopen(server.url + path) as answer:
        return answer.headers, answer.read().decode()


class Exposition:
    """The text format 0.0.4, read strictly: every sample belongs to the family above it."""

    def __init__(self, text):
        self.types, self.labels, self.values = {}, {}, {}
        family = None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                family = line.split()[2]
                assert family not in self.types, f"{family} twice"
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                assert name == family, line
                self.types[name] = kind
                self.labels[name] = set()
            else:
                self._sample(line, family)

    def _sample(self, line, family):
        found = SAMPLE.fullmatch(line)
        assert found, line
        name, labels, value = found.groups()
        kind = self.types[family]
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        assert name in [family + suffix for suffix in suffixes], f"{name} below {family}"
        pairs = LABEL.findall(labels or "")
        names = [label for label, _ in pairs if label != "le"]
        assert names == sorted(names), line  # etcd's order, which some readers go by
        self.labels[family] |= set(names)
        self.values[name, tuple(sorted(pairs))] = float(value)


def section(text, title):
    """First cells of the table under a heading, with the others."""
    body = text.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in body.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def compare_with_page(found):
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    here, absent = section(page, "Here"), section(page, "Not here")
    own = section(page, "Our own")
    lines = (ROOT / "tests" / "wire" / "metrics.tsv").read_text(encoding="utf-8").splitlines()
    table = {name: (kind, set(filter(None, labels.split(","))))
             for name, kind, labels in (line.split("\t") for line in lines[1:])}
    problems = []
    for name in table:
        if (name in here) == (name in absent):
            problems.append(f"{name} stands neither under Here nor under Not here, or under both")
    for name, (kind, labels, when) in here.items():
        if (kind, set(filter(None, labels.split(",")))) != table.get(name):
            problems.append(f"{name}: the page has another type or labels than etcd")
        if name not in found.types:
            problems.append(f"{name} is listed ({when}) and not printed")
        elif (found.types[name], found.labels[name]) != table.get(name):
            problems.append(f"{name}: printed as {found.types[name]} {found.labels[name]}, "
                            f"etcd has {table.get(name)}")
    for name, (why,) in absent.items():
        if name in found.types or not why:
            problems.append(f"{name} is listed as absent without being so, or without a reason")
    for name in found.types:
        if name not in table and name not in own:
            problems.append(f"{name} is printed and not listed")
    problems += [f"{name} is listed as our own and not printed" for name in own
                 if name not in found.types]
    assert not problems, "\n".join(problems)
    return len(here), len(absent), len(own)


def values(server, client, found):
    def value(metric, **labels):
        return found.values[metric, tuple(sorted(labels.items()))]

    assert value("etcd_server_version", server_version="3.7.1") == 1
    assert value("etcd_cluster_version", cluster_version="3.7") == 1
    assert value("etcd_mvcc_put_total") == 2 and value("etcd_mvcc_delete_total") == 1
    assert value("etcd_debugging_mvcc_keys_total") == 1
    assert value("etcd_server_healthchecks_total", name="linearizable_read", status="success",
                 type="readyz") == 1
    assert value("etcd_server_healthcheck", name="data_corruption", type="readyz") == 0
    assert value("process_start_time_seconds") > 1e9
    call = {"grpc_service": "etcdserverpb.KV", "grpc_method": "Put", "grpc_type": "unary"}
    assert value("grpc_server_handled_total", grpc_code="OK", **call) == 2
    assert value("grpc_server_started_total", **call) == 2
    assert value("etcd_disk_backend_defrag_duration_seconds_count") == 1
    assert value("etcd_disk_defrag_inflight") == 0
    assert value("etcd_mvcc_hash_rev_duration_seconds_bucket", le="+Inf") == 1
    line = ('grpc_server_handled_total{grpc_code="OK",grpc_method="Put",'
            'grpc_service="etcdserverpb.KV",grpc_type="unary"} 2')
    assert line in get(server, "/metrics")[1].splitlines()


def with_peer(server):
    while True:  # the links hear of a member when the change is applied
        found = Exposition(get(server, "/metrics")[1])
        if any(name == "etcd_network_known_peers" for name, _ in found.values):
            return found


def debug_vars(server, client):
    headers, text = get(server, "/debug/vars")
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    found = json.loads(text)
    assert list(found) == ["cmdline", "file_descriptor_limit", "memstats", "raft.status"], found
    assert found["cmdline"] == server.command() and found["file_descriptor_limit"] > 0
    status = client.Maintenance.Status(etcd.StatusRequest())
    raft, member = found["raft.status"], f"{status.header.member_id:x}"
    assert raft["id"] == raft["lead"] == raft["vote"] == member, raft
    assert raft["term"] == status.raftTerm and raft["raftState"] == "StateLeader"
    assert raft["applied"] == raft["commit"] == status.raftAppliedIndex
    assert list(raft["progress"]) == [member] and raft["leadtransferee"] == "0"
    assert raft["progress"][member]["state"] == "StateReplicate"
    assert raft["progress"][member]["match"] == raft["commit"]


def main():
    flags = ["--metrics=extensive", "--quota-backend-bytes=1000000000"]
    with Server(quorate_binary(), *flags) as server:
        client = Client(server.endpoint)
        for key in (b"a", b"b"):
            client.KV.Put(etcd.PutRequest(key=key, value=b"1"))
        client.KV.DeleteRange(etcd.DeleteRangeRequest(key=b"a"))
        client.Maintenance.Defragment(etcd.DefragmentRequest())
        client.Maintenance.HashKV(etcd.HashKVRequest())
        member = client.Maintenance.Status(etcd.StatusRequest()).header.member_id
        client.Maintenance.Alarm(etcd.AlarmRequest(
            action=etcd.AlarmRequest.ACTIVATE, memberID=member, alarm=etcd.CORRUPT))
        try:
            get(server, "/readyz")
            raise AssertionError("ready in spite of an alarm")
        except urllib.error.HTTPError as error:
            assert error.code == 503
        headers, text = get(server, "/metrics")
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4"), headers
        found = Exposition(text)
        values(server, client, found)
        debug_vars(server, client)
        # A learner that never starts: the member goes on alone and has a peer to speak of.
        client.Cluster.MemberAdd(etcd.MemberAddRequest(
            peerURLs=["http://127.0.0.1:1"], isLearner=True))
        try:
            client.Cluster.MemberPromote(etcd.MemberPromoteRequest(ID=1))
            raise AssertionError("an unknown member was promoted")
        except grpc.RpcError as error:
            assert error.details() == "etcdserver: member not found", error
        here, absent, own = compare_with_page(with_peer(server))
        client.close()
    print(f"{here} of etcd's metrics printed, {absent} not, {own} of our own: as docs/metrics.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
