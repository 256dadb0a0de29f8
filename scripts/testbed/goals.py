"""Figures: values that each of our variants is to reach, on its own or beside another server.

The metrics of a figure, besides those of a rule:
  p99_ratio         p99 of an operation in `phase` to that in the phase `since`
  p99_during_ratio  p99 while something scheduled (a compaction) was going on, to that before it
  times_disk        p50 of an operation to one append and fdatasync on the same disk, in the same run
  rss_growth        most memory in `phase` above that at the end of `since`
  rss_end           memory at the end of `phase`
  leader_rss        most memory of the leader of a cluster in `phase`
  pause             while no write was acknowledged after a fault, the median over its events
  pause_timeouts    the same in election timeouts
  failed_writes     of clients that tried again at every member: writes that failed or were lost
  catch_up_s        from the start of a member without data until it has what the leader has
  restart_s         from the start of the program on the data of the run until it is ready
`per` names a parameter of the workload by which the value is divided.
"""

import statistics
from dataclasses import dataclass

from . import figures, metrics

REACHED, MISSED, UNKNOWN, SHOWN = "reached", "not reached", "not measured", "no limit"


@dataclass(frozen=True)
class Row:
    """One figure of one variant."""

    figure: object
    variant: str
    value: float | None
    times: float | None  # the other server's value divided by ours
    verdict: str
    why: str = ""  # of a gap


def _phase(run, name):
    numbers = run["numbers"]
    found = [p for p in [*numbers.get("unmeasured", []), *numbers["phases"]] if p["name"] == name]
    return found[0] if found else {}


def _operation(run, figure, phase):
    """The row of an operation of a phase; without a name the one done most."""
    rows = [r for r in _phase(run, phase).get("operations", [])
            if figure.operation in (None, r["name"], r["name"].rpartition(".")[2])]
    return max(rows, key=lambda r: r["ok"], default={})


def _ratio(above, below):
    return above / below if above and below else None


def of_run(run, figure):
    """The figure in one run, before `per`; None where it was not measured."""
    numbers, metric = run["numbers"], figure.metric
    if metric in ("restart_s", "catch_up_s", "failed_writes"):
        return numbers.get(metric)
    if metric in ("pause", "pause_timeouts"):
        pauses = numbers.get("pauses_ns")
        unit = numbers["election_timeout_ns"] if metric == "pause_timeouts" and pauses else 1
        return statistics.median(pauses) / unit if pauses else None
    if metric == "leader_rss":
        return _phase(run, figure.phase).get("leader_rss_peak")
    if metric == "p99_ratio":
        return _ratio(*(_operation(run, figure, p).get("p99") for p in (figure.phase, figure.since)))
    if metric == "p99_during_ratio":
        row = _operation(run, figure, figure.phase)
        return _ratio(row.get("p99_during"), row.get("p99_before"))
    if metric == "times_disk":
        return _ratio(_operation(run, figure, figure.phase).get("p50"),
                      numbers.get("disk_append_ns"))
    if metric == "rss_end":
        return _phase(run, figure.phase).get("rss_end")
    if metric == "rss_growth":
        most = _phase(run, figure.phase).get("rss_peak")
        start = _phase(run, figure.since).get("rss_end")
        return None if None in (most, start) else max(most - start, 0)
    return metrics.values(run, figure.phase, figure.operation).get(metric)


def value(comparison, figure, variant):
    """Median over the repetitions."""
    found = [of_run(run, figure) for run in comparison.of(variant, figure.workload)]
    found = [v for v in found if v is not None]
    if not found:
        return None
    middle = statistics.median(found)
    if figure.per is None:
        return middle
    workload = next(w for w in comparison.experiment.workloads if w.name == figure.workload)
    return middle / float(workload.parameters[figure.per])


def rows(comparison):
    """Every figure of every variant of ours, in the order of the experiment."""
    experiment = comparison.experiment
    out = []
    for figure in experiment.figures:
        for variant in experiment.variants:
            if variant.server == "quorate":
                out.append(_row(comparison, figure, variant.name))
    return out


