"""From the runs of an experiment to what is told about it: values, ratios, verdicts.

Only complete runs count. A void, partial or failed run is listed and never averaged in.
"""

import statistics
from dataclasses import dataclass

from . import figures, intervals, metrics


@dataclass(frozen=True)
class Slot:
    """One thing that was measured: an operation of a phase of a workload."""

    workload: str
    phase: str
    operation: str

    @property
    def title(self):
        phase = "" if self.phase == self.workload else f" / {self.phase}"
        return f"{self.workload}{phase} / {self.operation}"


class Comparison:
    def __init__(self, experiment, runs, absent):
        self.experiment, self.runs, self.absent = experiment, runs, absent
        self.good = [r for r in runs if r["outcome"] == "complete"]
        self.bad = [r for r in runs if r["outcome"] != "complete"]
        self.variants = [v.name for v in experiment.variants
                         if any(r["variant"] == v.name for r in self.good)]
        self.workloads = [w.name for w in experiment.workloads
                          if any(r["workload"] == w.name for r in self.good)]

    def of(self, variant, workload):
        return [r for r in self.good if r["variant"] == variant and r["workload"] == workload]

    def slots(self, workload):
        """Phases in order; in each the operations done, then its watches."""
        found = {}
        for run in self.good:
            if run["workload"] != workload:
                continue
            for phase in run["numbers"]["phases"]:
                for row in phase["operations"]:
                    if row["ok"]:
                        found[Slot(workload, phase["name"], row["name"])] = True
                for row in phase["watchers"]:
                    if row["events"]:
                        found[Slot(workload, phase["name"], f"watch {row['name']}")] = True
        return list(found)

    def main_slots(self, workload):
        """The operations worth a row of the short table: the busiest of each phase, and a watch."""
        chosen = []
        for phase in dict.fromkeys(s.phase for s in self.slots(workload)):
            slots = [s for s in self.slots(workload) if s.phase == phase]
            operations = [s for s in slots if not s.operation.startswith("watch ")]
            chosen += [max(operations, key=self._done)] if operations else []
            chosen += [s for s in slots if s.operation.startswith("watch ")][:1]
        return chosen

    def _done(self, slot):
        return sum(row["ok"] for run in self.good if run["workload"] == slot.workload
                   for phase in run["numbers"]["phases"] if phase["name"] == slot.phase
                   for row in phase["operations"] if row["name"] == slot.operation)

    def overloaded(self, variant, slot):
        """(runs in which operations were due and never sent, all runs) of a variant."""
        runs = self.of(variant, slot.workload)
        found = [metrics.values(run, slot.phase, slot.operation) for run in runs]
        return sum("overloaded" in values for values in found), len(runs)

    def values(self, variant, workload, metric, phase=None, operation=None):
        """{repetition: value}; runs without it are absent. Latencies of the runs that kept up
        would flatter a variant that did not always keep up: then there are none at all."""
        found = {}
        slot = Slot(workload, phase, operation)
        if metric in metrics.LATENCIES and self.overloaded(variant, slot)[0]:
            return found
        for run in self.of(variant, workload):
            value = metrics.values(run, phase, operation).get(metric)
            if value is not None:
                found[run["repetition"]] = value
        return found

    def median(self, variant, slot, metric):
        found = self.values(variant, slot.workload, metric, slot.phase, slot.operation)
        return statistics.median(found.values()) if found else None

    def text(self, variant, slot, metric):
        """The median as it stands in a table."""
        bad, runs = self.overloaded(variant, slot)
        if bad and metric in metrics.LATENCIES:
            return f"overloaded {bad}/{runs}"
        return figures.text(metric, self.median(variant, slot, metric))

    def ratio(self, variant, slot, metric):
        pair = [self.values(name, slot.workload, metric, slot.phase, slot.operation)
                for name in (variant, self.experiment.baseline)]
        return intervals.ratio(*pair, seed=self.experiment.seed)

    def verdicts(self):
        """(rule, Ratio or None, verdict, why it was not measured or None) for each rule."""
        rows = []
        for rule in self.experiment.rules:
            slot = Slot(rule.workload, rule.phase, rule.operation)
            found = self.ratio(rule.variant, slot, rule.metric)
            why = None
            if found is None:
                why = self.absent.get(rule.variant) or self.absent.get(self.experiment.baseline)
                for name in (rule.variant, self.experiment.baseline):
                    bad, runs = self.overloaded(name, slot)
                    if bad and rule.metric in metrics.LATENCIES:
                        why = why or f"{name} was overloaded in {bad} of {runs} runs"
                if why is None and rule.workload not in self.workloads:
                    why = "this workload was not part of the run"
                why = why or "no repetition has a value for both"
            rows.append((rule, found, intervals.verdict(found, rule.at_most, rule.at_least), why))
        return rows

    def differences(self, names=("throughput", "p50", "p99", "cpu_us_per_op", "bytes_per_payload",
                                 "peak_rss", "syncs_per_write")):
        """Every (variant, slot, metric, Ratio) against the baseline, for the full table."""
        rows = []
        for workload in self.workloads:
            for slot in self.main_slots(workload):
                for variant in self.variants:
                    if variant == self.experiment.baseline:
                        continue
                    for metric in names:
                        found = self.ratio(variant, slot, metric)
                        if found is not None:
                            rows.append((variant, slot, metric, found))
        return rows
