"""Latency against rate for many candidate stations at once, by simulation with common random numbers.

Every station sees the same gaps and the same ranks of work, only stretched to its own rate and sample: what differs
between two stations is then their parameters and not the luck of the draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from bench.capacity.queue.queue_model import Station
from bench.capacity.queue.vectorized_batch_queue import simulate_batches
from bench.capacity.queue.vectorized_queue import simulate_lanes
from bench.core.seeds import Stream, generator
from bench.stats.quantiles import rank_of

Floats = NDArray[np.float64]

SHARES: Final = (0.5, 0.9, 0.95, 0.99, 0.999)
"""The percentiles of every curve, as shares."""

COLUMNS: Final = ("mean", "p50", "p90", "p95", "p99", "p99.9")
"""What the last dimension of a curve counts."""

UNSTABLE: Final = 0.985
"""From this share of its capacity on, a station's latencies count as unbounded: they depend on when one looks."""

UNBOUNDED: Final = 1e4
"""What stands for an unbounded latency inside interpolation, seconds."""

_CHUNK: Final = 3_000_000
_WARM_UP: Final = 0.2
_TAIL: Final = 0.02


@dataclass(frozen=True, slots=True)
class Candidate:
    """A station, and the work that requests bring.

    Args:
        station: the station.
        work: work of sample requests, seconds, sorted.
    """

    station: Station
    work: Floats

    @property
    def capacity(self) -> float:
        """Requests a second when saturated."""
        return self.station.capacity(float(self.work.mean()))

    def calibrated(self, factor: float) -> "Candidate":
        """The same with latencies `factor` times as long, and no more capacity."""
        return replace(self, station=replace(self.station, calibration=factor))


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is simulated for each rate and candidate.

    Args:
        requests: requests of a lane, its warm-up included.
        lanes: lanes whose requests are pooled.
        seed: of the random numbers.
    """

    requests: int = 4000
    lanes: int = 2
    seed: int = 0


def latency_curves(candidates: Sequence[Candidate], rates: Sequence[float], effort: Effort) -> Floats:
    """Latency, seconds, `[candidates, rates, COLUMNS]` of Poisson arrivals at each rate, requests a second.

    Infinite where a station has not the capacity. All candidates are of one `Station.kind`.
    """
    rng = generator(effort.seed, Stream.RESAMPLING, 1)
    gaps = rng.exponential(1.0, (effort.lanes, effort.requests))
    ranks = rng.random((effort.lanes, effort.requests))
    units = np.cumsum(gaps, axis=1)
    found = np.full((len(candidates), len(rates), len(COLUMNS)), np.inf)
    jobs = [
        (index, place)
        for place, rate in enumerate(rates)
        for index, candidate in enumerate(candidates)
        if rate < UNSTABLE * candidate.capacity
    ]
    size = max(_CHUNK // (effort.lanes * effort.requests), 1)
    for begin in range(0, len(jobs), size):
        chunk = jobs[begin : begin + size]
        chosen = [(candidates[index], rates[place]) for index, place in chunk]
        found[tuple(np.transpose(chunk))] = _chunk(chosen, units, ranks)
    return found


def scheduled_columns(candidate: Candidate, schedules: Sequence[tuple[Floats, float]], lanes: int, seed: int) -> Floats:
    """Mean and percentiles of `lanes` runs of each schedule, which differ by the luck of their work alone.

    Args:
        candidate: the station and its work.
        schedules: for each, its due times, seconds, rising, and when its warm-up, which is not counted, ends.
        lanes: runs of each.
        seed: of the random numbers.

    Returns:
        Seconds, `[schedules, lanes, COLUMNS]`.
    """
    most = max(due.size for due, _ in schedules)
    # A shorter schedule goes on well after its end, where nothing can hold up what is counted.
    later = 60.0 + np.arange(1.0, most + 1)
    arrivals = np.array([np.concatenate((due, due[-1] + later[: most - due.size])) for due, _ in schedules])
    arrivals = np.repeat(arrivals, lanes, axis=0)
    work = _draw(candidate.work, generator(seed, Stream.RESAMPLING, 3).random(arrivals.shape))
    stayed = _stayed([candidate.station], arrivals, work).reshape(len(schedules), lanes, most)
    found = [
        column_values(np.ascontiguousarray(stayed[index, :, np.searchsorted(due, begins) : due.size]))
        for index, (due, begins) in enumerate(schedules)
    ]
    return candidate.station.latency(np.array(found))


def interpolate_curves(grid: Floats, curves: Floats, rates: Floats) -> Floats:
    """Curves `[..., grid, COLUMNS]` at other rates of the grid's span, `[..., rates, COLUMNS]`.

    Monotone between the grid's rates, on logarithms; unbounded latencies come out as `UNBOUNDED` or less.
    """
    logs = np.log(np.minimum(curves, UNBOUNDED))
    found: Floats = np.exp(PchipInterpolator(grid, logs, axis=-2)(np.clip(rates, grid[0], grid[-1])))
    return found


def _chunk(chosen: Sequence[tuple[Candidate, float]], units: Floats, ranks: Floats) -> Floats:
    """Mean and percentiles `[chosen, COLUMNS]`."""
    requests = units.shape[1]
    arrivals = np.concatenate([units / rate for _, rate in chosen])
    work = np.concatenate([_draw(candidate.work, ranks) for candidate, _ in chosen])
    stayed = _stayed([candidate.station for candidate, _ in chosen], arrivals, work)
    # The start is emptier than the long run, and at the end nobody comes after to share the speed with.
    kept = stayed[:, int(_WARM_UP * requests) : int((1 - _TAIL) * requests)].reshape(len(chosen), -1)
    columns = column_values(kept)
    return np.array([candidate.station.latency(row) for (candidate, _), row in zip(chosen, columns, strict=True)])


def _stayed(stations: Sequence[Station], arrivals: Floats, work: Floats) -> Floats:
    """How long requests stay in stations of one kind, each with as many of the lanes as the others, in order."""
    each = arrivals.shape[0] // len(stations)
    speeds = np.repeat(np.array([station.speeds for station in stations]), each, axis=0)
    batching = stations[0].batching
    if batching is None:
        return simulate_lanes(arrivals, work, speeds).stayed
    marginal = np.repeat([station.batching.marginal if station.batching else 0.0 for station in stations], each)
    return simulate_batches(arrivals, work, speeds, marginal, batching.largest, batching.timeout).stayed


def _draw(sample: Floats, ranks: Floats) -> Floats:
    """The sample's values at `ranks` (0 to 1)."""
    return np.asarray(sample[(ranks * sample.size).astype(np.intp)])


def column_values(latencies: Floats) -> Floats:
    """`COLUMNS` of each row of latencies, `[rows, COLUMNS]`; percentiles by nearest rank. Reorders the rows."""
    size = latencies.shape[1]
    places = [rank_of(share, size) for share in SHARES]
    latencies.partition(places, axis=1)
    return np.concatenate((latencies.mean(axis=1, keepdims=True), latencies[:, places]), axis=1)
