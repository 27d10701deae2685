"""Estimates from independent runs: the run is the unit, so intervals include the variation between runs.

A test on the pooled requests of two sets of runs is wrong: with a run-to-run variation of 2-2.7 % it finds a difference
in 52-64 % of equal pairs; on one value per run it is 2-5 %. Noise of latencies and rates is multiplicative, so their
means and ratios are taken on logarithms; proportions, which may be 0, are not.
"""

import math
from collections.abc import Sequence

import numpy as np

from bench.stats.distributions import student_quantile
from bench.stats.estimate import Estimate


def mean_of_runs(metric: str, values: Sequence[float], confidence: float = 0.95, *, log: bool = True) -> Estimate:
    """The mean over runs with Student's interval.

    Args:
        metric: name of the estimate.
        values: one value per run.
        confidence: of the interval.
        log: geometric mean; the arithmetic mean where a value is not above 0.

    Returns:
        Absent without a value; unbounded ends and a warning with one run.
    """
    data = np.asarray(values, np.float64)
    if not data.size:
        return Estimate.absent(metric, "no run has this metric", confidence=confidence)
    log = log and bool((data > 0).all())
    scaled = np.log(data) if log else data
    center = _back(float(scaled.mean()), log)
    if data.size == 1:
        warning = "one run: the variation between runs is not known; repeat at least 3 times"
        return Estimate(metric, center, None, None, confidence, 1, (warning,))
    half = student_quantile((1 + confidence) / 2, data.size - 1) * float(scaled.std(ddof=1)) / math.sqrt(data.size)
    ends = [_back(float(scaled.mean()) + sign * half, log) for sign in (-1, 1)]
    warnings = (f"an interval of {data.size} runs is wide; 5 are better",) if data.size < 3 else ()
    return Estimate(metric, center, ends[0], ends[1], confidence, data.size, warnings)


def change_between_runs(
    metric: str, before: Sequence[float], after: Sequence[float], confidence: float = 0.95, *, log: bool = True
) -> Estimate:
    """How `after` differs from `before`, one value per run each, with Welch's interval.

    Args:
        metric: name of the estimate.
        before: values of the runs compared against.
        after: values of the runs in question.
        confidence: of the interval.
        log: True for the ratio after / before (all values above 0), False for the difference after - before.

    Returns:
        Absent unless both sides have two runs.

    Raises:
        ValueError: `log` with a value not above 0.
    """
    sides = [np.asarray(values, np.float64) for values in (before, after)]
    if min(side.size for side in sides) < 2:
        return Estimate.absent(metric, "a change needs 2 runs on each side; 5 are better", confidence=confidence)
    if log:
        if any((side <= 0).any() for side in sides):
            raise ValueError(f"{metric}: a ratio needs values above 0")
        sides = [np.log(side) for side in sides]
    errors = [float(side.var(ddof=1)) / side.size for side in sides]
    variance = sum(errors)
    # Welch and Satterthwaite's degrees of freedom.
    parts = sum(error**2 / (side.size - 1) for error, side in zip(errors, sides, strict=True))
    freedom = variance**2 / parts if parts else float(sum(side.size for side in sides) - 2)
    center = float(sides[1].mean() - sides[0].mean())
    half = student_quantile((1 + confidence) / 2, freedom) * math.sqrt(variance)
    values = [_back(center + sign * half, log) for sign in (0, -1, 1)]
    return Estimate(metric, values[0], values[1], values[2], confidence, sum(side.size for side in sides))


def _back(value: float, log: bool) -> float:
    return math.exp(value) if log else value
