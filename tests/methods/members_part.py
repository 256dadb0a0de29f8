"""Three members of Quorate beside three of etcd's: every method through a member that does not lead and
at a learner, and what only several members can do."""

import contextlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from cases import Case  # noqa: E402
from cluster import Cluster, wait_for  # noqa: E402
from compare import Pair  # noqa: E402
from good_calls import good_cases, learner_id  # noqa: E402
from sides import Side  # noqa: E402
from stubs import etcd  # noqa: E402

# Members that a loaded machine does not make change their leader.
FLAGS = ("--heartbeat-interval=500", "--election-timeout=5000", "--bcrypt-cost=4")
LEARNER = "learner"


class MemberSide(Side):
    """A member of a cluster."""

    def __init__(self, name, cluster, member, look=None):
        super().__init__(name, member)
        self.cluster = cluster
        self.look = look
        self.connect()

    def disconnect(self):
        self.client.close()


def may_change_members(cluster):
    """Right after a start a member does not count as connected to all. The URL is one that no case adds:
    within a second it would make the same id again, which is that of a removed member then."""
    client = cluster.client(cluster.leader())
    try:
        added = client.Cluster.MemberAdd(
            etcd.MemberAddRequest(peerURLs=["http://127.0.0.1:3"], isLearner=True), timeout=20)
        client.Cluster.MemberRemove(etcd.MemberRemoveRequest(ID=added.member.ID), timeout=20)
        return True
    except grpc.RpcError:
        return False


def leader_cases():
    def case(call, name, messages):
        return Case(call, "members", name, messages)

    yield case("Maintenance.MoveLeader", "to nobody", etcd.MoveLeaderRequest())
    yield case("Maintenance.MoveLeader", "to an unknown member", etcd.MoveLeaderRequest(targetID=1))
    yield case("Maintenance.MoveLeader", "to itself",
               lambda side: etcd.MoveLeaderRequest(targetID=side.own_id()))
    yield case("Maintenance.MoveLeader", "to a learner",
               lambda side: etcd.MoveLeaderRequest(targetID=learner_id(side)))
    yield case("Cluster.MemberPromote", "of a voter",
               lambda side: etcd.MemberPromoteRequest(ID=side.own_id()))
    yield case("Cluster.MemberPromote", "of nobody", etcd.MemberPromoteRequest())
    yield case("Cluster.MemberPromote", "of an unknown member", etcd.MemberPromoteRequest(ID=1))
    yield case("Cluster.MemberAdd", "a second learner",
               etcd.MemberAddRequest(peerURLs=["http://127.0.0.1:2"], isLearner=True))
    yield case("Cluster.MemberAdd", "with a peer URL that is taken", lambda side:
               etcd.MemberAddRequest(peerURLs=[side.server.peer_url]))
    yield case("Cluster.MemberUpdate", "with a peer URL that is taken", lambda side:
               etcd.MemberUpdateRequest(ID=learner_id(side), peerURLs=[side.server.peer_url]))
    yield case("Cluster.MemberRemove", "of an unknown member", etcd.MemberRemoveRequest(ID=1))


def ask(methods, pair, cases, column):
    for case in cases:
        pair.run(case, column, lambda s, c=case: s.call(methods[c.call], c))


def sides_of(clusters, choose, look=None):
    return [MemberSide(name, cluster, choose(cluster), look and look[i])
            for i, (name, cluster) in enumerate(clusters.items())]


def with_members(methods, book, new):
    with contextlib.ExitStack() as stack:
        clusters = {"quorate": stack.enter_context(Cluster(3, *FLAGS)),
                    "etcd": stack.enter_context(Cluster(3, *FLAGS, binary=new))}
        for cluster in clusters.values():
            wait_for(lambda c=cluster: may_change_members(c), "cluster whose members may change")
        leaders = sides_of(clusters, lambda c: c.leader())
        followers = sides_of(clusters, lambda c: c.followers()[0])
        ask(methods, Pair(book, *followers), good_cases(), "a follower")
        for cluster in clusters.values():
            cluster.add(LEARNER, cluster.leader(), learner=True)
        learners = sides_of(clusters, lambda c: c[LEARNER], leaders)
        for side in learners:
            wait_for(lambda s=side: is_served(s), f"learner of {side.name}")
        ask(methods, Pair(book, *learners), good_cases(), "a learner")
        pair = Pair(book, *leaders)
        ask(methods, pair, leader_cases(), "members")
        ask(methods, Pair(book, *followers), leader_cases(), "members")
        promoted = Case("Cluster.MemberPromote", "members", "of a learner that has all",
                        lambda side: etcd.MemberPromoteRequest(ID=learner_id(side)))
        ask(methods, pair, [promoted], "members")
        moved = Case("Maintenance.MoveLeader", "members", "to a voter", target)
        ask(methods, pair, [moved], "members")
        for name, cluster in clusters.items():
            if cluster.leader().name == leaders[name == "etcd"].server.name:
                book.fail("Maintenance.MoveLeader", "members", "to a voter", f"{name} has not moved")
            cluster.check_equal()
        for side in (*leaders, *followers, *learners):
            side.disconnect()


def target(side):
    """Whoever of the first three does not lead, by name."""
    names = sorted(name for name in side.cluster.members if name != LEARNER)
    name = next(name for name in names if name != side.server.name)
    return etcd.MoveLeaderRequest(targetID=side.cluster.ids[name])


def is_served(side):
    try:
        return side.client.KV.Range(etcd.RangeRequest(key=b"a", serializable=True), timeout=20)
    except grpc.RpcError:
        return False


__all__ = ["with_members"]
