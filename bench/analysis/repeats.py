"""The repeats of a run together: each metric as the mean of the VALID ones, with the interval between runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.analysis.compare import not_repeats, side_estimate
from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis
from bench.analysis.shared_runs import each_once
from bench.analysis.summary import CONFIDENCE
from bench.results.manifest import RunManifest
from bench.stats.estimate import Estimate


@dataclass(frozen=True)
class Repeats:
    """The repeats of one command with the same arrivals.

    Args:
        runs: two or more.
    """

    runs: Sequence[Analysis]

    @cached_property
    def valid(self) -> list[Analysis]:
        """The VALID ones."""
        return [run for run in self.runs if run.validity.valid]

    @cached_property
    def means(self) -> Mapping[str, Estimate]:
        """The mean over the VALID repeats of each metric that any of them has.

        Without an interval where only one repeat is VALID: that of a single run does not include the variation between
        runs.
        """
        return {name: self._mean(name) for name in METRICS if self.centers(name)}

    def centers(self, metric: str) -> list[float]:
        """The values of a metric in the VALID repeats that have it."""
        found = [run.summary.metrics[metric].center for run in self.valid if metric in run.summary.metrics]
        return [center for center in found if center is not None]

    def _mean(self, name: str) -> Estimate:
        if len(self.valid) > 1:
            return side_estimate(METRICS[name], self.valid)
        (only,) = self.centers(name)
        return Estimate(name, only, None, None, CONFIDENCE, 0)


def by_repeats(analyses: Sequence[Analysis]) -> list[list[Analysis]]:
    """The runs, repeats of each other together, in the order of their first runs; a copy of a run is left out.

    Repeats are of one command and of one load: a sweep and a gate are one command with runs under several loads, or of
    several servers.
    """
    groups: list[list[Analysis]] = []
    for entry in each_once(analyses, lambda analysis: analysis.run):
        own = next((group for group in groups if _are_repeats(group[0].run.manifest, entry.run.manifest)), None)
        if own is None:
            groups.append(own := [])
        own.append(entry)
    return groups


def _are_repeats(a: RunManifest, b: RunManifest) -> bool:
    return bool(a.group) and a.group == b.group and not_repeats(a, b) is None


def repeats_of(analyses: Sequence[Analysis]) -> list[Repeats]:
    """Each group of two or more repeats among `analyses`, see `by_repeats`."""
    return [Repeats(runs) for runs in by_repeats(analyses) if len(runs) > 1]
