#!/usr/bin/python3
"""quoratectl with clusters of three: the lead moves, members come as the printed variables say, and what
runs for long goes on at another endpoint when its server dies.

Every case runs on a cluster of Quorate's, and on one of a real etcd's where scripts/build_etcd.sh made
it.

usage: quoratectl_cluster_test.py [CASE...]
"""

import json
import re
import sys
from contextlib import ExitStack

from programs import OURS, Program, Store, servers_to_test
from cluster import wait_for
from servers import Server


class Three:
    """Three members, and a store that is asked through all of them."""

    def __init__(self, binary):
        self.binary = binary
        self.servers = [Server(binary, name=f"m{number}") for number in range(3)]
        listed = ",".join(f"{server.name}={server.peer_url}" for server in self.servers)
        for server in self.servers:
            server.initial_cluster = listed

    def __enter__(self):
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait_ready()
        self.store = Store(self.servers[0], None)
        self.store.endpoint = ",".join(server.endpoint for server in self.servers)
        return self

    def __exit__(self, *unused):
        for server in self.servers:
            server.close()

    def status(self):
        """Of each member, by its end point."""
        answers = json.loads(self.store.run("endpoint", "status", "-w", "json"))
        return {answer["Endpoint"]: answer["Status"] for answer in answers}

    def leader(self):
        """(end point, id) of the leader, once all agree on one."""
        def agreed():
            status = self.status()
            leaders = {one["leader"] for one in status.values() if "leader" in one}
            for endpoint, one in status.items():
                if len(leaders) == 1 and one["header"]["member_id"] in leaders:
                    return endpoint, one["header"]["member_id"]
            return None
        return wait_for(agreed, "leader of all")


def the_lead_moves(three):
    endpoint, leader = three.leader()
    others = {where: one["header"]["member_id"] for where, one in three.status().items()
              if where != endpoint}
    where, target = next(iter(others.items()))
    other = Store(three.servers[0], None)
    other.endpoint = ",".join(others)
    assert other.run("move-leader", f"{target:x}", fails=True) == \
        (128, f"Error: no leader endpoint given at [{' '.join(others)}]")
    moved = three.store.run("move-leader", f"{target:x}")
    assert moved == f"Leadership transferred from {leader:x} to {target:x}\n", moved
    assert three.leader() == (where, target)


def all_members_are_asked(three):
    one = Store(three.servers[0], None)
    health = one.run("endpoint", "health", "--cluster")
    assert len(re.findall(r"is healthy: successfully committed proposal: took = ", health)) == 3
    assert len(json.loads(one.run("endpoint", "hashkv", "--cluster", "-w", "json"))) == 3
    assert one.run("defrag", "--cluster").count("Finished defragmenting etcd member[") == 3


def unless_refused(three, reason, *words):
    """The command's output; nothing when it is refused for this reason."""
    try:
        return three.store.run(*words)
    except AssertionError as refused:
        assert reason in str(refused), refused
        return None


def a_member_starts_with_what_add_printed(three):
    with ExitStack() as stack:
        server = Server(three.binary, name="m3")
        stack.callback(server.close)
        # Refused until all have been connected for some seconds.
        printed = wait_for(
            lambda: unless_refused(three, "etcdserver: unhealthy cluster", "member", "add", "m3",
                                   f"--peer-urls={server.peer_url}", "--learner"), "new member")
        head, variables = printed.split("\n\n")
        member = re.fullmatch(r"Member +([0-9a-f]+) added as learner to cluster +[0-9a-f]+", head)[1]
        variables = dict(re.findall(r'(ETCD_\w+)="(.*)"', variables))
        assert variables["ETCD_NAME"] == "m3"
        assert variables["ETCD_INITIAL_ADVERTISE_PEER_URLS"] == server.peer_url
        server.initial_cluster = variables["ETCD_INITIAL_CLUSTER"]
        server.initial_state = variables["ETCD_INITIAL_CLUSTER_STATE"]
        server.start()
        promoted = wait_for(
            lambda: unless_refused(three, "can only promote a learner member which is in sync",
                                   "member", "promote", member), "promotion")
        assert re.fullmatch(rf"Member +{member} promoted in cluster +[0-9a-f]+\n", promoted)
        listed = three.store.run("member", "list")
        assert re.search(rf"^{member}, started, m3, .*, false$", listed, re.MULTILINE), listed
        assert three.store.run("member", "remove", member).startswith("Member ")


def a_watch_goes_on_at_another_member(three):
    order = ",".join(server.endpoint for server in three.servers)
    with Program(order, "watch", "w", "--prefix", "--rev=1") as watch, \
            Program(order, "lock", "l", "--ttl=100") as lock:
        lock.lines(2)
        three.store.run("put", "w/1", "one")
        assert watch.lines(3) == ["PUT", "w/1", "one"]
        three.servers[0].kill()
        # It may have led: then a write may time out, though it may come to be all the same.
        wait_for(lambda: unless_refused(three, "etcdserver: ", "put", "w/2", "two"), "write")
        assert watch.lines(3) == ["PUT", "w/2", "two"]
        assert len(three.store.keys("l/")) == 1
        lock.process.terminate()
        assert lock.end() == (0, "", "")
    assert three.store.keys("l/") == {}


CASES = [the_lead_moves, all_members_are_asked, a_member_starts_with_what_add_printed,
         a_watch_goes_on_at_another_member]


def main():
    wanted = sys.argv[1:]
    names = [case.__name__ for case in CASES]
    if unknown := [name for name in wanted if name not in names]:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(names)}")
    print(f"with {OURS}")
    for name, binary in servers_to_test().items():
        for case in CASES:
            if wanted and case.__name__ not in wanted:
                continue
            with Three(binary) as three:
                case(three)
            print(f"{name}: {case.__name__.replace('_', ' ')}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
