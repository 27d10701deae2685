"""What a report shows of a run beside its metrics: latency by time and by words, delays, the slowest requests."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.analysis.measured import Measured
from bench.core.types import Floats
from bench.results.blocks import OUTCOME_CODES, PROTOCOL_CODES, WRONG_KIND_CODES
from bench.results.parquet import Columns
from bench.results.records import Outcome
from bench.results.run_reader import Run
from bench.stats.estimate import Estimate
from bench.stats.percentile_intervals import percentile_intervals
from bench.stats.percentiles import PERCENTILES, nearest_rank

SLOWEST: Final = 20
"""Requests that are shown one by one."""
MAX_TIMES: Final = 150
"""Most columns of the heat map."""
_LATENCIES: Final = 48
"""Rows of the heat map."""
_MAX_GROUPS: Final = 16
"""Most groups of requests by words."""
_OF_GROUP: Final = ("p50", "p95", "p99")
_SHOWN: Final = ("due", "sent", "done", "outcome", "wrong_kind", "protocol", "words", "sentence", "sentences", "warmup")


@dataclass(frozen=True)
class HeatMap:
    """Successful requests by the time at which they were due and their latency from due.

    Args:
        times: edges, seconds since the run began, float64 `[T + 1]`.
        latencies: edges, seconds, equal steps of the logarithm, float64 `[L + 1]`.
        counts: requests, int64 `[T, L]`.
    """

    times: Floats
    latencies: Floats
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WordGroup:
    """Successful requests of about equal size.

    Args:
        least: fewest words of a request.
        most: most words of a request.
        requests: number of them.
        latencies: percentiles of the latency from due by name, seconds.
    """

    least: int
    most: int
    requests: int
    latencies: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class SlowRequest:
    """One of the slowest requests.

    Args:
        due: seconds since the run began.
        sent: seconds since the run began.
        done: seconds since the run began.
        outcome: how it ended.
        wrong_kind: the kind of a wrong answer, "" for other outcomes.
        protocol: `rest` or `grpc`.
        words: words scored.
        sentence: index of its first sentence in the golden file.
        sentences: number of sentences.
    """

    due: float
    sent: float
    done: float
    outcome: str
    wrong_kind: str
    protocol: str
    words: int
    sentence: int
    sentences: int

    @property
    def latency(self) -> float:
        """Latency from due, seconds."""
        return self.done - self.due


@dataclass(frozen=True)
class RunProfile:
    """The profile of one run; `run_profile` makes it.

    Args:
        heat_map: None without a successful request.
        words: groups by words, in order.
        start_delay: by name, one value an interval: `time` (its start), `p50` and `p99` (seconds, of the requests due
            in it; NaN without one).
        wrong: wrong answers by kind in each interval, by when they were done; kinds without one are left out.
        slowest: the requests with the largest latency from due, whatever their outcome, the slowest first.
    """

    heat_map: HeatMap | None
    words: tuple[WordGroup, ...]
    start_delay: dict[str, Floats]
    wrong: dict[str, Floats]
    slowest: tuple[SlowRequest, ...]


def run_profile(run: Run, measured: Measured, interval: float) -> RunProfile:
    """The profile of `run`, whose records are `measured`.

    Args:
        run: the stored run.
        measured: its measured part.
        interval: length of the intervals of time series, seconds.

    Raises:
        UsageError: the records cannot be read.
    """
    return RunProfile(
        heat_map=_heat_map(measured),
        words=tuple(_word_groups(measured)),
        start_delay=_start_delay(measured, interval),
        wrong=_wrong(measured, interval),
        slowest=_slowest(run),
    )


def _heat_map(measured: Measured) -> HeatMap | None:
    ok = measured.ok
    due = measured.due[ok]
    latency = np.maximum(measured.done[ok] - due, 1e-6)
    if not due.size or measured.seconds <= 0:
        return None
    # Columns of a whole number of tenths of a second, or of seconds, so that an edge can be read.
    step = _step(measured.seconds / MAX_TIMES)
    columns = math.ceil(measured.seconds / step - 1e-9)
    low, high = math.log(float(latency.min())), math.log(float(latency.max()))
    # A fastest and a slowest request that are equal still need a row each.
    span = max(high - low, 0.1)
    rows = min(_LATENCIES, max(8, math.ceil(span / 0.05)))
    at = np.minimum(((due - measured.begins) / step).astype(np.int64), columns - 1)
    level = np.minimum(((np.log(latency) - low) / span * rows).astype(np.int64), rows - 1)
    counts = np.bincount(at * rows + level, minlength=columns * rows).reshape(columns, rows)
    times = measured.begins + step * np.arange(columns + 1)
    return HeatMap(times, np.exp(low + span * np.arange(rows + 1) / rows), counts)


def _step(least: float) -> float:
    """The smallest of 0.1, 0.2, 0.5, 1, 2, 5, 10, ... s that is not below `least`."""
    scale = 10.0 ** max(math.floor(math.log10(least)), -1) if least > 0 else 0.1
    return next(scale * factor for factor in (1, 2, 5, 10, 20) if scale * factor >= least - 1e-12)


def _word_groups(measured: Measured) -> Iterator[WordGroup]:
    ok = measured.ok
    words, latency = measured.words[ok], measured.done[ok] - measured.due[ok]
    if not words.size:
        return
    distinct = np.unique(words)
    if distinct.size > _MAX_GROUPS:
        # About equally many requests in each group; a large group of equal requests stays one.
        ends = np.unique(np.quantile(words, np.arange(1, _MAX_GROUPS + 1) / _MAX_GROUPS, method="inverted_cdf"))
    else:
        ends = distinct
    group = np.searchsorted(ends, words)
    for index in range(ends.size):
        here = group == index
        if not here.any():
            continue
        found = percentile_intervals(_OF_GROUP, latency[here], [PERCENTILES[name] for name in _OF_GROUP])
        inside = words[here]
        estimates = dict(zip(_OF_GROUP, found, strict=True))
        yield WordGroup(int(inside.min()), int(inside.max()), int(inside.size), estimates)


def _start_delay(measured: Measured, interval: float) -> dict[str, Floats]:
    length = math.ceil(measured.ends / interval - 1e-9) if measured.due.size else 0
    time = np.arange(length) * interval
    found = {"time": time, "p50": np.full(length, math.nan), "p99": np.full(length, math.nan)}
    delays = measured.sent - measured.due
    edges = np.searchsorted(measured.due, np.append(time, math.inf))
    for index in range(length):
        here = delays[edges[index] : edges[index + 1]]
        here = here[~np.isnan(here)]
        if here.size:
            found["p50"][index], found["p99"][index] = nearest_rank(here, [0.5, 0.99])
    return found


def _wrong(measured: Measured, interval: float) -> dict[str, Floats]:
    found = {}
    for kind, code in WRONG_KIND_CODES.items():
        done = measured.done[measured.wrong_kind == code]
        if kind is not None and done.size:
            found[str(kind)] = np.bincount((done / interval).astype(np.int64)).astype(np.float64)
    length = max((values.size for values in found.values()), default=0)
    return {kind: np.pad(values, (0, length - values.size)) for kind, values in found.items()}


def _slowest(run: Run) -> tuple[SlowRequest, ...]:
    kept: list[tuple[float, Columns, int]] = []
    for batch in run.batches(_SHOWN):
        latency = np.where(batch["warmup"], math.nan, batch["done"] - batch["due"])
        known = np.flatnonzero(~np.isnan(latency))
        if known.size > SLOWEST:
            known = known[np.argpartition(latency[known], -SLOWEST)[-SLOWEST:]]
        row = {name: values[known] for name, values in batch.items()}
        kept += [(float(latency[index]), row, place) for place, index in enumerate(known)]
        kept = sorted(kept, key=lambda entry: -entry[0])[:SLOWEST]
    return tuple(_request(row, place) for _, row, place in kept)


def _request(row: Columns, place: int) -> SlowRequest:
    kind = _name(WRONG_KIND_CODES, row["wrong_kind"][place])
    return SlowRequest(
        due=float(row["due"][place]),
        sent=float(row["sent"][place]),
        done=float(row["done"][place]),
        outcome=str(Outcome(_name(OUTCOME_CODES, row["outcome"][place]))),
        wrong_kind="" if kind == "None" else kind,
        protocol=_name(PROTOCOL_CODES, row["protocol"][place]),
        words=int(row["words"][place]),
        sentence=int(row["sentence"][place]),
        sentences=int(row["sentences"][place]),
    )


def _name(codes: Mapping[str, int] | Mapping[str | None, int], code: int) -> str:
    """The name of a code in one of the tables of `bench.results.blocks`."""
    return next(str(name) for name, number in codes.items() if number == code)
