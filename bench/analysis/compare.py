"""The comparison of two sides, each of one run or several: differences in their manifests, and changes of metrics.

The run is the unit, and the VALID runs of a side count. With two or more on each side, intervals include the variation
between runs. A single run shows only the variation within it, so `RUN_NOISE` is added, with a warning. No change has an
interval, and so none has a verdict, where a side has no VALID run, or where runs of a side are left out because its
server fell behind the rate: the others are its best.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Final, Literal

from bench.analysis.metrics import METRICS, OF_REQUESTS, Metric
from bench.analysis.run import Analysis
from bench.analysis.summary import CONFIDENCE
from bench.core.differences import differences
from bench.core.errors import InconclusiveError, UsageError
from bench.core.units import format_number, format_percent, pluralize
from bench.results import environment
from bench.results.manifest import RunManifest
from bench.stats.between_runs import change_between_runs, mean_of_runs
from bench.stats.estimate import Estimate
from bench.stats.proportion import clopper_pearson

RUN_NOISE: Final = 0.04
"""Assumed standard deviation, on logarithms, between equal runs: pairs of 5 s runs of a small model on two cores
differed by 5.5 % at the median, thus 4 % a run. Repeated runs replace it by the measured one."""

RUN_NOISE_HALF: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(2) * RUN_NOISE
"""Half the interval on logarithms of the change between single runs whose own intervals have no width."""

POWER: Final = 0.8
"""How often a change of the size `Change.detectable` is shown."""

REFUSED: Final = frozenset({"arrivals", "arrivals_digest", "workload.sentences"})
"""Differences in the load, with which latencies are not comparable."""

_IN_BYTES: Final = frozenset({"environment.memory", "environment.memory_limit"})

REPEATS_MAY_DIFFER: Final = frozenset({f"workload.{name}" for name in ("seed", "duration", "warmup", "drain")})
"""Fields in which runs of one side may differ."""


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
        return f"{self.name}: {self.show(self.before)} against {self.show(self.after)}"

    def show(self, value: Any) -> str:
        """A value of the field, for people."""
        return _show(self.name, value)


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one metric.

    Args:
        metric: the metric.
        before: its estimate on the first side.
        after: on the second.
        change: after / before, for proportions after - before; absent where a side has no value.
    """

    metric: Metric
    before: Estimate
    after: Estimate
    change: Estimate

    @property
    def significant(self) -> bool:
        """Whether the interval of the change excludes "none"."""
        none = 0.0 if self.metric.unit == "share" else 1.0
        lo, hi = self.change.lo, self.change.hi
        return (lo is not None and lo > none) or (hi is not None and hi < none)

    @property
    def detectable(self) -> float | None:
        """The smallest change that this comparison shows in four cases of five, as a fraction of the first side, or as
        a difference of proportions; None without an interval."""
        lo, hi = self.change.lo, self.change.hi
        if lo is None or hi is None:
            return None
        normal = NormalDist()
        power = 1 + normal.inv_cdf(POWER) / normal.inv_cdf((1 + self.change.confidence) / 2)
        if self.metric.unit == "share":
            return power * (hi - lo) / 2
        return math.expm1(power * math.log(hi / lo) / 2) if lo > 0 else None

    @property
    def verdict(self) -> Literal["better", "worse", "higher", "lower", "~", "?"]:
        """`better`, `worse`, `higher` or `lower` (where neither is better), `~` for no significant change, `?` without
        an interval."""
        if self.change.center is None or (self.change.lo is None and self.change.hi is None):
            return "?"
        if not self.significant:
            return "~"
        none = 0.0 if self.metric.unit == "share" else 1.0
        direction: Literal["higher", "lower"] = "higher" if self.change.center > none else "lower"
        return direction if self.metric.better is None else ("better" if direction == self.metric.better else "worse")


