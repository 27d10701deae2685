"""What differs between two sides, each one run or several: in what was asked and where, and by how much in what came.

The run is the unit. With two or more runs a side, intervals come from how the runs differ. A single run knows only its
own noise, so `RUN_NOISE` is added for what makes two runs of one thing differ, and a warning says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Final

from bench.analysis.metrics import METRICS, Metric
from bench.analysis.run import Analysis
from bench.analysis.summary import CONFIDENCE
from bench.core.differences import differences
from bench.core.errors import InconclusiveError, UsageError
from bench.core.units import format_percent, pluralize
from bench.results import environment
from bench.results.manifest import RunManifest
from bench.stats.between_runs import repeat_change, repeat_mean
from bench.stats.estimate import Estimate

RUN_NOISE: Final = 0.04
"""Assumed standard deviation, on logarithms, between equal runs: pairs of 5 s runs of a small model on two cores
differed by 5.5 % at the median, thus 4 % a run. Repeats replace it by what was measured."""

REFUSED: Final = frozenset({"arrivals", "arrivals_digest", "workload.sentences"})
"""Differences that make latencies answers to different questions: another load."""

_FREE: Final = frozenset({"seed", "duration", "warmup", "drain"})
"""Fields of the workload in which the runs of one side may differ."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs between the sides.

    Args:
        name: `arrivals`, `workload.protocol`, `environment.cpu_model`, `server.flags`...
        before: its value on the first side.
        after: on the second.
    """

    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.name}: {_show(self.before)} against {_show(self.after)}"


@dataclass(frozen=True, slots=True)
class Change:
    """One figure on both sides.

    Args:
        metric: which.
        before: the first side's.
        after: the second's.
        change: after / before, for shares after - before; absent where a side has no figure.
    """

    metric: Metric
    before: Estimate
    after: Estimate
    change: Estimate

    @property
    def significant(self) -> bool:
        """Whether the interval of the change leaves out "none"."""
        none = 0.0 if self.metric.unit == "share" else 1.0
        lo, hi = self.change.lo, self.change.hi
        return (lo is not None and lo > none) or (hi is not None and hi < none)

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `higher` or `lower` (where neither is better), `~` for no significant change, `?` for no
        figure or no interval."""
        if self.change.center is None or (self.change.lo is None and self.change.hi is None):
            return "?"
        if not self.significant:
            return "~"
        none = 0.0 if self.metric.unit == "share" else 1.0
        direction = "higher" if self.change.center > none else "lower"
        return direction if self.metric.better is None else ("better" if direction == self.metric.better else "worse")


