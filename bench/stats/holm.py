"""Holm's procedure with weights: one joint error rate over several tests."""

from collections.abc import Sequence

import numpy as np

from bench.core.types import Floats


def remaining_weights(weights: Sequence[float], rejected: Sequence[bool]) -> Floats:
    """Each test's fraction of the joint error rate after some rejections, whose fractions go to the other tests.

    S. Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 6, 1979,
    section 4; for tests that are looked at repeatedly, Y. Ye et al., *A group sequential Holm procedure with multiple
    primary endpoints*, Statistics in Medicine 32, 2013.

    Returns:
        float64 `[K]`; a rejected test has its original weight, the sum of the others is 1.

    Raises:
        ValueError: a weight that is not above zero.
    """
    fractions = np.asarray(weights, np.float64)
    if not fractions.size or not (fractions > 0).all():
        raise ValueError("weights must be above zero")
    fractions = fractions / fractions.sum()
    out = np.asarray(rejected, np.bool_)
    left = fractions[~out].sum()
    return np.where(out, fractions, fractions / left if left else fractions)


def holm(p: Sequence[float], weights: Sequence[float] | None = None) -> tuple[float, ...]:
    """p-values adjusted for all K tests: rejecting those at or below a level keeps the joint error rate there."""
    values = np.asarray(p, np.float64)
    scale = np.ones_like(values) if weights is None else np.asarray(weights, np.float64)
    adjusted = np.ones_like(values)
    done = np.zeros(values.shape, np.bool_)
    floor = 0.0
    for index in np.argsort(values / scale, kind="stable"):
        weight = remaining_weights(list(scale), list(done))[index]
        floor = max(floor, min(float(values[index] / weight), 1.0))
        adjusted[index], done[index] = floor, True
    return tuple(float(value) for value in adjusted)
