"""Hodges and Lehmann's estimate of the centre of paired differences, with the exact interval of the signed ranks.

The estimate is the median of all means of two differences; the interval holds the values that Wilcoxon's signed-rank
test does not reject (M. Hollander and D. Wolfe, *Nonparametric Statistical Methods*, section 3.3). It is the interval
of one look at the data, without correction for earlier looks.
"""

import math
from functools import lru_cache

import numpy as np

from bench.core.types import Floats
from bench.core.units import format_percent
from bench.stats.estimate import Estimate


def hodges_lehmann(metric: str, values: Floats, confidence: float = 0.95) -> Estimate:
    """The centre of `values` `[n]` with its interval; unbounded below 6 values at 95 %, absent without any."""
    if not values.size:
        return Estimate.absent(metric, "no pair; needs at least 6", confidence=confidence)
    first, second = np.triu_indices(values.size)
    means = np.sort((values[first] + values[second]) / 2)
    center = float(np.median(means))
    cut = _rejected(values.size, (1 - confidence) / 2)
    if cut == 0:
        needed = 1 - math.floor(math.log2(1 - confidence))
        warning = f"an interval at {format_percent(confidence)} needs {needed} pairs, not {values.size}"
        return Estimate(metric, center, None, None, confidence, values.size, (warning,))
    return Estimate(metric, center, float(means[cut - 1]), float(means[-cut]), confidence, values.size)


def _rejected(size: int, tail: float) -> int:
    """The number of the smallest sums of ranks whose joint probability is at most `tail`."""
    chances = np.cumsum(_rank_sum_chances(size))
    return int(np.searchsorted(chances, tail * (1 + 1e-12), side="right"))


@lru_cache(maxsize=256)
def _rank_sum_chances(size: int) -> Floats:
    """Probability of each sum of positive ranks, 0 to size (size + 1) / 2, with random signs."""
    chances = np.zeros(size * (size + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, size + 1):
        moved = np.zeros_like(chances)
        moved[rank:] = chances[:-rank]
        chances = (chances + moved) / 2
    return chances
