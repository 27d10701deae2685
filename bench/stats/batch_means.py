"""Intervals of percentiles from batches of consecutive values, without the values and without scipy.

A live view knows how many values of each batch (a second, or several) lie at or below a percentile, not the values in
their order. Batch means (B. Schmeiser, *Batch size effects in the analysis of simulation output*, Operations Research
30, 1982: 10 to 30 batches suffice) give the variance of the proportion at or below it; that of a ratio, since batches
have different numbers of values. The effective size follows, with Korn and Graubard's correction for few batches, and
from it Wilson's interval of the proportion (E. Wilson, JASA 22, 1927), whose ends go back to values by nearest rank.
`bench.stats.percentile_intervals`, for stored runs, has Clopper and Pearson's instead, which needs scipy.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Floats

LEAST_BATCHES: Final = 8
"""Fewest batches for an interval."""


@dataclass(frozen=True, slots=True)
class ProportionBounds:
    """The interval of a proportion.

    Args:
        lo: lower end.
        hi: upper end.
        n: effective number of independent values.
    """

    lo: float
    hi: float
    n: float


def effective_size(proportion: float, hits: NDArray[np.int64], sizes: NDArray[np.int64]) -> float:
    """The number of independent values that determine a proportion as well as these batches do, at most all of them.

    Args:
        proportion: what `hits` are expected to be of `sizes`, above 0 and below 1.
        hits: values of each batch at or below the percentile, `[B]`.
        sizes: values of each batch, `[B]`, with 2 batches at least.
    """
    total, count = int(sizes.sum()), sizes.size
    share = hits.sum() / total
    squares = float(np.square(hits - share * sizes).sum()) * count / (count - 1)
    own = proportion * (1 - proportion) * total * total
    return min(own / squares, total) if squares else float(total)


def proportion_bounds(proportion: float, n: float, batches: int, confidence: float) -> ProportionBounds:
    """Wilson's interval of a proportion.

    Args:
        proportion: the estimate.
        n: effective number of values, from so many `batches`.
        batches: 2 or more.
        confidence: of the interval.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    size = n * (z / _student(z, batches - 1)) ** 2
    center = (proportion + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(proportion * (1 - proportion) / size + (z / (2 * size)) ** 2)
    return ProportionBounds(max(center - half, 0.0), min(center + half, 1.0), n)


def mean_bounds(values: Floats, confidence: float = 0.95) -> tuple[float, float, float]:
    """The mean of independent values `[N]`, N at least `LEAST_BATCHES`, and both ends of its interval."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    center = float(values.mean())
    half = _student(z, values.size - 1) * float(values.std(ddof=1)) / math.sqrt(values.size)
    return center, center - half, center + half


def _student(z: float, freedom: int) -> float:
    """Student's quantile from the normal one (Abramowitz and Stegun, 26.7.5); within 0.2 % from 7 degrees on."""
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / float(freedom) ** power for power, term in enumerate(terms, 1))
