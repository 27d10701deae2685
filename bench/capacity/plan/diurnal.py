"""The rates of a day from a CSV file, and the replicas at each time.

The file has two columns with a header: `time` (`HH:MM`, hours, or an ISO date and time) and `rate` (requests a second:
`500`, `500/s`, `30000/m`). A date and time without an offset from UTC is taken as it stands, wherever the file is read,
so a day has 24 hours; one with an offset is that moment. A file has times of a day, dates without an offset, or dates
with one, and no mixture. Each rate holds until the time of the next line. The last one holds until 24 hours after the
first; where the file covers a day or more, it holds as long as the one before it.
"""

import contextlib
import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.plan.plan import PlanOptions, PlanRow, plan
from bench.core.bounded_files import MEBIBYTE, read_regular
from bench.core.errors import UsageError, in_words
from bench.core.types import checked_fields
from bench.core.units import parse_number, parse_rate
from bench.stats.estimate import Estimate

_DAY: Final = 86_400.0
_MOST_BYTES: Final = MEBIBYTE
_MOST_HOURS: Final = 366 * 24
"""A larger number is not taken for hours: 20260131."""
_CLOCK: Final = re.compile(r"([0-9]{1,4}):([0-5]?[0-9])(?::([0-5]?[0-9]))?")
_OF_DAY: Final = "a time of day"
_LOCAL: Final = "a date and time without an offset from UTC"
_IN_UTC: Final = "a date and time with its offset from UTC"


@dataclass(frozen=True, slots=True)
@checked_fields
class Span:
    """A time of constant rate.

    Args:
        label: the time as written in the file.
        start: seconds since the first time.
        seconds: length.
        rate: requests/s.
    """

    label: str
    start: float
    seconds: float
    rate: float

    def __post_init__(self) -> None:
        if not (0 <= self.start < math.inf and 0 < self.seconds < math.inf):
            raise UsageError(f"a time of {self.seconds} seconds that begins at {self.start}")


def day_length(spans: Sequence[Span]) -> float:
    """Length of a day, seconds."""
    return spans[-1].start + spans[-1].seconds


@dataclass(frozen=True, slots=True)
class DiurnalPlan:
    """The replicas of a day.

    Args:
        spans: the rates.
        rows: the plan of each span.
        peak: the plan of the highest rate.
        hours_followed: replica hours, with replicas that follow the rate.
        hours_fixed: replica hours, with the replicas of the peak all day.
        price_followed: price of `hours_followed`; None without a price.
        price_fixed: price of `hours_fixed`; None without a price.
    """

    spans: tuple[Span, ...]
    rows: tuple[PlanRow, ...]
    peak: PlanRow
    hours_followed: float
    hours_fixed: float
    price_followed: float | None
    price_fixed: float | None


def read_diurnal(path: Path) -> tuple[Span, ...]:
    """Reads the spans in a file.

    Raises:
        UsageError: the file cannot be read, lacks a column, has a malformed line, or its times do not increase.
    """
    try:
        text = read_regular(path, _MOST_BYTES).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        # Blank lines make no row, and a cell in quotes may have several lines.
        numbered = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{path} cannot be read as text ({in_words(error)}); give a CSV file with time and rate"
        ) from error
    rows = [row for _, row in numbered]
    if len(rows) < 2 or not {"time", "rate"} <= rows[0].keys():
        raise UsageError(f"{path} needs a header with time and rate, and at least two lines")
    starts, rates, first = [], [], ""
    for number, row in numbered:
        try:
            start, kind = _seconds(_cell(row, "time"))
            starts.append(start)
            if kind != (first := first or kind):
                raise UsageError(
                    f"{row['time']!r} is {kind}, and {rows[0]['time']!r} is {first}; write all times alike"
                )
            rates.append(parse_rate(_cell(row, "rate")))
        except (UsageError, ValueError) as error:
            raise UsageError(f"{path} line {number}: {error}") from error
        if len(starts) > 1 and starts[-1] <= starts[-2]:
            raise UsageError(f"{path} line {number}: the time does not increase; sort the lines by time")
    lengths = [after - before for before, after in pairwise(starts)]
    covered = starts[-1] - starts[0]
    lengths.append(_DAY - covered if covered < _DAY else lengths[-1])
    return tuple(
        Span(str(row["time"]).strip(), start - starts[0], length, rate)
        for row, start, length, rate in zip(rows, starts, lengths, rates, strict=True)
    )


def _cell(row: Mapping[str, str | None], name: str) -> str:
    """A cell of a line; a line may have fewer than the header."""
    if not (text := row[name]):
        raise UsageError(f"it has no {name}; write one value for each column of the header")
    return text


def _seconds(text: str) -> tuple[float, str]:
    """A time as seconds since midnight or since 1970, and what kind of time it is."""
    word = text.strip()
    for read in (_of_hours, _of_clock, _of_date):
        with contextlib.suppress(ValueError, UsageError):
            return read(word)
    raise UsageError(f"{word!r} is not a time; write it like 14:30, 14.5 or 2026-01-31T14:30")


def _of_hours(word: str) -> tuple[float, str]:
    return parse_number(word, 0, _MOST_HOURS) * 3600, _OF_DAY


def _of_clock(word: str) -> tuple[float, str]:
    if not (found := _CLOCK.fullmatch(word)):
        raise ValueError(word)
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    if hours > _MOST_HOURS:
        raise ValueError(word)
    return float(hours * 3600 + minutes * 60 + seconds), _OF_DAY


def _of_date(word: str) -> tuple[float, str]:
    if word.isdigit():
        # Digits alone could be hours, a date or seconds since 1970.
        raise ValueError(word)
    found = datetime.fromisoformat(word)
    # A time without an offset would be one of this machine's time zone, with its changes of the clock.
    local = found.tzinfo is None
    return (found.replace(tzinfo=UTC) if local else found).timestamp(), _LOCAL if local else _IN_UTC


def plan_diurnal(model: CapacityModel, sustained: Estimate, spans: Sequence[Span], options: PlanOptions) -> DiurnalPlan:
    """Plans the replicas of each span, and of the highest rate all day."""
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
