"""Parameter sets that the ladder allows, and their latency tables.

The sets come from resampled ladders. The machine may also have become faster or slower between the ladder and another
run (*drift*). Drift needs no simulation: with s times the work, the latency at rate r is s times the latency at rate
r s (a close approximation where batches wait for a timeout, which does not change).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from bench.capacity.measurements.run_latencies import Repeats
from bench.capacity.model.batch_fit import BatchFit
from bench.capacity.model.queue_fit import Ladder, QueueFit, fit_queue
from bench.capacity.model.tail import with_tail
from bench.capacity.queue.latency_table import Effort, ParameterSet, interpolate_tables, latency_tables
from bench.core.errors import InconclusiveError
from bench.core.types import Floats

_HALF: Final = np.array([0.002, 0.004, 0.007, 0.01, 0.015, 0.02, 0.03, 0.04, 0.055, 0.075, 0.1, 0.14])
_DRIFTS: Final = np.concatenate((-_HALF[::-1], [0.0], _HALF))

_DRIFT_SCALES: Final = (0.002, 0.006, 0.02, 0.06)
"""Equally likely prior standard deviations of the drift, from a quiet machine to a noisy one."""


def _drift_priors() -> Floats:
    """Logarithms of the prior weights of the drifts."""
    density = sum(np.exp(-0.5 * (_DRIFTS / scale) ** 2) / scale for scale in _DRIFT_SCALES)
    return np.asarray(np.log(density * np.gradient(_DRIFTS)))


@dataclass(frozen=True)
class Bootstrap:
    """Parameter sets, each combined with every drift.

    Args:
        parameter_sets: sets without drift, `[R / drifts]`.
        tables: latency tables of all sets, seconds, `[R, U, COLUMNS]`; the drifts of one set are adjacent.
        priors: logarithms of the prior weights, `[R]`.
        capacities: saturation rate, requests/s, `[R]`.
    """

    parameter_sets: tuple[ParameterSet, ...]
    tables: Floats
    priors: Floats
    capacities: Floats

    @classmethod
    def of(cls, parameter_sets: Sequence[ParameterSet], priors: Sequence[float], grid: Floats, effort: Effort) -> Self:
        """Simulates the latency tables of `parameter_sets` at the rates `grid`, and adds the drifts."""
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
        """The parameter set of `tables[index]`."""
        base, drift = divmod(index, _DRIFTS.size)
        parameter_set = self.parameter_sets[base]
        return replace(parameter_set, work=parameter_set.work * np.exp(_DRIFTS[drift]))


def drifted(tables: Floats, overheads: Floats, grid: Floats, drift: float) -> Floats:
    """Latency tables `[R, U, COLUMNS]` of queue models with these overheads `[R]` and exp(drift) times the work."""
    stretch = np.exp(drift)
    outside = overheads[:, None, None]
    moved = interpolate_tables(grid, np.maximum(tables - outside, 1e-9), grid * stretch)
    return np.asarray(moved * stretch + outside)


def resampled(
    closed_loop: Sequence[Repeats], base: QueueFit | BatchFit, count: int, rng: np.random.Generator
) -> list[ParameterSet]:
    """Parameter sets of `count` resampled ladders; for a server with batching, of as many draws of its parameters."""
    found = []
    for _ in range(count):
        ladder, single_user = ladder_of(closed_loop, rng)
        if isinstance(base, BatchFit):
            fit = base.draw(rng)
        else:
            fit = fit_queue(ladder, base.queue_model.servers, base.independent, base)
        found.append(parameter_set_of(fit, single_user))
    return found


def ladder_of(closed_loop: Sequence[Repeats], rng: np.random.Generator | None = None) -> tuple[Ladder, Floats]:
    """(ladder, latencies of its single user); resampled if a generator is given.

    Args:
        closed_loop: the closed-loop steps, the step with one user first.
        rng: generator for the resampling.

    Raises:
        InconclusiveError: a step has no successful request.
    """
    single_user = closed_loop[0].latencies(rng)
    means = np.array([block.mean() for run in closed_loop[0].runs for block in run.latency_blocks()])
    error = float(means.std(ddof=1) / np.sqrt(means.size) / means.mean())
    rest = closed_loop[1:]
    for step in rest:
        if not step.throughput():
            raise InconclusiveError(
                f"{step.users} users had no successful request; measure longer, or check the target"
            )
    ladder = Ladder(
        single_user=float(single_user.mean()),
        single_user_error=error,
        users=tuple(step.users or 0 for step in rest),
        rates=tuple(step.throughput(rng) for step in rest),
        errors=tuple(step.throughput_error() for step in rest),
    )
    return ladder, single_user


def parameter_set_of(fit: QueueFit, single_user: Floats) -> ParameterSet:
    """The fitted queue model, with the distribution of work that the latencies of a single user show."""
    batching = fit.queue_model.batching
    # No other request fills the batch of a single user, so it waits for the whole timeout.
    waits = batching.timeout if batching is not None and batching.largest > 1 else 0.0
    outside = min(fit.queue_model.overhead + waits, 0.95 * float(single_user.min()))
    work = with_tail(np.sort(single_user) - outside)
    return ParameterSet(fit.queue_model, work * (fit.work / work.mean()))
