#!/usr/bin/python3
"""Members of real clusters come and go: bootstrap, restarts, learners, promotion, removal, growth
from one to five and back, a member that lost its disk, one that is behind the log."""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from cluster import Cluster, Load, run_cases, wait_for  # noqa: E402
from servers import BACKENDS  # noqa: E402
from stubs import etcd  # noqa: E402

# So few entries in the log that a member that was away for a moment needs a snapshot.
SHORT_LOG = ("--snapshot-count=100", "--snapshot-catchup-entries=20", "--log-segment-bytes=1048576",
             "--backend-commit-interval=20ms")


def says(member, text):
    return text in member.log_tail(1 << 30)


def three_agree(backend):
    with Cluster(3, backend=backend) as cluster:
        leader = cluster.leader()
        with Load(cluster) as load:
            load.progress(50)
        cluster.check_equal()
        assert says(leader, "became leader at term")
        assert all(says(m, "elected leader") for m in cluster.running())
        wait_for(lambda: all(says(m, '"cluster-version":"3.7"') for m in cluster.running()),
                 "cluster version 3.7 on all")
        seen = [sorted((m["ID"], m["name"]) for m in cluster.members_seen(s))
                for s in cluster.running()]
        assert len(seen[0]) == 3 and seen.count(seen[0]) == 3, seen
        for member in cluster.running():
            assert member.stop() == -15
        cluster.start_all()
        load.check()
        cluster.check_equal()


def learner_promoted_and_removed(backend):
    with Cluster(3, backend=backend) as cluster, Load(cluster) as load:
        load.progress()
        at = cluster.leader()
        learner = cluster.add("fresh", at, learner=True)
        learner.wait_ready()
        wait_for(lambda: cluster.status(learner).isLearner, "learner")
        voter = cluster.followers()[0]
        follower = voter if voter is not learner else cluster.followers()[1]
        fresh_id = f"{cluster.ids['fresh']:x}"

        def promoted():
            try:
                cluster.etcdctl(follower, "member", "promote", fresh_id)
            except AssertionError as error:
                if "in sync with leader" in str(error):
                    return False
                raise
            return True

        wait_for(promoted, "learner in sync")
        wait_for(lambda: not cluster.status(learner).isLearner, "voter")
        load.progress()
        cluster.check_equal()
        gone = cluster["m1"]
        cluster.remove(gone, at=next(m for m in cluster.running() if m is not gone))
        assert gone.wait() == 0, "a removed member ends by itself"
        assert says(gone, "the member has been permanently removed from the cluster")
        gone.launch()
        assert gone.wait() == 0, "and cannot come back"
        del cluster.members["m1"]
        load.progress()
        cluster.check_equal()


def one_three_five_and_back(backend):
    with Cluster(1, backend=backend) as cluster, Load(cluster) as load:
        load.progress()
        for name in ("n1", "n2", "n3", "n4"):
            cluster.add(name, cluster["m0"]).wait_ready()
            load.progress(5)
        cluster.check_equal()
        for name in ("m0", "n1", "n2", "n3"):  # the first one too, whoever leads
            gone = cluster[name]
            cluster.remove(gone, at=cluster["n4"])
            assert gone.wait() == 0
            del cluster.members[name]
            load.progress(5)
        assert cluster.leader() is cluster["n4"]


def lost_disk_is_replaced(backend):
    with Cluster(3, backend=backend) as cluster, Load(cluster) as load:
        load.progress()
        broken = cluster.followers()[0]
        broken.kill()
        shutil.rmtree(broken.data_dir)
        del cluster.members[broken.name]
        at = cluster.leader()
        # It cannot just start again: the others know it.
        broken.launch()
        assert broken.wait() == 1
        assert says(broken, "has already been bootstrapped")
        cluster.members[broken.name] = broken
        cluster.remove(broken, at)
        del cluster.members[broken.name]
        broken.close()
        cluster.add("replacement", at).wait_ready()
        load.progress()
        cluster.check_equal()


def behind_the_log(backend):
    with Cluster(3, *SHORT_LOG, backend=backend) as cluster, Load(cluster) as load:
        load.progress()
        behind = cluster.followers()[0]
        behind.kill()
        leader = cluster.leader()
        value = os.urandom(4096)

        def write(count):
            for i in range(count):
                cluster.client(leader).KV.Put(
                    etcd.PutRequest(key=f"fill/{i}".encode(), value=value), timeout=30)

        write(800)
        behind.launch().wait_ready()
        wait_for(lambda: says(behind, "applied snapshot"), "snapshot taken over")
        assert says(leader, "sent database snapshot")
        load.progress()
        cluster.check_equal()
        # What it took over survives a crash, and it may lead.
        behind.kill()
        behind.start()
        cluster.etcdctl(cluster.leader(), "move-leader", f"{cluster.ids[behind.name]:x}")
        assert cluster.leader() is behind
        load.progress()
        cluster.check_equal()


def forced_to_be_alone(backend):
    with Cluster(3, backend=backend) as cluster:
        with Load(cluster) as load:
            load.progress()
        cluster.check_equal()
        ids = cluster.ids
        for member in cluster.running():
            member.kill()
        survivor = cluster["m2"]
        survivor.flags.append("--force-new-cluster")
        survivor.start()
        for name in ("m0", "m1"):
            cluster.members.pop(name).close()
        load.check()
        assert cluster.ids == {"m2": ids["m2"]}
        survivor.stop()
        survivor.flags.remove("--force-new-cluster")
        survivor.start()
        assert cluster.ids == {"m2": ids["m2"]}
        cluster.add("other", survivor).wait_ready()
        cluster.check_equal()


CASES = [
    (three_agree, ("rocksdb",)),
    (learner_promoted_and_removed, ("lmdb",)),
    (one_three_five_and_back, ("memory",)),
    (lost_disk_is_replaced, ("rocksdb",)),
    (behind_the_log, BACKENDS),
    (forced_to_be_alone, ("lmdb",)),
]


if __name__ == "__main__":
    run_cases(CASES, sys.argv[1:])
