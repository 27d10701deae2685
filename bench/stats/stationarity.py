"""Whether the level of a correlated series is the same early and late (J. Geweke, in *Bayesian Statistics 4*, 1992).

The error of each part's mean comes from `bench.stats.correlation`, after the removal of a linear trend from the
part: a steady drift must not inflate the error that it is compared with.
"""

import math
from dataclasses import dataclass

import numpy as np

from bench.core.types import Floats
from bench.stats.correlation import MAX_CELLS, mean_error
from bench.stats.distributions import student_tail


@dataclass(frozen=True, slots=True)
class Shift:
    """The difference in level between two parts of a series.

    Args:
        early: mean of the early part.
        late: mean of the late part.
        p: probability of a difference this large in a stationary series; 1.0 where both parts are constant and equal.
        times: correlation times in the part with fewer of them; with few, `p` is unreliable.
    """

    early: float
    late: float
    p: float
    times: float


def level_shift(series: Floats, head: float = 0.5, tail: float = 0.5) -> Shift | None:
    """Compares the first `head` of `series` `[N]` with its last `tail` (fractions, together at most 1).

    Returns:
        None where a part would have fewer than 8 values.
    """
    if head + tail > 1 + 1e-9:
        raise ValueError(f"the parts {head} and {tail} overlap")
    first, last = series[: round(head * series.size)], series[series.size - round(tail * series.size) :]
    if min(first.size, last.size) < 8:
        return None
    early, late = float(first.mean()), float(last.mean())
    errors = [mean_error(_detrended(part)) for part in (first, last)]
    times = min(found.times for found in errors)
    variance = sum(found.error**2 for found in errors)
    if variance == 0:
        return Shift(early, late, 1.0 if early == late else 0.0, times)
    # Welch and Satterthwaite; the trend takes one more degree of freedom from each part.
    freedom = variance**2 / sum(found.error**4 / max(found.freedom - 1, 1) for found in errors)
    p = 2 * student_tail(abs(late - early) / math.sqrt(variance), freedom)
    return Shift(early, late, p, times)


def _detrended(part: Floats) -> Floats:
    """`part` in at most `MAX_CELLS` means, less their linear trend."""
    size = -(-part.size // MAX_CELLS)
    cells = part.size // size
    means = part[: cells * size].reshape(cells, size).mean(axis=1)
    time = np.arange(cells) - (cells - 1) / 2
    return np.asarray(means - means.mean() - time * float(time @ means / (time @ time)))
