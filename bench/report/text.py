"""Values of metrics as text: three significant digits with their unit.

`assets/format.js` has the same for pages.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bench.analysis.metrics import Metric
from bench.core.units import (
    ABSENT,
    change_places,
    format_apart,
    format_bytes,
    format_change,
    format_interval,
    format_number,
    format_percent,
    format_rate,
    format_seconds,
)
from bench.stats.estimate import Estimate

_FIGURES: Final[Mapping[str, Callable[[float, int], str]]] = {
    "s": format_seconds,
    "B": format_bytes,
    "share": format_percent,
    "1/s": format_rate,
}

_FACTOR_FROM: Final = 10
"""A ratio from which a change is shown as a factor instead of a percentage."""
_NEAR_NONE: Final = 0.0005
"""A ratio below which a percentage with one place would read as -100.0 %."""
_DIGITS: Final = 3

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
    figure = _figure(metric)
    return lambda value: figure(value, _DIGITS)


def values_apart(metric: Metric, one: float | None, other: float | None) -> tuple[str, str]:
    """Two values of `metric`, with as many digits as distinguish them if they differ."""
    if one is None or other is None:
        return metric_value(metric, one), metric_value(metric, other)
    return format_apart(one, other, _figure(metric))


def _figure(metric: Metric) -> Callable[[float, int], str]:
    """The function that formats a value of `metric` with so many significant digits."""
    if metric.unit == "1/s" and metric.title.endswith(metric.unit[1:]):
        return format_number
    return _FIGURES.get(metric.unit) or (lambda value, digits: f"{format_number(value, digits)} {metric.unit}".rstrip())


def change(metric: Metric, estimate: Estimate) -> str:
    """A change: `+5.2 %` for a ratio, `+0.31 points` for proportions (percentage points).

    One that its interval says to be there does not read as none: `+0.025 %`.
    """
    return ABSENT if estimate.center is None else _change(metric, estimate.center, _least(metric, estimate))


def change_interval(metric: Metric, estimate: Estimate) -> str:
    """The interval of a change, `[+2.1 … +8.4 %]`; "" without one."""
    least = _least(metric, estimate)
    return format_interval(estimate.lo, estimate.hi, lambda value: _change(metric, value, least))


def detectable(metric: Metric, size: float | None) -> str:
    """The smallest change that a comparison shows: `+3.1 %`, `+0.40 points`; "" where it is not known."""
    if size is None:
        return ""
    return _change(metric, size if metric.unit == "share" else 1 + size)


def _least(metric: Metric, estimate: Estimate) -> float:
    """Percent up to which a change of a ratio is not told from none; of proportions each digit may count."""
    lo, hi = estimate.lo, estimate.hi
    sure = (lo is not None and lo > 1) or (hi is not None and hi < 1)
    return 0.0 if metric.unit == "share" or sure else math.inf


def _change(metric: Metric, value: float, least: float = 0.0) -> str:
    if metric.unit == "share":
        return f"{format_change(100 * value)} points"
    if value >= _FACTOR_FROM:
        return f"× {format_number(value)}"
    if 0 < value < _NEAR_NONE:
        # Only 0 is -100 %.
        return f"{100 * (value - 1):.{change_places(100 * value) - 1}f} %"
    return f"{format_change(100 * (value - 1), least)} %"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns, the first left-aligned and the others right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
