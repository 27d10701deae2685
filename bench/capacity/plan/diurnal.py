"""A day's rates from a CSV file, and what replicas it needs at each time.

Two columns with a header: `time` (`HH:MM`, hours, or an ISO date and time) and `rate` (requests a second, `500`,
`500/s`, `30000/m`). Each rate holds until the next line's time; the last until 24 hours after the first, or, where the
file covers a day or more, as long as the one before it.
"""

import contextlib
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from bench.capacity.model.model import CapacityModel
from bench.capacity.plan.plan import PlanOptions, PlanRow, plan
from bench.core.errors import UsageError, in_words
from bench.core.units import parse_rate
from bench.stats.estimate import Estimate

_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Span:
    """A rate that holds for a while.

    Args:
        label: the time as the file has it.
        start: seconds since the first line's time.
        seconds: how long.
        rate: requests a second.
    """

    label: str
    start: float
    seconds: float
    rate: float


@dataclass(frozen=True, slots=True)
class DiurnalPlan:
    """Replicas over a day.

    Args:
        spans: the rates.
        rows: the plan of each.
        peak: the plan of the highest rate, kept all day.
        hours_followed: replica hours where replicas follow the rate.
        hours_fixed: replica hours where the peak's replicas stay.
        price_followed: of those; None without a price.
        price_fixed: of those.
    """

    spans: tuple[Span, ...]
    rows: tuple[PlanRow, ...]
    peak: PlanRow
    hours_followed: float
    hours_fixed: float
    price_followed: float | None
    price_fixed: float | None


def read_diurnal(path: Path) -> tuple[Span, ...]:
    """The spans in a file.

    Raises:
        UsageError: it cannot be read, lacks a column, has a line that is none, or times that do not rise.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read as text ({in_words(error)}); give a CSV file with time and rate"
        ) from error
    rows = list(csv.DictReader(io.StringIO(text)))
    if len(rows) < 2 or not {"time", "rate"} <= rows[0].keys():
        raise UsageError(f"{path} needs a header with time and rate, and two lines or more")
    starts, rates = [], []
    for number, row in enumerate(rows, 2):
        try:
            starts.append(_seconds(str(row["time"])))
            rates.append(parse_rate(str(row["rate"])))
        except (UsageError, ValueError) as error:
            raise UsageError(f"{path} line {number}: {error}") from error
        if len(starts) > 1 and starts[-1] <= starts[-2]:
            raise UsageError(f"{path} line {number}: times must rise")
    lengths = [after - before for before, after in pairwise(starts)]
    covered = starts[-1] - starts[0]
    lengths.append(_DAY - covered if covered < _DAY else lengths[-1])
    return tuple(
        Span(str(row["time"]).strip(), start - starts[0], length, rate)
        for row, start, length, rate in zip(rows, starts, lengths, rates, strict=True)
    )


def _seconds(text: str) -> float:
    """Seconds of a time, since midnight or since 1970."""
    word = text.strip()
    for read in (_of_hours, _of_clock, lambda word: datetime.fromisoformat(word).timestamp()):
        with contextlib.suppress(ValueError):
            if math.isfinite(seconds := read(word)):
                return seconds
    raise UsageError(f"{word!r} is not a time; write it like 14:30, 14.5 or 2026-01-31T14:30")


def _of_hours(word: str) -> float:
    return float(word) * 3600


def _of_clock(word: str) -> float:
    parts = word.split(":")
    if len(parts) not in (2, 3) or "-" in word:
        raise ValueError(word)
    return sum(float(part) * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))


def plan_diurnal(model: CapacityModel, sustained: Estimate, spans: Sequence[Span], options: PlanOptions) -> DiurnalPlan:
    """Replicas for each span, and for the highest rate all day."""
    rows = tuple(plan(model, sustained, span.rate, options) for span in spans)
    peak = max(rows, key=lambda row: row.replicas)
    hours = [span.seconds / 3600 for span in spans]
    followed = sum(row.replicas * length for row, length in zip(rows, hours, strict=True))
    fixed = peak.replicas * sum(hours)
    price = options.price
    return DiurnalPlan(
        spans=tuple(spans),
        rows=rows,
        peak=peak,
        hours_followed=followed,
        hours_fixed=fixed,
        price_followed=None if price is None else followed * price,
        price_fixed=None if price is None else fixed * price,
    )
