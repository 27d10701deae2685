"""The error share: exact bounds of how much larger the candidate's is, from the number of requests that failed.

The tests on runs need differences that spread alike to both sides of the truth. Those of rare failures do not: most
runs have none, so that a few short runs look certain, however few requests they hold. What so many requests exclude is
known exactly if they fail one by one; failures that come in clusters are what the tests on runs see. To pass, the error
share needs both.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bench.core.units import format_number
from bench.gate.types import ERRORS, Pair, Plan, RunMetrics
from bench.stats.estimate import Estimate
from bench.stats.proportion import difference_bounds, excess_bound


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """How many requests failed.

    Args:
        baseline: of the baseline, failed requests and all.
        candidate: of the candidate.
    """

    baseline: tuple[int, int]
    candidate: tuple[int, int]

    @classmethod
    def of_runs(cls, baseline: Iterable[RunMetrics], candidate: Iterable[RunMetrics]) -> "ErrorCounts":
        """Those of runs of both arms."""
        return cls(_counted(baseline), _counted(candidate))

    @classmethod
    def of_pairs(cls, pairs: Sequence[Pair]) -> "ErrorCounts":
        """Those of pairs."""
        return cls.of_runs((pair.baseline for pair in pairs), (pair.candidate for pair in pairs))

    def excess(self, error: float) -> float:
        """Upper bound of how much larger the candidate's share is, too low with a probability of at most `error`."""
        return excess_bound(*self.candidate, *self.baseline, error)

    def could_exclude(self, effect: float, error: float) -> bool:
        """Whether so many requests exclude `effect` if none of them fails."""
        return excess_bound(0, self.candidate[1], 0, self.baseline[1], error) <= effect

    def widened(self, effect: Estimate) -> Estimate:
        """An interval of the difference over runs, at least as wide as the exact one: runs without a failure do not
        vary."""
        if effect.lo is None or effect.hi is None:
            return effect
        low, high = difference_bounds(*self.candidate, *self.baseline, effect.confidence)
        return replace(effect, lo=min(effect.lo, low), hi=max(effect.hi, high))

    def not_excluded(self, bound: float, effect: float, more: str) -> str:
        """What an upper bound of `bound` cannot exclude, and what to give; "" if it excludes `effect`.

        Args:
            bound: of how much larger the candidate's share is.
            effect: the smallest effect that matters.
            more: what brings more requests: `give more --max-time`.
        """
        if bound <= effect:
            return ""
        (other_hits, other_size), (hits, size) = self.baseline, self.candidate
        failed = f"{hits:,} of {size:,} requests to the candidate failed"
        others = f"{other_hits:,} of {other_size:,} to the baseline"
        percent = _percent_above(bound)
        return (
            f"error ratio: {failed}, {others}, which cannot exclude +{percent} points, smallest effect "
            f"{format_number(100 * effect, 6)} points; {more}, or --min-effect {ERRORS}={percent}%"
        )


def sequential_excess(plan: Plan, pairs: Sequence[Pair], looks: Sequence[int], final: bool) -> float:
    """Upper bound of how much larger the candidate's error share is, at the last of several looks.

    Each look spends a part of what is left of the plan's `miss`, and the final one all of it: the chance that any
    look's bound is too low is at most `miss`. A look at so few requests that it could not exclude the smallest effect
    even if none failed spends nothing, which their number alone decides.

    Args:
        plan: smallest effects and error rates; it has the error share.
        pairs: the valid pairs.
        looks: numbers of pairs at the looks so far, the present one last.
        final: whether there will be no other look.
    """
    effect, left, lowest = plan.min_effects[ERRORS], plan.miss, 1.0
    for look in looks:
        counts, last = ErrorCounts.of_pairs(pairs[:look]), final and look == looks[-1]
        spent = left if last else left * plan.spent_per_look
        if last or counts.could_exclude(effect, spent):
            left -= spent
            lowest = min(lowest, counts.excess(spent))
    # As with the other tests, an earlier look counts only if the present data still support it.
    return max(lowest, ErrorCounts.of_pairs(pairs).excess(plan.miss))


def in_bursts(pairs: Sequence[Pair]) -> bool:
    """Whether the candidate's failures come in bursts: two or more, on average, in each run that has any."""
    failed = [pair.candidate.failed for pair in pairs if pair.candidate.failed]
    return sum(failed) >= 2 * len(failed) > 0


def _counted(runs: Iterable[RunMetrics]) -> tuple[int, int]:
    """Failed requests, and all."""
    counts = [(run.failed, run.requests) for run in runs]
    return sum(failed for failed, _ in counts), sum(requests for _, requests in counts)


def _percent_above(share: float) -> str:
    """A share above 0 in percent, rounded up to two digits, so that it is excluded where `share` is."""
    step = 10.0 ** (math.floor(math.log10(share)) - 1)
    return format_number(min(100 * step * math.ceil(share / step), 100.0))
