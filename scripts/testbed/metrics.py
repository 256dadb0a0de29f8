"""From the raw files of one run to the numbers that are compared. What was not measured is absent."""

import re

from .sampler import Sampler, value_at

WRITES = ("put", "txn", "delete")
LATENCIES = ("p50", "p90", "p99", "p999", "max")
# Beyond this share of operations that were due and never sent, latencies leave out too much.
UNSENT_SHARE_MAX = 0.01

FSYNCS = "etcd_disk_wal_fsync_duration_seconds"
STAGES = "quorate_stage_duration_seconds"
CPU, RSS = Sampler.FIELDS.index("cpu_ns"), Sampler.FIELDS.index("rss_bytes")

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def parse_prometheus(text):
    """{(name, (sorted label pairs)): value}"""
    values = {}
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match:
            labels = tuple(sorted(_LABEL.findall(match[2] or "")))
            values[(match[1], labels)] = float(match[3])
    return values


def _difference(before, after, name, labels=()):
    key = (name, labels)
    if key not in after:
        return None
    return after[key] - before.get(key, 0.0)


def stages(before, after):
    """Per stage of a request: count, sum in seconds and cumulative buckets, of this run alone."""
    rows = {}
    for (name, labels), _ in after.items():
        if not name.startswith(STAGES):
            continue
        stage = dict(labels)["stage"]
        row = rows.setdefault(stage, {"buckets": []})
        delta = _difference(before, after, name, labels)
        if name.endswith("_count"):
            row["count"] = delta
        elif name.endswith("_sum"):
            row["sum_s"] = delta
        elif name.endswith("_bucket") and dict(labels)["le"] != "+Inf":
            row["buckets"].append([float(dict(labels)["le"]), delta])
    for row in rows.values():
        row["buckets"].sort()
    return rows


def _latencies(histogram, trusted):
    if not histogram or not histogram.get("count") or not trusted:
        return {}
    return {name: histogram[f"{name}_ns"] for name in LATENCIES if f"{name}_ns" in histogram}


def _operations(phase):
    """All operations of a phase as (full name, row, are its latencies complete)."""
    several = len(phase["loads"]) > 1
    for load in phase["loads"]:
        unsent = load.get("unsent", 0)
        due = load["issued"] + unsent
        trusted = due == 0 or unsent / due <= UNSENT_SHARE_MAX
        for row in load["operations"]:
            name = f"{load['name']}.{row['name']}" if several else row["name"]
            yield name, row, trusted


def quantile(buckets, share):
    """Of [low, count] pairs: the low end of the bucket in which it lies; None of nothing."""
    total = sum(count for _, count in buckets)
    seen = 0
    for low, count in sorted(buckets):
        seen += count
        if seen >= share * total:
            return low
    return None


def around_schedule(row, phase):
    """The p99 of an operation before the first scheduled thing was prepared or began, and while one
    was going on, of all steps of the series that it touches."""
    steps = row.get("series") or []
    if len(steps) < 2 or not phase.get("schedule"):
        return {}
    length = steps[1]["t_ns"] - steps[0]["t_ns"]
    spans = [(s["at_ns"], s["at_ns"] + s["took_ns"]) for s in phase["schedule"]]
    quiet_until = min(s.get("prepared_at_ns", s["at_ns"]) for s in phase["schedule"])
    before, during = [], []
    for step in steps:
        begin, end = step["t_ns"], step["t_ns"] + length
        if end <= quiet_until:
            before += step.get("buckets", [])
        if any(begin < to and end > at for at, to in spans):
            during += step.get("buckets", [])
    found = {"p99_before": quantile(before, 0.99), "p99_during": quantile(during, 0.99)}
    return {k: v for k, v in found.items() if v}


def memory(samples, begin, end):
    """Resident bytes when a phase ended, and the most while it ran."""
    rows = [s[RSS] for s in samples if begin <= s[0] <= end]
    return {"rss_end": rows[-1], "rss_peak": max(rows)} if rows else {}


