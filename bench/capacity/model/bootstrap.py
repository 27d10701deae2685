"""Sets of parameters that the ladder allows, and their curves of latency against rate.

Replicates come from resampled ladders. Between the ladder and another run the machine may also have become faster or
slower (*drift*). That needs no simulation: where all work takes s times as long, a request at rate r stays s times as
long as it did at rate r s (nearly so where batches wait for a timeout, which stays as it is).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from bench.capacity.measurements.observed_latencies import Repeats
from bench.capacity.model.batch_fit import BatchFit
from bench.capacity.model.ladder_fit import Ladder, StationFit, fit_station
from bench.capacity.model.tail import with_tail
from bench.capacity.queue.latency_table import Candidate, Effort, interpolate_curves, latency_curves

Floats = NDArray[np.float64]

_HALF: Final = np.array([0.002, 0.004, 0.007, 0.01, 0.015, 0.02, 0.03, 0.04, 0.055, 0.075, 0.1, 0.14])
_DRIFTS: Final = np.concatenate((-_HALF[::-1], [0.0], _HALF))

_DRIFT_SCALES: Final = (0.002, 0.006, 0.02, 0.06)
"""Standard deviations of the drift that are equally likely beforehand: a quiet machine, and ever noisier ones."""


def _drift_priors() -> Floats:
    """Logarithms of the drifts' weights."""
    density = sum(np.exp(-0.5 * (_DRIFTS / scale) ** 2) / scale for scale in _DRIFT_SCALES)
    return np.asarray(np.log(density * np.gradient(_DRIFTS)))


@dataclass(frozen=True)
class Replicates:
    """Sets of parameters, every one with every drift.

    Args:
        candidates: sets without drift, `R / drifts` of them.
        curves: latencies of all sets, seconds, `[R, U, COLUMNS]`; those of one candidate stand together.
        priors: logarithms of their weights before an open-loop run has spoken, `[R]`.
        capacities: requests a second when saturated, `[R]`.
    """

    candidates: tuple[Candidate, ...]
    curves: Floats
    priors: Floats
    capacities: Floats

    @classmethod
    def of(cls, candidates: Sequence[Candidate], priors: Sequence[float], grid: Floats, effort: Effort) -> Self:
        """The replicates of `candidates`, whose curves are simulated; `grid` is the rates of the curves."""
        groups: dict[tuple[int, int, float], list[int]] = {}
        for index, candidate in enumerate(candidates):
            groups.setdefault(candidate.station.kind, []).append(index)
        found = {
            index: curve
            for members in groups.values()
            for index, curve in zip(
                members, latency_curves([candidates[index] for index in members], grid.tolist(), effort), strict=True
            )
        }
        curves = np.array([found[index] for index in range(len(candidates))])
        overheads = np.array([candidate.station.overhead for candidate in candidates])
        capacities = np.array([candidate.capacity for candidate in candidates])
        return cls(
            tuple(candidates),
            np.stack([drifted(curves, overheads, grid, drift) for drift in _DRIFTS], axis=1).reshape(
                -1, *curves.shape[1:]
            ),
            (np.array(priors)[:, None] + _drift_priors()).reshape(-1),
            (capacities[:, None] * np.exp(-_DRIFTS)).reshape(-1),
        )

    def candidate(self, index: int) -> Candidate:
        """The set of parameters at `index` of the curves."""
        base, drift = divmod(index, _DRIFTS.size)
        candidate = self.candidates[base]
        return replace(candidate, work=candidate.work * np.exp(_DRIFTS[drift]))


def drifted(curves: Floats, overheads: Floats, grid: Floats, drift: float) -> Floats:
    """The curves `[R, U, COLUMNS]` of stations with these overheads `[R]`, all work exp(drift) times as long."""
    stretch = np.exp(drift)
    outside = overheads[:, None, None]
    moved = interpolate_curves(grid, np.maximum(curves - outside, 1e-9), grid * stretch)
    return np.asarray(moved * stretch + outside)


def resampled(
    closed: Sequence[Repeats], base: StationFit | BatchFit, count: int, rng: np.random.Generator
) -> list[Candidate]:
    """Candidates of `count` resampled ladders; for a server that batches, of as many draws of its parameters."""
    found = []
    for _ in range(count):
        ladder, alone = ladder_of(closed, rng)
        if isinstance(base, BatchFit):
            fit = base.draw(rng)
        else:
            fit = fit_station(ladder, base.station.servers, base.independent, base)
        found.append(candidate_of(fit, alone))
    return found


def ladder_of(closed: Sequence[Repeats], rng: np.random.Generator | None = None) -> tuple[Ladder, Floats]:
    """The ladder and the latencies of its single user; resampled, if a generator is given.

    Args:
        closed: the closed-loop steps, the one with one user first.
        rng: for resampling.
    """
    alone = closed[0].latencies(rng)
    means = np.array([block.mean() for run in closed[0].runs for block in run.latency_blocks()])
    error = float(means.std(ddof=1) / np.sqrt(means.size) / means.mean())
    rest = closed[1:]
    ladder = Ladder(
        alone=float(alone.mean()),
        alone_error=error,
        users=tuple(step.users or 0 for step in rest),
        rates=tuple(step.throughput(rng) for step in rest),
        errors=tuple(step.throughput_error() for step in rest),
    )
    return ladder, alone


def candidate_of(fit: StationFit, alone: Floats) -> Candidate:
    """The station with the work that the latencies of a single user show."""
    batching = fit.station.batching
    # Nobody comes to fill a single user's batch, which thus waits out its timeout.
    waits = batching.timeout if batching is not None and batching.largest > 1 else 0.0
    outside = min(fit.station.overhead + waits, 0.95 * float(alone.min()))
    work = with_tail(np.sort(alone) - outside)
    return Candidate(fit.station, work * (fit.work / work.mean()))
