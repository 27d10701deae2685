"""Shares of yes among n: Clopper and Pearson's exact interval, and whether one share is larger than another."""

from scipy import stats

from bench.stats.proportion import clopper_pearson


def share_bounds(hits: int, size: int, confidence: float = 0.95) -> tuple[float, float]:
    """Lower and upper bound of the true share after `hits` of `size`, exact, two-sided; (0, 1) without any."""
    if not 0 <= hits <= size:
        raise ValueError(f"{hits} of {size} is not a share")
    if size == 0:
        return 0.0, 1.0
    return clopper_pearson(hits / size, size, confidence)


def upper_bound(hits: int, size: int, confidence: float = 0.95) -> float:
    """One-sided upper bound of the true share."""
    return share_bounds(hits, size, 2 * confidence - 1)[1]


def larger_share(hits: int, size: int, other_hits: int, other_size: int) -> float:
    """One-sided p-value of Fisher's exact test that the first share is no larger than the other; 1 without data."""
    if not size or not other_size:
        return 1.0
    table = [[hits, size - hits], [other_hits, other_size - other_hits]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)
