"""Weighs sets of parameters by how well they predict the open-loop runs that were measured.

A finite run is not the long run: its percentiles scatter, and at high load they lie below. Both are known, because the
run's schedule is: a *reference* model is simulated on the very due times of each run, many times, which gives what
the run's percentiles should have been and their covariance (neighbouring percentiles go up and down together). Another
queue_model's percentiles differ from the reference's by the ratio of their tables.

What then is left between prediction and measurement has three causes, each as large as the steps say.

*Calibration*: all open-loop runs lie above (or below) what the closed loop makes one expect, by one common factor. It
is drawn to 1, and estimated with each set of parameters. *Wander*: the machine is somewhat faster in one run than in
the next; next to nothing at low load, but near saturation latency changes many times as much as speed does, and such a
run says little. *Discrepancy*: the model's own error, which is the rest. A model that fits badly says so, and its
intervals are wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from bench.capacity.measurements.run_latencies import RunLatencies
from bench.capacity.queue.latency_table import (
    COLUMNS,
    Effort,
    ParameterSet,
    interpolate_tables,
    latency_tables,
    scheduled_columns,
)
from bench.core.types import Floats

COMPARED: Final = tuple(COLUMNS.index(name) for name in ("p50", "p90", "p95", "p99"))
"""The columns that are compared."""

DISCREPANCIES: Final = tuple(0.02 * 1.3**step for step in range(16))
"""What the model's relative error may be."""

RUN_TO_RUN_SD: Final = (0.0, 0.01, 0.02, 0.04)
"""What the standard deviation of the machine's speed from run to run may be, relative."""

PRIOR_SD: Final = (0.005, 0.02, 0.08, 0.3, 0.6)
"""What the standard deviation of the calibration's logarithm may be before a run has spoken."""

MIN_EFFECTIVE_SETS: Final = 25.0
"""Effective number of sets of parameters that must keep a say."""

_QUEUES: Final = 60
_SLOPE_STEP: Final = 0.01


@dataclass(frozen=True, slots=True)
class Posterior:
    """Weights of the sets of parameters.

    Args:
        weights: adding up to 1.
        discrepancy: the model's relative error.
        run_to_run_variation: the relative standard deviation of the machine's speed from run to run.
        calibrations: logarithms of the calibration of each set, `[R]`.
        calibration_error: their standard error.
        effective: effective number of sets.
    """

    weights: Floats
    discrepancy: float
    run_to_run_variation: float
    log_speed_factors: Floats
    speed_factor_error: float
    effective: float


