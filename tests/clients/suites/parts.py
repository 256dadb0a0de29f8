"""What the suite of a client does: the parts, in the order in which they run, and the modes that
clusters speak. Each client's program (etcdctl.py, python_etcd3.py, ../go, ../node, ../rust,
../java) writes them in its own idiom; what a client has no call for it reports as not offered.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """tls: servers show certificates. certificates: clients must show one too. users: auth is on.
    Users with certificates have no passwords: the certificate's common name says who calls."""
    tls: bool = False
    certificates: bool = False
    users: bool = False


MODES = {
    "plain": Mode(),
    "tls": Mode(tls=True, certificates=True),
    "auth": Mode(tls=True, users=True),
    "cn": Mode(tls=True, certificates=True, users=True),
}

ALWAYS = tuple(MODES)
WITH_USERS = ("auth", "cn")

# part | modes | what is seen
PARTS = {
    "kv": (ALWAYS, "put, get and delete with every option that the client has"),
    "txn": (ALWAYS, "comparisons of every kind, both branches, nested; a key twice is refused"),
    "lease": (ALWAYS, "grant, keys, keep alive, revoke, list; one that ends by itself"),
    "watch": (ALWAYS, "old revisions, previous values, filters, progress, cancel"),
    "compaction": (ALWAYS, "reads and watches of compacted revisions say so"),
    "lock": (ALWAYS, "rivals count under a lock"),
    "election": (ALWAYS, "rivals lead in turn, seen by an observer"),
    "namespace": (ALWAYS, "keys under a prefix that the client puts on"),
    "users": (ALWAYS, "users, roles and permissions as root makes and unmakes them"),
    "denied": (WITH_USERS, "a user without permission changes and learns nothing"),
    "token": (("auth",), "a token that ended: the client signs in again"),
    "maintenance": (ALWAYS, "status, hash, snapshot, defragmentation, alarms, another leader"),
    "members": (ALWAYS, "list; a learner added, not promoted, removed"),
    "failover": (ALWAYS, "every member dies once: writes, watches and leases go on"),
}


def parts_of(mode):
    return [part for part, (modes, _) in PARTS.items() if mode in modes]
