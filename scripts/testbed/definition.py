"""Experiment files: what is asked, of which variants, with which workloads, and what decides.

A file is strict: an unknown or missing key is an error that names the file, the place and the known
keys. `settings:` holds named replacements of top-level keys ("quick" for a short run). Only the
keys of KNOWN exist; see experiments/backends/experiment.yaml for one that uses nearly all, and
experiments/figures/experiment.yaml for `figures:`, values that are to be reached (goals.py).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from .access import TLS_KINDS

ROOT = Path(__file__).resolve().parents[2]
SERVERS = ("quorate", "etcd-3.7", "etcd-debian")

KNOWN = {
    "experiment": ("name", "question", "hypothesis", "decision", "variants", "workloads",
                   "figures", "repetitions", "seed", "settings"),
    "decision": ("baseline", "rules"),
    "rule": ("text", "variant", "workload", "phase", "operation", "metric", "at_most", "at_least"),
    "variant": ("name", "server", "flags", "only_without", "members", "tls", "user", "password"),
    "workload": ("file", "name", "parameters", "duration", "rate", "repetitions", "restart",
                 "probe_disk", "fault"),
    "figure": ("text", "workload", "phase", "since", "operation", "metric", "per", "at_most",
               "beside", "times_better"),
}
REQUIRED = {
    "experiment": ("question", "hypothesis", "decision", "variants", "workloads", "repetitions"),
    "decision": ("baseline", "rules"),
    "rule": ("text", "variant", "workload", "metric"),
    "variant": ("name", "server"),
    "workload": (),
    "figure": ("text", "workload", "metric"),
}
# What a rule may speak of; metrics.py measures them. All are "less is better" but the throughput.
METRICS = ("throughput", "p50", "p90", "p99", "p999", "max", "cpu_us_per_op", "bytes_per_payload",
           "peak_rss", "syncs_per_write")
# What a figure may ask for besides; goals.py says what each is.
FIGURE_METRICS = (*METRICS, "p99_ratio", "p99_during_ratio", "times_disk", "rss_growth", "rss_end",
                  "restart_s", "leader_rss", "pause", "pause_timeouts", "failed_writes",
                  "catch_up_s")
# What is done to a cluster instead of, or beside, a load (faults.py), and whether that has a file.
FAULTS = {"leader-kill": False, "leader-stop": False, "member-rejoin": True}
FAULT_MEMBERS_MIN = 3


class DefinitionError(ValueError):
    """One line for the person who wrote the file."""


@dataclass
class Variant:
    name: str
    server: str
    flags: dict = field(default_factory=dict)
    only_without: str | None = None  # left out when this other server is there
    members: int = 1  # processes that form a cluster
    tls: str | None = None  # towards clients: one of access.TLS_KINDS
    user: str | None = None  # the driver signs in as
    password: str | None = None


@dataclass
class Workload:
    name: str
    file: str | None = None
    parameters: dict = field(default_factory=dict)
    duration: str | None = None
    rate: str | None = None
    repetitions: int | None = None  # instead of the experiment's
    restart: bool = False  # afterwards the server is stopped and its next start is timed
    probe_disk: bool = False  # the disk is measured around the load
    fault: str | None = None  # one of FAULTS


@dataclass
class Figure:
    """A value that each of our variants is to reach."""

    text: str
    workload: str
    metric: str
    phase: str | None = None
    since: str | None = None  # the phase it is compared with
    operation: str | None = None
    per: str | None = None  # a parameter of the workload: the value is divided by it
    at_most: float | None = None
    beside: str | None = None  # a variant of another server: its value divided by ours ...
    times_better: float | None = None  # ... is at least this


@dataclass
class Rule:
    text: str
    variant: str
    workload: str
    metric: str
    phase: str | None = None
    operation: str | None = None
    at_most: float | None = None
    at_least: float | None = None


@dataclass
class Experiment:
    name: str
    path: Path
    setting: str | None
    question: str
    hypothesis: str
    baseline: str
    rules: list
    variants: list
    workloads: list
    repetitions: int
    seed: int
    figures: list = field(default_factory=list)

    def repetitions_of(self, workload):
        return workload.repetitions or self.repetitions


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error."""


