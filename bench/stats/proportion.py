"""Proportions of requests (failed, wrong, dropped): intervals for rare and for correlated events, and a comparison."""

from typing import Final

from bench.stats.correlation import FEW_TIMES, Series, few_times_warning, mean_error
from bench.stats.distributions import beta_quantile, normal_quantile, student_quantile
from bench.stats.estimate import Estimate

_OTHER_SHARE: Final = 0.1
"""Share of the error rate of a difference for the bound of the proportion that is subtracted: where it has no hit, that
bound is 0 whatever its share."""


def proportion_interval(metric: str, hits: Series, confidence: float = 0.95) -> Estimate:
    """The proportion of True in `hits` `[N]`, in time order.

    Clopper and Pearson's interval over the effective number of requests, with Korn and Graubard's correction, since
    failures come in clusters. Without a hit its upper end is the proportion that so many requests exclude.

    Returns:
        Absent without a request.
    """
    if not hits.size:
        return Estimate.absent(metric, "no request", confidence=confidence)
    proportion = float(hits.mean())
    if hits.size < 2:
        return Estimate(metric, proportion, 0.0, 1.0, confidence, 1)
    found = mean_error(hits)
    low, high = clopper_pearson(proportion, adjusted_size(found.n, found.freedom, confidence), confidence)
    warnings = () if found.times >= FEW_TIMES or proportion in (0.0, 1.0) else (few_times_warning(found.times),)
    return Estimate(metric, proportion, low, high, confidence, found.n, warnings)


def adjusted_size(n: float, freedom: float, confidence: float) -> float:
    """Korn and Graubard's size: smaller where the effective size `n` itself rests on few degrees of freedom."""
    level = (1 + confidence) / 2
    return n * (normal_quantile(level) / student_quantile(level, freedom)) ** 2


def clopper_pearson(proportion: float, n: float, confidence: float) -> tuple[float, float]:
    """Exact two-sided interval of a proportion observed among `n` values, `n` any positive number."""
    tail, hits = (1 - confidence) / 2, proportion * n
    low = beta_quantile(tail, hits, n - hits + 1) if proportion > 0 else 0.0
    return low, beta_quantile(1 - tail, hits + 1, n - hits) if proportion < 1 else 1.0


def proportion_bounds(hits: int, size: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of the proportion after `hits` of `size` independent values; (0, 1) without a value.

    Raises:
        ValueError: negative `hits`, or more than `size`.
    """
    if not 0 <= hits <= size:
        raise ValueError(f"{hits} of {size} is not a proportion")
    return clopper_pearson(hits / size, size, confidence) if size else (0.0, 1.0)


def upper_bound(hits: int, size: int, confidence: float = 0.95) -> float:
    """Exact one-sided upper bound of the proportion."""
    return proportion_bounds(hits, size, 2 * confidence - 1)[1]


def excess_bound(hits: int, size: int, other_hits: int, other_size: int, error: float) -> float:
    """Exact upper bound of how much larger the first proportion is, too low with a probability of at most `error`.

    The upper bound of the first less the lower bound of the other, which divide `error` (Bonferroni): it holds whatever
    the other proportion is. Both samples are of independent values.

    Args:
        hits: of the first sample.
        size: of the first sample; without a value its proportion may be 1.
        other_hits: of the other sample.
        other_size: of the other sample; without a value its proportion may be 0.
        error: above 0, at most 0.5.
    """
    lower = proportion_bounds(other_hits, other_size, 1 - 2 * _OTHER_SHARE * error)[0]
    return upper_bound(hits, size, 1 - (1 - _OTHER_SHARE) * error) - lower


def difference_bounds(
    hits: int, size: int, other_hits: int, other_size: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Exact two-sided interval of the first proportion less the other, of independent values; see `excess_bound`."""
    tail = (1 - confidence) / 2
    low, high = (other_hits, other_size, hits, size), (hits, size, other_hits, other_size)
    return -excess_bound(*low, tail), excess_bound(*high, tail)


def fisher_greater(hits: int, size: int, other_hits: int, other_size: int) -> float:
    """One-sided p-value of Fisher's exact test for a larger proportion in the first sample; 1 without data."""
    if not size or not other_size:
        return 1.0
    from scipy import stats

    table = [[hits, size - hits], [other_hits, other_size - other_hits]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)
