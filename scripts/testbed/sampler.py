"""What a server process uses, sampled while it is under load: CPU time, memory, bytes written."""

import os
import re
import threading
import time

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
INTERVAL_S = 0.05


def cpu_clock(pid):
    """The kernel's CPU clock of another process: nanoseconds, ended threads included."""
    return (~pid << 3) | 2


class Sampler:
    """Samples until stopped. `samples` is a list of rows in the order of FIELDS, sums over all
    processes; `members` holds such a list for each of them."""

    FIELDS = ("wall_ns", "cpu_ns", "rss_bytes", "write_bytes")

    def __init__(self, *pids):
        self.pids = pids
        self.samples = []
        self.members = [[] for _ in pids]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._take()
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._stop.set()
        self._thread.join()
        self._take()

    def _run(self):
        while not self._stop.wait(INTERVAL_S):
            if not self._take():
                return

    def _take(self):
        try:
            rows = [_look(pid) for pid in self.pids]
        except (OSError, ProcessLookupError, IndexError):
            return False  # a server has ended
        for row, kept in zip(rows, self.members, strict=True):
            kept.append(row)
        columns = list(zip(*rows, strict=True))[1:]
        self.samples.append((rows[0][0], *[None if None in c else sum(c) for c in columns]))
        return True


def _look(pid):
    cpu = time.clock_gettime_ns(cpu_clock(pid))
    wall = time.time_ns()
    with open(f"/proc/{pid}/statm", "rb") as file:
        rss = int(file.read().split()[1]) * PAGE_BYTES
    return wall, cpu, rss, write_bytes(pid)


def write_bytes(pid):
    """Bytes that the process caused to be sent to the disk, or None where the kernel does not say."""
    try:
        with open(f"/proc/{pid}/io", encoding="ascii") as file:
            return int(re.search(r"^write_bytes: (\d+)", file.read(), re.M)[1])
    except (OSError, TypeError):
        return None


def peak_rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"^VmHWM:\s+(\d+) kB", file.read(), re.M)[1]) * 1024


def value_at(samples, column, wall_ns):
    """Linear between the two samples around `wall_ns`; None outside of what was sampled."""
    before = None
    for sample in samples:
        if sample[column] is None:
            continue
        if sample[0] >= wall_ns:
            if before is None:
                return sample[column] if sample[0] == wall_ns else None
            share = (wall_ns - before[0]) / (sample[0] - before[0])
            return before[column] + share * (sample[column] - before[column])
        before = sample
    return None