def _mapping(loader, node):
    seen = {}
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            mark = key_node.start_mark
            raise DefinitionError(f"{mark.name}:{mark.line + 1}: key '{key}' stands twice")
        seen[key] = True
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _check(kind, value, where):
    if not isinstance(value, dict):
        raise DefinitionError(f"{where}: a mapping is needed here")
    for key in value:
        if key not in KNOWN[kind]:
            raise DefinitionError(f"{where}: unknown key '{key}'; known: {', '.join(KNOWN[kind])}")
    for key in REQUIRED[kind]:
        if key not in value:
            raise DefinitionError(f"{where}: key '{key}' is missing")
    return value


def find(path):
    """experiments/backends, experiments/backends/experiment.yaml or just `backends`."""
    for candidate in (Path(path), ROOT / path, ROOT / "experiments" / path):
        if candidate.is_dir():
            candidate = candidate / "experiment.yaml"
        if candidate.is_file():
            return candidate
    known = ", ".join(sorted(p.parent.name for p in ROOT.glob("experiments/*/experiment.yaml")))
    raise DefinitionError(f"{path}: there is no such experiment; known: {known}")


def load(path, setting=None):
    path = find(path)
    with open(path, encoding="utf-8") as stream:
        loader = _StrictLoader(stream)
        try:
            document = loader.get_single_data()
        except yaml.YAMLError as error:
            raise DefinitionError(f"{path}: {error}") from error
    _check("experiment", document, path)
    settings = document.get("settings") or {}
    if setting is not None:
        if setting not in settings:
            known = ", ".join(settings) or "none"
            raise DefinitionError(f"{path}: no setting '{setting}'; known: {known}")
        replaced = {**document, **settings[setting]}
        _check("experiment", replaced, f"{path}: settings.{setting}")
        document = replaced
    return _build(document, path, setting)


def _build(document, path, setting):
    variants = [Variant(**_check("variant", v, f"{path}: variants[{i}]"))
                for i, v in enumerate(document["variants"])]
    workloads = []
    for i, entry in enumerate(document["workloads"]):
        entry = dict(_check("workload", entry, f"{path}: workloads[{i}]"))
        _check_fault(entry, f"{path}: workloads[{i}]")
        entry.setdefault("name", Path(entry["file"]).stem if "file" in entry else entry["fault"])
        if "file" in entry and not (ROOT / entry["file"]).is_file():
            raise DefinitionError(f"{path}: workloads[{i}]: there is no file {entry['file']}")
        workloads.append(Workload(**entry))
    decision = _check("decision", document["decision"], f"{path}: decision")
    rules = [Rule(**_check("rule", r, f"{path}: decision.rules[{i}]"))
             for i, r in enumerate(decision["rules"])]
    figures = [Figure(**_check("figure", f, f"{path}: figures[{i}]"))
               for i, f in enumerate(document.get("figures") or [])]
    experiment = Experiment(
        name=document.get("name", path.parent.name), path=path, setting=setting,
        question=document["question"], hypothesis=document["hypothesis"],
        baseline=decision["baseline"], rules=rules, variants=variants, workloads=workloads,
        repetitions=document["repetitions"], seed=document.get("seed", 1),
        figures=figures,
    )
    _check_meaning(experiment, path)
    return experiment


def _check_fault(entry, where):
    fault = entry.get("fault")
    if fault is not None and fault not in FAULTS:
        raise DefinitionError(f"{where}: unknown fault '{fault}'; known: {', '.join(FAULTS)}")
    wants_file = FAULTS.get(fault, True)
    if wants_file and "file" not in entry:
        raise DefinitionError(f"{where}: key 'file' is missing")
    if not wants_file and "file" in entry:
        raise DefinitionError(f"{where}: the fault {fault} has no file: its load is "
                              "quorate-bench write")


