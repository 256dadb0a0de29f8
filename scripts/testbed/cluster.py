"""Several servers that form a cluster, each a process with a data directory and ports of its own."""

import json
import subprocess
import time
from pathlib import Path

from . import metrics
from .definition import ROOT
from .servers import RunningServer, ServerError, free_ports

LEADER_TIMEOUT_S = 60
CATCH_UP_TIMEOUT_S = 600
LOOK_EVERY_S = 0.02
COMMAND_TIMEOUT_S = 60


class Cluster:
    """The members run from __enter__ to __exit__, unless somebody ends one of them meanwhile."""

    def __init__(self, path, variant, data_root, folder):
        names = [f"infra{i}" for i in range(variant.members)]
        peers = {name: f"http://127.0.0.1:{port}"
                 for name, port in zip(names, free_ports(len(names)), strict=True)}
        self.members = [RunningServer(path, variant.flags, data_root,
                                      Path(folder) / f"server-{name}.log", name, peers)
                        for name in names]
        self.start_s = None

    @property
    def endpoint(self):
        """Of all members, for a client."""
        return endpoints(self.members)

    def __enter__(self):
        began = time.monotonic()
        try:
            for member in self.members:
                member.launch()
            for member in self.members:
                member.wait_until_ready()
            self.leader()
        except BaseException:
            self.close()
            raise
        self.start_s = time.monotonic() - began
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        for member in self.members:
            member.ask_to_end()
        for member in self.members:
            member.close()

    def running(self):
        return [m for m in self.members if m.process is not None and m.process.poll() is None]

    def leader(self):
        """The member that leads; waits until one does."""
        deadline = time.monotonic() + LEADER_TIMEOUT_S
        while time.monotonic() < deadline:
            for member in self.running():
                if gauge(member, "etcd_server_is_leader") == 1:
                    return member
            time.sleep(LOOK_EVERY_S)
        raise ServerError(f"no member became the leader within {LEADER_TIMEOUT_S} s")

    def wait_for_data(self, member):
        """Until `member` has what the leader has."""
        deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
        wanted = None
        while time.monotonic() < deadline:
            if wanted is None:
                wanted = gauge(self.leader(), "etcd_debugging_mvcc_current_revision")
            have = gauge(member, "etcd_debugging_mvcc_current_revision")
            if None not in (have, wanted) and have >= wanted:
                newest = gauge(self.leader(), "etcd_debugging_mvcc_current_revision")
                # Writes go on meanwhile: what counts is that it follows them.
                have = gauge(member, "etcd_debugging_mvcc_current_revision")
                if None not in (have, newest) and have >= newest:
                    return
                wanted = newest
            if member.process.poll() is not None:
                raise ServerError(f"{member.name} ended with {member.process.returncode}")
            time.sleep(LOOK_EVERY_S)
        raise ServerError(f"{member.name} did not catch up within {CATCH_UP_TIMEOUT_S} s")

    def replace(self, member):
        """Removes a member that has ended and adds it again, as an operator does after its disk was
        lost; it may then be started without data as part of an existing cluster."""
        others = endpoints([m for m in self.members if m is not member])
        listed = json.loads(etcdctl_command(others, "member", "list", "--write-out=json"))["members"]
        known = next(m["ID"] for m in listed if m["name"] == member.name)
        etcdctl_command(others, "member", "remove", f"{known:x}")
        etcdctl_command(others, "member", "add", member.name, f"--peer-urls={member.peer_url}")


def endpoints(members):
    return ",".join(m.endpoint for m in members)


def gauge(member, name):
    """A number of a member's metrics; None when it does not answer."""
    try:
        return metrics.parse_prometheus(member.metrics()).get((name, ()))
    except OSError:
        return None


def etcdctl():
    """(path, None), or (None, why it is not there)."""
    for path in (ROOT / "build" / "peers" / "bin" / "etcdctl", Path("/usr/bin/etcdctl")):
        if path.is_file():
            return path, None
    return None, "etcdctl is not there: the Debian package etcd-client is not installed"


def etcdctl_command(endpoint, *words, flags=()):
    """Runs one command and answers what it says."""
    path, why = etcdctl()
    if path is None:
        raise ServerError(why)
    # A cluster refuses a change while it is not sure of its members: an operator tries again.
    for _ in range(20):
        done = subprocess.run([str(path), f"--endpoints={endpoint}", *flags, *words], text=True,
                              capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False,
                              env={"ETCDCTL_API": "3"})
        if done.returncode == 0:
            return done.stdout
        if "unhealthy" not in done.stderr and "not enough started" not in done.stderr:
            break
        time.sleep(1)
    raise ServerError(f"etcdctl {words[0]} {words[1]}: {done.stderr.strip()[:300]}")
