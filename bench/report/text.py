"""Figures as text for people: three significant digits with their unit."""

from collections.abc import Sequence

from bench.analysis.metrics import Metric
from bench.stats.summary import Summary
from bench.units import format_bytes, format_seconds

NONE = "—"
"""What stands where there is no figure."""


def figure(metric: Metric, value: float | None) -> str:
    """`value` of `metric`: `12.3 ms`, `48.2/s`, `0.21 %`, `1.35 cores`, `—`."""
    if value is None:
        return NONE
    if metric.unit == "s":
        return format_seconds(value)
    if metric.unit == "B":
        return format_bytes(value)
    if metric.unit == "share":
        return f"{100 * value:.3g} %"
    if metric.unit == "1/s":
        return f"{digits(value)}/s"
    return f"{digits(value)} {metric.unit}".rstrip()


def digits(value: float) -> str:
    """Three significant digits, in full: `1,520`, `48.2`, `0.0123`."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def interval(metric: Metric, summary: Summary) -> str:
    """`11.7 ms … 15.9 ms`, with `…` alone for an open end; "" without an interval."""
    if summary.lo is None and summary.hi is None:
        return ""
    return " … ".join("" if end is None else figure(metric, end) for end in (summary.lo, summary.hi)).strip()


def change(metric: Metric, summary: Summary) -> str:
    """A change: `+5.2 %` for a ratio, `+0.31 points` for shares (percentage points)."""
    return NONE if summary.center is None else _change(metric, summary.center)


def change_interval(metric: Metric, summary: Summary) -> str:
    """The interval of a change; "" without one."""
    if summary.lo is None or summary.hi is None:
        return ""
    return f"{_change(metric, summary.lo)} … {_change(metric, summary.hi)}"


def _change(metric: Metric, value: float) -> str:
    if metric.unit == "share":
        return f"{100 * value:+.3g} points"
    if value >= 10:
        return f"× {value:.3g}"
    return f"{100 * (value - 1):+.1f} %"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns, the first to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