@dataclass(frozen=True)
class Comparison:
    """Two sides, held against each other.

    Args:
        before: names of the first side's runs.
        after: names of the second side's.
        differences: what differs in what was asked and where.
        changes: figures, in the order of `METRICS`.
        warnings: what a reader must know, one line each.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    differences: tuple[Difference, ...]
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]


def compare(
    before: Sequence[Analysis], after: Sequence[Analysis], *, anyway: bool = False, confidence: float = CONFIDENCE
) -> Comparison:
    """Holds two sides against each other.

    Args:
        before: runs of the first side, one or more.
        after: runs of the second side.
        anyway: whether sides under different loads are compared nevertheless, with a warning.
        confidence: of each interval by itself; with 20 figures one is expected to differ by chance at 95 %.

    Raises:
        UsageError: the runs of one side differ in a field that they must share.
        InconclusiveError: the sides were under different loads, and not `anyway`.
    """
    for side in (before, after):
        _check_alike(side)
    found = manifest_differences(before[0].run.manifest, after[0].run.manifest)
    refused = [entry for entry in found if entry.name in REFUSED]
    if refused and not anyway:
        raise InconclusiveError(
            f"the runs were under different loads ({'; '.join(map(str, refused))}); "
            "make runs under one load, or compare with --anyway"
        )
    warnings = [f"different loads: {entry}" for entry in refused]
    warnings += [f"different machines or software: {entry}" for entry in found if entry.name.startswith("environment.")]
    for side in (before, after):
        warnings += [f"{entry.run.name} is {entry.validity}" for entry in side if not entry.validity.valid]
    if min(len(before), len(after)) < 2:
        warnings.append(
            f"a single run a side does not tell how much runs differ; {format_percent(RUN_NOISE)} is assumed: "
            "run with --repeat 5"
        )
    names = {name for entry in (*before, *after) for name in entry.summary.metrics}
    changes = tuple(_change(metric, before, after, confidence) for name, metric in METRICS.items() if name in names)
    return Comparison(_names(before), _names(after), tuple(found), changes, tuple(warnings))


def manifest_differences(a: RunManifest, b: RunManifest) -> list[Difference]:
    """What differs between two runs in what was asked and where; times, names and warnings left out."""
    found = {
        name: (getattr(a, name), getattr(b, name))
        for name in ("target", "arrivals", "arrivals_digest", "workers")
        if getattr(a, name) != getattr(b, name)
    }
    found |= {f"workload.{name}": pair for name, pair in differences(a.workload, b.workload).items()}
    found |= _server_differences(a.server, b.server)
    machine = environment.differences(a.environment, b.environment)
    found |= {f"environment.{name}": pair for name, pair in machine.items()}
    return [Difference(name, *pair) for name, pair in found.items()]


def _server_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {f"server.{key}": (a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)}


def _check_alike(side: Sequence[Analysis]) -> None:
    """The runs of a side must be repeats of one thing."""
    if not side:
        raise UsageError("a side has no run; give a run folder or a folder of runs")
    for entry in side[1:]:
        for found in manifest_differences(side[0].run.manifest, entry.run.manifest):
            # What is known of a server holds ports and process ids, which differ from start to start.
            if found.name.removeprefix("workload.") not in _FREE and not found.name.startswith("server."):
                raise UsageError(
                    f"{side[0].run.name} and {entry.run.name} are no repeats of each other ({found}); "
                    "compare them with each other, or give their folders apart"
                )


def _change(metric: Metric, before: Sequence[Analysis], after: Sequence[Analysis], confidence: float) -> Change:
    sides = [side_summary(metric, side, confidence) for side in (before, after)]
    change = _difference(metric, (before, after), (sides[0], sides[1]), confidence)
    return Change(metric, sides[0], sides[1], change)


def side_summary(metric: Metric, side: Sequence[Analysis], confidence: float = CONFIDENCE) -> Estimate:
    """One figure of a side: a single run's own summary, or the mean over its runs."""
    found = [entry.summary.metrics[metric.name] for entry in side if metric.name in entry.summary.metrics]
    if len(side) == 1 and found:
        return found[0]
    values = [summary.center for summary in found if summary.center is not None]
    mean = repeat_mean(metric.name, values, confidence, log=metric.unit != "share")
    if mean.lo is not None and mean.hi is not None:
        # No figure is negative, and no share more than all; Student's interval knows neither.
        mean = replace(mean, lo=max(mean.lo, 0.0), hi=min(mean.hi, 1.0) if metric.unit == "share" else mean.hi)
    if values and len(values) < len(side):
        missing = f"no such figure in {len(side) - len(values)} of {pluralize(len(side), 'run')}"
        mean = replace(mean, warnings=(*mean.warnings, missing))
    return mean


def _difference(
    metric: Metric,
    sides: tuple[Sequence[Analysis], Sequence[Analysis]],
    own: tuple[Estimate, Estimate],
    confidence: float,
) -> Estimate:
    centers = [_centers(metric, side) for side in sides]
    if not all(centers):
        side = "first" if not centers[0] else "second"
        return Estimate.absent(metric.name, f"the {side} side has no such figure", confidence=confidence)
    log = metric.unit != "share"
    if log and min(min(values) for values in centers) <= 0:
        return Estimate.absent(metric.name, "a figure is 0: no ratio", confidence=confidence)
    if min(map(len, centers)) >= 2:
        return repeat_change(metric.name, centers[0], centers[1], confidence, log=log)
    return _single(metric, own, log, confidence)


def _single(metric: Metric, own: tuple[Estimate, Estimate], log: bool, confidence: float) -> Estimate:
    """The change where a side has one run: errors within the runs, and the assumed noise between them."""
    values = [math.log(side.center) if log else side.center for side in own if side.center is not None]
    center = values[1] - values[0]
    errors = [_error(side, log) for side in own]
    known = [error for error in errors if error is not None]
    size = sum(side.n for side in own)
    if len(known) < len(own):
        warning = "a side has no whole interval; repeat the run, or run longer"
        return Estimate(metric.name, math.exp(center) if log else center, None, None, confidence, size, (warning,))
    variance = sum(error**2 for error in known) + (2 * RUN_NOISE**2 if log else 0.0)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance)
    ends = [math.exp(center + part) if log else center + part for part in (0, -half, half)]
    return Estimate(metric.name, ends[0], ends[1], ends[2], confidence, size)


def _error(side: Estimate, log: bool) -> float | None:
    """Standard error that an interval amounts to, taken as symmetric; on logarithms for ratios."""
    if side.lo is None or side.hi is None or (log and side.lo <= 0):
        return None
    width = math.log(side.hi / side.lo) if log else side.hi - side.lo
    return width / (2 * NormalDist().inv_cdf((1 + side.confidence) / 2))


def _centers(metric: Metric, side: Sequence[Analysis]) -> list[float]:
    found = [entry.summary.metrics.get(metric.name) for entry in side]
    return [summary.center for summary in found if summary is not None and summary.center is not None]


def _names(side: Sequence[Analysis]) -> tuple[str, ...]:
    return tuple(entry.run.name for entry in side)


def _show(value: Any) -> str:
    return "nothing" if value is None else str(value)
