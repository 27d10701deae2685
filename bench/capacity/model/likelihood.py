"""Weighs sets of parameters by how well they predict the open-loop runs that were measured.

A finite run is not the long run: its percentiles scatter, and at high load they lie below. Both are known, because the
run's schedule is: a *reference* station is simulated on the very due times of each run, many times, which gives what
the run's percentiles should have been and their covariance (neighbouring percentiles go up and down together). Another
station's percentiles differ from the reference's by the ratio of their curves.

What then is left between prediction and measurement has three causes, each as large as the measurements say.

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
from numpy.typing import NDArray

from bench.capacity.measurements.observed_latencies import Observed
from bench.capacity.queue.latency_table import (
    COLUMNS,
    Candidate,
    Effort,
    interpolate_curves,
    latency_curves,
    scheduled_columns,
)

Floats = NDArray[np.float64]

JUDGED: Final = tuple(COLUMNS.index(name) for name in ("p50", "p90", "p95", "p99"))
"""The columns that are compared."""

DISCREPANCIES: Final = tuple(0.02 * 1.3**step for step in range(16))
"""What the model's relative error may be."""

WANDERS: Final = (0.0, 0.01, 0.02, 0.04)
"""What the standard deviation of the machine's speed from run to run may be, relative."""

CALIBRATIONS: Final = (0.005, 0.02, 0.08, 0.3, 0.6)
"""What the standard deviation of the calibration's logarithm may be before a run has spoken."""

ENOUGH: Final = 25.0
"""Effective number of sets of parameters that must keep a say."""

_LANES: Final = 60
_SLOPE_STEP: Final = 0.01


@dataclass(frozen=True, slots=True)
class Verdict:
    """Weights of the sets of parameters.

    Args:
        weights: adding up to 1.
        discrepancy: the model's relative error.
        wander: the relative standard deviation of the machine's speed from run to run.
        calibrations: logarithms of the calibration of each set, `[R]`.
        calibration_error: their standard error.
        effective: effective number of sets.
    """

    weights: Floats
    discrepancy: float
    wander: float
    calibrations: Floats
    calibration_error: float
    effective: float


@dataclass(frozen=True, slots=True)
class _Agreement:
    """How well sets of parameters agree with all runs, before calibration.

    Args:
        logs: log-likelihoods, `[R]`.
        pull: what of it grows with the calibration's logarithm, `[R]`.
        weight: the same with half its square, with the sign turned.
    """

    logs: Floats
    pull: Floats
    weight: float

    def calibrated(self, spread: float) -> Floats:
        """Log-likelihoods with a calibration whose logarithm has this standard deviation beforehand, integrated out."""
        precision = self.weight + spread**-2
        return np.asarray(self.logs + 0.5 * self.pull**2 / precision - 0.5 * np.log(precision * spread**2))

    def calibrations(self, spread: float) -> tuple[Floats, float]:
        """The likeliest logarithms of the calibration, and their standard error."""
        precision = self.weight + spread**-2
        return self.pull / precision, float(precision**-0.5)


@dataclass(frozen=True, slots=True)
class Judge:
    """The open-loop runs, against what a reference station would have shown in them.

    Args:
        rates: requests a second of each run, `[S]`.
        ratios: logarithms of measured over simulated, `[S, JUDGED]`.
        covariances: of the simulated logarithms, `[S, JUDGED, JUDGED]`.
        grid: rates of the curves to be judged, `[U]`.
        logs: logarithms of the reference's long-run latencies at `rates`, `[S, JUDGED]`.
        slopes: how many times as much as the work of all requests those change, `[S, JUDGED]`.
    """

    rates: Floats
    ratios: Floats
    covariances: Floats
    grid: Floats
    logs: Floats
    slopes: Floats

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
        logs, more = (
            np.log(interpolate_curves(grid, curve, rates * stretch)[:, columns])
            for stretch in (1.0, np.exp(_SLOPE_STEP))
        )
        # Where all work takes s times as long, a request at rate r stays s times as long as it did at rate r s.
        return cls(rates, ratios, covariances, grid, logs, 1 + (more - logs) / _SLOPE_STEP)

    def log_likelihood(self, curves: Floats, spread: float = CALIBRATIONS[0]) -> Floats:
        """Log-likelihood of each of `curves` `[R, U, COLUMNS]` over the rates of the grid, `[R]`, of a good model."""
        return self._agreement(self._away(curves), DISCREPANCIES[0], WANDERS[0]).calibrated(spread)

    def _away(self, curves: Floats) -> Floats:
        """Logarithms of predicted over measured, what a finite run does allowed for, `[R, S, JUDGED]`."""
        logs = np.log(interpolate_curves(self.grid, curves, self.rates))[:, :, list(JUDGED)]
        return np.asarray(logs - self.logs - self.ratios)

    def _agreement(self, away: Floats, discrepancy: float, wander: float) -> _Agreement:
        count = len(JUDGED)
        # Half of the model's error moves all percentiles of a run together.
        own = discrepancy**2 * (0.5 * np.eye(count) + 0.5)
        logs, pull, weight = np.zeros(away.shape[0]), np.zeros(away.shape[0]), 0.0
        for run, (covariance, slope) in enumerate(zip(self.covariances, self.slopes, strict=True)):
            matrix = covariance + own + wander**2 * np.outer(slope, slope)
            off = away[:, run]
            inverse = np.linalg.inv(matrix)
            _, determinant = np.linalg.slogdet(matrix)
            logs -= 0.5 * (np.einsum("ri,ij,rj->r", off, inverse, off) + determinant)
            pull -= off @ inverse.sum(axis=1)
            weight += float(inverse.sum())
        return _Agreement(logs, pull, weight)

    def weigh(self, curves: Floats, priors: Floats) -> Verdict:
        """Weights of the sets whose curves these are.

        Args:
            curves: `[R, U, COLUMNS]`.
            priors: logarithms of the weights before anything is compared, `[R]`.
        """
        away = self._away(curves)
        agreements = {
            (wander, error): self._agreement(away, error, wander) for wander in WANDERS for error in DISCREPANCIES
        }
        found = {
            (spread, wander, error): _log_sum(priors + agreement.calibrated(spread))
            for spread in CALIBRATIONS
            for (wander, error), agreement in agreements.items()
        }
        spread, wander, least = max(found, key=lambda errors: found[errors])
        enough = min(ENOUGH, priors.size / 2)
        for error in DISCREPANCIES[DISCREPANCIES.index(least) :]:
            agreement = agreements[wander, error]
            weights = _normalised(priors + agreement.calibrated(spread))
            if _effective(weights) >= enough:
                break
        calibrations, calibration_error = agreement.calibrations(spread)
        return Verdict(weights, error, wander, calibrations, calibration_error, _effective(weights))


def _normalised(logs: Floats) -> Floats:
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


def _effective(weights: Floats) -> float:
    """Kish's effective number."""
    return 1 / float(np.sum(weights**2))


def _log_sum(logs: Floats) -> float:
    return float(logs.max() + np.log(np.exp(logs - logs.max()).sum()))
