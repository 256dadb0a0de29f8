"""The methods of services.tsv, what differs between the answers of any two servers, and plain values
of answers, to compare."""

import csv
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from google.protobuf.json_format import MessageToDict  # noqa: E402
from good_calls import LASTING  # noqa: E402
from servers import ROOT  # noqa: E402
from stubs import election, etcd, health, lock  # noqa: E402

TABLE = ROOT / "tests" / "wire" / "services.tsv"
MODULES = {"etcdserverpb": etcd, "v3lockpb": lock, "v3electionpb": election,
           "grpc.health.v1": health}

# Whatever the answer, and ...
OWN = {"cluster_id", "member_id", "raft_term"}
# ... of a method.
OWN_OF = {
    "Cluster.MemberAdd": {"ID", "peerURLs", "clientURLs", "members"},
    "Cluster.MemberRemove": {"ID", "peerURLs", "clientURLs"},
    "Cluster.MemberPromote": {"ID", "peerURLs", "clientURLs"},
    "Cluster.MemberUpdate": {"ID", "peerURLs", "clientURLs"},
    "Cluster.MemberList": {"ID", "peerURLs", "clientURLs"},
    "Maintenance.Status": {"version", "dbSize", "dbSizeInUse", "leader", "raftIndex", "raftTerm",
                           "raftAppliedIndex"},
    "Maintenance.Hash": {"hash"},
    "Maintenance.Snapshot": {"remaining_bytes", "blob"},
    "Auth.Authenticate": {"token"},
}
COUNTS_DOWN = {"TTL": 100}  # alike within so much


@dataclass(frozen=True)
class Method:
    call: str  # KV.Range
    path: str
    request: type = field(repr=False)
    response: type = field(repr=False)
    client_stream: bool
    server_stream: bool
    http_paths: tuple


def every_method():
    """By name, in the order of the table."""
    found = {}
    with open(TABLE, encoding="utf-8") as table:
        for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            call = row["service"].rpartition(".")[2] + "." + row["method"]
            paths = () if row["http_path"] == "-" else (row["http_path"],)
            if call in found:
                paths = found[call].http_paths + paths
            request, response = (getattr(MODULES[name.rpartition(".")[0]], name.rpartition(".")[2])
                                 for name in (row["request"], row["response"]))
            found[call] = Method(call, row["grpc_path"], request, response,
                                 row["client_stream"] == "true", row["server_stream"] == "true",
                                 paths)
    return found


def plain(value, own):
    """Without what differs, of which the names are kept."""
    if isinstance(value, dict):
        kept = {name: "own" if name in own else plain(inner, own) for name, inner in value.items()}
        for name, within in COUNTS_DOWN.items():
            if isinstance(kept.get(name), str) and kept[name].lstrip("-").isdigit():
                kept[name] = int(kept[name]) // within
        return kept
    if isinstance(value, str):
        return steady(value)
    if isinstance(value, list):
        return [plain(inner, own) for inner in value]
    return value


def steady(text):
    """Of a member that is there already: which is said hangs on whether a second has passed, since its
    id would be made of the time as well."""
    return text.replace("etcdserver: member ID already exist", "etcdserver: Peer URLs already exists")


def settled(method, value, own=()):
    """An answer as JSON has it, ready to be compared."""
    value = plain(value, OWN | OWN_OF.get(method.call, set()) | set(own))
    if method.call == "Lease.LeaseLeases" and isinstance(value, dict):  # by expiry
        ids = {int(lease["ID"]) for lease in value.get("leases", [])}
        value["leases"] = sorted(ids & LASTING)
    if method.call == "Maintenance.Status" and isinstance(value, dict):  # in no order
        value["errors"] = sorted(" ".join(text.split()) for text in value.get("errors", []))
    if method.call == "Lease.LeaseTimeToLive" and isinstance(value, dict):
        value.get("keys", []).sort()  # in no order
    if method.call.startswith("Cluster.Member") and isinstance(value, dict):
        if isinstance(value.get("members"), list):  # by their ids
            value["members"].sort(key=str)
    return value


def settled_answers(method, answers, own=()):
    """Of a call: pieces of a file are as many as it is long."""
    values = [settled(method, answer, own) for answer in answers]
    if method.call == "Maintenance.Snapshot":
        values = [value for i, value in enumerate(values) if i == 0 or value != values[i - 1]]
    return values


def as_dict(method, data):
    return MessageToDict(method.response.FromString(data), preserving_proto_field_name=True)
