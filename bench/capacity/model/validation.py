"""Validates the model on runs that it was not fitted to.

The comparison is with the run itself. The model is simulated many times on the schedule of the run, with parameters
drawn from their distribution. This gives the predictive distribution of each percentile of this run, which includes the
scatter of a run of finite length. Where the intervals prove too narrow, all later intervals are widened.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from bench.capacity.measurements.measured_step import MeasuredStep, Measurement, Stage, rates_of
from bench.capacity.model.capacity_model import CONFIDENCE, CapacityModel, covered_rates
from bench.capacity.queue.latency_table import COLUMNS, UNSTABLE, interpolate_tables, scheduled_columns
from bench.core.seeds import Stream, generator
from bench.core.types import Floats
from bench.stats.distributions import binomial_tail
from bench.stats.estimate import Estimate

VALIDATED: Final = ("p50", "p95", "p99")
CHANCE: Final = 0.05
"""Probability of widening intervals that are right, at most."""

MAX_WIDENING: Final = 20.0

_SIMULATIONS: Final = 200
_WIDENING_STEP: Final = 1.1


@dataclass(frozen=True, slots=True)
class ValidationPoint:
    """One percentile of one validation run.

    Args:
        stage: hold-out or confirm.
        rate: requested rate, requests/s.
        load: the same over the capacity of the model.
        column: the percentile, of `bench.capacity.queue.latency_table.COLUMNS`.
        predicted: predicted value, seconds, with the interval for a run of this length.
        measured: measured value, seconds.
        error: predicted / measured - 1.
        inside: whether the measured value is in the interval.
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


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run for the validation that shows nothing of the model.

    Args:
        stage: hold-out or confirm.
        load: requested load, as text.
        reason: why it is left out, one line.
        run: name of the run folder.
    """

    stage: Stage
    load: str
    reason: str
    run: str

    def __str__(self) -> str:
        return f"{self.stage} {self.load} ({self.run}): {self.reason}"


VALIDATION_STAGES: Final = (Stage.HOLD_OUT, Stage.CONFIRM)


@dataclass(frozen=True, slots=True)
class ValidatedModel:
    """A model with its validation.

    Args:
        model: the model, its intervals widened where the validation requires it.
        validation: every percentile of every validation run that counts, with the intervals before the widening.
        sustained: rates above the capacity of the model that the server sustained, requests/s, increasing.
        left_out: the validation runs that do not count.
    """

    model: CapacityModel
    validation: tuple[ValidationPoint, ...]
    sustained: tuple[float, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def validate(model: CapacityModel, steps: Sequence[MeasuredStep], seed: int = 0) -> ValidatedModel:
    """Compares the model with the hold-out and confirmation runs among `steps`, and widens its intervals if necessary.

    A run that is INVALID as a measurement is left out: its latencies are not those of the server at that rate.
    If the number of values outside their interval is too large for chance, all intervals are widened until they contain
    the nominal fraction: split conformal prediction with a scaled score (J. Lei et al., *Distribution-free predictive
    inference for regression*, J. Am. Statist. Assoc. 113, 2018). Intervals are never narrowed.
    """
    all_runs = [step for step in steps if step.measurement.stage in VALIDATION_STAGES]
    runs = [step for step in all_runs if not step.measurement.reasons]
    predicted = [found for step in runs if (found := _predict_run(model, step, seed))]
    by_run = [run.validation() for run in predicted]
    widening = 1.0
    if _is_too_narrow(by_run):
        required = CONFIDENCE * sum(map(len, by_run))
        while widening < MAX_WIDENING and _inside(run.validation(widening) for run in predicted) < required:
            widening *= _WIDENING_STEP
    limit = UNSTABLE * model.parameter_set.capacity
    sustained = {
        step.measurement.rate for step in runs if step.measurement.stable and (step.latencies.rate or 0.0) >= limit
    }
    return ValidatedModel(
        replace(covering(model, (step.measurement for step in steps)), widening=widening),
        tuple(itertools.chain.from_iterable(by_run)),
        tuple(sorted(rate for rate in sustained if rate is not None)),
        tuple(_left_out(all_runs, predicted)),
    )


def _left_out(runs: Sequence[MeasuredStep], predicted: Sequence["_PredictedRun"]) -> Iterator[LeftOut]:
    """The runs that are not among those predicted, and why."""
    counted = {run.step.measurement.run for run in predicted}
    for measurement in (step.measurement for step in runs if step.measurement.run not in counted):
        if measurement.reasons:
            reason = f"INVALID ({'; '.join(measurement.reasons)})"
        elif not measurement.raw:
            reason = "no successful request"
        else:
            reason = "at or above the capacity of the model"
        yield LeftOut(measurement.stage, measurement.load, reason, measurement.run)


def covering(model: CapacityModel, measurements: Iterable[Measurement]) -> CapacityModel:
    """The model, which covers the rates of these measurements."""
    rates = rates_of(measurements)
    return replace(model, valid=covered_rates(rates, model.rates)) if rates else model


def _inside(by_run: Iterable[Sequence[ValidationPoint]]) -> int:
    return sum(value.inside for values in by_run for value in values)


def _is_too_narrow(by_run: Sequence[Sequence[ValidationPoint]]) -> bool:
    """Whether correct intervals would do this badly with a probability below `CHANCE`.

    The percentiles of a run are correlated, so a run counts once: as missed if most of them are outside.
    """
    missed = sum(_inside([values]) < len(values) / 2 for values in by_run)
    return binomial_tail(missed - 1, len(by_run), 1 - CONFIDENCE) < CHANCE


@dataclass(frozen=True, slots=True)
class _PredictedRun:
    """The predictive distribution of one run.

    Args:
        step: the run.
        load: requested rate over the capacity of the model.
        simulated: percentiles of simulations of the run's schedule, seconds, `[_SIMULATIONS, COLUMNS]`.
        shifts: logarithm of the effect of the uncertain parameters on each, `[_SIMULATIONS, COLUMNS]`.
    """

    step: MeasuredStep
    load: float
    simulated: Floats
    shifts: Floats

    def validation(self, widening: float = 1.0) -> list[ValidationPoint]:
        """Each percentile with its interval, the uncertainty of the parameters multiplied by `widening`."""
        measurement = self.step.measurement
        drawn = self.simulated * np.exp(widening * self.shifts)
        tail = (1 - CONFIDENCE) / 2
        found = []
        for name in VALIDATED:
            lo, middle, hi = map(float, np.quantile(drawn[:, COLUMNS.index(name)], [tail, 0.5, 1 - tail]))
            measured = measurement.raw[name]
            found.append(
                ValidationPoint(
                    stage=measurement.stage,
                    rate=measurement.rate or 0.0,
                    load=self.load,
                    column=name,
                    predicted=Estimate(name, middle, lo, hi, CONFIDENCE, _SIMULATIONS),
                    measured=measured,
                    error=middle / measured - 1,
                    inside=lo <= measured <= hi,
                    run=measurement.run,
                )
            )
        return found


def _predict_run(model: CapacityModel, step: MeasuredStep, seed: int) -> _PredictedRun | None:
    """The prediction for one open-loop run; None at or above the capacity, or without an answer."""
    latencies = step.latencies
    rate = latencies.rate
    if rate is None or rate >= UNSTABLE * model.parameter_set.capacity or not latencies.latency.size:
        return None
    rng = generator(seed, Stream.RESAMPLING, 6)
    schedule = latencies.schedule, latencies.begins
    simulated = scheduled_columns(model.parameter_set, [schedule], _SIMULATIONS, seed)[0]
    at = np.array([rate])
    center = interpolate_tables(model.rates, model.center, at)[0]
    shifts = np.log(interpolate_tables(model.rates, model.replicates, at)[:, 0] / center)
    drawn = shifts[rng.integers(0, shifts.shape[0], _SIMULATIONS)]
    return _PredictedRun(step, (step.measurement.rate or rate) / model.parameter_set.capacity, simulated, drawn)


def median_error(validation: Sequence[ValidationPoint]) -> float | None:
    """Median of the absolute errors; None without a value."""
    return float(np.median([abs(value.error) for value in validation])) if validation else None