def phase_numbers(phase, samples, leader_samples=()):
    """The numbers of one measured phase; `leader_samples` only of a cluster's leader."""
    numbers = {"name": phase["name"], "load_ns": phase["load_ns"], "operations": [], "watchers": []}
    done = errors = 0
    for name, row, trusted in _operations(phase):
        done += row["ok"]
        errors += row["errors"]
        entry = {"name": name, "op": row["op"], "ok": row["ok"], "errors": row["errors"],
                 **_latencies(row.get("latency"), trusted), **around_schedule(row, phase)}
        if not trusted:
            entry["overloaded"] = True
        numbers["operations"].append(entry)
    for row in phase["watchers"]:
        numbers["watchers"].append({"name": row["name"], "events": row["events"],
                                    **_latencies(row.get("latency"), True)})
    numbers["done"], numbers["errors"] = done, errors
    if phase["load_ns"] > 0:
        numbers["throughput"] = done * 1e9 / phase["load_ns"]
    begin = phase["start_wall_ns"]
    numbers.update(memory(samples, begin, begin + max(phase["load_ns"], 1)))
    leader = memory(leader_samples, begin, begin + max(phase["load_ns"], 1))
    if leader:
        numbers["leader_rss_peak"] = leader["rss_peak"]
    cpu = [value_at(samples, CPU, wall) for wall in (begin, begin + phase["load_ns"])]
    if None not in cpu and done:
        numbers["cpu_us_per_op"] = (cpu[1] - cpu[0]) / 1e3 / done
    if done and phase.get("driver_cpu_ns"):
        numbers["driver_cpu_us_per_op"] = phase["driver_cpu_ns"] / 1e3 / done
    return numbers


def run_numbers(result, samples, before, after, usage):
    """The numbers of one run. `before`, `after`: parsed /metrics around the load; `usage`: what the
    kernel says about the server process (see runner.py)."""
    numbers = {
        "phases": [phase_numbers(p, samples, usage.get("leader_samples", ()))
                   for p in result["phases"] if p["measured"]],
        # Of the rest only what the server held; their times are not kept.
        "unmeasured": [{"name": p["name"],
                        **memory(samples, p["start_wall_ns"], p["start_wall_ns"] + p["load_ns"])}
                       for p in result["phases"] if not p["measured"]],
        "stages": stages(before, after),
        "unsent": sum(load.get("unsent", 0) for p in result["phases"] for load in p["loads"]),
    }
    payload = sum(row.get("request_bytes", 0) for p in result["phases"]
                  for load in p["loads"] for row in load["operations"] if row["op"] in WRITES)
    if payload and usage.get("written_bytes"):
        numbers["bytes_per_payload"] = usage["written_bytes"] / payload
    server = result["servers"][0]
    revisions = server.get("revision_after", 0) - server["revision_before"]
    syncs = _difference(before, after, FSYNCS + "_count")
    if syncs is not None and revisions > 0:
        numbers["syncs_per_write"] = syncs / revisions
    if usage.get("peak_rss"):
        numbers["peak_rss"] = usage["peak_rss"]
    for name in ("start_s", "restart_s", "disk_append_ns", "members"):
        if usage.get(name):
            numbers[name] = usage[name]
    return numbers


def lean(result):
    """Without the buckets of the steps, once the numbers that need them are taken: they are the
    bulk of a result."""
    for phase in result["phases"]:
        for row in [o for load in phase["loads"] for o in load["operations"]] + phase["watchers"]:
            for step in row.get("series") or []:
                step.pop("buckets", None)
    return result


def values(run, phase=None, operation=None):
    """{metric: value} of one run for one phase (the last measured one if None) and one operation
    (the one that was done most if None); `operation` may also be "watch NAME"."""
    numbers = run["numbers"]
    found = {k: numbers[k] for k in ("bytes_per_payload", "syncs_per_write", "peak_rss")
             if k in numbers}
    phases = [p for p in numbers["phases"] if phase in (None, p["name"])]
    if not phases:
        return found
    chosen = phases[-1]
    found.update({k: chosen[k] for k in ("throughput", "cpu_us_per_op") if k in chosen})
    rows = chosen["operations"]
    if operation is not None and operation.startswith("watch "):
        rows = [{**w, "ok": w["events"]} for w in chosen["watchers"]]
        operation = operation.removeprefix("watch ")
    rows = [r for r in rows if operation in (None, r["name"])]
    if rows:
        row = max(rows, key=lambda r: r["ok"])
        found.update({k: row[k] for k in (*LATENCIES, "overloaded") if k in row})
    return found
