#!/usr/bin/python3
"""The testbed's own arithmetic and strictness: definitions, metrics, intervals, comparison, page."""

import json
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from testbed import cluster, definition, faults, goals, intervals, metrics, sampler, terminal  # noqa: E402
from testbed.comparison import Comparison, Slot  # noqa: E402
from testbed.definition import DefinitionError  # noqa: E402

GOOD = """
question: Is it?
hypothesis: It is.
decision:
  baseline: a
  rules:
    - {text: b is cheaper, variant: b, workload: write-throughput, metric: cpu_us_per_op, at_most: 0.9}
variants:
  - {name: a, server: quorate, flags: {backend: memory}}
  - {name: b, server: quorate}
workloads:
  - file: workloads/scripts/write-throughput.yaml
repetitions: 3
settings:
  quick: {repetitions: 1}
"""


class Definitions(unittest.TestCase):
    def load(self, text, setting=None):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "experiment.yaml"
            path.write_text(text)
            return definition.load(path, setting)

    def refused(self, text, *words, setting=None):
        with self.assertRaises(DefinitionError) as caught:
            self.load(text, setting)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_experiments_of_the_project_are_right(self):
        for path in sorted(definition.ROOT.glob("experiments/*/experiment.yaml")):
            for setting in (None, "quick"):
                self.assertGreater(len(definition.load(path, setting).variants), 1)

    def test_setting_replaces(self):
        self.assertEqual(self.load(GOOD).repetitions, 3)
        self.assertEqual(self.load(GOOD, "quick").repetitions, 1)

    def test_unknown_and_missing_keys(self):
        self.refused(GOOD.replace("hypothesis", "hypotesis"), "hypotesis", "known: ", "hypothesis")
        self.refused(GOOD.replace("repetitions: 3\n", ""), "'repetitions' is missing")
        self.refused(GOOD, "no setting 'slow'", "quick", setting="slow")

    def test_a_key_twice(self):
        self.refused(GOOD + "repetitions: 4\n", ":16:", "'repetitions' stands twice")

    def test_impossible_values(self):
        self.refused(GOOD.replace("server: quorate}", "server: consul}"), "consul", "etcd-3.7")
        self.refused(GOOD.replace("baseline: a", "baseline: c"), "no variant 'c'", "a, b")
        self.refused(GOOD.replace("cpu_us_per_op", "speed"), "unknown metric 'speed'", "p99")
        self.refused(GOOD.replace(", at_most: 0.9", ""), "at_most")
        self.refused(GOOD.replace("repetitions: 3", "repetitions: 0"), "repetitions")
        self.refused(GOOD.replace("write-throughput.yaml", "none.yaml"), "none.yaml")

    def test_twins_are_one_variant_under_two_names(self):
        twins = definition.as_twins(self.load(GOOD))
        self.assertEqual([v.flags for v in twins.variants], [{"backend": "memory"}] * 2)
        self.assertEqual(twins.rules, [])


class Intervals(unittest.TestCase):
    def test_ratio_of_pairs(self):
        found = intervals.ratio({0: 20, 1: 40, 2: 10}, {0: 10, 1: 20, 2: 5})
        self.assertAlmostEqual(found.value, 2)
        self.assertTrue(found.differs)

    def test_noise_is_no_difference(self):
        found = intervals.ratio({0: 10, 1: 12, 2: 9, 3: 11}, {0: 11, 1: 10, 2: 10, 3: 10.5})
        self.assertFalse(found.differs)
        self.assertLess(found.low, 1)
        self.assertGreater(found.high, 1)

    def test_only_pairs_count_and_two_give_no_interval(self):
        found = intervals.ratio({0: 2, 1: 3, 5: 100}, {0: 1, 1: 1, 6: 1})
        self.assertEqual(found.pairs, 2)
        self.assertIsNone(found.low)
        self.assertFalse(found.differs)
        self.assertIsNone(intervals.ratio({0: 1}, {1: 1}))

    def test_interval_covers_about_as_promised(self):
        import numpy

        generator = numpy.random.default_rng(7)
        hits = 0
        for _ in range(200):
            sample = numpy.exp(generator.normal(0.3, 0.2, 5))
            low, high = numpy.exp(intervals._interval(numpy.log(sample), 1))
            hits += low <= numpy.exp(0.3) <= high
        self.assertGreaterEqual(hits, 178)  # plain percentiles cover about 165 of 200

    def test_verdicts(self):
        clear, wide = intervals.Ratio(0.5, 0.4, 0.6, 5), intervals.Ratio(0.9, 0.7, 1.1, 5)
        self.assertEqual(intervals.verdict(clear, at_most=0.9), "holds")
        self.assertEqual(intervals.verdict(clear, at_least=0.9), "does not hold")
        self.assertEqual(intervals.verdict(wide, at_most=0.9), "undecided")
        self.assertEqual(intervals.verdict(None, at_most=1), "not measured")
        self.assertIn("too few", intervals.verdict(intervals.Ratio(0.5, None, None, 1), at_most=1))


