"""The model held to runs that it never saw.

What is compared is the run itself: the model is simulated on the run's own schedule, many times, with parameters as
uncertain as they are, which gives the distribution that each percentile *of this run* should have come from. A finite
run scatters around the long run, and the interval knows by how much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.capacity.curves import COLUMNS, UNSTABLE, interpolate_curves, scheduled_columns
from bench.capacity.model import CONFIDENCE, CapacityModel
from bench.capacity.points import Measurement, Stage
from bench.results.seeds import Stream, generator
from bench.stats.summary import Summary

CHECKED: Final = ("p50", "p95", "p99")
_LANES: Final = 200


@dataclass(frozen=True, slots=True)
class Check:
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
    predicted: Summary
    measured: float
    error: float
    inside: bool
    run: str


def check_run(model: CapacityModel, measurement: Measurement, seed: int = 0) -> list[Check]:
    """The model's percentiles for one open-loop run, against the measured ones; none at or above its capacity."""
    observed, point = measurement.observed, measurement.point
    rate = observed.rate
    if rate is None or rate >= UNSTABLE * model.candidate.capacity or not observed.latency.size:
        return []
    rng = generator(seed, Stream.RESAMPLING, 6)
    lanes = scheduled_columns(model.candidate, [(observed.schedule, observed.begins)], _LANES, seed)[0]
    at = np.array([rate])
    center = interpolate_curves(model.rates, model.center, at)[0]
    shifts = interpolate_curves(model.rates, model.replicates, at)[:, 0] / center
    drawn = lanes * shifts[rng.integers(0, shifts.shape[0], _LANES)]
    found = []
    for name in CHECKED:
        column = COLUMNS.index(name)
        tail = (1 - CONFIDENCE) / 2
        lo, middle, hi = np.quantile(drawn[:, column], [tail, 0.5, 1 - tail])
        measured = point.raw[name]
        predicted = Summary(name, float(middle), float(lo), float(hi), CONFIDENCE, _LANES)
        load = rate / model.candidate.capacity
        inside = bool(lo <= measured <= hi)
        found.append(
            Check(point.stage, rate, load, name, predicted, measured, float(middle / measured - 1), inside, point.run)
        )
    return found


def median_error(checks: Sequence[Check]) -> float | None:
    """Median of the errors' sizes; None without a check."""
    return float(np.median([abs(check.error) for check in checks])) if checks else None
