"""The pictures of a result, each as PNG and SVG. Every run is drawn; medians are marked."""

import json
import math
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator  # noqa: E402

from . import figures  # noqa: E402
from .comparison import Slot  # noqa: E402
from .sampler import Sampler  # noqa: E402

OWN = ("#0f766e", "#2563eb", "#7c3aed", "#be185d", "#4d7c0f", "#0891b2", "#6b7280")
PEERS = ("#ea580c", "#b45309")
STAGES = ("queued", "proposed", "durable", "applied", "replied")
STAGE_COLOURS = ("#94a3b8", "#38bdf8", "#f59e0b", "#10b981", "#a78bfa")
QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)
INK, FAINT = "#1f2937", "#e5e7eb"

plt.rcParams.update({
    "font.size": 10, "font.family": "DejaVu Sans", "axes.edgecolor": "#9ca3af",
    "axes.labelcolor": INK, "text.color": INK, "xtick.color": "#4b5563", "ytick.color": "#4b5563",
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10.5,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.grid": True,
    "grid.color": FAINT, "axes.axisbelow": True, "legend.frameon": False, "svg.fonttype": "none",
    "svg.hashsalt": "quorate", "figure.constrained_layout.use": True,
})


@dataclass(frozen=True)
class Plot:
    name: str
    title: str
    caption: str
    svg: Path


def _round(path):
    """A tenth of a point is finer than any screen, and half of the file."""
    def shorter(match):
        return re.sub(r"(\.\d)\d+", r"\1", match[0])

    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'\b(?:d|x|y)="[^"]*"', shorter, text), encoding="utf-8")


