#!/usr/bin/python3
"""Runs an experiment on real servers and reports it.

    scripts/experiment.py experiments/backends                  as the file says
    scripts/experiment.py experiments/backends --setting quick  a setting of the file
    scripts/experiment.py experiments/backends --aa             the baseline against itself: an A/A
                                                                run, to see what the testbed invents
    scripts/experiment.py --render results/RUN                  tables and report again, from raw data

Leaves results/<run>/ with report.html, plots/, manifest.json and runs/ (see testbed/runner.py).
Exit codes: 0 measured; 1 no run was complete; 2 the command line or the experiment is wrong;
130 interrupted (what was measured is reported).
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from testbed import definition, servers, terminal  # noqa: E402
from testbed.comparison import Comparison  # noqa: E402
from testbed.definition import ROOT, DefinitionError  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", nargs="?", help="folder or file, e.g. experiments/backends")
    parser.add_argument("--setting", help="one of the settings of the file, e.g. quick")
    parser.add_argument("--aa", action="store_true", help="run the baseline under two names")
    parser.add_argument("--repetitions", type=int, help="instead of the file's")
    parser.add_argument("--seed", type=int, help="of the order of the runs")
    parser.add_argument("--only", metavar="VARIANT", action="append",
                        help="run just this variant (may be given often)")
    parser.add_argument("--out", type=Path, help="where to leave the result (default results/<run>)")
    parser.add_argument("--data-root", type=Path, default=ROOT / "build" / "server-data",
                        help="where servers keep their data; its disk is the one measured")
    parser.add_argument("--render", type=Path, metavar="RESULT", help="render an existing result")
    parsed = parser.parse_args()
    if (parsed.experiment is None) == (parsed.render is None):
        parser.error("give an experiment, or --render RESULT")
    return parsed


def load(args):
    experiment = definition.load(args.experiment, args.setting)
    if args.repetitions is not None:
        if args.repetitions < 1:
            raise DefinitionError("--repetitions: 1 or more is needed")
        experiment.repetitions = args.repetitions
    if args.seed is not None:
        experiment.seed = args.seed
    if args.only:
        known = [v.name for v in experiment.variants]
        for name in args.only:
            if name not in known:
                raise DefinitionError(f"--only: no variant '{name}'; known: {', '.join(known)}")
        experiment.variants = [v for v in experiment.variants if v.name in args.only]
        if experiment.baseline not in args.only:
            experiment.baseline = args.only[0]
    return definition.as_twins(experiment) if args.aa else experiment


def report(comparison, manifest, out):
    """Table, plots, page. Answers the page's path."""
    terminal.show(comparison)
    from testbed import goals, plots, report as page  # late: matplotlib takes a second to load

    if comparison.experiment.figures:
        (out / "figures.md").write_text(goals.markdown(comparison), encoding="utf-8")

    pictures = plots.Plotter(comparison, out).all() if comparison.good else []
    path = page.render(comparison, manifest, pictures, out)
    print(f"report: {os.path.relpath(path)}")


def render(out):
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    experiment = definition.load(out / "experiment.yaml", manifest["setting"])
    experiment.name = manifest["experiment"]
    experiment.repetitions, experiment.seed = manifest["repetitions"], manifest["seed"]
    known = {v.name: v for v in experiment.variants}
    experiment.variants = [
        known.get(v["name"]) or definition.Variant(v["name"], v["server"], v["flags"],
                                                          members=v.get("members", 1))
        for v in manifest["variants"]]
    names = [v.name for v in experiment.variants]
    if experiment.baseline not in names:
        experiment.baseline = names[0]
    experiment.rules = [r for r in experiment.rules if r.variant in names]
    runs = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(out.glob("runs/*/run.json"))]
    report(Comparison(experiment, runs, manifest.get("absent", {})), manifest, out)


def run(args):
    from testbed.runner import Runner

    experiment = load(args)
    suffix = f"-{args.setting}" if args.setting else ""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    out = args.out or ROOT / "results" / f"{stamp}-{experiment.name}{suffix}"
    if out.exists() and any(out.iterdir()):
        raise DefinitionError(f"{out}: is there already and not empty")
    bench = servers.bin_dir() / "quorate-bench"
    if not bench.is_file():
        raise DefinitionError(f"{bench} is not built: run ./dev build")
    out.mkdir(parents=True, exist_ok=True)
    print(f"{experiment.name}: {' '.join(experiment.question.split())}", flush=True)
    runner = Runner(experiment, out, args.data_root, lambda line: print(line, flush=True))
    runner.prepare()
    runs = runner.run_all()
    comparison = Comparison(experiment, runs, runner.absent)
    print()
    report(comparison, runner.manifest, out)
    if runner.manifest.get("interrupted"):
        return 130
    return 0 if comparison.good else 1


def main():
    args = arguments()
    try:
        if args.render:
            render(args.render)
            return 0
        return run(args)
    except (DefinitionError, servers.ServerError) as error:
        print(f"experiment: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