def phase(**changes):
    row = {"name": "put", "op": "put", "ok": 1000, "errors": 0, "request_bytes": 100_000,
           "latency": {"count": 1000, "p50_ns": 1e6, "p99_ns": 5e6, "max_ns": 9e6}}
    load = {"name": "main", "issued": 1000, "unsent": 0, "operations": [row]}
    load.update(changes)
    return {"name": "writes", "measured": True, "start_wall_ns": 10**9, "load_ns": 2 * 10**9,
            "driver_cpu_ns": 10**7, "loads": [load], "watchers": [], "schedule": []}


SAMPLES = [(0, 0, 1, 0), (1 * 10**9, 10**8, 1, 0), (3 * 10**9, 3 * 10**8, 1, 0), (4 * 10**9, 9 * 10**8, 1, 0)]


class Metrics(unittest.TestCase):
    def numbers(self, *phases, usage=None, before="", after=""):
        result = {"phases": list(phases), "servers": [{"revision_before": 1, "revision_after": 1001}]}
        return metrics.run_numbers(result, SAMPLES, metrics.parse_prometheus(before),
                                   metrics.parse_prometheus(after), usage or {})

    def test_cpu_is_that_of_the_phase(self):
        found = self.numbers(phase())["phases"][0]
        self.assertAlmostEqual(found["cpu_us_per_op"], 200)  # 0.2 s over 1000 operations
        self.assertAlmostEqual(found["throughput"], 500)

    def test_what_was_not_measured_is_absent(self):
        found = self.numbers(phase())
        for name in ("bytes_per_payload", "syncs_per_write", "peak_rss"):
            self.assertNotIn(name, found)

    def test_overload_leaves_no_latency(self):
        run = {"numbers": self.numbers(phase(unsent=100))}
        self.assertNotIn("p99", metrics.values(run))
        self.assertIn("throughput", metrics.values(run))
        self.assertIn("p99", metrics.values({"numbers": self.numbers(phase(unsent=5))}))

    def test_writes_syncs_and_stages_are_differences(self):
        before = 'etcd_disk_wal_fsync_duration_seconds_count 10\n'
        after = ('etcd_disk_wal_fsync_duration_seconds_count 260\n'
                 'quorate_stage_duration_seconds_sum{stage="durable"} 2\n'
                 'quorate_stage_duration_seconds_count{stage="durable"} 4\n')
        found = self.numbers(phase(), usage={"written_bytes": 300_000}, before=before, after=after)
        self.assertAlmostEqual(found["syncs_per_write"], 0.25)
        self.assertAlmostEqual(found["bytes_per_payload"], 3)
        self.assertEqual(found["stages"]["durable"]["sum_s"], 2)

    def test_labels_may_hold_anything(self):
        parsed = metrics.parse_prometheus('a{x="1,\\"}",y="2"} 3\n# HELP a b\nb 1e-06\n')
        self.assertEqual(parsed[("a", (("x", '1,\\"}'), ("y", "2")))], 3)
        self.assertEqual(parsed[("b", ())], 1e-6)

    def test_interpolation_does_not_leave_the_samples(self):
        self.assertEqual(sampler.value_at(SAMPLES, 1, 2 * 10**9), 2 * 10**8)
        self.assertIsNone(sampler.value_at(SAMPLES, 1, 5 * 10**9))
        self.assertIsNone(sampler.value_at(SAMPLES, 1, -1))


    def test_a_scheduled_thing_splits_the_series_exactly(self):
        step = 10**8
        series = [{"t_ns": i * step, "buckets": [[1000 * (10 if i in (4, 5) else 1), 100]]}
                  for i in range(10)]
        compaction = {"kind": "compact", "at_ns": 4 * step + 1, "took_ns": step}
        row = {"series": series}
        self.assertEqual(metrics.around_schedule(row, {"schedule": [compaction]}),
                         {"p99_before": 1000, "p99_during": 10000})
        self.assertEqual(metrics.around_schedule(row, {"schedule": []}), {})
        # What prepares it, here from the step of 5000 on, is neither before nor during.
        series[3]["buckets"] = [[5000, 100]]
        self.assertEqual(metrics.around_schedule(
            row, {"schedule": [{**compaction, "prepared_at_ns": 3 * step}]}),
            {"p99_before": 1000, "p99_during": 10000})

    def test_quantiles_of_buckets(self):
        self.assertEqual(metrics.quantile([[5, 1], [1, 99]], 0.99), 1)
        self.assertEqual(metrics.quantile([[5, 2], [1, 98]], 0.99), 5)
        self.assertIsNone(metrics.quantile([], 0.5))

    def test_memory_of_a_phase(self):
        rows = [(0, 0, 50, 0), (1, 0, 70, 0), (2, 0, 60, 0), (3, 0, 90, 0)]
        self.assertEqual(metrics.memory(rows, 0, 2), {"rss_end": 60, "rss_peak": 70})
        self.assertEqual(metrics.memory(rows, 7, 9), {})


