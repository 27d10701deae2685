"""Weighs parameter sets by how well they predict the measured open-loop runs.

A finite run differs from the long run: its percentiles scatter, and at high load they are lower. Both effects follow
from the run's schedule. A *reference* set is simulated many times on the due times of each run. This gives the expected
percentiles of the run and their covariance (neighbouring percentiles are correlated). The percentiles of another set
differ from the reference's by the ratio of their latency tables.

The remaining difference between prediction and measurement has three sources. The measurements decide the size of each.

- *Speed factor*: open-loop latencies are longer (or shorter) than the closed loop implies, by one common factor. Its
  prior is centred on 1, and each parameter set has its own estimate.
- *Run-to-run variation*: the machine is faster in one run than in the next. Near saturation, latency changes many times
  as much as speed, so such a run carries little information.
- *Discrepancy*: the error of the model itself. A model that fits badly has wide intervals.
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
"""Indexes of the compared columns."""

DISCREPANCIES: Final = tuple(0.02 * 1.3**step for step in range(16))
"""Candidate values of the relative error of the model."""

RUN_TO_RUN_SD: Final = (0.0, 0.01, 0.02, 0.04)
"""Candidate values of the relative standard deviation of the machine's speed between runs."""

PRIOR_SD: Final = (0.005, 0.02, 0.08, 0.3, 0.6)
"""Candidate values of the prior standard deviation of the logarithm of the speed factor."""

MIN_EFFECTIVE_SETS: Final = 25.0
"""Smallest effective number of parameter sets; the discrepancy is increased until there are as many."""

_QUEUES: Final = 60
_SLOPE_STEP: Final = 0.01


@dataclass(frozen=True, slots=True)
class Posterior:
    """Weights of the parameter sets.

    Args:
        weights: they sum to 1, `[R]`.
        discrepancy: relative error of the model.
        run_to_run_variation: relative standard deviation of the machine's speed between runs.
        log_speed_factors: logarithm of the speed factor of each set, `[R]`.
        speed_factor_error: standard error of `log_speed_factors`.
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
    """Log-likelihood of parameter sets over all runs, as a function of the logarithm x of the speed factor.

    It is `logs + pull * x - weight * x**2 / 2`.

    Args:
        logs: log-likelihood with a speed factor of 1, `[R]`.
        pull: coefficient of x, `[R]`.
        weight: coefficient of -x**2 / 2.
    """

    logs: Floats
    pull: Floats
    weight: float

    def integrated(self, prior_sd: float) -> Floats:
        """Log-likelihoods with the speed factor integrated out, under a prior with this standard deviation of x."""
        precision = self.weight + prior_sd**-2
        return np.asarray(self.logs + 0.5 * self.pull**2 / precision - 0.5 * np.log(precision * prior_sd**2))

    def log_speed_factors(self, prior_sd: float) -> tuple[Floats, float]:
        """Most likely logarithms of the speed factor, and their standard error."""
        precision = self.weight + prior_sd**-2
        return self.pull / precision, float(precision**-0.5)


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The open-loop runs compared with simulations of a reference parameter set on their schedules.

    Args:
        rates: requests/s of each run, `[S]`.
        ratios: logarithm of measured over simulated latency, `[S, COMPARED]`.
        covariances: covariance of the simulated logarithms, `[S, COMPARED, COMPARED]`.
        grid: rates of the latency tables to compare, requests/s, `[U]`.
        logs: logarithm of the reference's long-run latency at `rates`, `[S, COMPARED]`.
        slopes: derivative of `logs` with respect to the logarithm of all work, `[S, COMPARED]`.
    """

    rates: Floats
    ratios: Floats
    covariances: Floats
    grid: Floats
    logs: Floats
    slopes: Floats

    @classmethod
    def of(cls, runs: Sequence[RunLatencies], reference: ParameterSet, grid: Floats, effort: Effort) -> Self:
        """The likelihood of the open-loop `runs`, with a reference set near the truth.

        `grid` and `effort` must be those of the tables to compare: the random error of the simulation then cancels.
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
        # With s times the work, the latency at rate r is s times the latency at rate r s.
        return cls(rates, ratios, covariances, grid, logs, 1 + (more - logs) / _SLOPE_STEP)

    def log_likelihood(self, tables: Floats, prior_sd: float = PRIOR_SD[0]) -> Floats:
        """Log-likelihood of latency tables `[R, U, COLUMNS]` under the smallest discrepancy, `[R]`."""
        return self._log_likelihood(self._residuals(tables), DISCREPANCIES[0], RUN_TO_RUN_SD[0]).integrated(prior_sd)

    def _residuals(self, tables: Floats) -> Floats:
        """Logarithm of predicted over measured, corrected for the length of the run, `[R, S, COMPARED]`."""
        logs = np.log(interpolate_tables(self.grid, tables, self.rates))[:, :, list(COMPARED)]
        return np.asarray(logs - self.logs - self.ratios)

    def _log_likelihood(self, residuals: Floats, discrepancy: float, run_to_run_variation: float) -> _LogLikelihood:
        count = len(COMPARED)
        # Half of the model's error is common to all percentiles of a run.
        own = discrepancy**2 * (0.5 * np.eye(count) + 0.5)
        logs, pull, weight = np.zeros(residuals.shape[0]), np.zeros(residuals.shape[0]), 0.0
        for run, (covariance, slope) in enumerate(zip(self.covariances, self.slopes, strict=True)):
            matrix = covariance + own + run_to_run_variation**2 * np.outer(slope, slope)
            off = residuals[:, run]
            inverse = np.linalg.inv(matrix)
            _, determinant = np.linalg.slogdet(matrix)
            logs -= 0.5 * (np.einsum("ri,ij,rj->r", off, inverse, off) + determinant)
            pull += off @ inverse.sum(axis=1)
            weight += float(inverse.sum())
        return _LogLikelihood(logs, pull, weight)

    def weigh(self, tables: Floats, priors: Floats) -> Posterior:
        """Posterior weights of the parameter sets of these latency tables.

        Args:
            tables: latency, seconds, `[R, U, COLUMNS]`.
            priors: logarithms of the prior weights, `[R]`.
        """
        residuals = self._residuals(tables)
        by_error = {
            (variation, error): self._log_likelihood(residuals, error, variation)
            for variation in RUN_TO_RUN_SD
            for error in DISCREPANCIES
        }
        evidence = {
            (prior_sd, variation, error): _log_sum(priors + log_likelihood.integrated(prior_sd))
            for prior_sd in PRIOR_SD
            for (variation, error), log_likelihood in by_error.items()
        }
        prior_sd, variation, least = max(evidence, key=lambda errors: evidence[errors])
        required = min(MIN_EFFECTIVE_SETS, priors.size / 2)
        for error in DISCREPANCIES[DISCREPANCIES.index(least) :]:
            log_likelihood = by_error[variation, error]
            weights = _normalised(priors + log_likelihood.integrated(prior_sd))
            if _effective(weights) >= required:
                break
        log_speed_factors, speed_factor_error = log_likelihood.log_speed_factors(prior_sd)
        return Posterior(weights, error, variation, log_speed_factors, speed_factor_error, _effective(weights))


def _normalised(logs: Floats) -> Floats:
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


def _effective(weights: Floats) -> float:
    """Effective sample size (L. Kish)."""
    return 1 / float(np.sum(weights**2))


def _log_sum(logs: Floats) -> float:
    return float(logs.max() + np.log(np.exp(logs - logs.max()).sum()))
