"""Latency by rate of many parameter sets, simulated with common random numbers.

All sets see the same gaps and the same ranks of work, scaled to their own rate and sample. Two sets then differ by
their parameters only, not by the random numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.interpolate import PchipInterpolator

from bench.capacity.queue.queue_model import QueueModel
from bench.capacity.queue.vectorized_batch_queue import simulate_batches
from bench.capacity.queue.vectorized_queue import simulate_queues
from bench.core.seeds import Stream, generator
from bench.core.types import Floats, checked_fields
from bench.stats.percentiles import LATENCIES, PERCENTILES, rank_of

QUANTILES: Final = tuple(PERCENTILES.values())
"""The percentiles of a table, as fractions."""

COLUMNS: Final = LATENCIES
"""Names of the values in the last dimension of a table."""

UNSTABLE: Final = 0.985
"""From this fraction of the capacity on, latency counts as unbounded: it depends on the length of the run."""

UNBOUNDED: Final = 1e4
"""Value of an unbounded latency in interpolation, seconds."""

_CHUNK: Final = 3_000_000
_WARM_UP: Final = 0.2
_TAIL: Final = 0.02


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """A queue model and the work of requests.

    Args:
        queue_model: the server.
        work: sample of the work of requests, seconds, sorted.
    """

    queue_model: QueueModel
    work: Floats

    def __post_init__(self) -> None:
        if self.work.ndim != 1 or not self.work.size:
            raise ValueError("the sample of the work is empty")
        if not ((self.work >= 0) & (self.work < UNBOUNDED)).all() or not self.work[-1] > 0:
            raise ValueError("the work of requests must be 0 s or more, and above 0 s for one")

    @property
    def capacity(self) -> float:
        """Saturation rate, requests/s."""
        return self.queue_model.capacity(float(self.work.mean()))

    def with_speed_factor(self, speed_factor: float) -> "ParameterSet":
        """A copy with this `QueueModel.speed_factor`."""
        return replace(self, queue_model=replace(self.queue_model, speed_factor=speed_factor))


@dataclass(frozen=True, slots=True)
@checked_fields
class Effort:
    """Size of a simulation for each rate and parameter set.

    Args:
        requests: number of requests in a queue, including the warm-up.
        queues: number of queues whose requests are pooled.
        seed: random seed.
    """

    requests: int = 4000
    queues: int = 2
    seed: int = 0


REFERENCE: Final = Effort(requests=8000, queues=200, seed=1)
"""The simulation of a central latency table."""


def latency_tables(parameter_sets: Sequence[ParameterSet], rates: Sequence[float], effort: Effort) -> Floats:
    """Latency of Poisson arrivals at each rate (requests/s), seconds, `[parameter_sets, rates, COLUMNS]`.

    Infinite where the rate exceeds the capacity. All parameter sets have the same `QueueModel.kind`.
    """
    rng = generator(effort.seed, Stream.RESAMPLING, 1)
    gaps = rng.exponential(1.0, (effort.queues, effort.requests))
    ranks = rng.random((effort.queues, effort.requests))
    units = np.cumsum(gaps, axis=1)
    found = np.full((len(parameter_sets), len(rates), len(COLUMNS)), np.inf)
    jobs = [
        (index, place)
        for place, rate in enumerate(rates)
        for index, parameter_set in enumerate(parameter_sets)
        if rate < UNSTABLE * parameter_set.capacity
    ]
    size = max(_CHUNK // (effort.queues * effort.requests), 1)
    for begin in range(0, len(jobs), size):
        chunk = jobs[begin : begin + size]
        chosen = [(parameter_sets[index], rates[place]) for index, place in chunk]
        found[tuple(np.transpose(chunk))] = _chunk(chosen, units, ranks)
    return found


def scheduled_columns(
    parameter_set: ParameterSet, schedules: Sequence[tuple[Floats, float]], queues: int, seed: int
) -> Floats:
    """Mean and percentiles of `queues` runs of each schedule, which differ by their random work only.

    Args:
        parameter_set: the server and the work of requests.
        schedules: (due times, seconds, increasing; end of the warm-up, which is not counted) of each run.
        queues: number of runs of each schedule.
        seed: random seed.

    Returns:
        Seconds, `[schedules, queues, COLUMNS]`.
    """
    longest = max(due.size for due, _ in schedules)
    # Shorter schedules are padded with requests so late that they cannot delay the counted ones.
    later = 60.0 + np.arange(1.0, longest + 1)
    arrivals = np.array([np.concatenate((due, due[-1] + later[: longest - due.size])) for due, _ in schedules])
    arrivals = np.repeat(arrivals, queues, axis=0)
    work = _draw(parameter_set.work, generator(seed, Stream.RESAMPLING, 3).random(arrivals.shape))
    sojourn = _sojourn([parameter_set.queue_model], arrivals, work).reshape(len(schedules), queues, longest)
    found = [
        column_values(np.ascontiguousarray(sojourn[index, :, np.searchsorted(due, begins) : due.size]))
        for index, (due, begins) in enumerate(schedules)
    ]
    return parameter_set.queue_model.latency(np.array(found))


def interpolate_tables(grid: Floats, tables: Floats, rates: Floats) -> Floats:
    """Tables `[..., grid, COLUMNS]` interpolated at other rates within the grid, `[..., rates, COLUMNS]`.

    Monotone interpolation of logarithms; an unbounded latency gives `UNBOUNDED` or less.
    """
    logs = np.log(np.minimum(tables, UNBOUNDED))
    found: Floats = np.exp(PchipInterpolator(grid, logs, axis=-2)(np.clip(rates, grid[0], grid[-1])))
    return found


def _chunk(chosen: Sequence[tuple[ParameterSet, float]], units: Floats, ranks: Floats) -> Floats:
    """Mean and percentiles `[chosen, COLUMNS]`."""
    requests = units.shape[1]
    arrivals = np.concatenate([units / rate for _, rate in chosen])
    work = np.concatenate([_draw(parameter_set.work, ranks) for parameter_set, _ in chosen])
    sojourn = _sojourn([parameter_set.queue_model for parameter_set, _ in chosen], arrivals, work)
    # The first requests find an empty server, and the last ones do not share it with later requests.
    counted = sojourn[:, int(_WARM_UP * requests) : int((1 - _TAIL) * requests)].reshape(len(chosen), -1)
    columns = column_values(counted)
    return np.array(
        [parameter_set.queue_model.latency(row) for (parameter_set, _), row in zip(chosen, columns, strict=True)]
    )


def _sojourn(queue_models: Sequence[QueueModel], arrivals: Floats, work: Floats) -> Floats:
    """Sojourn times in queue models of one kind, seconds; each has an equal part of the queues, in order."""
    each = arrivals.shape[0] // len(queue_models)
    speeds = np.repeat(np.array([queue_model.speeds for queue_model in queue_models]), each, axis=0)
    batching = queue_models[0].batching
    if batching is None:
        return simulate_queues(arrivals, work, speeds).sojourn
    marginal = np.repeat(
        [queue_model.batching.marginal if queue_model.batching else 0.0 for queue_model in queue_models], each
    )
    return simulate_batches(arrivals, work, speeds, marginal, batching.largest, batching.timeout).sojourn


def _draw(sample: Floats, ranks: Floats) -> Floats:
    """The values of the sample at `ranks` (0 to 1)."""
    return np.asarray(sample[(ranks * sample.size).astype(np.intp)])


def column_values(latencies: Floats) -> Floats:
    """`COLUMNS` of each row of latencies, `[rows, COLUMNS]`; percentiles by nearest rank. Reorders the values."""
    size = latencies.shape[1]
    places = [rank_of(quantile, size) for quantile in QUANTILES]
    latencies.partition(places, axis=1)
    return np.concatenate((latencies.mean(axis=1, keepdims=True), latencies[:, places]), axis=1)