@dataclass(frozen=True)
class Comparison:
    """The comparison of two sides.

    Args:
        before: names of the first side's runs.
        after: names of the second side's.
        differences: of the manifests.
        changes: of the metrics, in the order of `METRICS`.
        warnings: one line each.
        undecided: why no change has an interval, one line each; empty if changes may have one.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    differences: tuple[Difference, ...]
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    undecided: tuple[str, ...] = ()


def compare(
    before: Sequence[Analysis], after: Sequence[Analysis], *, anyway: bool = False, confidence: float = CONFIDENCE
) -> Comparison:
    """Compares two sides.

    Args:
        before: runs of the first side, one or more.
        after: runs of the second side.
        anyway: compare sides under different loads too, with a warning.
        confidence: of each interval separately; at 95 % one of 20 metrics is expected to differ by chance.

    Raises:
        UsageError: the runs of one side differ in a field that they must share, or are copies of one.
        InconclusiveError: the sides were under different loads, and not `anyway`.
    """
    for side in (before, after):
        _check_alike(side)
    found = manifest_differences(before[0].run.manifest, after[0].run.manifest)
    refused = [entry for entry in found if entry.name in REFUSED]
    if refused and not anyway:
        raise InconclusiveError(
            f"the runs were under different loads ({'; '.join(map(str, refused))}); "
            "repeat them under one load, or give --anyway"
        )
    warnings = [f"different loads: {entry}" for entry in refused]
    warnings += [f"different machines or software: {entry}" for entry in found if entry.name.startswith("environment.")]
    for side in (before, after):
        left_out = "; it is left out" if len(counted_runs(side)) < len(side) else ""
        warnings += [f"{entry.run.name} is {entry.validity}{left_out}" for entry in side if not entry.validity.valid]
    undecided = [why for side in (before, after) if (why := _undecided(side))]
    warnings += undecided
    all_names = _names(before), _names(after)
    before, after = counted_runs(before), counted_runs(after)
    if min(len(before), len(after)) < 2 and not undecided:
        warnings.append(
            f"one run on a side: the variation between runs is not known, {format_percent(RUN_NOISE)} is assumed; "
            "run with --repeat 5"
        )
    names = {name for entry in (*before, *after) for name in entry.summary.metrics}
    changes = [_change(metric, before, after, confidence) for name, metric in METRICS.items() if name in names]
    if undecided:
        changes = [replace(entry, change=replace(entry.change, lo=None, hi=None)) for entry in changes]
    return Comparison(*all_names, tuple(found), tuple(changes), tuple(warnings), tuple(undecided))


def counted_runs(side: Sequence[Analysis]) -> Sequence[Analysis]:
    """The runs of a side whose metrics count: the VALID ones, or all where none is."""
    return [entry for entry in side if entry.validity.valid] or side


def left_out_behind(side: Sequence[Analysis]) -> int:
    """How many runs of a side are left out though they show its server: it fell behind the rate."""
    counted = counted_runs(side)
    return sum(entry.validity.overloaded for entry in side) if len(counted) < len(side) else 0


def _undecided(side: Sequence[Analysis]) -> str:
    """Why the runs that count of a side say nothing of a change; "" if they do."""
    if not any(entry.validity.valid for entry in side):
        return (
            f"the side of {side[0].run.name} has no VALID run, so no change has an interval and nothing is called "
            "better or worse; run it again once the reason is mended"
        )
    if not (behind := left_out_behind(side)):
        return ""
    return (
        f"the server of {side[0].run.name} fell behind the rate in {behind} of {pluralize(len(side), 'run')}, which "
        "are left out: the others are its best, so no change has an interval; lower the rate, or use bertbench gate, "
        "which counts them"
    )


def manifest_differences(a: RunManifest, b: RunManifest) -> list[Difference]:
    """Differences between the load, the server and the environment of two runs."""
    names = ["target", "arrivals", "arrivals_digest", "workers"]
    if a.arrivals_digest is not None and a.arrivals_digest == b.arrivals_digest:
        # The due times of one trace, wherever its file was.
        names.remove("arrivals")
    found = {name: (getattr(a, name), getattr(b, name)) for name in names if getattr(a, name) != getattr(b, name)}
    found |= {f"workload.{name}": pair for name, pair in differences(a.workload, b.workload).items()}
    found |= _server_differences(a.server, b.server)
    machine = environment.differences(a.environment, b.environment)
    found |= {f"environment.{name}": pair for name, pair in machine.items()}
    return [Difference(name, *pair) for name, pair in found.items()]


def _server_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {f"server.{key}": (a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)}


def not_repeats(a: RunManifest, b: RunManifest) -> Difference | None:
    """A field by which two runs are not repeats of each other; None if they are."""
    for found in manifest_differences(a, b):
        # The fields of a server include ports and process ids, which differ after each start.
        if found.name not in REPEATS_MAY_DIFFER and not found.name.startswith("server."):
            return found
    return None


def _check_alike(side: Sequence[Analysis]) -> None:
    """Refuses runs that are not repeats of each other, and copies of one."""
    if not side:
        raise UsageError("a side has no run; give a run folder or a folder of runs")
    for entry in side[1:]:
        if found := not_repeats(side[0].run.manifest, entry.run.manifest):
            raise UsageError(
                f"{side[0].run.name} and {entry.run.name} are on one side but not repeats of each other ({found}); "
                "give them as two sides, or repeats in a folder of their own"
            )
    seen: set[str] = set()
    for entry in side:
        # Copies too: a run agrees with itself, whatever the server does.
        if entry.run.identity in seen:
            raise UsageError(f"{entry.run.name} is twice on one side; give each run once")
        seen.add(entry.run.identity)


def _change(metric: Metric, before: Sequence[Analysis], after: Sequence[Analysis], confidence: float) -> Change:
    sides = [side_estimate(metric, side, confidence) for side in (before, after)]
    change = _difference(metric, (before, after), (sides[0], sides[1]), confidence)
    return Change(metric, sides[0], sides[1], change)


def side_estimate(metric: Metric, side: Sequence[Analysis], confidence: float = CONFIDENCE) -> Estimate:
    """One metric of a side: the estimate of the only run that counts, or the mean over those that do, see
    `bench.stats.between_runs`."""
    side = counted_runs(side)
    found = [entry.summary.metrics[metric.name] for entry in side if metric.name in entry.summary.metrics]
    if len(side) == 1 and found:
        return found[0]
    values = [estimate.center for estimate in found if estimate.center is not None]
    mean = mean_of_runs(metric.name, values, confidence, log=metric.unit != "share")
    if metric.name in OF_REQUESTS and len(values) > 1 and len(set(values)) == 1:
        # Runs without one failed request say nothing of how runs vary; their requests bound the proportion.
        low, high = clopper_pearson(values[0], sum(estimate.n for estimate in found), confidence)
        mean = replace(mean, lo=low, hi=high)
    if mean.lo is not None and mean.hi is not None:
        # Student's interval does not know that metrics are not negative and proportions at most 1.
        mean = replace(mean, lo=max(mean.lo, 0.0), hi=min(mean.hi, 1.0) if metric.unit == "share" else mean.hi)
    if values and len(values) < len(side):
        missing = f"{len(side) - len(values)} of {pluralize(len(side), 'run')} without this metric"
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
        return Estimate.absent(metric.name, f"the {side} side has no value of this metric", confidence=confidence)
    log = metric.unit != "share"
    if log and min(min(values) for values in centers) <= 0:
        return Estimate.absent(metric.name, "no ratio: a value is 0", confidence=confidence)
    varying = any(len(set(values)) > 1 for values in centers)
    if min(map(len, centers)) >= 2 and (varying or metric.name not in OF_REQUESTS):
        return change_between_runs(metric.name, centers[0], centers[1], confidence, log=log)
    return _single(metric, own, log, confidence)


def _single(metric: Metric, own: tuple[Estimate, Estimate], log: bool, confidence: float) -> Estimate:
    """The change where the runs do not show how they vary: by their own intervals, and for ratios an assumed noise."""
    values = [math.log(side.center) if log else side.center for side in own if side.center is not None]
    center = values[1] - values[0]
    errors = [_error(side, log) for side in own]
    known = [error for error in errors if error is not None]
    size = sum(side.n for side in own)
    if len(known) < len(own):
        warning = "the interval of a side has an open end; repeat the run, or run longer"
        return Estimate(metric.name, math.exp(center) if log else center, None, None, confidence, size, (warning,))
    variance = sum(error**2 for error in known) + (2 * RUN_NOISE**2 if log else 0.0)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance)
    ends = [math.exp(center + part) if log else center + part for part in (0, -half, half)]
    return Estimate(metric.name, ends[0], ends[1], ends[2], confidence, size)


def _error(side: Estimate, log: bool) -> float | None:
    """The standard error that corresponds to an interval, taken as symmetric; on logarithms for ratios."""
    if side.lo is None or side.hi is None or (log and side.lo <= 0):
        return None
    width = math.log(side.hi / side.lo) if log else side.hi - side.lo
    return width / (2 * NormalDist().inv_cdf((1 + side.confidence) / 2))


def _centers(metric: Metric, side: Sequence[Analysis]) -> list[float]:
    found = [entry.summary.metrics.get(metric.name) for entry in side]
    return [estimate.center for estimate in found if estimate is not None and estimate.center is not None]


def _names(side: Sequence[Analysis]) -> tuple[str, ...]:
    return tuple(entry.run.name for entry in side)


def _show(name: str, value: Any) -> str:
    if name in _IN_BYTES and isinstance(value, int):
        # In full: memories that differ may have the same three digits.
        return f"{value:,} B"
    if isinstance(value, float):
        return format_number(value)
    return "nothing" if value is None else str(value)
