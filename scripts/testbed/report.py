"""report.html: one page that needs no other file, for somebody who was not there."""

import base64
import html
import statistics

from . import faults, figures, goals, terminal

# The short table colours a cell by its ratio to the baseline only when the interval leaves out 1.
LESS_IS_BETTER = {c: c != "throughput" for c in terminal.COLUMNS}

STYLE = """
:root { --ink:#1f2937; --soft:#6b7280; --line:#e5e7eb; --paper:#ffffff; --wash:#f8fafc;
        --good:#047857; --bad:#b91c1c; --open:#b45309; --accent:#0f766e; }
* { box-sizing:border-box; }
body { margin:0; background:var(--wash); color:var(--ink);
       font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif; }
main { max-width:1240px; margin:0 auto; padding:40px 24px 80px; }
header { border-bottom:3px solid var(--accent); padding-bottom:18px; margin-bottom:26px; }
h1 { font-size:30px; line-height:1.2; margin:0 0 6px; letter-spacing:-.01em; }
h2 { font-size:20px; margin:44px 0 12px; }
h3 { font-size:16px; margin:26px 0 4px; }
p { margin:0 0 12px; max-width:75ch; }
.meta, .caption { color:var(--soft); font-size:14px; }
.ask { display:grid; grid-template-columns:1fr 1fr; gap:20px; }
.ask div, .card, figure, .wide { background:var(--paper); border:1px solid var(--line);
       border-radius:10px; padding:16px 20px; }
.ask h3, .card h3 { margin:0 0 4px; font-size:13px; text-transform:uppercase; letter-spacing:.06em;
       color:var(--soft); }
.rules { display:grid; gap:10px; }
.card { display:grid; grid-template-columns:130px minmax(0,1fr) minmax(0,300px); gap:16px;
       align-items:center;
       border-left:5px solid var(--soft); padding:12px 18px; }
.card.holds { border-left-color:var(--good); } .card.holds b { color:var(--good); }
.card.fails { border-left-color:var(--bad); } .card.fails b { color:var(--bad); }
.card.open { border-left-color:var(--open); } .card.open b { color:var(--open); }
.card .number { font-variant-numeric:tabular-nums; color:var(--soft); font-size:14px;
       text-align:right; overflow-wrap:anywhere; }
.wide { overflow-x:auto; padding:6px 10px; }
table { border-collapse:collapse; width:100%; font-size:13.5px; font-variant-numeric:tabular-nums; }
th { font-weight:600; color:var(--soft); text-align:right; padding:8px; vertical-align:bottom;
     border-bottom:1px solid var(--line); }
th:first-child, td:first-child { text-align:left; }
td { padding:5px 8px; text-align:right; border-bottom:1px solid #f1f5f9; white-space:nowrap; }
td small { display:block; color:var(--soft); font-size:11.5px; line-height:1.2; }
tr.group td { font-weight:600; padding-top:14px; color:var(--accent); border-bottom-color:var(--line); }
td.better { color:var(--good); } td.worse { color:var(--bad); }
td.text, th.text { white-space:normal; text-align:left; }
td.reached { color:var(--good); } td.missed { color:var(--bad); } td.unknown { color:var(--open); }
figure { margin:0 0 18px; }
figure img { width:100%; height:auto; display:block; }
figcaption { margin-bottom:8px; } figcaption b { font-size:17px; }
.warn { background:#fffbeb; border:1px solid #fde68a; border-radius:10px; padding:12px 18px;
       margin:0 0 12px; }
dl { display:grid; grid-template-columns:190px 1fr; gap:4px 16px; font-size:14px; margin:0; }
dt { color:var(--soft); } dd { margin:0; overflow-wrap:anywhere; }
code { font-size:13px; background:#f1f5f9; padding:1px 5px; border-radius:4px; }
details summary { cursor:pointer; color:var(--accent); margin:10px 0; }
@media (max-width:760px) { .ask { grid-template-columns:1fr; } .card { grid-template-columns:1fr; } }
"""


