"""Where a series settles: the end of its initial transient.

MSER-5 (K. White, *An effective truncation heuristic for bias reduction in simulation output*, Simulation 69, 1997; K.
White, M. Cobb and S. Spratt, *A comparison of five steady-state truncation heuristics for simulation*, WSC 2000) cuts
where the standard error of the mean of what is left, in batches of 5, is least, and in the first half. On a steady but
correlated series it cuts by chance. So a cut counts only if what is cut off has another level than what is left, by
`SIGMAS` standard errors, which come from what is left. A series whose second half still has another level than its
first, after the cut, does not settle.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.core.types import Floats
from bench.stats.correlation import mean_error
from bench.stats.stationarity import level_shift

BATCH: Final = 5
LEAST_VALUES: Final = 100
"""Fewest values of a series whose transient is looked for."""
LEVEL: Final = 0.05
"""Least difference of the levels, on logarithms..."""
SIGMAS: Final = 4.5
"""...and in standard errors. It is large, since the cut was chosen among many."""
UNSETTLED: Final = 0.1
"""Least difference of the halves of a series that does not settle, on logarithms..."""
CHANCE: Final = 0.001
"""...if it has a smaller p-value than this..."""
LEAST_TIMES: Final = 20.0
"""...and each half has so many correlation times."""


@dataclass(frozen=True, slots=True)
class Settling:
    """The end of a transient.

    Args:
        index: index of the first settled value; that from which the search began where there is no transient.
        settled: whether what is left has one level.
        early: mean of the logarithms of what is cut off; None where nothing is.
        late: mean of what is left; None where too few values are.
    """

    index: int
    settled: bool
    early: float | None
    late: float | None


def settling(logs: Floats, least: int = 0) -> Settling:
    """Finds the end of the transient.

    Args:
        logs: logarithms of positive values, in the order of time, `[N]`.
        least: index before which everything is cut off anyway.
    """
    series = logs[least:]
    if series.size < LEAST_VALUES:
        return Settling(least, True, None, None)
    cut = min(mser(series), series.size // 2)
    head, rest = series[:cut], series[cut:]
    if not cut or not _differs(head, rest):
        head, rest = series[:0], series
    halves = level_shift(rest)
    settled = halves is None or halves.times < LEAST_TIMES or halves.p >= CHANCE
    settled = settled or halves is None or abs(halves.early - halves.late) < UNSETTLED
    early = float(head.mean()) if head.size else None
    return Settling(least + head.size, settled, early, float(rest.mean()))


def mser(series: Floats) -> int:
    """The cut of MSER-5: an index of `series` `[N]`, a multiple of 5."""
    batches = series[: series.size // BATCH * BATCH].reshape(-1, BATCH).mean(axis=1)
    # About the end's level: rounding would decide between the cuts of a series that becomes constant.
    batches -= batches[-1:]
    left = np.arange(batches.size, 0, -1)
    sums, squares = np.cumsum(batches[::-1])[::-1], np.cumsum(np.square(batches)[::-1])[::-1]
    errors = np.maximum(squares - np.square(sums) / left, 0.0) / np.square(left)
    # With few batches left the error is small by chance.
    return BATCH * int(np.argmin(errors[: max(batches.size - BATCH, 1)]))


def _differs(head: Floats, rest: Floats) -> bool:
    found = mean_error(rest)
    difference = abs(float(head.mean()) - found.mean)
    return difference >= LEVEL and difference > SIGMAS * found.error * math.sqrt(1 + rest.size / head.size)
