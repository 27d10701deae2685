"""Values of metrics as text: three significant digits with their unit."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bench.analysis.metrics import Metric
from bench.core.units import (
    ABSENT,
    format_bytes,
    format_change,
    format_interval,
    format_number,
    format_percent,
    format_rate,
    format_seconds,
)
from bench.stats.estimate import Estimate

_WRITERS: Final[Mapping[str, Callable[[float], str]]] = {
    "s": format_seconds,
    "B": format_bytes,
    "share": format_percent,
    "1/s": format_rate,
}

_FACTOR_FROM: Final = 10
"""A ratio from which a change is shown as a factor instead of a percentage."""

MEANS: Final = (
    "The value of several runs is the mean of the VALID ones, of all where none is: the geometric mean, and the "
    "arithmetic one of shares and where a value is 0."
)


def metric_value(metric: Metric, value: float | None) -> str:
    """`value` of `metric`: `12.3 ms`, `48.2`, `0.21 %`, `1.35 cores`, `—`."""
    return ABSENT if value is None else writer(metric)(value)


def interval(metric: Metric, estimate: Estimate) -> str:
    """`[11.7 … 15.9 ms]`; "" without an interval."""
    return format_interval(estimate.lo, estimate.hi, writer(metric))


def writer(metric: Metric) -> Callable[[float], str]:
    """The function that formats a value of `metric`; the unit of a rate is in its title (`requests/s`)."""
    if metric.unit == "1/s" and metric.title.endswith(metric.unit[1:]):
        return format_number
    return _WRITERS.get(metric.unit) or (lambda value: f"{format_number(value)} {metric.unit}".rstrip())


def change(metric: Metric, estimate: Estimate) -> str:
    """A change: `+5.2 %` for a ratio, `+0.31 points` for proportions (percentage points)."""
    return ABSENT if estimate.center is None else _change(metric, estimate.center)


def change_interval(metric: Metric, estimate: Estimate) -> str:
    """The interval of a change, `[+2.1 … +8.4 %]`; "" without one."""
    return format_interval(estimate.lo, estimate.hi, lambda value: _change(metric, value))


def detectable(metric: Metric, size: float | None) -> str:
    """The smallest change that a comparison shows: `+3.1 %`, `+0.4 points`; "" where it is not known."""
    if size is None:
        return ""
    return _change(metric, size if metric.unit == "share" else 1 + size)


def _change(metric: Metric, value: float) -> str:
    if metric.unit == "share":
        sign = "+" if value > 0 else ""
        return f"{sign}{format_number(100 * value)} points"
    if value >= _FACTOR_FROM:
        return f"× {format_number(value)}"
    return f"{format_change(100 * (value - 1))} %"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns, the first left-aligned and the others right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
