"""Percentiles: nearest rank, with intervals that survive correlation, and null below the number that carries them.

**Which percentile.** Nearest rank: the smallest value that at least q of the values do not exceed. It is a latency that
some request had, it never interpolates between a fast and a slow mode, and it is what HdrHistogram gives.

**Interval.** Whether a value lies at or below the estimated percentile is a yes-or-no series in time. Its effective
size n comes from `bench.stats.correlation`, the interval for the share from Clopper and Pearson with n in place of the
count (E. Korn and B. Graubard, *Confidence intervals for proportions with small expected number of positive counts
estimated from survey data*, Survey Methodology 24, 1998), and both ends go back to latencies by nearest rank.

**Floor.** With n independent values the interval has an upper end only if q**n <= (1 - confidence) / 2: otherwise all
values may well lie below the true percentile. At 95 % that makes 6 for the median, 72 for p95, 368 for p99, 3,688 for
p99.9. MLPerf's rule (LoadGen: 99 % confidence; p99 needs 662 queries with one over the limit) is of the same kind and
counts requests as if they were independent; on a correlated queue its nominal 1 % of false passes become 13-50 %. So
the floor is used twice here: with fewer requests a percentile is absent; with enough requests that are *worth* fewer it
is what these requests had, a fact of this run, and its interval has no upper end.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from bench.core.types import Floats
from bench.core.units import pluralize, times_as_long
from bench.stats.correlation import FEW_TIMES, MeanError, few_times_warning, mean_error
from bench.stats.estimate import Estimate
from bench.stats.proportion import adjusted_size, clopper_pearson

LADDER: Final = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
"""Levels whose effective size bounds that of every percentile above them."""


def nearest_rank(values: Floats, shares: Sequence[float]) -> list[float]:
    """The smallest values that at least each of `shares` (0 to 1) of `values` do not exceed; `values` in any order.

    Raises:
        ValueError: no value at all: there is no percentile of nothing.
    """
    if not values.size:
        raise ValueError("no value, hence no percentile")
    ranks = [rank_of(share, values.size) for share in shares]
    ordered = np.partition(values, sorted(set(ranks)))
    return [float(ordered[rank]) for rank in ranks]


def rank_of(share: float, size: int) -> int:
    """Index of the nearest rank among `size` sorted values."""
    # The tolerance keeps 0.99 * 100 = 99.00000000000001 at rank 99.
    return min(max(math.ceil(share * size - 1e-9), 1), size) - 1


def needed(share: float, confidence: float = 0.95) -> int:
    """How many independent values the percentile `share` needs: the floor of this module's docstring."""
    tail = (1 - confidence) / 2
    return math.ceil(max(math.log(tail) / math.log(share), math.log(tail) / math.log(1 - share)) - 1e-9)


def percentile_interval(metric: str, values: Floats, share: float, confidence: float = 0.95) -> Estimate:
    """A percentile of one run with its interval; see `percentile_intervals`."""
    return percentile_intervals([metric], values, [share], confidence)[0]


def percentile_intervals(
    metrics: Sequence[str], values: Floats, shares: Sequence[float], confidence: float = 0.95
) -> list[Estimate]:
    """Percentiles of one run with intervals.

    Args:
        metrics: a name for each share.
        values: latencies in the order of time, float64 `[N]`.
        shares: percentiles as shares, each above 0 and below 1.
        confidence: of each interval by itself.

    Returns:
        For each share its summary. Below the floor a warning says how many requests are needed.
    """
    ordered = np.sort(values)
    errors: dict[float, MeanError] = {}
    found = []
    for metric, share in zip(metrics, shares, strict=True):
        if values.size < needed(share, confidence):
            least, has = pluralize(needed(share, confidence), "request"), f"{values.size:,}"
            warning = f"p{100 * share:g} needs {least}, the run has {has}"
            found.append(Estimate.absent(metric, warning, values.size, confidence))
            continue
        for level in (*(level for level in LADDER if level < share), share):
            if level not in errors:
                errors[level] = _exceedance_error(values, ordered, level)
        # A tail that clumped in a few places looks less correlated than it is, so no percentile counts as better
        # known than those below it.
        error = min((errors[level] for level in errors if level <= share), key=lambda error: error.n)
        found.append(_interval(metric, ordered, share, error, confidence))
    return found


def _exceedance_error(values: Floats, ordered: Floats, share: float) -> MeanError:
    """How sure the share of values up to a percentile is."""
    center = ordered[rank_of(share, values.size)]
    return mean_error(values <= center if center < ordered[-1] else values < center)


def _interval(metric: str, ordered: Floats, share: float, error: MeanError, confidence: float) -> Estimate:
    size, floor = ordered.size, needed(share, confidence)
    low, high = clopper_pearson(share, adjusted_size(error.n, error.freedom, confidence), confidence)
    center, lo, hi = (float(ordered[rank_of(level, size)]) for level in (share, low, high))
    if error.n < floor:
        warning = (
            f"the p{100 * share:g} of these {pluralize(size, 'request')}, worth {math.floor(error.n):,} independent; "
            f"an upper end needs {floor:,}: run {times_as_long(floor / error.n)}, or repeat"
        )
        return Estimate(metric, center, lo, None, confidence, error.n, (warning,))
    warnings = () if error.times >= FEW_TIMES else (few_times_warning(error.times),)
    return Estimate(metric, center, lo, hi, confidence, error.n, warnings)
