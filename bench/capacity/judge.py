"""Weighs sets of parameters by how well they predict the open-loop runs that were measured.

A finite run is not the long run: its percentiles scatter, and at high load they lie below. Both are known, because the
run's schedule is: a *reference* station is simulated on the very due times of each run, many times, which gives what
the run's percentiles should have been and their covariance (neighbouring percentiles go up and down together). Another
station's percentiles differ from the reference's by the ratio of their curves.

What then is left between prediction and measurement is the model's own error, *discrepancy*. It is as large as the
measurements say: a model that fits badly says so, and its intervals are wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from bench.capacity.curves import COLUMNS, Candidate, Effort, interpolate_curves, latency_curves, scheduled_columns
from bench.capacity.observed import Observed

Floats = NDArray[np.float64]

JUDGED: Final = tuple(COLUMNS.index(name) for name in ("p50", "p90", "p95", "p99"))
"""The columns that are compared."""

DISCREPANCIES: Final = tuple(0.02 * 1.3**step for step in range(16))
"""What the model's relative error may be."""

ENOUGH: Final = 25.0
"""Effective number of sets of parameters that must keep a say."""

_LANES: Final = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """Weights of the sets of parameters.

    Args:
        weights: adding up to 1.
        discrepancy: the model's relative error.
        effective: effective number of sets.
    """

    weights: Floats
    discrepancy: float
    effective: float


@dataclass(frozen=True, slots=True)
class Judge:
    """The open-loop runs, against what a reference station would have shown in them.

    Args:
        rates: requests a second of each run, `[S]`.
        ratios: logarithms of measured over simulated, `[S, JUDGED]`.
        covariances: of the simulated logarithms, `[S, JUDGED, JUDGED]`.
        grid: rates of the curves to be judged, `[U]`.
        logs: logarithms of the reference's long-run latencies at `rates`, `[S, JUDGED]`.
    """

    rates: Floats
    ratios: Floats
    covariances: Floats
    grid: Floats
    logs: Floats

    @classmethod
    def of(cls, runs: Sequence[Observed], reference: Candidate, grid: Floats, effort: Effort) -> Self:
        """The judge that the open-loop `runs` and a station near the truth make.

        `grid` and `effort` are those of the curves that will be judged, whose luck is thus taken out.
        """
        columns = list(JUDGED)
        schedules = [(run.schedule, run.begins) for run in runs]
        simulated = np.log(scheduled_columns(reference, schedules, _LANES, effort.seed)[:, :, columns])
        measured = np.log([run.columns()[columns] for run in runs])
        ratios = measured - simulated.mean(axis=1)
        covariances = np.array([np.cov(lanes, rowvar=False) for lanes in simulated])
        rates = np.array([run.rate for run in runs], np.float64)
        curve = latency_curves([reference], grid.tolist(), effort)[0]
        logs = np.log(interpolate_curves(grid, curve, rates)[:, columns])
        return cls(rates, ratios, covariances, grid, logs)

    def log_likelihood(self, curves: Floats, discrepancy: float = DISCREPANCIES[0]) -> Floats:
        """Log-likelihood of each of `curves` `[R, U, COLUMNS]` over the rates of the grid, `[R]`."""
        away = np.log(interpolate_curves(self.grid, curves, self.rates))[:, :, list(JUDGED)] - self.logs
        count = len(JUDGED)
        # Half of the model's error moves all percentiles of a run together.
        own = discrepancy**2 * (0.5 * np.eye(count) + 0.5)
        total = np.zeros(curves.shape[0])
        for run, covariance in enumerate(self.covariances):
            matrix = covariance + own
            off = away[:, run] - self.ratios[run]
            _, determinant = np.linalg.slogdet(matrix)
            total -= 0.5 * (np.einsum("ri,ij,rj->r", off, np.linalg.inv(matrix), off) + determinant)
        return total

    def weigh(self, curves: Floats, priors: Floats) -> Verdict:
        """Weights of the sets whose curves these are.

        Args:
            curves: `[R, U, COLUMNS]`.
            priors: logarithms of the weights before anything is compared, `[R]`.
        """
        found = [priors + self.log_likelihood(curves, error) for error in DISCREPANCIES]
        tried = [_normalised(logs) for logs in found]
        enough = min(ENOUGH, priors.size / 2)
        begin = int(np.argmax([_log_sum(logs) for logs in found]))
        chosen = next((i for i in range(begin, len(tried)) if _effective(tried[i]) >= enough), len(tried) - 1)
        return Verdict(tried[chosen], DISCREPANCIES[chosen], _effective(tried[chosen]))


def _normalised(logs: Floats) -> Floats:
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


def _effective(weights: Floats) -> float:
    """Kish's effective number."""
    return 1 / float(np.sum(weights**2))


def _log_sum(logs: Floats) -> float:
    return float(logs.max() + np.log(np.exp(logs - logs.max()).sum()))