class Plotter:
    def __init__(self, comparison, out):
        self.comparison, self.out = comparison, Path(out)
        self.folder = self.out / "plots"
        self.folder.mkdir(exist_ok=True)
        own, peers = iter(OWN * 4), iter(PEERS * 4)
        self.colours = {v.name: next(own if v.server == "quorate" else peers)
                        for v in comparison.experiment.variants}
        self._raw = {}

    def raw(self, run):
        if run["folder"] not in self._raw:
            path = self.out / "runs" / run["folder"] / "result.json"
            self._raw[run["folder"]] = json.loads(path.read_text(encoding="utf-8"))
        return self._raw[run["folder"]]

    def save(self, figure, name, title, caption):
        for kind in ("png", "svg"):
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(self.folder / f"{name}.{kind}", dpi=90, metadata=metadata)
        plt.close(figure)
        _round(self.folder / f"{name}.svg")
        return Plot(name, title, caption, self.folder / f"{name}.svg")

    def all(self):
        slots = [s for w in self.comparison.workloads for s in self.comparison.main_slots(w)]
        per_phase = [s for s in slots if not s.operation.startswith("watch ")]
        per_run = [Slot(w, None, None) for w in self.comparison.workloads]
        made = [
            self.overview(per_phase),
            self.dots("throughput", "throughput", per_phase, "Throughput",
                      "Answered operations a second. Open loops are offered a fixed rate: equal "
                      "values mean that all kept up."),
            self.percentiles(slots),
            *[self.over_time(w) for w in self.comparison.workloads],
            self.dots("cpu", "cpu_us_per_op", per_phase, "Server CPU per operation",
                      "CPU time of the server process in the measured phase, over its answered "
                      "operations."),
            self.dots("written", "bytes_per_payload", per_run, "Write amplification",
                      "Bytes sent to the disk from the first request to the end of the process, "
                      "last flush included, per byte of write requests."),
            self.dots("syncs", "syncs_per_write", per_run, "Syncs per write",
                      "Log syncs per revision: below 1 when one sync covers several writes."),
            self.dots("memory", "peak_rss", per_run, "Peak memory", "Peak resident memory."),
            self.memory(),
            self.stages(),
        ]
        return [plot for plot in made if plot is not None]

    def overview(self, slots):
        """The first workload at a glance: latency curve, CPU, memory side by side."""
        if not slots or not self._histograms(slots[0]):
            return None
        slot = slots[0]
        figure, axes = plt.subplots(1, 3, figsize=(13, 3.4), width_ratios=(1.25, 1, 1))
        self._curves(axes[0], slot)
        axes[0].legend(fontsize=9)
        self._strip(axes[1], slot, "cpu_us_per_op")
        self._strip(axes[2], slot, "peak_rss")
        for axis, title in zip(axes, ("Latency of a put", "Server CPU per put", "Peak memory"),
                               strict=True):
            axis.set_title(title if slot.operation == "put" else f"{title} ({slot.operation})")
        return self.save(figure, "overview", f"At a glance: {slot.title}",
                         "Every run is a thin line or a dot; medians are bars, all repetitions "
                         "together are thick lines.")

    # --- one number per run

    def dots(self, name, metric, slots, title, caption):
        """A strip per variant: each run a dot, the median a bar with its value."""
        slots = [s for s in slots if any(self._values(v, s, metric) for v in self._variants())]
        if not slots:
            return None
        columns = min(2, len(slots))
        rows = math.ceil(len(slots) / columns)
        height = rows * (0.75 + 0.36 * len(self._variants()))
        figure, axes = plt.subplots(rows, columns, figsize=(10, max(2, height)), squeeze=False)
        for axis in axes.flat[len(slots):]:
            axis.set_visible(False)
        for axis, slot in zip(axes.flat, slots, strict=False):
            self._strip(axis, slot, metric)
        return self.save(figure, name, title, caption)

    def _variants(self):
        return self.comparison.variants

    def _values(self, variant, slot, metric):
        found = self.comparison.values(variant, slot.workload, metric, slot.phase, slot.operation)
        return list(found.values())

    def _strip(self, axis, slot, metric):
        names = self._variants()
        top, scale = 0.0, 2**20 if metric == "peak_rss" else 1
        for row, variant in enumerate(names):
            values = self._values(variant, slot, metric)
            if not values:
                axis.text(0, row, " not measured", va="center", color="#9ca3af", fontsize=9)
                continue
            middle = statistics.median(values) / scale
            values = [v / scale for v in values]
            top = max(top, *values)
            axis.barh(row, middle, height=0.62, color=self.colours[variant], alpha=0.25)
            axis.plot(values, [row] * len(values), "o", ms=5, color=self.colours[variant],
                      mec="white", mew=0.6, clip_on=False)
            axis.annotate(figures.text(metric, middle * scale), (max(values), row), xytext=(8, 0),
                          textcoords="offset points", va="center", fontsize=9)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_xlim(0, top * 1.3 if top else 1)
        axis.grid(axis="y", visible=False)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _axis_text(metric, x)))
        axis.xaxis.set_major_locator(plt.MaxNLocator(5))
        axis.set_title(slot.title if slot.phase else slot.workload)

    # --- latency

    def percentiles(self, slots):
        slots = [s for s in slots if self._histograms(s)]
        if not slots:
            return None
        columns = min(2, len(slots))
        rows = math.ceil(len(slots) / columns)
        figure, axes = plt.subplots(rows, columns, figsize=(10, 3.1 * rows), squeeze=False)
        for axis in axes.flat[len(slots):]:
            axis.set_visible(False)
        for axis, slot in zip(axes.flat, slots, strict=False):
            self._curves(axis, slot)
            axis.set_title(slot.title)
        axes.flat[0].legend(fontsize=9)
        return self.save(figure, "latency", "Latency by percentile",
                         "From the intended time of an operation to its answer (for watches: from "
                         "the intended put to the event at the client). Thick: all repetitions "
                         "together; thin: each one.")

    def _curves(self, axis, slot):
        for variant, histograms in self._histograms(slot).items():
            for buckets in histograms:
                axis.plot(*_curve(buckets), color=self.colours[variant], lw=0.7, alpha=0.35)
            axis.plot(*_curve(_merge(histograms)), color=self.colours[variant], lw=2,
                      label=variant)
        axis.set_yscale("log")
        axis.set_xticks([_stretch(q) for q in QUANTILES], ["50%", "90%", "99%", "99.9%", "99.99%"])
        _latency_axis(axis)

    def _histograms(self, slot):
        """{variant: [buckets of each run]}, without runs whose latencies are not complete."""
        found = {}
        for variant in self._variants():
            for run in self.comparison.of(variant, slot.workload):
                row = self._row(run, slot)
                if row and row.get("latency", {}).get("buckets") and self._trusted(run, slot):
                    found.setdefault(variant, []).append(row["latency"]["buckets"])
        return found

    def _row(self, run, slot):
        """What was measured for `slot` in a run, raw."""
        phase = next((p for p in self.raw(run)["phases"] if p["name"] == slot.phase), None)
        if phase is None:
            return None
        if slot.operation.startswith("watch "):
            rows = {f"watch {w['name']}": w for w in phase["watchers"]}
        else:
            several = len(phase["loads"]) > 1
            rows = {(f"{load['name']}.{o['name']}" if several else o["name"]): o
                    for load in phase["loads"] for o in load["operations"]}
        return rows.get(slot.operation)

    @staticmethod
    def _trusted(run, slot):
        return not any(o.get("overloaded") for p in run["numbers"]["phases"]
                       if p["name"] == slot.phase for o in p["operations"]
                       if o["name"] == slot.operation)

    def over_time(self, workload):
        """p99 of each step of the last measured phase; a row per variant, a line per run."""
        slots = [s for s in self.comparison.main_slots(workload)
                 if not s.operation.startswith("watch ")]
        if not slots:
            return None
        slot = slots[-1]
        names = self._variants()
        figure, axes = plt.subplots(len(names), 1, figsize=(10, 1.25 * len(names) + 0.7),
                                    sharex=True, sharey=True, squeeze=False)
        compacted = False
        for axis, variant in zip(axes.flat, names, strict=True):
            for run in self.comparison.of(variant, workload):
                compacted |= self._draw_run(axis, run, slot, self.colours[variant])
            axis.set_yscale("log")
            _latency_axis(axis)
            axis.set_title(variant, fontsize=9.5, color=self.colours[variant])
        axes.flat[-1].set_xlabel("seconds into the phase")
        marks = (" Shaded: a compaction from its request to its answer, or a member that catches "
                 "up.") if compacted else ""
        return self.save(figure, f"time-{workload}", f"Latency over time: {slot.title}",
                         "p99 (line) and median (dotted) of each interval; every run is a "
                         f"line.{marks}")

    def _draw_run(self, axis, run, slot, colour):
        row = self._row(run, slot)
        if not row:
            return False
        steps = [s for s in row.get("series", []) if s["count"]]
        seconds = [s["t_ns"] / 1e9 for s in steps]
        axis.plot(seconds, [s["p99_ns"] for s in steps], color=colour, lw=1.1, alpha=0.8)
        axis.plot(seconds, [s["p50_ns"] for s in steps], color=colour, lw=0.8, alpha=0.6, ls=":")
        phase = next(p for p in self.raw(run)["phases"] if p["name"] == slot.phase)
        marks = [m for m in phase["schedule"] if m["kind"] in ("compact", "rejoin")]
        for mark in marks:
            begin, end = mark["at_ns"] / 1e9, (mark["at_ns"] + mark["took_ns"]) / 1e9
            axis.axvspan(begin, end, color="#f59e0b", alpha=0.15, lw=0)
            axis.axvline(begin, color="#b45309", lw=0.8, alpha=0.7)
        return bool(marks)

    # --- memory and stages

    def memory(self):
        # A fault leaves no samples: its processes come and go.
        workloads = [w.name for w in self.comparison.experiment.workloads
                     if w.fault is None and w.name in self.comparison.workloads]
        if not workloads:
            return None
        rss = Sampler.FIELDS.index("rss_bytes")
        columns = min(2, len(workloads))
        rows = math.ceil(len(workloads) / columns)
        figure, axes = plt.subplots(rows, columns, figsize=(10, 2.7 * rows), squeeze=False)
        for axis in axes.flat[len(workloads):]:
            axis.set_visible(False)
        for axis, workload in zip(axes.flat, workloads, strict=False):
            for variant in self._variants():
                for number, run in enumerate(self.comparison.of(variant, workload)):
                    path = self.out / "runs" / run["folder"] / "samples.json"
                    samples = json.loads(path.read_text(encoding="utf-8"))["rows"]
                    axis.plot([(s[0] - samples[0][0]) / 1e9 for s in samples],
                              [s[rss] / 2**20 for s in samples], lw=1.2, alpha=0.75,
                              color=self.colours[variant], label=None if number else variant)
            axis.set_ylim(bottom=0)
            axis.set_title(workload)
            axis.set_xlabel("seconds of load")
            axis.set_ylabel("MiB")
        axes.flat[0].legend(fontsize=9)
        return self.save(figure, "memory-time", "Memory over time",
                         "Resident memory of the server process, warm-up included; every run is "
                         "a line.")

    def stages(self):
        """Mean time that a write spends until each stage, stacked."""
        bars = []
        for workload in self.comparison.workloads:
            for variant in self._variants():
                means = _stage_means(self.comparison.of(variant, workload))
                if means:
                    bars.append((f"{workload}\n{variant}", means))
        if not bars:
            return None
        figure, axis = plt.subplots(figsize=(10, 0.9 + 0.5 * len(bars)))
        for row, (_, means) in enumerate(bars):
            left = 0.0
            for stage, colour in zip(STAGES, STAGE_COLOURS, strict=True):
                width = means.get(stage, 0.0) * 1e6
                axis.barh(row, width, left=left, color=colour, height=0.66,
                          label=stage if row == 0 else None)
                left += width
            axis.text(left, row, f"  {figures.duration(left * 1e3)}", va="center", fontsize=9)
        axis.set_yticks(range(len(bars)), [name for name, _ in bars], fontsize=8.5)
        axis.set_ylim(len(bars) - 0.4, -0.6)
        axis.margins(x=0.12)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("µs, mean of all writes of the run")
        axis.legend(ncols=len(STAGES), loc="lower left", bbox_to_anchor=(0, 1), fontsize=9)
        return self.save(figure, "stages", "Where a write spends its time",
                         "Stamped by the server: the mean time from the stage before to queued, "
                         "proposed, durable (log synced), applied and replied. Peers do not tell.")


