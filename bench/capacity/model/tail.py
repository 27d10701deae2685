"""The upper tail of a distribution beyond the largest value of a sample.

Waiting times depend on the second moment of the work, to which the rarest requests contribute most; a sample
underestimates it, because it ends at its largest value. Above a high threshold, the excess of nearly every distribution
is generalized Pareto (J. Pickands, 1975). Its parameters come from probability-weighted moments (J. Hosking and
J. Wallis, *Parameter and quantile estimation for the generalized Pareto distribution*, Technometrics 29, 1987).
"""

from typing import Final

import numpy as np

from bench.core.types import Floats

THRESHOLD: Final = 0.95
"""Quantile at which the tail begins."""

MIN_EXCESSES: Final = 30
"""Smallest number of values above the threshold; with fewer, no tail is fitted."""

SHAPES: Final = (-0.5, 0.4)
"""Bounds of the shape: a bounded tail, and a tail with a finite second moment."""

SIZE: Final = 4000
"""Number of values that represent the distribution."""


def with_tail(ordered: Floats) -> Floats:
    """`SIZE` equally likely values, increasing, of the distribution that `ordered` (increasing) is a sample of."""
    cut = int(np.ceil(THRESHOLD * ordered.size))
    ranks = (np.arange(SIZE) + 0.5) / SIZE
    body = ordered[(ranks * ordered.size).astype(np.intp)]
    if ordered.size - cut < MIN_EXCESSES:
        return body
    threshold = ordered[cut - 1]
    shape, scale = pareto(ordered[cut:] - threshold)
    above = ranks > cut / ordered.size
    left = (1 - ranks[above]) / (1 - cut / ordered.size)
    body[above] = threshold + excess(left, shape, scale)
    return body


def pareto(excesses: Floats) -> tuple[float, float]:
    """(shape, scale) of the generalized Pareto distribution of `excesses` (increasing, above 0)."""
    size = excesses.size
    first = float(excesses.mean())
    if first <= 0:
        return 0.0, 0.0
    second = float(np.mean((1 - (np.arange(1, size + 1) - 0.35) / size) * excesses))
    shape = 2 - first / (first - 2 * second)
    shape = min(max(shape, SHAPES[0]), SHAPES[1])
    # The mean, scale / (1 - shape), equals that of the excesses even where the shape is at a bound.
    return shape, first * (1 - shape)


def excess(exceeded: Floats, shape: float, scale: float) -> Floats:
    """The excess that a fraction `exceeded` of all excesses is above."""
    if abs(shape) < 1e-9:
        return -scale * np.log(exceeded)
    return np.asarray(scale / shape * (exceeded**-shape - 1))