@dataclass(frozen=True, slots=True)
class _LogLikelihood:
    """How well sets of parameters agree with all runs, before calibration.

    Args:
        logs: log-likelihoods, `[R]`.
        pull: what of it grows with the calibration's logarithm, `[R]`.
        weight: the same with half its square, with the sign turned.
    """

    logs: Floats
    pull: Floats
    weight: float

    def integrated(self, spread: float) -> Floats:
        """Log-likelihoods with a calibration whose logarithm has this standard deviation beforehand, integrated out."""
        precision = self.weight + spread**-2
        return np.asarray(self.logs + 0.5 * self.pull**2 / precision - 0.5 * np.log(precision * spread**2))

    def log_speed_factors(self, spread: float) -> tuple[Floats, float]:
        """The likeliest logarithms of the calibration, and their standard error."""
        precision = self.weight + spread**-2
        return self.pull / precision, float(precision**-0.5)


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The open-loop runs, against what a reference queue_model would have shown in them.

    Args:
        rates: requests a second of each run, `[S]`.
        ratios: logarithms of measured over simulated, `[S, COMPARED]`.
        covariances: of the simulated logarithms, `[S, COMPARED, COMPARED]`.
        grid: rates of the tables to be judged, `[U]`.
        logs: logarithms of the reference's long-run latencies at `rates`, `[S, COMPARED]`.
        slopes: how many times as much as the work of all requests those change, `[S, COMPARED]`.
    """

    rates: Floats
    ratios: Floats
    covariances: Floats
    grid: Floats
    logs: Floats
    slopes: Floats

    @classmethod
    def of(cls, runs: Sequence[RunLatencies], reference: ParameterSet, grid: Floats, effort: Effort) -> Self:
        """The likelihood that the open-loop `runs` and a queue_model near the truth make.

        `grid` and `effort` are those of the tables that will be judged, whose luck is thus taken out.
        """
        columns = list(COMPARED)
        schedules = [(run.schedule, run.begins) for run in runs]
        simulated = np.log(scheduled_columns(reference, schedules, _QUEUES, effort.seed)[:, :, columns])
        measured = np.log([run.columns()[columns] for run in runs])
        ratios = measured - simulated.mean(axis=1)
        covariances = np.array([np.cov(queues, rowvar=False) for queues in simulated])
        rates = np.array([run.rate for run in runs], np.float64)
        table = latency_tables([reference], grid.tolist(), effort)[0]
        logs, more = (
            np.log(interpolate_tables(grid, table, rates * stretch)[:, columns])
            for stretch in (1.0, np.exp(_SLOPE_STEP))
        )
        # Where all work takes s times as long, a request at rate r stays s times as long as it did at rate r s.
        return cls(rates, ratios, covariances, grid, logs, 1 + (more - logs) / _SLOPE_STEP)

    def log_likelihood(self, tables: Floats, spread: float = PRIOR_SD[0]) -> Floats:
        """Log-likelihood of each of `tables` `[R, U, COLUMNS]` over the rates of the grid, `[R]`, of a good model."""
        return self._log_likelihood(self._away(tables), DISCREPANCIES[0], RUN_TO_RUN_SD[0]).integrated(spread)

    def _away(self, tables: Floats) -> Floats:
        """Logarithms of predicted over measured, what a finite run does allowed for, `[R, S, COMPARED]`."""
        logs = np.log(interpolate_tables(self.grid, tables, self.rates))[:, :, list(COMPARED)]
        return np.asarray(logs - self.logs - self.ratios)

    def _log_likelihood(self, away: Floats, discrepancy: float, run_to_run_variation: float) -> _LogLikelihood:
        count = len(COMPARED)
        # Half of the model's error moves all percentiles of a run together.
        own = discrepancy**2 * (0.5 * np.eye(count) + 0.5)
        logs, pull, weight = np.zeros(away.shape[0]), np.zeros(away.shape[0]), 0.0
        for run, (covariance, slope) in enumerate(zip(self.covariances, self.slopes, strict=True)):
            matrix = covariance + own + run_to_run_variation**2 * np.outer(slope, slope)
            off = away[:, run]
            inverse = np.linalg.inv(matrix)
            _, determinant = np.linalg.slogdet(matrix)
            logs -= 0.5 * (np.einsum("ri,ij,rj->r", off, inverse, off) + determinant)
            pull += off @ inverse.sum(axis=1)
            weight += float(inverse.sum())
        return _LogLikelihood(logs, pull, weight)

    def weigh(self, tables: Floats, priors: Floats) -> Posterior:
        """Weights of the sets whose tables these are.

        Args:
            tables: `[R, U, COLUMNS]`.
            priors: logarithms of the weights before anything is compared, `[R]`.
        """
        away = self._away(tables)
        agreements = {
            (run_to_run_variation, error): self._log_likelihood(away, error, run_to_run_variation)
            for run_to_run_variation in RUN_TO_RUN_SD
            for error in DISCREPANCIES
        }
        found = {
            (spread, run_to_run_variation, error): _log_sum(priors + agreement.integrated(spread))
            for spread in PRIOR_SD
            for (run_to_run_variation, error), agreement in agreements.items()
        }
        spread, run_to_run_variation, least = max(found, key=lambda errors: found[errors])
        enough = min(MIN_EFFECTIVE_SETS, priors.size / 2)
        for error in DISCREPANCIES[DISCREPANCIES.index(least) :]:
            agreement = agreements[run_to_run_variation, error]
            weights = _normalised(priors + agreement.integrated(spread))
            if _effective(weights) >= enough:
                break
        log_speed_factors, speed_factor_error = agreement.log_speed_factors(spread)
        return Posterior(
            weights, error, run_to_run_variation, log_speed_factors, speed_factor_error, _effective(weights)
        )


def _normalised(logs: Floats) -> Floats:
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


def _effective(weights: Floats) -> float:
    """Kish's effective number."""
    return 1 / float(np.sum(weights**2))


def _log_sum(logs: Floats) -> float:
    return float(logs.max() + np.log(np.exp(logs - logs.max()).sum()))
