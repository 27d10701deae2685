"""Percentiles by nearest rank, with intervals for correlated data, absent where the requests do not suffice.

**Definition.** Nearest rank: the smallest value that at least a fraction q of the values do not exceed. It is the
latency of some request, is never interpolated between a fast and a slow mode, and is what HdrHistogram reports.

**Interval.** Whether a value lies at or below the estimated percentile is a yes-or-no series in time. Its effective
size n comes from `bench.stats.correlation`, the interval of the proportion from Clopper and Pearson with n in place of
the count (E. Korn and B. Graubard, *Confidence intervals for proportions with small expected number of positive counts
estimated from survey data*, Survey Methodology 24, 1998), and both ends go back to latencies by nearest rank.

**Correlation.** With many values beyond the percentile, the larger of the errors of two numbers of batches is taken,
since a slow change of level is hardly seen from one tail value to the next; with few, that of the percentiles below it
bounds it.

**Floor.** With n independent values the interval has an upper end only if q**n <= (1 - confidence) / 2: otherwise all
values may well lie below the true percentile. At 95 % that makes 6 for the median, 72 for p95, 368 for p99, 3,688 for
p99.9. MLPerf's rule (LoadGen: 99 % confidence; p99 needs 662 queries with one over the limit) is of the same kind and
counts requests as if they were independent; on a correlated queue its nominal 1 % of false passes become 13-50 %. The
floor is applied twice: with fewer requests a percentile is absent; with enough requests but a smaller effective sample
size it is the observed percentile of this run, and its interval has no upper end.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from bench.core.types import Floats
from bench.core.units import pluralize, times_as_long
from bench.stats.correlation import FEW_TIMES, MAX_CELLS, MeanError, few_times_warning, mean_error
from bench.stats.estimate import Estimate
from bench.stats.percentiles import PERCENTILES, needed, rank_of
from bench.stats.proportion import adjusted_size, clopper_pearson

BATCHES: Final = (128, 32)
"""Numbers of batches that a run with many values beyond a percentile is cut into."""
TAIL_EVENTS: Final = 10
"""Fewest independent values beyond a percentile (or below it) for which its own correlation is believed..."""
LEAST_SIZE: Final = 100
"""...and fewest independent values in all. Simulated for 2,000 to 15,000 values: 50 and no least number widened the
interval of a p99 by up to a third more, and covered less often where the level wanders."""
_BOUNDING: Final = tuple(sorted({*PERCENTILES.values(), 0.75}))
"""Percentiles whose effective sample size bounds that of every higher one."""


def percentile_interval(metric: str, values: Floats, fraction: float, confidence: float = 0.95) -> Estimate:
    """A percentile of one run with its interval; see `percentile_intervals`."""
    return percentile_intervals([metric], values, [fraction], confidence)[0]


def percentile_intervals(
    metrics: Sequence[str], values: Floats, fractions: Sequence[float], confidence: float = 0.95
) -> list[Estimate]:
    """Percentiles of one run with intervals.

    Args:
        metrics: a name for each percentile.
        values: latencies in the order of time, float64 `[N]`.
        fractions: percentiles as fractions, each above 0 and below 1.
        confidence: of each interval by itself.

    Returns:
        An estimate of each percentile. Below the floor a warning says how many requests are needed.
    """
    ordered = np.sort(values)
    errors: dict[float, MeanError] = {}
    found = []
    for metric, fraction in zip(metrics, fractions, strict=True):
        absent = too_few(metric, fraction, values.size, confidence)
        if absent is not None:
            found.append(absent)
            continue
        error = _long_batch_error(values, ordered, fraction, confidence)
        believed = error.n * min(fraction, 1 - fraction) >= TAIL_EVENTS and error.n >= LEAST_SIZE
        if not believed:
            for level in (*(level for level in _BOUNDING if level < fraction), fraction):
                if level not in errors:
                    errors[level] = _exceedance_error(values, ordered, level)
            # A tail with few clusters looks less correlated than it is, so a percentile is never more precise than
            # those below it.
            error = min((errors[level] for level in errors if level <= fraction), key=lambda error: error.n)
        interval = _interval(metric, ordered, fraction, error, confidence)
        # Batches are long compared with the correlation of so many values.
        found.append(replace(interval, warnings=()) if believed and interval.hi is not None else interval)
    return found


def too_few(metric: str, fraction: float, size: int, confidence: float = 0.95) -> Estimate | None:
    """The absent percentile of so few values, with a warning that says how many are needed; None from the floor on."""
    least = needed(fraction, confidence)
    if size >= least:
        return None
    warning = f"p{100 * fraction:g} needs {pluralize(least, 'request')}, the run has {size:,}"
    return Estimate.absent(metric, warning, size, confidence)


def _exceedance_error(values: Floats, ordered: Floats, fraction: float, cells: int = MAX_CELLS) -> MeanError:
    """The error of the proportion of values up to a percentile."""
    center = ordered[rank_of(fraction, values.size)]
    return mean_error(values <= center if center < ordered[-1] else values < center, cells)


def _long_batch_error(values: Floats, ordered: Floats, fraction: float, confidence: float) -> MeanError:
    """The larger of the errors of that proportion by few long batches and by more and shorter ones."""
    errors = (_exceedance_error(values, ordered, fraction, cells) for cells in BATCHES)
    return min(errors, key=lambda error: adjusted_size(error.n, error.freedom, confidence))


def _interval(metric: str, ordered: Floats, fraction: float, error: MeanError, confidence: float) -> Estimate:
    size, floor = ordered.size, needed(fraction, confidence)
    low, high = clopper_pearson(fraction, adjusted_size(error.n, error.freedom, confidence), confidence)
    center, lo, hi = (float(ordered[rank_of(level, size)]) for level in (fraction, low, high))
    if error.n < floor:
        warning = (
            f"the p{100 * fraction:g} of {pluralize(size, 'request')} (effective number: {math.floor(error.n):,}); "
            f"an upper end needs {floor:,}: run {times_as_long(floor / error.n)}, or repeat"
        )
        return Estimate(metric, center, lo, None, confidence, error.n, (warning,))
    warnings = () if error.times >= FEW_TIMES else (few_times_warning(error.times),)
    return Estimate(metric, center, lo, hi, confidence, error.n, warnings)
