"""Sets of parameters that the ladder allows, and their tables of latency against rate.

Bootstrap come from resampled ladders. Between the ladder and another run the machine may also have become faster or
slower (*drift*). That needs no simulation: where all work takes s times as long, a request at rate r stays s times as
long as it did at rate r s (nearly so where batches wait for a timeout, which stays as it is).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from bench.capacity.measurements.run_latencies import Repeats
from bench.capacity.model.batch_fit import BatchFit
from bench.capacity.model.ladder_fit import Ladder, QueueFit, fit_queue
from bench.capacity.model.tail import with_tail
from bench.capacity.queue.latency_table import Effort, ParameterSet, interpolate_tables, latency_tables
from bench.core.types import Floats

_HALF: Final = np.array([0.002, 0.004, 0.007, 0.01, 0.015, 0.02, 0.03, 0.04, 0.055, 0.075, 0.1, 0.14])
_DRIFTS: Final = np.concatenate((-_HALF[::-1], [0.0], _HALF))

_DRIFT_SCALES: Final = (0.002, 0.006, 0.02, 0.06)
"""Standard deviations of the drift that are equally likely beforehand: a quiet machine, and ever noisier ones."""


def _drift_priors() -> Floats:
    """Logarithms of the drifts' weights."""
    density = sum(np.exp(-0.5 * (_DRIFTS / scale) ** 2) / scale for scale in _DRIFT_SCALES)
    return np.asarray(np.log(density * np.gradient(_DRIFTS)))


@dataclass(frozen=True)
class Bootstrap:
    """Sets of parameters, every one with every drift.

    Args:
        parameter_sets: sets without drift, `R / drifts` of them.
        tables: latencies of all sets, seconds, `[R, U, COLUMNS]`; those of one parameter_set stand together.
        priors: logarithms of their weights before an open-loop run has spoken, `[R]`.
        capacities: requests a second when saturated, `[R]`.
    """

    parameter_sets: tuple[ParameterSet, ...]
    tables: Floats
    priors: Floats
    capacities: Floats

    @classmethod
    def of(cls, parameter_sets: Sequence[ParameterSet], priors: Sequence[float], grid: Floats, effort: Effort) -> Self:
        """The replicates of `parameter_sets`, whose tables are simulated; `grid` is the rates of the tables."""
        groups: dict[tuple[int, int, float], list[int]] = {}
        for index, parameter_set in enumerate(parameter_sets):
            groups.setdefault(parameter_set.queue_model.kind, []).append(index)
        found = {
            index: table
            for members in groups.values()
            for index, table in zip(
                members,
                latency_tables([parameter_sets[index] for index in members], grid.tolist(), effort),
                strict=True,
            )
        }
        tables = np.array([found[index] for index in range(len(parameter_sets))])
        overheads = np.array([parameter_set.queue_model.overhead for parameter_set in parameter_sets])
        capacities = np.array([parameter_set.capacity for parameter_set in parameter_sets])
        return cls(
            tuple(parameter_sets),
            np.stack([drifted(tables, overheads, grid, drift) for drift in _DRIFTS], axis=1).reshape(
                -1, *tables.shape[1:]
            ),
            (np.array(priors)[:, None] + _drift_priors()).reshape(-1),
            (capacities[:, None] * np.exp(-_DRIFTS)).reshape(-1),
        )

    def parameter_set(self, index: int) -> ParameterSet:
        """The set of parameters at `index` of the tables."""
        base, drift = divmod(index, _DRIFTS.size)
        parameter_set = self.parameter_sets[base]
        return replace(parameter_set, work=parameter_set.work * np.exp(_DRIFTS[drift]))


def drifted(tables: Floats, overheads: Floats, grid: Floats, drift: float) -> Floats:
    """The tables `[R, U, COLUMNS]` of queue_models with these overheads `[R]`, all work exp(drift) times as long."""
    stretch = np.exp(drift)
    outside = overheads[:, None, None]
    moved = interpolate_tables(grid, np.maximum(tables - outside, 1e-9), grid * stretch)
    return np.asarray(moved * stretch + outside)


def resampled(
    closed: Sequence[Repeats], base: QueueFit | BatchFit, count: int, rng: np.random.Generator
) -> list[ParameterSet]:
    """Candidates of `count` resampled ladders; for a server that batches, of as many draws of its parameters."""
    found = []
    for _ in range(count):
        ladder, single_user = ladder_of(closed, rng)
        if isinstance(base, BatchFit):
            fit = base.draw(rng)
        else:
            fit = fit_queue(ladder, base.queue_model.servers, base.independent, base)
        found.append(parameter_set_of(fit, single_user))
    return found


def ladder_of(closed: Sequence[Repeats], rng: np.random.Generator | None = None) -> tuple[Ladder, Floats]:
    """The ladder and the latencies of its single user; resampled, if a generator is given.

    Args:
        closed: the closed-loop steps, the one with one user first.
        rng: for resampling.
    """
    single_user = closed[0].latencies(rng)
    means = np.array([block.mean() for run in closed[0].runs for block in run.latency_blocks()])
    error = float(means.std(ddof=1) / np.sqrt(means.size) / means.mean())
    rest = closed[1:]
    ladder = Ladder(
        single_user=float(single_user.mean()),
        single_user_error=error,
        users=tuple(step.users or 0 for step in rest),
        rates=tuple(step.throughput(rng) for step in rest),
        errors=tuple(step.throughput_error() for step in rest),
    )
    return ladder, single_user


def parameter_set_of(fit: QueueFit, single_user: Floats) -> ParameterSet:
    """The queue_model with the work that the latencies of a single user show."""
    batching = fit.queue_model.batching
    # Nobody comes to fill a single user's batch, which thus waits out its timeout.
    waits = batching.timeout if batching is not None and batching.largest > 1 else 0.0
    outside = min(fit.queue_model.overhead + waits, 0.95 * float(single_user.min()))
    work = with_tail(np.sort(single_user) - outside)
    return ParameterSet(fit.queue_model, work * (fit.work / work.mean()))
