"""Percentiles by nearest rank, without scipy, which a load generator does not load."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from bench.core.types import Floats

PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
"""The percentiles of reports, as fractions."""
LATENCIES: Final = ("mean", *PERCENTILES)
"""The names of what is said of latencies."""


def nearest_rank(values: Floats, fractions: Sequence[float]) -> list[float]:
    """The percentiles `fractions` (0 to 1) of `values`, which may be in any order.

    Raises:
        ValueError: there is no value.
    """
    if not values.size:
        raise ValueError("a percentile needs at least one value")
    ranks = [rank_of(fraction, values.size) for fraction in fractions]
    ordered = np.partition(values, sorted(set(ranks)))
    return [float(ordered[rank]) for rank in ranks]


def rank_of(fraction: float, size: int) -> int:
    """Index of the nearest rank among `size` sorted values."""
    # The tolerance keeps 0.99 * 100 = 99.00000000000001 at rank 99.
    return min(max(math.ceil(fraction * size - 1e-9), 1), size) - 1


def needed(fraction: float, confidence: float = 0.95) -> int:
    """The number of independent values that percentile `fraction` needs, see `bench.stats.percentile_intervals`."""
    tail = (1 - confidence) / 2
    return math.ceil(max(math.log(tail) / math.log(fraction), math.log(tail) / math.log(1 - fraction)) - 1e-9)