def esc(text):
    return html.escape(str(text))


def render(comparison, manifest, plots, out):
    experiment = comparison.experiment
    parts = [_head(experiment, manifest), _warnings(comparison, manifest), _ask(experiment),
             _goals(comparison), _verdicts(comparison), _short_table(comparison)]
    parts.append("<h2>Pictures</h2>" + "".join(_figure(p) for p in plots))
    parts += [_all_ratios(comparison), _runs(comparison), _provenance(comparison, manifest)]
    page = (f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{esc(experiment.name)} · Quorate</title><style>{STYLE}</style></head>"
            f"<body><main>{''.join(parts)}</main></body></html>\n")
    path = out / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _head(experiment, manifest):
    commit = (manifest["source"]["commit"] or "unknown commit")[:12]
    dirty = " with uncommitted changes" if manifest["source"]["changed_files"] else ""
    setting = f" · setting {esc(experiment.setting)}" if experiment.setting else ""
    return (f"<header><h1>{esc(experiment.name)}</h1><p class=meta>{esc(manifest['started'])}"
            f"{setting} · {experiment.repetitions} repetitions · commit {esc(commit)}{dirty} · "
            f"{esc(manifest['machine']['cpu'])}, {manifest['machine']['cores']} cores</p></header>")


def _warnings(comparison, manifest):
    notes = []
    if manifest.get("interrupted"):
        notes.append("The experiment was interrupted: this is what had been measured by then.")
    for variant, why in comparison.absent.items():
        notes.append(f"<b>{esc(variant)}</b> did not run: {esc(why)}")
    if comparison.bad:
        notes.append(f"{len(comparison.bad)} runs ended void, partial or failed and are not counted: "
                     "see the list of runs.")
    crashed = sorted({r["variant"] for r in comparison.good if "server_exit" in r})
    if crashed:
        notes.append(f"After the measurement, when it was told to stop, the server of "
                     f"{esc(', '.join(crashed))} ended abnormally: see the list of runs.")
    load = manifest["machine"]["load_before"][0]
    if load > 0.5:
        notes.append(f"The machine was not idle before the start (load {load:.2f}): trust ratios "
                     "more than values.")
    return "".join(f"<p class=warn style='max-width:none'>{n}</p>" for n in notes)


def _ask(experiment):
    return (f"<div class=ask><div><h3>Question</h3>{esc(experiment.question)}</div>"
            f"<div><h3>Hypothesis</h3>{esc(experiment.hypothesis)}</div></div>")


GOAL_KINDS = {goals.REACHED: "reached", goals.MISSED: "missed", goals.UNKNOWN: "unknown"}


def _goals(comparison):
    rows = goals.rows(comparison)
    if not rows:
        return ""
    others = goals.peers(comparison)
    reached = sum(r.verdict == goals.REACHED for r in rows)
    counted = sum(r.verdict in GOAL_KINDS for r in rows)
    cells, last = [], None
    for row in rows:
        if row.figure is not last:
            last = row.figure
            cells.append(f"<tr class=group><td colspan={5 + len(others)} style='white-space:normal'>"
                         f"{esc(row.figure.text)}</td></tr>")
        beside = "".join(f"<td>{esc(goals.text(row.figure, goals.value(comparison, row.figure, name)))}"
                         "</td>" for name in others)
        times = f"{figures.three(row.times)}×" if row.times is not None else ""
        cells.append(f"<tr><td>{esc(row.variant)}</td><td class=text>{esc(goals.asked(row.figure))}</td>"
                     f"<td>{esc(goals.text(row.figure, row.value))}</td>{beside}<td>{times}</td>"
                     f"<td class='{GOAL_KINDS.get(row.verdict, '')}'>{esc(row.verdict)}</td></tr>")
    headings = "".join(f"<th>{esc(name)}</th>" for name in others)
    missing = "".join(f"<li>{esc(line)}</li>" for line in goals.gaps(comparison))
    return (f"<h2>Figures: {reached} of {counted} reached</h2><p class=caption>Medians over the "
            "repetitions. <i>less</i>: the other server's value divided by ours.</p>"
            "<div class=wide><table><tr><th></th><th class=text>asked</th><th>measured</th>"
            f"{headings}<th>less</th><th></th></tr>{''.join(cells)}</table></div>"
            + (f"<h3>Gaps</h3><ul>{missing}</ul>" if missing else ""))


