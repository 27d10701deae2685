"""Latency against rate for many parameter_set queue_models at once, by simulation with common random numbers.

Every queue_model sees the same gaps and the same ranks of work, only stretched to its own rate and sample: what differs
between two queue_models is then their parameters and not the luck of the draw.
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
from bench.core.types import Floats
from bench.stats.quantiles import rank_of

SHARES: Final = (0.5, 0.9, 0.95, 0.99, 0.999)
"""The percentiles of every table, as shares."""

COLUMNS: Final = ("mean", "p50", "p90", "p95", "p99", "p99.9")
"""What the last dimension of a table counts."""

UNSTABLE: Final = 0.985
"""From this share of its capacity on, a queue_model's latencies count as unbounded: they depend on when one looks."""

UNBOUNDED: Final = 1e4
"""What stands for an unbounded latency inside interpolation, seconds."""

_CHUNK: Final = 3_000_000
_WARM_UP: Final = 0.2
_TAIL: Final = 0.02


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """A queue_model, and the work that requests bring.

    Args:
        queue_model: the queue_model.
        work: work of sample requests, seconds, sorted.
    """

    queue_model: QueueModel
    work: Floats

    @property
    def capacity(self) -> float:
        """Requests a second when saturated."""
        return self.queue_model.capacity(float(self.work.mean()))

    def with_speed_factor(self, speed_factor: float) -> "ParameterSet":
        """The same set with another `QueueModel.speed_factor`."""
        return replace(self, queue_model=replace(self.queue_model, speed_factor=speed_factor))


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is simulated for each rate and parameter_set.

    Args:
        requests: requests of a queue, its warm-up included.
        queues: queues whose requests are pooled.
        seed: of the random numbers.
    """

    requests: int = 4000
    queues: int = 2
    seed: int = 0


def latency_tables(parameter_sets: Sequence[ParameterSet], rates: Sequence[float], effort: Effort) -> Floats:
    """Latency, seconds, `[parameter_sets, rates, COLUMNS]` of Poisson arrivals at each rate, requests a second.

    Infinite where a queue_model has not the capacity. All parameter_sets are of one `QueueModel.kind`.
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
    """Mean and percentiles of `queues` runs of each schedule, which differ by the luck of their work alone.

    Args:
        parameter_set: the queue_model and its work.
        schedules: for each, its due times, seconds, rising, and when its warm-up, which is not counted, ends.
        queues: runs of each.
        seed: of the random numbers.

    Returns:
        Seconds, `[schedules, queues, COLUMNS]`.
    """
    most = max(due.size for due, _ in schedules)
    # A shorter schedule goes on well after its end, where nothing can hold up what is counted.
    later = 60.0 + np.arange(1.0, most + 1)
    arrivals = np.array([np.concatenate((due, due[-1] + later[: most - due.size])) for due, _ in schedules])
    arrivals = np.repeat(arrivals, queues, axis=0)
    work = _draw(parameter_set.work, generator(seed, Stream.RESAMPLING, 3).random(arrivals.shape))
    sojourn = _sojourn([parameter_set.queue_model], arrivals, work).reshape(len(schedules), queues, most)
    found = [
        column_values(np.ascontiguousarray(sojourn[index, :, np.searchsorted(due, begins) : due.size]))
        for index, (due, begins) in enumerate(schedules)
    ]
    return parameter_set.queue_model.latency(np.array(found))


def interpolate_tables(grid: Floats, tables: Floats, rates: Floats) -> Floats:
    """Curves `[..., grid, COLUMNS]` at other rates of the grid's span, `[..., rates, COLUMNS]`.

    Monotone between the grid's rates, on logarithms; unbounded latencies come out as `UNBOUNDED` or less.
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
    # The start is emptier than the long run, and at the end nobody comes after to share the speed with.
    kept = sojourn[:, int(_WARM_UP * requests) : int((1 - _TAIL) * requests)].reshape(len(chosen), -1)
    columns = column_values(kept)
    return np.array(
        [parameter_set.queue_model.latency(row) for (parameter_set, _), row in zip(chosen, columns, strict=True)]
    )


def _sojourn(queue_models: Sequence[QueueModel], arrivals: Floats, work: Floats) -> Floats:
    """How long requests stay in queue_models of one kind, each with as many of the queues as the others, in order."""
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
    """The sample's values at `ranks` (0 to 1)."""
    return np.asarray(sample[(ranks * sample.size).astype(np.intp)])


def column_values(latencies: Floats) -> Floats:
    """`COLUMNS` of each row of latencies, `[rows, COLUMNS]`; percentiles by nearest rank. Reorders the rows."""
    size = latencies.shape[1]
    places = [rank_of(share, size) for share in SHARES]
    latencies.partition(places, axis=1)
    return np.concatenate((latencies.mean(axis=1, keepdims=True), latencies[:, places]), axis=1)
