"""A run as a time series of its request records: the columns of `timeseries.csv`."""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Floats
from bench.results.blocks import NO_BYTES, OUTCOME_CODES
from bench.results.records import Outcome
from bench.stats.percentiles import PERCENTILES, rank_of

NEEDED: Final = ("due", "sent", "done", "outcome", "bytes_out", "bytes_in", "warmup")
"""Record columns that `TimeSeries.add` takes."""

_COLUMNS: Final = ("p50", "p95", "p99")
_SUMS: Final = (
    "due",
    "warmup",
    "sent",
    "done",
    *map(str, OUTCOME_CODES),
    "bytes_out",
    "bytes_in",
    "entered",
    "partial",
)


class TimeSeries:
    """Aggregates records by interval.

    `close` returns, float64, one value per interval:
        time: its start, seconds since the run began.
        warmup: 1 if requests of the warm-up were due in it, else 0.
        due, sent, done: requests that were due, sent, done in it.
        ok, ..., dropped: requests by outcome, in the interval in which they were done (a dropped one: was due).
        in_flight: mean number of requests sent and not done.
        bytes_out, bytes_in: of the requests done in it.
        from_due_p50, ... from_send_p99: percentiles of the successful requests *due* in it; NaN without one.

    Args:
        interval: length of an interval, seconds.
    """

    def __init__(self, interval: float = 1.0) -> None:
        self._interval = interval
        self._sums: dict[str, Floats] = {name: np.zeros(0) for name in _SUMS}
        self._latencies: list[tuple[NDArray[np.int64], Floats, Floats]] = []

    def add(self, columns: dict[str, NDArray[Any]]) -> None:
        """Adds records; `columns` are arrays of equal length, `NEEDED` at least."""
        due, sent, done, outcome = (columns[name] for name in ("due", "sent", "done", "outcome"))
        went = ~np.isnan(sent)
        due_bin = self._bin(due)
        end_bin = self._bin(np.where(went, done, due))
        self._count("due", due_bin)
        self._count("warmup", due_bin, columns["warmup"])
        self._count("sent", self._bin(sent[went]))
        self._count("done", end_bin[went])
        for name, code in OUTCOME_CODES.items():
            self._count(str(name), end_bin[outcome == code])
        for name in ("bytes_out", "bytes_in"):
            known = columns[name] != np.uint32(NO_BYTES)
            self._count(name, end_bin[known], columns[name][known])
        # Time in flight within an interval: the time after each send, less the time after each completion.
        for sign, times in ((1.0, sent[went]), (-1.0, done[went])):
            bins = self._bin(times)
            self._count("entered", bins, np.full(bins.size, sign))
            self._count("partial", bins, sign * ((bins + 1) * self._interval - times))
        ok = outcome == OUTCOME_CODES[Outcome.OK]
        self._latencies.append((due_bin[ok], done[ok] - due[ok], done[ok] - sent[ok]))

    def close(self) -> dict[str, Floats]:
        """The series, one value per interval from 0 to the last event."""
        length = max(values.size for values in self._sums.values())
        sums = {name: np.pad(values, (0, length - values.size)) for name, values in self._sums.items()}
        entered = sums.pop("entered")
        series = {
            "time": np.arange(length) * self._interval,
            "warmup": (sums.pop("warmup") > 0).astype(np.float64),
            "in_flight": np.cumsum(entered) - entered + sums.pop("partial") / self._interval,
        }
        return series | sums | self._percentiles(length)

    def successful_by_due(self) -> Floats:
        """The requests that the percentiles of each interval are of: the successful ones that were due in it."""
        bins = np.concatenate([np.zeros(0, np.int64), *(entry[0] for entry in self._latencies)])
        length = max(values.size for values in self._sums.values())
        return np.bincount(bins, minlength=length).astype(np.float64)

    def _bin(self, times: Floats) -> NDArray[np.int64]:
        return np.asarray(np.floor(times / self._interval), np.int64)

    def _count(self, name: str, bins: NDArray[np.int64], weights: NDArray[Any] | None = None) -> None:
        added = np.bincount(bins, weights)
        former = self._sums[name]
        total = np.zeros(max(added.size, former.size))
        total[: former.size] += former
        total[: added.size] += added
        self._sums[name] = total

    def _percentiles(self, length: int) -> dict[str, Floats]:
        columns = {
            f"{clock}_{name}": np.full(length, math.nan) for clock in ("from_due", "from_send") for name in _COLUMNS
        }
        if not self._latencies:
            return columns
        bins = np.concatenate([entry[0] for entry in self._latencies])
        edges = np.cumsum(np.bincount(bins, minlength=length))
        for index, clock in ((1, "from_due"), (2, "from_send")):
            values = np.concatenate([entry[index] for entry in self._latencies])
            values = values[np.lexsort((values, bins))]
            for interval, (start, end) in enumerate(zip(np.append(0, edges[:-1]), edges, strict=True)):
                for name in _COLUMNS if end > start else ():
                    rank = rank_of(PERCENTILES[name], int(end - start))
                    columns[f"{clock}_{name}"][interval] = values[start + rank]
        return columns


def to_csv(series: dict[str, Floats]) -> str:
    """The series as CSV text; NaN is an empty cell."""
    lines = [",".join(series)]
    lines += [
        ",".join("" if math.isnan(value) else f"{value:.9g}" for value in row)
        for row in zip(*series.values(), strict=True)
    ]
    return "\n".join(lines) + "\n"