def _verdicts(comparison):
    rows = comparison.verdicts()
    if not rows:
        return ""
    cards = []
    for rule, found, verdict, why in rows:
        kind = {"holds": "holds", "does": "fails"}.get(verdict.split()[0], "open")
        number = f"{found}" if found else esc(why)
        limit = f"limit {rule.at_most}x" if rule.at_most is not None else f"at least {rule.at_least}x"
        cards.append(f"<div class='card {kind}'><b>{esc(verdict)}</b><span>{esc(rule.text)}</span>"
                     f"<span class=number>{number}<br>{limit}</span></div>")
    return (f"<h2>Decision rule</h2><p class=caption>Ratios to <b>{esc(comparison.experiment.baseline)}"
            f"</b> with 95 % intervals. A rule holds or fails only if the whole interval lies on one "
            f"side of its limit.</p><div class=rules>{''.join(cards)}</div>")


def _cell(comparison, variant, slot, metric):
    value = comparison.median(variant, slot, metric)
    text = esc(comparison.text(variant, slot, metric))
    if value is None or variant == comparison.experiment.baseline:
        return f"<td>{text}</td>"
    found = comparison.ratio(variant, slot, metric)
    if found is None:
        return f"<td>{text}</td>"
    kind = ""
    if found.differs:
        kind = "better" if (found.value < 1) == LESS_IS_BETTER[metric] else "worse"
    return f"<td class='{kind}'>{text}<small>{found.value:.2f}×</small></td>"


def _short_table(comparison):
    headings = "".join(f"<th>{esc(figures.NAMES[c])}</th>" for c in terminal.COLUMNS)
    rows = []
    for workload in comparison.workloads:
        for slot in comparison.main_slots(workload):
            rows.append(f"<tr class=group><td colspan={len(terminal.COLUMNS) + 1}>"
                        f"{esc(slot.title)}</td></tr>")
            for variant in comparison.variants:
                cells = "".join(_cell(comparison, variant, slot, c) for c in terminal.COLUMNS)
                star = " ★" if variant == comparison.experiment.baseline else ""
                rows.append(f"<tr><td>{esc(variant)}{star}</td>{cells}</tr>")
    return (f"<h2>Numbers</h2><p class=caption>Medians over repetitions; below them the ratio to the "
            f"baseline ★, coloured where its 95 % interval leaves out 1. Memory, syncs and bytes are "
            f"of the whole run. <i>overloaded n/m</i>: in n of m runs the variant did not keep up with "
            f"the offered rate, so its latencies would leave out the worst.</p><div class=wide><table><tr><th></th>{headings}</tr>"
            f"{''.join(rows)}</table></div>")


def _figure(plot):
    data = base64.b64encode(plot.svg.read_bytes()).decode()
    return (f"<figure><figcaption><b>{esc(plot.title)}</b><div class=caption>{esc(plot.caption)}"
            f"</div></figcaption><img alt='{esc(plot.title)}' "
            f"src='data:image/svg+xml;base64,{data}'></figure>")