def _stage_means(runs):
    sums, counts = {}, {}
    for run in runs:
        for stage, row in run["numbers"].get("stages", {}).items():
            if row.get("count"):
                sums[stage] = sums.get(stage, 0.0) + row["sum_s"]
                counts[stage] = counts.get(stage, 0.0) + row["count"]
    return {stage: sums[stage] / counts[stage] for stage in sums}


def _stretch(quantile):
    """Nines take equal room: 0, 0.9, 0.99, ... to 0, 1, 2, ..."""
    return -math.log10(1 - quantile)


def _merge(histograms):
    total = {}
    for buckets in histograms:
        for low, count in buckets:
            total[low] = total.get(low, 0) + count
    return sorted(total.items())


def _curve(buckets):
    """(x, y) of the share of operations that were faster, up to the last whole nine there is."""
    count = sum(c for _, c in buckets)
    xs, ys, seen = [], [], 0
    for low, inside in buckets:
        xs.append(_stretch(seen / count))
        ys.append(max(low, 1))
        seen += inside
    return xs, ys


def _latency_axis(axis):
    """Ticks at 1, 2 and 5 of each power of ten that is in view, few enough to read."""
    low, high = axis.get_ylim()
    decades = range(math.floor(math.log10(max(low, 1))), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(decades) <= 3 else (1,)
    axis.yaxis.set_major_locator(FixedLocator([f * 10**d for d in decades for f in factors]))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _short(y)))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_ylim(low, high)


def _short(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:g} {unit}"
    return f"{ns:g} ns"


def _axis_text(metric, value):
    if metric == "peak_rss":
        return f"{value:g} MiB"
    if metric == "cpu_us_per_op":
        return f"{value:g} µs"
    return f"{value:,g}"