def _check_meaning(experiment, path):
    names = [v.name for v in experiment.variants]
    workloads = [w.name for w in experiment.workloads]
    for what, given in (("variant", names), ("workload", workloads)):
        if len(set(given)) != len(given):
            raise DefinitionError(f"{path}: two {what}s have the same name")
    for variant in experiment.variants:
        if variant.server not in SERVERS:
            raise DefinitionError(f"{path}: variant '{variant.name}': unknown server "
                                  f"'{variant.server}'; known: {', '.join(SERVERS)}")
        if not isinstance(variant.members, int) or variant.members < 1:
            raise DefinitionError(f"{path}: variant '{variant.name}': members: a whole number of 1 "
                                  "or more is needed")
        if variant.tls not in (None, *TLS_KINDS):
            raise DefinitionError(f"{path}: variant '{variant.name}': unknown tls '{variant.tls}'; "
                                  f"known: {', '.join(TLS_KINDS)}")
        if (variant.user is None) != (variant.password is None):
            raise DefinitionError(f"{path}: variant '{variant.name}': user and password go together")
        if variant.members > 1 and (variant.tls or variant.user):
            raise DefinitionError(f"{path}: variant '{variant.name}': tls and user are for one member")
        if any(w.fault for w in experiment.workloads) and variant.members < FAULT_MEMBERS_MIN:
            raise DefinitionError(f"{path}: variant '{variant.name}': a fault needs a cluster of "
                                  f"{FAULT_MEMBERS_MIN} members or more")
    if experiment.baseline not in names:
        raise DefinitionError(f"{path}: decision.baseline: no variant '{experiment.baseline}'; "
                              f"known: {', '.join(names)}")
    if not isinstance(experiment.repetitions, int) or experiment.repetitions < 1:
        raise DefinitionError(f"{path}: repetitions: a whole number of 1 or more is needed")
    for i, rule in enumerate(experiment.rules):
        where = f"{path}: decision.rules[{i}]"
        if rule.metric not in METRICS:
            raise DefinitionError(f"{where}: unknown metric '{rule.metric}'; "
                                  f"known: {', '.join(METRICS)}")
        if (rule.at_most is None) == (rule.at_least is None):
            raise DefinitionError(f"{where}: one of at_most and at_least is needed")
        if rule.variant not in names:
            raise DefinitionError(f"{where}: no variant '{rule.variant}'; known: {', '.join(names)}")
    for workload in experiment.workloads:
        if workload.repetitions is not None and (
                not isinstance(workload.repetitions, int) or workload.repetitions < 1):
            raise DefinitionError(f"{path}: workload '{workload.name}': repetitions: a whole number "
                                  "of 1 or more is needed")
    for i, figure in enumerate(experiment.figures):
        _check_figure(figure, names, experiment.workloads, f"{path}: figures[{i}]")


def _check_figure(figure, variants, workloads, where):
    if figure.metric not in FIGURE_METRICS:
        raise DefinitionError(f"{where}: unknown metric '{figure.metric}'; "
                              f"known: {', '.join(FIGURE_METRICS)}")
    workload = next((w for w in workloads if w.name == figure.workload), None)
    if workload is None:
        raise DefinitionError(f"{where}: no workload '{figure.workload}'; "
                              f"known: {', '.join(w.name for w in workloads)}")
    if (figure.beside is None) != (figure.times_better is None):
        raise DefinitionError(f"{where}: beside and times_better go together")
    if figure.beside is not None and figure.beside not in variants:
        raise DefinitionError(f"{where}: beside: no variant '{figure.beside}'; "
                              f"known: {', '.join(variants)}")
    if figure.per is not None and figure.per not in workload.parameters:
        raise DefinitionError(f"{where}: per: '{figure.per}' is not a parameter given to "
                              f"{figure.workload}; given: {', '.join(workload.parameters)}")
    if figure.metric in ("p99_ratio", "rss_growth") and figure.since is None:
        raise DefinitionError(f"{where}: {figure.metric} needs 'since', the phase to compare with")


def as_twins(experiment):
    """The A/A form: the baseline under two names, no rules. A difference is a defect of the testbed."""
    base = next(v for v in experiment.variants if v.name == experiment.baseline)
    experiment.variants = [
        replace(base, name=f"{base.name} (A)", flags=dict(base.flags)),
        replace(base, name=f"{base.name} (again)", flags=dict(base.flags)),
    ]
    experiment.baseline = experiment.variants[0].name
    experiment.rules, experiment.figures = [], []
    experiment.name += "-aa"
    return experiment
