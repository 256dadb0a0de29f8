"""How numbers are written for people, the same in the terminal and in the report."""

NAMES = {
    "throughput": "throughput", "p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9",
    "max": "max", "cpu_us_per_op": "CPU per op", "bytes_per_payload": "bytes written per byte",
    "peak_rss": "peak memory", "syncs_per_write": "syncs per write",
}
MISSING = "–"


def three(value):
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def duration(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{three(ns / size)} {unit}"
    return f"{ns:.0f} ns"


def text(metric, value):
    if value is None:
        return MISSING
    if metric == "throughput":
        return f"{value:,.0f}/s" if value >= 100 else f"{value:.1f}/s"
    if metric in ("p50", "p90", "p99", "p999", "max"):
        return duration(value)
    if metric == "cpu_us_per_op":
        return f"{three(value)} µs"
    if metric == "bytes_per_payload":
        return f"{three(value)} ×"
    if metric == "peak_rss":
        return f"{three(value / 2**20)} MiB"
    return three(value)
