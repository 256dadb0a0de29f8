"""The table that a run leaves on the terminal; plain text where there is none."""

import sys

from . import figures, goals

COLUMNS = ("throughput", "p50", "p99", "p999", "cpu_us_per_op", "syncs_per_write",
           "bytes_per_payload", "peak_rss")


def table(comparison):
    """(headings, rows); a row without cells is a heading."""
    headings = ["", *(figures.NAMES[c] for c in COLUMNS)]
    rows = []
    for workload in comparison.workloads:
        for slot in comparison.main_slots(workload):
            rows.append([slot.title])
            for variant in comparison.variants:
                mark = " *" if variant == comparison.experiment.baseline else ""
                cells = [comparison.text(variant, slot, c) for c in COLUMNS]
                rows.append([f"  {variant}{mark}", *cells])
    return headings, rows


def lines_after(comparison):
    """What is said below the table."""
    out = [f"medians of {comparison.experiment.repetitions} repetitions; * is the baseline; "
           "overloaded n/m: in n of m runs operations were due and never sent"]
    for rule, found, verdict, why in comparison.verdicts():
        detail = f": {found}" if found else f": {why}"
        out.append(f"{verdict.upper():<14} {rule.text}{detail}")
    out += figure_lines(comparison)
    for variant, why in comparison.absent.items():
        out.append(f"NOT RUN        {variant}: {why}")
    for run in comparison.bad:
        out.append(f"NOT COUNTED    run {run['number']} ({run['workload']}, {run['variant']}): "
                   f"{run['outcome']}, {run.get('reason', '')}")
    for run in comparison.good:
        if "server_exit" in run:
            out.append(f"ATTENTION      run {run['number']} ({run['workload']}, {run['variant']}): "
                       f"the server ended with status {run['server_exit']} when it was stopped")
    return out


def figure_lines(comparison):
    """Each figure that was asked for, and below them one line per gap."""
    rows = goals.rows(comparison)
    lines = []
    for row in rows:
        times = f" ({figures.three(row.times)}x less)" if row.times is not None else ""
        lines.append(f"{row.verdict.upper():<14} {row.figure.text}, {row.variant}: "
                     f"{goals.text(row.figure, row.value)}{times}; asked {goals.asked(row.figure)}")
    gaps = goals.gaps(comparison)
    return lines + [f"GAP            {line}" for line in gaps]


def show(comparison):
    headings, rows = table(comparison)
    if sys.stdout.isatty():
        _rich(headings, rows)
    else:
        _plain(headings, rows)
    for line in lines_after(comparison):
        print(line)


def _plain(headings, rows):
    full = [r for r in rows if len(r) > 1]
    widths = [max((len(r[i]) for r in [headings, *full]), default=0) for i in range(len(headings))]
    print("  ".join(h.rjust(w) if i else h.ljust(w)
                    for i, (h, w) in enumerate(zip(headings, widths, strict=True))))
    for row in rows:
        if len(row) == 1:
            print(row[0])
            continue
        print("  ".join(c.rjust(w) if i else c.ljust(w)
                        for i, (c, w) in enumerate(zip(row, widths, strict=True))))


def _rich(headings, rows):
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, header_style="bold", pad_edge=False)
    for i, heading in enumerate(headings):
        grid.add_column(heading, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        if len(row) == 1:
            grid.add_row(f"[bold cyan]{row[0]}[/]")
        else:
            grid.add_row(*row)
    Console().print(grid)
