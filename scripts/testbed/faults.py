"""What is done to a cluster on purpose, and what its clients notice.

leader-kill    `events` times: the leader ends by SIGKILL, later it is started again
leader-stop    the same with SIGTERM, upon which a leader hands over before it ends
member-rejoin  a member loses its disk under a steady load and comes back as a new one

Beside the first two `quorate-bench write` puts keys and tries again at every member; what counts is
how long no put was acknowledged. Beside the last runs the workload's file, over the other members.
"""

import json
import re
import signal
import statistics
import subprocess
import time

from . import cluster as clusters
from . import metrics, servers
from .definition import ROOT

SETTLE_S = 1.0  # between what is done and the next thing
PAUSE_MIN_NS = 2_000_000  # shorter ones count as this long
BEFORE_S = 3  # of steady load before a member loses its disk
AFTER_S = 0.5
ERROR_SHARE_MAX = 0.01  # of the steady load
READY_FOR_LOAD_S = 900
ELECTION_TIMEOUT_MS = 1000  # of Quorate and of etcd, if a variant has no flag
SIGNALS = {"leader-kill": signal.SIGKILL, "leader-stop": signal.SIGTERM}


def run(cluster, workload, variant, folder):
    """(numbers of a run, None), or (None, why it does not count)."""
    if workload.fault in SIGNALS:
        return _leader_ends(cluster, workload, variant, folder)
    return _member_rejoins(cluster, workload, folder)


class _Bench:
    """quorate-bench beside the fault; ends by SIGINT."""

    def __init__(self, words, folder):
        self.out, self.log = folder / "result.json", folder / "bench.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(servers.bin_dir() / "quorate-bench"), *words, f"--out={self.out}"],
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        text = self.log.read_text(encoding="utf-8", errors="replace")
        self.log.write_text(text.replace(f"{self.out.parent}/", "").replace(f"{ROOT}/", ""),
                            encoding="utf-8")

    def finish(self):
        """Answers the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(servers.STOP_TIMEOUT_S * 4)

    def result(self):
        return json.loads(self.out.read_text(encoding="utf-8"))


def _leader_ends(cluster, workload, variant, folder):
    words = ["write", f"--endpoints={cluster.endpoint}", f"--pause-min={PAUSE_MIN_NS}ns"]
    spans = []
    with _Bench(words, folder) as bench:
        for _ in range(int(workload.parameters["events"])):
            time.sleep(SETTLE_S)
            leader = cluster.leader()
            begin_ns = time.time_ns()
            leader.end(SIGNALS[workload.fault])
            cluster.leader()
            time.sleep(SETTLE_S)
            spans.append((begin_ns, time.time_ns()))
            leader.launch()
            leader.wait_until_ready()
            cluster.wait_for_data(leader)
        code = bench.finish()
    if code != 0:
        return None, f"quorate-bench write ended with {code}"
    found = bench.result()
    pauses = [pause_within(found["pauses"], span) for span in spans]
    # What is kept of the list: the pauses that were caused.
    found["pauses"] = [p for p in found["pauses"] if any(_touches(p, s) for s in spans)]
    bench.out.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
    timeout_ms = variant.flags.get("election-timeout", ELECTION_TIMEOUT_MS)
    return {"phases": [], "pauses_ns": pauses, "election_timeout_ns": timeout_ms * 1_000_000,
            "failed_writes": found["failed"] + found["lost"],
            "acknowledged": found["acknowledged"]}, None


def _touches(pause, span):
    begin = pause["begin_wall_ns"]
    return begin < span[1] and begin + pause["length_ns"] > span[0]


def pause_within(pauses, span):
    """The longest pause that touches a span of wall time; the shortest that is told if none."""
    return max((p["length_ns"] for p in pauses if _touches(p, span)), default=PAUSE_MIN_NS)


def _member_rejoins(cluster, workload, folder):
    leader = cluster.leader()
    lost = next(m for m in cluster.members if m is not leader)
    stay = [m for m in cluster.members if m is not lost]
    words = ["run", str(ROOT / workload.file), f"--endpoints={clusters.endpoints(stay)}", "--plain",
             "--set", "duration=1h"]
    for name, value in workload.parameters.items():
        words += ["--set", f"{name}={value}"]
    with _Bench(words, folder) as bench:
        _wait_for_load(bench)
        if cluster.leader() is lost:
            return None, "the leader changed while the store was filled"
        lost_ns = time.time_ns()
        lost.end(signal.SIGKILL)
        lost.lose_data()
        cluster.replace(lost)
        begin_ns = time.time_ns()
        lost.launch("--initial-cluster-state=existing")
        cluster.wait_for_data(lost)
        end_ns = time.time_ns()
        time.sleep(AFTER_S)
        code = bench.finish()
    if code != 130:
        return None, f"quorate-bench ended with {code}"
    result = bench.result()
    phase = next(p for p in result["phases"] if p["measured"])
    if wrong := errors_of(phase):
        return None, wrong
    phase["schedule"] = [{"kind": "rejoin", "at_ns": begin_ns - phase["start_wall_ns"],
                          "prepared_at_ns": lost_ns - phase["start_wall_ns"],
                          "took_ns": end_ns - begin_ns}]
    numbers = metrics.run_numbers(result, [], {}, {}, {})
    numbers["catch_up_s"] = (end_ns - begin_ns) / 1e9
    bench.out.write_text(json.dumps(metrics.lean(result), separators=(",", ":")) + "\n",
                         encoding="utf-8")
    return numbers, None


def errors_of(phase):
    """Why the load of a phase is none; None if it is: the members it goes to do not end."""
    for load in phase["loads"]:
        for row in load["operations"]:
            if row["errors"] > ERROR_SHARE_MAX * (row["ok"] + row["errors"]):
                texts = row.get("errors_by_text") or {"unknown": 0}
                return (f"{row['errors']} of {row['ok'] + row['errors']} operations failed: "
                        f"{max(texts, key=texts.get)}")
    return None


def _wait_for_load(bench):
    """Until the steady load has run for BEFORE_S."""
    deadline = time.monotonic() + READY_FOR_LOAD_S
    while time.monotonic() < deadline:
        if bench.process.poll() is not None:
            break
        if steady_s(bench.log.read_text(encoding="utf-8", errors="replace")) >= BEFORE_S:
            return
        time.sleep(0.1)
    raise servers.ServerError("the steady load did not begin: " +
                              bench.log.read_text(encoding="utf-8", errors="replace")[-300:])


def steady_s(log):
    """How long the phase `steady` has run, by the plain progress lines."""
    return max((float(s) for s in re.findall(r"^steady (\d+(?:\.\d+)?)s of", log, re.M)),
               default=0.0)


def describe(numbers):
    """A few words about a run; none of one without a fault."""
    if "pauses_ns" in numbers:
        middle = statistics.median(numbers["pauses_ns"]) / 1e6
        return (f"pause {middle:.1f} ms (median of {len(numbers['pauses_ns'])})  "
                f"{numbers['failed_writes']} writes failed")
    return f"caught up in {numbers['catch_up_s']:.2f} s" if "catch_up_s" in numbers else ""
