#!/usr/bin/python3
"""Clusters of three with TLS on both ports: they elect, fail over, restart, take in new
certificates and members, and refuse strangers.

usage: tls_test.py [CASE[:BACKEND] ...]
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from certificates import NAMES, Authority, ClientSide, server_flags  # noqa: E402
from cluster import Cluster, Load, run_cases, wait_for  # noqa: E402


def both_ends(authority, pair):
    return [*server_flags(pair, authority.ca), *server_flags(pair, authority.ca, "peer-")]


def logged(member, text):
    wait_for(lambda: text in member.log_tail(1 << 22), f'line with "{text}" in {member.name}\'s log')


def elects_fails_over_and_restarts(backend):
    with Authority() as authority:
        pair = authority.issue("member")
        tls = ClientSide(authority.ca, authority.issue("client"))
        with Cluster(3, *both_ends(authority, pair), backend=backend, tls=tls) as cluster:
            with Load(cluster) as load:
                load.progress()
                leader = cluster.leader()
                leader.kill()
                load.progress()
                leader.start()
                load.progress()
                follower = cluster.followers()[0]
                follower.stop(signal.SIGTERM)
                load.progress()
                follower.start()
                load.progress()
            cluster.check_equal()
            # One that comes later gets its state over TLS too.
            at = cluster.leader()
            late = cluster.add("late", at)
            late.wait_ready()
            cluster.check_equal()
            urls = [url for m in cluster.members_seen(at) for url in m["peerURLs"]]
            assert all(url.startswith("https://") for url in urls), urls


def certificates_are_renewed(backend):
    """Old and new certificates stand side by side until all members have new ones."""
    with Authority() as authority:
        pairs = [authority.issue(f"member{i}") for i in range(3)]
        tls = ClientSide(authority.ca, authority.issue("client"))
        cluster = Cluster(3, backend=backend, tls=tls)
        for member, pair in zip(cluster.members.values(), pairs):
            member.flags += both_ends(authority, pair)
        with cluster, Load(cluster) as load:
            load.progress()
            for i, member in enumerate(cluster.members.values()):
                authority.issue(f"member{i}")
                logged_before = member.log_tail(1 << 22).count("loaded changed certificate files")
                # Others come back to it and meet the new one.
                cluster.members[f"m{(i + 1) % 3}"].stop(signal.SIGTERM)
                load.progress()
                cluster.members[f"m{(i + 1) % 3}"].start()
                load.progress()
                wait_for(lambda m=member, n=logged_before:
                         m.log_tail(1 << 22).count("loaded changed certificate files") > n,
                         "reload of certificates")


def names_of_members(backend):
    """A certificate of the same authority does not make a member."""
    with Authority() as authority:
        pair = authority.issue("member", common_name="etcd-member")
        tls = ClientSide(authority.ca, authority.issue("client"))
        flags = [*both_ends(authority, pair), "--peer-cert-allowed-cn=other,etcd-member"]
        with Cluster(3, *flags, backend=backend, tls=tls) as cluster:
            leader = cluster.leader()
            outsider = authority.issue("outsider")
            done = subprocess.run(
                ["curl", "-sS", "--noproxy", "*", "--cacert", authority.ca, "--cert", outsider.cert,
                 "--key", outsider.key, f"{leader.peer_url}/members"], capture_output=True)
            assert done.returncode != 0
            logged(leader, "rejected connection on peer endpoint")
            logged(leader, "client certificate authentication failed")
            # A member with another name cannot come back.
            victim = cluster.followers()[0]
            victim.stop(signal.SIGTERM)
            victim.flags = [f for f in victim.flags if "--peer-cert-file" not in f
                            and "--peer-key-file" not in f]
            victim.flags += server_flags(outsider, prefix="peer-")
            victim.launch()
            logged(leader, "client certificate authentication failed")
            with Load(cluster) as load:
                load.progress()
                victim.kill()


def addresses_of_members(backend):
    """The certificate must be for the address that a member calls from, unless told otherwise."""
    with Authority() as authority:
        own = authority.issue("own", names="IP:10.0.0.1")
        by_name = authority.issue("by-name", names="DNS:localhost")
        good = authority.issue("good", names=NAMES)
        tls = ClientSide(authority.ca, authority.issue("client"))

        def cluster_of(dial, *more):
            return Cluster(3, *both_ends(authority, good),
                           f"--peer-client-cert-file={dial.cert}",
                           f"--peer-client-key-file={dial.key}", *more, backend=backend, tls=tls)

        with cluster_of(by_name) as cluster, Load(cluster) as load:
            load.progress()  # localhost leads to the address
        with cluster_of(own, "--peer-skip-client-san-verification") as cluster:
            with Load(cluster) as load:
                load.progress()
        refused = cluster_of(own)
        try:
            for member in refused.members.values():
                member.launch()
            logged(refused["m0"], "rejected connection on peer endpoint")
        finally:
            refused.close()


def own_certificates(backend):
    """--auto-tls and --peer-auto-tls."""
    tls = ClientSide(None)
    cluster = Cluster(3, "--auto-tls", "--peer-auto-tls", backend=backend, tls=tls)
    try:
        for member in cluster.members.values():
            member.launch()
        for member in cluster.members.values():
            member.wait_ready()
        for member in cluster.members.values():
            made = os.path.join(member.data_dir, "fixtures", "client", "cert.pem")
            assert os.path.exists(os.path.join(member.data_dir, "fixtures", "peer", "key.pem"))
            done = subprocess.run(
                ["etcdctl", f"--endpoints={member.url}", f"--cacert={made}", "--command-timeout=30s",
                 "put", member.name, "v"], env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3"},
                capture_output=True, text=True)
            assert done.stdout == "OK\n", done.stderr
    finally:
        cluster.close()


CASES = [(elects_fails_over_and_restarts, ["lmdb"]), (certificates_are_renewed, ["memory"]),
         (names_of_members, ["memory"]), (addresses_of_members, ["memory"]),
         (own_certificates, ["memory"])]

if __name__ == "__main__":
    run_cases(CASES, sys.argv[1:])
