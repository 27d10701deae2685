"""The model held to runs that it never saw.

What is compared is the run itself: the model is simulated on the run's own schedule, many times, with parameters as
uncertain as they are, which gives the distribution that each percentile *of this run* should have come from. A finite
run scatters around the long run, and the interval knows by how much. Where it knew too little, it is widened for all
that is said afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import stats

from bench.capacity.measurements.measured_step import MeasuredStep, Stage
from bench.capacity.model.model import CONFIDENCE, CapacityModel
from bench.capacity.queue.latency_table import COLUMNS, UNSTABLE, interpolate_tables, scheduled_columns
from bench.core.seeds import Stream, generator
from bench.core.types import Floats
from bench.stats.estimate import Estimate

VALIDATED: Final = ("p50", "p95", "p99")
CHANCE: Final = 0.05
"""Intervals that are right are widened no more often than this."""

WIDEST: Final = 20.0
"""Intervals are not widened further."""

_QUEUES: Final = 200
_WIDENED: Final = 1.1


@dataclass(frozen=True, slots=True)
class ValidationPoint:
    """One percentile of one run that the model never saw.

    Args:
        stage: hold-out or confirm.
        rate: requests a second that were asked for.
        load: those that were due over the model's capacity.
        column: which percentile.
        predicted: what the run should have shown, with the interval for a run of its length.
        measured: what it showed.
        error: predicted over measured, less 1.
        inside: whether the measured lies in the interval.
        run: name of the run folder.
    """

    stage: Stage
    rate: float
    load: float
    column: str
    predicted: Estimate
    measured: float
    error: float
    inside: bool
    run: str


TEST_STAGES: Final = (Stage.HOLD_OUT, Stage.CONFIRM)
"""Runs that the model never saw."""


@dataclass(frozen=True, slots=True)
class ValidatedModel:
    """A model held to runs that it never saw.

    Args:
        model: with intervals as wide as the runs showed that they must be.
        checks: every figure of every run, against the intervals as they were before.
        sustained: rates at which the model has not the capacity, and the server kept up all the same; rising.
    """

    model: CapacityModel
    checks: tuple[ValidationPoint, ...]
    sustained: tuple[float, ...] = ()


def validate(model: CapacityModel, steps: Sequence[MeasuredStep], seed: int = 0) -> ValidatedModel:
    """Holds the model to the hold-out runs and confirmations among `steps`, and widens its intervals if need be.

    Where so few figures lie inside that chance hardly explains it, all intervals are stretched until as many do as they
    promise: split conformal prediction with a scaled score (J. Lei et al., *Distribution-free predictive inference for
    regression*, J. Am. Statist. Assoc. 113, 2018). They are never narrowed.
    """
    tests = [entry for entry in steps if entry.measurement.stage in TEST_STAGES]
    predicted = [found for entry in tests if (found := _predict_run(model, entry, seed))]
    by_run = [entry.checks() for entry in predicted]
    widening = 1.0
    if _failed(by_run):
        least = CONFIDENCE * sum(map(len, by_run))
        while widening < WIDEST and sum(check.inside for run in predicted for check in run.checks(widening)) < least:
            widening *= _WIDENED
    most = UNSTABLE * model.parameter_set.capacity
    rates = {
        entry.measurement.rate for entry in tests if entry.measurement.stable and (entry.latencies.rate or 0.0) >= most
    }
    return ValidatedModel(
        replace(model, widening=widening),
        tuple(check for checks in by_run for check in checks),
        tuple(sorted(rate for rate in rates if rate is not None)),
    )


def _failed(by_run: Sequence[Sequence[ValidationPoint]]) -> bool:
    """Whether intervals that hold what they promise would do as badly as this in less than `CHANCE` of all cases.

    The figures of a run go up and down together, so that a run counts once: as missed if most of them lie outside.
    """
    missed = sum(sum(check.inside for check in checks) < len(checks) / 2 for checks in by_run)
    return bool(stats.binom.sf(missed - 1, len(by_run), 1 - CONFIDENCE) < CHANCE)


@dataclass(frozen=True, slots=True)
class _PredictedRun:
    """What the model makes of one run.

    Args:
        measurement: the run.
        load: requests a second that were due over the model's capacity.
        queues: simulated runs of its schedule, seconds, `[_QUEUES, COLUMNS]`.
        shifts: logarithms of what the parameters' uncertainty makes of each, `[_QUEUES, COLUMNS]`.
    """

    measurement: MeasuredStep
    load: float
    queues: Floats
    shifts: Floats

    def checks(self, widening: float = 1.0) -> list[ValidationPoint]:
        """Each of the run's figures against its interval, made `widening` times as wide as far as the model goes."""
        measurement, tail = self.measurement.measurement, (1 - CONFIDENCE) / 2
        drawn = self.queues * np.exp(widening * self.shifts)
        found = []
        for name in VALIDATED:
            lo, middle, hi = map(float, np.quantile(drawn[:, COLUMNS.index(name)], [tail, 0.5, 1 - tail]))
            measured, rate = measurement.raw[name], self.measurement.latencies.rate or 0.0
            predicted = Estimate(name, middle, lo, hi, CONFIDENCE, _QUEUES)
            inside, error = lo <= measured <= hi, middle / measured - 1
            found.append(
                ValidationPoint(
                    measurement.stage, rate, self.load, name, predicted, measured, error, inside, measurement.run
                )
            )
        return found


def _predict_run(model: CapacityModel, measurement: MeasuredStep, seed: int) -> _PredictedRun | None:
    """The model's percentiles for one open-loop run; None at or above its capacity, or without an answer."""
    latencies = measurement.latencies
    rate = latencies.rate
    if rate is None or rate >= UNSTABLE * model.parameter_set.capacity or not latencies.latency.size:
        return None
    rng = generator(seed, Stream.RESAMPLING, 6)
    queues = scheduled_columns(model.parameter_set, [(latencies.schedule, latencies.begins)], _QUEUES, seed)[0]
    at = np.array([rate])
    center = interpolate_tables(model.rates, model.center, at)[0]
    shifts = np.log(interpolate_tables(model.rates, model.replicates, at)[:, 0] / center)
    return _PredictedRun(
        measurement, rate / model.parameter_set.capacity, queues, shifts[rng.integers(0, shifts.shape[0], _QUEUES)]
    )


def median_error(checks: Sequence[ValidationPoint]) -> float | None:
    """Median of the errors' sizes; None without a check."""
    return float(np.median([abs(check.error) for check in checks])) if checks else None