def _all_ratios(comparison):
    found = comparison.differences()
    if not found:
        return ""
    rows = "".join(
        f"<tr><td>{esc(variant)}</td><td class=text>{esc(slot.title)}</td>"
        f"<td>{esc(figures.NAMES[metric])}</td><td>{ratio.value:.3f}</td>"
        f"<td>{figures.MISSING if ratio.low is None else f'{ratio.low:.3f} – {ratio.high:.3f}'}</td>"
        f"<td>{ratio.pairs}</td><td>{'yes' if ratio.differs else 'no'}</td></tr>"
        for variant, slot, metric, ratio in found)
    return ("<h2>All ratios to the baseline</h2><details><summary>"
            f"{len(found)} comparisons, {sum(r.differs for *_, r in found)} of them with an interval "
            "that leaves out 1 (about one in twenty would by chance alone)</summary>"
            "<div class=wide><table><tr><th>variant</th><th>what</th><th>metric</th><th>ratio</th>"
            f"<th>95 % interval</th><th>pairs</th><th>differs</th></tr>{rows}</table></div></details>")


def _runs(comparison):
    rows = []
    for run in comparison.runs:
        note = run.get("reason", "")
        if run["outcome"] == "complete":
            unsent = run["numbers"].get("unsent", 0)
            notes = [faults.describe(run["numbers"]),
                     f"{unsent} operations were due and never sent" if unsent else "",
                     f"server ended with status {run['server_exit']}" if "server_exit" in run else ""]
            note = "; ".join(n for n in notes if n)
        rows.append(f"<tr><td>{run['number']}</td><td>{run['repetition'] + 1}</td>"
                    f"<td class=text>{esc(run['workload'])}</td><td class=text>{esc(run['variant'])}"
                    f"</td><td>{esc(run['outcome'])}</td><td>{run.get('loadavg', 0):.2f}</td>"
                    f"<td class=text>{esc(note)}</td></tr>")
    return ("<h2>Runs</h2><details><summary>All runs in the order in which they were made</summary>"
            "<div class=wide><table><tr><th>run</th><th>repetition</th><th>workload</th><th>variant"
            "</th><th>outcome</th><th>load before</th><th>remarks</th></tr>"
            f"{''.join(rows)}</table></div></details>")


def _probe_text(probe):
    if not probe:
        return "not measured"
    return ", ".join(f"{kind} file: median {figures.duration(probe[kind]['median_ns'])}, "
                     f"p99 {figures.duration(probe[kind]['p99_ns'])}"
                     for kind in ("growing", "preallocated") if kind in probe)


def _provenance(comparison, manifest):
    machine, build = manifest["machine"], manifest["build"]
    rows = [
        ("Commit", manifest["source"]["commit"]),
        ("Changed files", ", ".join(manifest["source"]["changed_files"] or []) or "none"),
        ("Build", f"{build['type']} ({build['flags']}), {build['compiler']}"),
        ("System", f"{machine['system']}, kernel {machine['kernel']}"),
        ("Processor", f"{machine['cpu']}, {machine['cores']} cores"),
        ("Disk", machine["disk"]),
        ("Append + fdatasync, 256 B", _probe_text(manifest["disk_probe"])),
        ("Load before", ", ".join(f"{x:.2f}" for x in machine["load_before"])),
        ("Seed", manifest["seed"]),
    ]
    for server, row in manifest["programs"].items():
        package = f", {row['package']}" if "package" in row else ""
        rows.append((server, f"{row['version']}{package}, sha256 {row['sha256'][:16]}"))
    for variant in manifest["variants"]:
        flags = " ".join(f"--{k}={v}" for k, v in variant["flags"].items()) or "no flags of its own"
        starts = [r["numbers"]["start_s"] for r in comparison.good
                  if r["variant"] == variant["name"] and "start_s" in r["numbers"]]
        ready = f"; ready after {statistics.median(starts):.2f} s" if starts else ""
        rows.append((f"Variant {variant['name']}",
                     variant.get("absent") or f"{variant['server']}, {flags}{ready}"))
    items = "".join(f"<dt>{esc(k)}</dt><dd>{esc(v)}</dd>" for k, v in rows)
    return (f"<h2>Where this comes from</h2><div class=wide style='padding:16px 20px'><dl>{items}</dl>"
            "</div><p class=caption style='margin-top:12px'>Raw histograms, series, logs and the exact "
            "workloads are in the folder of this report, under <code>runs/</code>.</p>")