def _row(comparison, figure, variant):
    ours = value(comparison, figure, variant)
    theirs = value(comparison, figure, figure.beside) if figure.beside else None
    times = theirs / ours if ours and theirs is not None else None
    if ours is None:
        return Row(figure, variant, None, None, UNKNOWN, _why_not(comparison, figure, variant))
    gaps = []
    if figure.at_most is not None and ours > figure.at_most:
        gaps.append(f"{text(figure, ours)}, asked at most {text(figure, figure.at_most)}")
    if figure.times_better is not None and times is not None and times < figure.times_better:
        gaps.append(f"{text(figure, ours)} is {figures.three(times)}x less than {figure.beside} "
                    f"({text(figure, theirs)}), asked {figure.times_better:g}x")
    if gaps:
        return Row(figure, variant, ours, times, MISSED, "; ".join(gaps))
    if figure.beside and times is None:
        return Row(figure, variant, ours, None, UNKNOWN,
                   f"{figure.beside}: {_why_not(comparison, figure, figure.beside)}")
    asked = figure.at_most is not None or figure.times_better is not None
    return Row(figure, variant, ours, times, REACHED if asked else SHOWN)


def _why_not(comparison, figure, variant):
    if variant in comparison.absent:
        return comparison.absent[variant]
    for run in comparison.bad:
        if (run["variant"], run["workload"]) == (variant, figure.workload):
            return f"its run was {run['outcome']}: {run.get('reason', '')}"
    return "the run has no such value (an overloaded run has no latencies)"


def text(figure, value_):
    """A value of a figure with its unit."""
    if value_ is None:
        return figures.MISSING
    if figure.metric in ("p99_ratio", "p99_during_ratio", "times_disk"):
        return f"{figures.three(value_)}x"
    if figure.metric in ("restart_s", "catch_up_s"):
        return f"{value_:.2f} s"
    if figure.metric == "pause_timeouts":
        return f"{figures.three(value_)} timeouts"
    if figure.metric == "failed_writes":
        return f"{value_:.0f}"
    if figure.metric == "pause":
        return figures.duration(value_)
    if figure.metric in ("rss_growth", "rss_end", "peak_rss", "leader_rss"):
        return _bytes(value_)
    return figures.text(figure.metric, value_)


def _bytes(count):
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{figures.three(count / size)} {unit}"
    return f"{count:.0f} B"


def asked(figure):
    parts = []
    if figure.at_most is not None:
        parts.append(f"at most {text(figure, figure.at_most)}")
    if figure.times_better is not None:
        parts.append(f"not above {figure.beside}" if figure.times_better == 1
                     else f"{figure.times_better:g}x less than {figure.beside}")
    return "; ".join(parts) or "no limit"


def peers(comparison):
    """Variants of other servers, which stand beside ours."""
    return [v.name for v in comparison.experiment.variants if v.server != "quorate"]


def gaps(comparison):
    """One line for each figure that was not reached or not measured."""
    return [f"{row.verdict.upper()}: {row.figure.text}, {row.variant}: {row.why}"
            for row in rows(comparison) if row.verdict in (MISSED, UNKNOWN)]


def markdown(comparison):
    """The table of the figures as a page of its own."""
    others = peers(comparison)
    found = rows(comparison)
    reached = sum(r.verdict == REACHED for r in found)
    counted = sum(r.verdict in (REACHED, MISSED, UNKNOWN) for r in found)
    lines = [f"# Figures: {reached} of {counted} reached", "",
             "Medians over the repetitions; *x less* is the other server's value divided by ours.", "",
             "| figure | asked | variant | measured | " +
             "".join(f"{name} | " for name in others) + "x less | |",
             "|---|---|---|---|" + "---|" * (len(others) + 2)]
    for row in found:
        beside = "".join(f"{text(row.figure, value(comparison, row.figure, name))} | "
                         for name in others)
        times = figures.three(row.times) if row.times is not None else ""
        lines.append(f"| {row.figure.text} | {asked(row.figure)} | {row.variant} | "
                     f"{text(row.figure, row.value)} | {beside}{times} | {row.verdict} |")
    lines += ["", "## Gaps", ""]
    lines += [f"- {line}" for line in gaps(comparison)] or ["None."]
    return "\n".join(lines) + "\n"
