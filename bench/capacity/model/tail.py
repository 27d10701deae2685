"""A sample's upper tail beyond its largest value.

Waiting depends on the second moment of the work, to which the rarest requests contribute most, and a sample that ends
at its largest value makes it too small. Over a high threshold nearly every distribution's excess is generalized Pareto
(J. Pickands, 1975); its parameters come from probability-weighted moments (J. Hosking and J. Wallis, *Parameter and
quantile estimation for the generalized Pareto distribution*, Technometrics 29, 1987).
"""

from typing import Final

import numpy as np

from bench.core.types import Floats

THRESHOLD: Final = 0.95
"""The tail begins at this quantile."""

LEAST: Final = 30
"""Values over the threshold that a tail needs; with fewer the sample stays as it is."""

SHAPES: Final = (-0.5, 0.4)
"""Bounds of the shape: a bounded tail, and one whose second moment is still finite."""

SIZE: Final = 4000
"""Values that represent the distribution."""


def with_tail(ordered: Floats) -> Floats:
    """`SIZE` equally likely values of the distribution that `ordered` (rising) was drawn from, rising."""
    cut = int(np.ceil(THRESHOLD * ordered.size))
    ranks = (np.arange(SIZE) + 0.5) / SIZE
    body = ordered[(ranks * ordered.size).astype(np.intp)]
    if ordered.size - cut < LEAST:
        return body
    threshold = ordered[cut - 1]
    shape, scale = pareto(ordered[cut:] - threshold)
    above = ranks > cut / ordered.size
    left = (1 - ranks[above]) / (1 - cut / ordered.size)
    body[above] = threshold + excess(left, shape, scale)
    return body


def pareto(excesses: Floats) -> tuple[float, float]:
    """Shape and scale of the generalized Pareto distribution of `excesses` (rising, above 0)."""
    size = excesses.size
    first = float(excesses.mean())
    if first <= 0:
        return 0.0, 0.0
    second = float(np.mean((1 - (np.arange(1, size + 1) - 0.35) / size) * excesses))
    shape = 2 - first / (first - 2 * second)
    shape = min(max(shape, SHAPES[0]), SHAPES[1])
    # The mean of the distribution, scale / (1 - shape), stays that of the excesses where the shape met a bound.
    return shape, first * (1 - shape)


def excess(left: Floats, shape: float, scale: float) -> Floats:
    """The excess that a share `left` of all excesses lies above."""
    if abs(shape) < 1e-9:
        return -scale * np.log(left)
    return np.asarray(scale / shape * (left**-shape - 1))
