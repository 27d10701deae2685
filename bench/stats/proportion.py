"""Shares of requests (failed, wrong, dropped) with intervals that hold for rare and for correlated events."""

from scipy import stats

from bench.stats.correlation import FEW_TIMES, Series, few_times_warning, mean_error
from bench.stats.estimate import Estimate


def share_interval(metric: str, hits: Series, confidence: float = 0.95) -> Estimate:
    """The share of True in `hits` `[N]`, in time order.

    The interval is Clopper and Pearson's over the effective number of requests, with Korn and Graubard's correction:
    failures come in clumps. With no hit at all its upper end is what that many requests can exclude.

    Returns:
        Absent without a request.
    """
    if not hits.size:
        return Estimate.absent(metric, "no request", confidence=confidence)
    share = float(hits.mean())
    if hits.size < 2:
        return Estimate(metric, share, 0.0, 1.0, confidence, 1)
    found = mean_error(hits)
    low, high = clopper_pearson(share, adjusted_size(found.n, found.freedom, confidence), confidence)
    warnings = () if found.times >= FEW_TIMES or share in (0.0, 1.0) else (few_times_warning(found.times),)
    return Estimate(metric, share, low, high, confidence, found.n, warnings)


def adjusted_size(n: float, freedom: float, confidence: float) -> float:
    """Korn and Graubard's size: smaller where the effective size `n` itself rests on few degrees of freedom."""
    level = (1 + confidence) / 2
    return float(n * (stats.norm.ppf(level) / stats.t.ppf(level, freedom)) ** 2)


def clopper_pearson(share: float, n: float, confidence: float) -> tuple[float, float]:
    """Interval for a share of which `share` was seen among `n` values, `n` any positive number."""
    tail, hits = (1 - confidence) / 2, share * n
    low = float(stats.beta.ppf(tail, hits, n - hits + 1)) if share > 0 else 0.0
    return low, float(stats.beta.ppf(1 - tail, hits + 1, n - hits)) if share < 1 else 1.0
