"""Due times from a file: one number per line, or a column of a CSV file with a header."""

import csv
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from bench.core.bounded_files import check_rereadable
from bench.core.errors import UsageError
from bench.core.types import Floats, checked_fields

MOST_SPEED: Final = 1000.0
"""How many times as fast as it was recorded, or as slow, a trace can be replayed."""


@dataclass(frozen=True)
@checked_fields
class Trace:
    """Due times and their source.

    Args:
        path: the file, as given.
        column: the CSV column, or None for a file of plain numbers.
        origin: `zero` (times count from the run's start) or `first` (the earliest time is subtracted, for timestamps).
        speed: the times are divided by this: 2 replays twice as fast.
        due: seconds, float64 `[N]`, sorted, 0 or more. Two traces are equal if their digests are.
        digest: `sha256:` and the hex digest of `due`.
    """

    path: str
    column: str | None
    origin: str
    speed: float
    digest: str
    due: Floats = field(compare=False, repr=False)

    def options(self) -> dict[str, str]:
        """The options of the canonical text, defaults left out."""
        options = {"column": self.column} if self.column is not None else {}
        if self.origin != "zero":
            options["origin"] = self.origin
        if self.speed != 1:
            options["speed"] = repr(self.speed).removesuffix(".0")
        return options


def read_trace(path: Path, options: Mapping[str, str]) -> Trace:
    """Reads due times; `options` may hold `column`, `origin` and `speed`.

    Raises:
        UsageError: the file or column does not exist, a value is not a time, or there is none.
    """
    column, origin = options.get("column"), options.get("origin", "zero")
    if origin not in ("zero", "first"):
        raise UsageError(f"origin must be zero or first, not {origin!r}")
    speed = _speed(options.get("speed", "1"))
    due = np.sort(np.fromiter(_times(path, column), np.float64))
    if not due.size:
        raise UsageError(f"{path} has no due times; write one number of seconds per line")
    if origin == "first":
        due = due - due[0]
    if due[0] < 0:
        raise UsageError(f"{path} has a negative due time of {due[0]:g} s; let times start at 0, or add ,origin=first")
    if due[0] > 1e8:
        raise UsageError(f"{path} has timestamps, not seconds since the start of the run; add ,origin=first")
    due = due / speed
    digest = "sha256:" + hashlib.sha256(due.astype("<f8").tobytes()).hexdigest()
    return Trace(str(path), column, origin, speed, digest, due)


def _number(text: str) -> float:
    """The number in `text`; NaN for anything else, such as Python's `1_5`, which is 15."""
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


def _speed(text: str) -> float:
    speed = _number(text)
    if not 1 / MOST_SPEED <= speed <= MOST_SPEED:
        raise UsageError(
            f"speed must be from {1 / MOST_SPEED} to {MOST_SPEED:.0f}, not {text!r}; speed=2 replays twice as fast"
        )
    return speed


def _times(path: Path, column: str | None) -> Iterator[float]:
    try:
        # Each process of a run reads the trace.
        check_rereadable(path, "write the times into a file")
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line, text in _cells(file, path, column):
                yield _time(text, path, line)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}); give the file of a trace, as in trace:arrivals.csv"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text; write one number of seconds per line") from error
    except csv.Error as error:
        raise UsageError(f"{path} is not a CSV file ({error}); give a CSV with a header") from error


def _time(text: str, path: Path, line: int) -> float:
    value = _number(text)
    if not math.isfinite(value):
        hint = "give a CSV file's column as trace:FILE,column=NAME"
        raise UsageError(f"{path} line {line}: {text[:40]!r} is not a number of seconds; {hint}")
    return value


def _cells(file: Iterator[str], path: Path, column: str | None) -> Iterator[tuple[int, str]]:
    """Line numbers and texts of the due times, without blank lines and, in plain files, `#` comments."""
    if column is None:
        for number, line in enumerate(file, start=1):
            text = line.strip()
            if text and not text.startswith("#"):
                yield number, text
        return
    rows = csv.reader(file)
    header = [name.strip() for name in next(rows, [])]
    if column not in header:
        raise UsageError(f"{path} has no column {column!r}; its columns are {', '.join(header) or 'none'}")
    if header.count(column) > 1:
        raise UsageError(f"{path} has {header.count(column)} columns {column!r}; rename all but one")
    index = header.index(column)
    for row in rows:
        if row:
            yield rows.line_num, row[index] if index < len(row) else ""
