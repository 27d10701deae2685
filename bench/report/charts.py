"""Charts as data for the page's script: series with their units, requests and intervals, without a line of drawing.

The script `assets/report.js` draws every chart from these values and makes the table beside it from them too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from bench.analysis.run_profile import HeatMap
from bench.core.types import Floats

DIGITS: Final = 6
"""Significant digits of a value in a chart: more than a screen resolves."""

BLUE, ORANGE, GREEN, PURPLE, RED, SKY, BLACK, GREY = range(8)
"""The page's palette, in the order of `bench.report.plots.SERIES`."""
COLORS: Final = 8
"""Colours of the page's palette."""

TIME: Final = "time"
PERCENTILE: Final = "percentile"
WORDS: Final = "words"


@dataclass(frozen=True)
class Series:
    """A line.

    Args:
        label: in the legend.
        values: base units, NaN where there is none, float64 `[N]`.
        color: index in the page's palette.
        dash: 0 for a solid line, 1 for a dashed and 2 for a dotted one.
        counts: the requests that each value is of, float64 `[N]`; None where that has no meaning.
        needs: requests that a value needs to be more than the largest of a few; 0 for none.
        steps: whether a value holds for its whole interval.
        group: lines of one group have one entry in the legend, with this label; "" for a line of its own.
    """

    label: str
    values: Floats
    color: int
    dash: int = 0
    counts: Floats | None = None
    needs: int = 0
    steps: bool = False
    group: str = ""

    def to_json(self) -> dict[str, Any]:
        """For the script."""
        names = ("label", "color", "dash", "needs", "steps", "group")
        plain: dict[str, Any] = {name: getattr(self, name) for name in names}
        counts = None if self.counts is None else numbers(self.counts)
        return {**plain, "values": numbers(self.values), "counts": counts}


@dataclass(frozen=True, slots=True)
class Mark:
    """An estimate with its interval, drawn as a dot with a bar.

    Args:
        x: place on the x axis.
        label: what it is.
        center: base units.
        lo: lower end of the interval; None is open.
        hi: upper end.
        n: requests, or effective requests, that it is based on.
        color: index in the page's palette.
        group: of the lines that it belongs to; "" for those of its colour, which have no group either.
    """

    x: float
    label: str
    center: float
    lo: float | None
    hi: float | None
    n: float
    color: int
    group: str = ""

    def to_json(self) -> dict[str, Any]:
        """For the script."""
        ends = {name: _rounded(getattr(self, name)) for name in ("x", "center", "lo", "hi")}
        return {"label": self.label, "n": math.floor(self.n), "color": self.color, "group": self.group, **ends}


@dataclass(frozen=True)
class Chart:
    """One chart.

    Args:
        name: letters and dashes; the element's id on the page.
        title: for people.
        note: what is shown, of how many requests.
        x: places of the values, float64 `[N]`.
        x_kind: `time` (seconds since the run began), `percentile` (fractions), `words`, `rate` (requests/s) or `users`.
        y_label: what the values are.
        y_unit: `s`, `1/s`, `cores`, `B` or "" for a count.
        series: lines.
        log: whether the y axis is logarithmic.
        marks: estimates.
        heat: a heat map instead of lines.
    """

    name: str
    title: str
    note: str
    x: Floats
    x_kind: str
    y_label: str
    y_unit: str
    series: Sequence[Series]
    log: bool = False
    marks: Sequence[Mark] = field(default=())
    heat: HeatMap | None = None

    def to_json(self) -> dict[str, Any]:
        """For the script."""
        names = ("name", "title", "note", "x_kind", "y_label", "y_unit", "log")
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        found |= {
            "x": numbers(self.x),
            "series": [entry.to_json() for entry in self.series],
            "marks": [mark.to_json() for mark in self.marks],
        }
        if self.heat is not None:
            found["heat"] = {
                "times": numbers(self.heat.times),
                "latencies": numbers(self.heat.latencies),
                "counts": self.heat.counts.tolist(),
            }
        return found


def numbers(values: Floats) -> list[float | int | None]:
    """Values for JSON: `DIGITS` significant digits, None for NaN."""
    return [_rounded(value) for value in np.asarray(values, np.float64).tolist()]


def _rounded(value: float | None) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