class Sampling(unittest.TestCase):
    def test_cpu_of_another_process_with_its_ended_threads(self):
        code = ("import threading,sys\nt=threading.Thread(target=lambda:sum(range(3000000)))\n"
                "t.start();t.join()\nprint('x',flush=True)\nsys.stdin.read()")
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        try:
            child.stdout.readline()
            self.assertGreater(time.clock_gettime_ns(sampler.cpu_clock(child.pid)), 10**7)
            ended = threading.Event()
            with sampler.Sampler(child.pid) as taken:
                ended.wait(3 * sampler.INTERVAL_S)
            self.assertGreater(len(taken.samples), 1)
        finally:
            child.communicate()


def run(variant, repetition, p99, outcome="complete", workload="write-throughput"):
    row = {"number": repetition, "variant": variant, "repetition": repetition, "workload": workload,
           "outcome": outcome, "folder": "none", "flags": {}}
    if outcome == "complete":
        operation = {"name": "put", "op": "put", "ok": 10, "errors": 0, "p50": 1e6, "p99": p99}
        row["numbers"] = {"stages": {}, "unsent": 0, "phases": [
            {"name": "writes", "operations": [operation], "watchers": [], "throughput": 5.0,
             "cpu_us_per_op": p99 / 1e5}]}
    else:
        row["reason"] = "WRONG value"
    return row


