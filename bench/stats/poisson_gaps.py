"""Goodness of fit of gaps to a Poisson process: Kolmogorov and Smirnov's test."""

from dataclasses import dataclass

import numpy as np

from bench.core.types import Floats


@dataclass(frozen=True, slots=True)
class Fit:
    """A goodness-of-fit test.

    Args:
        distance: largest distance between the two distribution functions, 0 to 1.
        p: probability of a distance this large if the gaps do come from the distribution.
        n: gaps tested.
    """

    distance: float
    p: float
    n: int


def exponential_gaps(times: Floats, rate: float) -> Fit:
    """Tests the gaps between sorted `times` `[N]`, N at least 2, against the exponential distribution of `rate`.

    The rate must be the stated one: with a rate estimated from the same times the p value would be too large.
    """
    if times.size < 2:
        raise ValueError(f"{times.size} times have no gaps")
    from scipy import stats

    found = stats.kstest(np.diff(times), "expon", args=(0, 1 / rate))
    return Fit(float(found.statistic), float(found.pvalue), times.size - 1)