class Comparisons(unittest.TestCase):
    def setUp(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "experiment.yaml"
            path.write_text(GOOD)
            self.experiment = definition.load(path)
        self.slot = Slot("write-throughput", "writes", "put")

    def test_void_and_partial_runs_are_not_averaged_in(self):
        runs = [run("a", i, 4e6) for i in range(3)] + [run("b", i, 2e6) for i in range(3)]
        runs += [run("b", 3, 0, "void"), run("a", 3, 0, "partial")]
        compared = Comparison(self.experiment, runs, {})
        self.assertEqual(compared.median("b", self.slot, "p99"), 2e6)
        self.assertAlmostEqual(compared.ratio("b", self.slot, "p99").value, 0.5)
        self.assertEqual([v for _, _, v, _ in compared.verdicts()], ["holds"])
        text = "\n".join(terminal.lines_after(compared))
        self.assertIn("void, WRONG value", text)

    def test_one_overloaded_run_takes_all_latencies_of_the_variant(self):
        slow = run("b", 2, 2e6)
        operation = slow["numbers"]["phases"][0]["operations"][0]
        del operation["p50"], operation["p99"]
        operation["overloaded"] = True
        runs = [run("a", i, 4e6) for i in range(3)] + [run("b", i, 2e6) for i in range(2)] + [slow]
        compared = Comparison(self.experiment, runs, {})
        self.assertIsNone(compared.median("b", self.slot, "p99"))
        self.assertEqual(compared.text("b", self.slot, "p99"), "overloaded 1/3")
        self.assertEqual(compared.text("b", self.slot, "throughput"), "5.0/s")
        self.assertIsNone(compared.ratio("b", self.slot, "p99"))

    def test_an_absent_variant_is_named(self):
        compared = Comparison(self.experiment, [run("a", 0, 4e6)], {"b": "it was not built"})
        self.assertEqual(compared.variants, ["a"])
        self.assertIsNone(compared.median("b", self.slot, "p99"))
        (_, found, verdict, why), = compared.verdicts()
        self.assertEqual((found, verdict, why), (None, "not measured", "it was not built"))
        self.assertIn("b: it was not built", "\n".join(terminal.lines_after(compared)))

    def test_nothing_measured_is_still_told(self):
        compared = Comparison(self.experiment, [run("a", 0, 0, "failed")], {})
        self.assertEqual(terminal.table(compared)[1], [])
        self.assertIn("failed", "\n".join(terminal.lines_after(compared)))


FIGURES = GOOD.replace("- {name: b, server: quorate}", "- {name: b, server: etcd-3.7}").replace(
    "repetitions: 3", """repetitions: 3
figures:
  - {text: cheap, workload: write-throughput, metric: cpu_us_per_op, at_most: 50}
  - {text: cheaper, workload: write-throughput, metric: cpu_us_per_op, beside: b, times_better: 5}
  - {text: per client, workload: write-throughput, metric: cpu_us_per_op, per: clients}
""").replace("  - file: workloads/scripts/write-throughput.yaml",
             "  - {file: workloads/scripts/write-throughput.yaml, parameters: {clients: 4}}")


class Goals(unittest.TestCase):
    def experiment(self, text=FIGURES):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "experiment.yaml"
            path.write_text(text)
            return definition.load(path)

    def rows(self, ours, theirs, absent=None):
        runs = [run("a", i, 1e5 * v) for i, v in enumerate(ours)]
        runs += [run("b", i, 1e5 * v) for i, v in enumerate(theirs)]
        self.comparison = Comparison(self.experiment(), runs, absent or {})
        return goals.rows(self.comparison)

    def test_medians_decide(self):
        cheap, cheaper, per_client = self.rows([40, 45, 400], [300, 200, 250])
        self.assertEqual((cheap.value, cheap.verdict), (45, goals.REACHED))
        self.assertAlmostEqual(cheaper.times, 250 / 45)
        self.assertEqual(cheaper.verdict, goals.REACHED)
        self.assertEqual((per_client.value, per_client.verdict), (45 / 4, goals.SHOWN))
        self.assertEqual(goals.gaps(self.comparison), [])

    def test_a_gap_has_one_line_with_what_was_asked(self):
        self.rows([60], [100])
        first, second = goals.gaps(self.comparison)
        self.assertEqual(first, "NOT REACHED: cheap, a: 60.0 µs, asked at most 50.0 µs")
        self.assertIn("1.67x less than b", second)
        page = goals.markdown(self.comparison)
        self.assertIn("# Figures: 0 of 2 reached", page)
        self.assertIn(f"- {first}", page)

    def test_a_server_that_did_not_run_decides_nothing(self):
        cheap, cheaper, _ = self.rows([40], [], {"b": "it was not built"})
        self.assertEqual(cheap.verdict, goals.REACHED)
        self.assertEqual((cheaper.verdict, cheaper.why), (goals.UNKNOWN, "b: it was not built"))

    def test_phases_are_compared_within_a_run(self):
        measured = run("a", 0, 4e6)
        numbers = measured["numbers"]
        quiet = {"name": "quiet", "rss_end": 100, "operations": [
            {"name": "put", "op": "put", "ok": 5, "p99": 2e6}], "watchers": []}
        busy = {"name": "busy", "rss_peak": 130, "operations": [
            {"name": "writes.put", "op": "put", "ok": 5, "p50": 6e5, "p99": 5e6}], "watchers": []}
        numbers["phases"], numbers["disk_append_ns"] = [quiet, busy], 4e5
        ask = {"text": "x", "workload": "w", "phase": "busy", "since": "quiet", "operation": "put"}
        found = {metric: goals.of_run(measured, definition.Figure(metric=metric, **ask))
                 for metric in ("p99_ratio", "rss_growth", "times_disk", "restart_s")}
        self.assertEqual(found, {"p99_ratio": 2.5, "rss_growth": 30, "times_disk": 1.5,
                                 "restart_s": None})

    def test_figures_are_strict(self):
        for wrong, words in ((("metric: cpu_us_per_op, per", "metric: speed, per"), "unknown metric"),
                             (("per: clients", "per: cats"), "'cats' is not a parameter"),
                             (("beside: b, times_better: 5", "beside: b"), "go together"),
                             (("beside: b", "beside: c"), "no variant 'c'")):
            with self.assertRaises(DefinitionError) as caught:
                self.experiment(FIGURES.replace(*wrong))
            self.assertIn(words, str(caught.exception))


CLUSTER = GOOD.replace("flags: {backend: memory}}", "members: 3}").replace(
    "name: b, server: quorate}", "name: b, server: quorate, members: 3}").replace(
    "workloads:", "workloads:\n  - {fault: leader-kill, parameters: {events: 3}}")


class Faults(unittest.TestCase):
    def load(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "experiment.yaml"
            path.write_text(text)
            return definition.load(path)

    def test_definitions(self):
        loaded = self.load(CLUSTER)
        self.assertEqual([w.name for w in loaded.workloads], ["leader-kill", "write-throughput"])
        self.assertEqual([v.members for v in definition.as_twins(loaded).variants], [3, 3])
        for wrong, words in ((("leader-kill", "leader-sulk"), "known: leader-kill, leader-stop"),
                             (("leader-kill", "member-rejoin"), "key 'file' is missing"),
                             (("leader-kill,", "leader-kill, file: x.yaml,"), "has no file"),
                             (("members: 3", "members: 1"), "a cluster of 3 members"),
                             (("members: 3", "members: many"), "a whole number")):
            with self.assertRaises(DefinitionError) as caught:
                self.load(CLUSTER.replace(*wrong))
            self.assertIn(words, str(caught.exception))

    def test_a_pause_belongs_to_the_fault_that_it_touches(self):
        pauses = [{"begin_wall_ns": 10_000_000, "length_ns": 9_000_000},
                  {"begin_wall_ns": 40_000_000, "length_ns": 8_000_000},
                  {"begin_wall_ns": 50_000_000, "length_ns": 3_000_000}]
        self.assertEqual(faults.pause_within(pauses, (18_000_000, 45_000_000)), 9_000_000)
        self.assertEqual(faults.pause_within(pauses, (20_000_000, 60_000_000)), 8_000_000)
        # Shorter pauses are not told of: it counts as long as they may be.
        self.assertEqual(faults.pause_within(pauses, (60_000_000, 70_000_000)),
                         faults.PAUSE_MIN_NS)

    def test_the_steady_load_is_seen_in_the_log(self):
        self.assertEqual(faults.steady_s("fill (not measured) 9s\n"), 0)
        self.assertEqual(faults.steady_s("fill 9s\nsteady 1s of 3600s  5 op/s\n"
                                         "steady 2.5s of 3600s  500 op/s\n"), 2.5)

    def test_a_load_that_is_refused_is_none(self):
        refused = phase()
        self.assertIsNone(faults.errors_of(refused))
        refused["loads"][0]["operations"][0].update(
            errors=500, errors_by_text={"Unavailable: x": 1, "ResourceExhausted: full": 499})
        self.assertEqual(faults.errors_of(refused),
                         "500 of 1500 operations failed: ResourceExhausted: full")

    def test_figures_of_faults(self):
        killed = {"numbers": {"phases": [], "pauses_ns": [12e8, 9e8, 11e8],
                              "election_timeout_ns": 10**9, "failed_writes": 0}}
        rejoined = {"numbers": {"catch_up_s": 2.0, "phases": [
            {"name": "steady", "leader_rss_peak": 7, "operations": [], "watchers": []}]}}
        ask = {"text": "x", "workload": "w", "phase": "steady"}
        found = [goals.of_run(run_, definition.Figure(metric=metric, **ask))
                 for run_, metric in ((killed, "pause"), (killed, "pause_timeouts"),
                                      (killed, "failed_writes"), (rejoined, "pause"),
                                      (rejoined, "catch_up_s"), (rejoined, "leader_rss"))]
        self.assertEqual(found, [11e8, 1.1, 0, None, 2.0, 7])

    def test_a_member_follows_when_it_has_what_the_leader_has_now(self):
        told = []  # by the late member

        class Member:
            def __init__(self, leads, revision):
                self.leads, self.revision = leads, revision
                self.process = subprocess.Popen(["sleep", "1000"])

            def metrics(self):
                return (f"etcd_server_is_leader {self.leads}\n"
                        f"etcd_debugging_mvcc_current_revision {self.revision()}\n")

        def late():
            told.append([1, 100, 103, 105, 105][len(told)])
            return told[-1]

        group = cluster.Cluster.__new__(cluster.Cluster)
        # Writes go on while the late one gets as far as the leader was.
        group.members = [Member(1, lambda: 105 if 100 in told else 100), Member(0, late)]
        try:
            group.wait_for_data(group.members[1])
        finally:
            for member in group.members:
                member.process.kill()
                member.process.wait()
        self.assertEqual(told, [1, 100, 103, 105, 105])

    def test_what_several_processes_use_is_added(self):
        children = [subprocess.Popen(["sleep", "1000"]) for _ in range(2)]
        try:
            with sampler.Sampler(*[c.pid for c in children]) as taken:
                pass
        finally:
            for child in children:
                child.kill()
                child.wait()
        rss = sampler.Sampler.FIELDS.index("rss_bytes")
        self.assertEqual(len(taken.members), 2)
        for total, one, other in zip(taken.samples, *taken.members, strict=True):
            self.assertEqual(total[rss], one[rss] + other[rss])


class Pages(unittest.TestCase):
    def test_page_needs_no_other_file_and_escapes(self):
        from testbed import report

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "experiment.yaml"
            path.write_text(GOOD.replace("Is it?", "Is <b> & c?"))
            compared = Comparison(definition.load(path), [run("a", 0, 4e6)], {"b": "<none>"})
            manifest = {"started": "now", "source": {"commit": None, "changed_files": None},
                        "machine": {"cpu": "x", "cores": 2, "load_before": [0, 0, 0], "disk": None,
                                    "system": None, "kernel": "k"},
                        "build": {"type": None, "flags": None, "compiler": None}, "seed": 1,
                        "disk_probe": None, "programs": {}, "variants": []}
            page = report.render(compared, json.loads(json.dumps(manifest)), [], Path(folder))
            text = page.read_text()
        self.assertIn("Is &lt;b&gt; &amp; c?", text)
        self.assertIn("&lt;none&gt;", text)
        self.assertNotRegex(text, r'(src|href)="?(http|//|[a-z]+\.)')


if __name__ == "__main__":
    unittest.main()
