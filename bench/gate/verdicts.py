"""From runs to the results of a verdict: each metric with its effect, and the counts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from bench.core.types import Floats
from bench.core.units import format_change, format_estimate, format_number
from bench.gate.error_share import ErrorCounts
from bench.gate.types import ARMS, Counts, GateMetric, MetricResult, Pair, Plan, RunMetrics, State, Verdict, VerdictKind
from bench.stats.between_runs import mean_of_runs
from bench.stats.estimate import Estimate
from bench.stats.hodges_lehmann import hodges_lehmann

MIN_PRESENT_SHARE = 0.8
"""A metric is evaluated if at least this share of the pairs has it in both arms."""


def worsenings(metric: GateMetric, pairs: Sequence[Pair]) -> Floats:
    """How much worse the candidate was in each pair, NaN where an arm does not have the metric; float64 `[n]`."""
    found = np.full(len(pairs), np.nan)
    for index, pair in enumerate(pairs):
        baseline, candidate = (arm.values.get(metric.name) for arm in (pair.baseline, pair.candidate))
        if baseline is None or candidate is None:
            continue
        if metric.absolute or (baseline > 0 and candidate > 0):
            found[index] = metric.worsening(baseline, candidate)
    return found


def evaluated_metrics(plan: Plan, pairs: Sequence[Pair]) -> tuple[GateMetric, ...]:
    """The plan's metrics that at least `MIN_PRESENT_SHARE` of the pairs have."""
    return tuple(
        metric
        for metric in plan.metrics
        if pairs and np.isfinite(worsenings(metric, pairs)).mean() >= MIN_PRESENT_SHARE
    )


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect on one metric.

    Args:
        worsening: with its interval, on the scale of `GateMetric.worsening`.
        middle: the middle of the two arms' levels, on the scale of `GateMetric.scaled`.
    """

    worsening: Estimate
    middle: float

    def levels(self, metric: GateMetric) -> tuple[float, float]:
        """Levels of baseline and candidate around the middle, which differ by exactly the worsening."""
        center = self.worsening.center or 0.0
        half = (-center if metric.higher_is_better else center) / 2
        if metric.absolute:
            # Shares are not below 0.
            middle = max(self.middle, abs(half))
            return middle - half, middle + half
        return math.exp(self.middle - half), math.exp(self.middle + half)


def metric_results(
    plan: Plan,
    baseline: Sequence[RunMetrics],
    candidate: Sequence[RunMetrics],
    states: Mapping[str, State],
    effects: Mapping[str, Effect],
) -> tuple[MetricResult, ...]:
    """A result for each metric of the plan; one that is not in `states` was not evaluated.

    Args:
        plan: the plan.
        baseline: metrics of the baseline's runs.
        candidate: metrics of the candidate's runs.
        states: the decision, by metric.
        effects: by metric; one that is not in it is shown by its medians, without a change.
    """
    results = []
    for metric in plan.metrics:
        found = effects.get(metric.name)
        levels = found.levels(metric) if found else (_median(metric, baseline), _median(metric, candidate))
        effect = found.worsening if found else Estimate.absent(metric.name, "no pair has it")
        half = plan.min_effects[metric.name] / 2
        center, lo, hi = (
            None if end is None else metric.as_effect(end) for end in (effect.center, effect.lo, effect.hi)
        )
        shown = Estimate(metric.name, center, lo, hi, effect.confidence, effect.n, effect.warnings)
        known = metric.name in states
        results.append(
            MetricResult(
                metric,
                *levels,
                shown,
                plan.min_effects[metric.name],
                states.get(metric.name, State.NOT_EVALUATED),
                improved=known and effect.hi is not None and effect.hi < -metric.as_worsening(half),
                note="" if known else _why_not_evaluated(metric, (*baseline, *candidate)),
            )
        )
    return tuple(results)


def pair_effects(plan: Plan, pairs: Sequence[Pair]) -> dict[str, Effect]:
    """The effect on each metric that at least one pair has.

    For ratios, the Hodges-Lehmann estimate of the pairs' logarithms, which belongs to the signed-rank test; for shares,
    which are 0 in most runs, the mean, with an interval that is at least as wide as the exact one of the requests.
    """
    found = {}
    for metric in plan.metrics:
        values = worsenings(metric, pairs)
        present = np.isfinite(values)
        if not present.any():
            continue
        arms = ([pair.arm(arm).values.get(metric.name, np.nan) for pair in pairs] for arm in ARMS)
        middles = np.mean([metric.scaled(np.array(arm)[present]) for arm in arms], axis=0)
        if metric.absolute:
            mean = mean_of_runs(metric.name, values[present].tolist(), log=False)
            worsening, middle = ErrorCounts.of_pairs(pairs).widened(mean), float(middles.mean())
        else:
            worsening, middle = hodges_lehmann(metric.name, values[present]), float(np.median(middles))
        found[metric.name] = Effect(worsening, middle)
    return found


def verdict(
    plan: Plan,
    kind: VerdictKind,
    reason: str,
    pairs: Sequence[Pair],
    states: Mapping[str, State],
    warnings: Sequence[str] = (),
    probes: Sequence[Pair] = (),
) -> Verdict:
    """The verdict on pairs; INVALID ones are counted and excluded.

    Args:
        plan: the plan.
        kind: the outcome.
        reason: one line.
        pairs: all pairs.
        states: the decision, by metric.
        warnings: one line each.
        probes: requests outside the pairs that the verdict rests on; they are only counted.
    """
    valid = [pair for pair in pairs if not pair.invalid]
    baseline, candidate = [pair.baseline for pair in valid], [pair.candidate for pair in valid]
    results = metric_results(plan, baseline, candidate, states, pair_effects(plan, valid))
    asked = (*pairs, *probes)
    every = [pair.baseline for pair in asked], [pair.candidate for pair in asked]
    return Verdict(
        kind,
        reason,
        results,
        len(valid),
        len(pairs) - len(valid),
        false_alarms=plan.false_alarms if valid else None,
        scope=plan.scope if valid else "",
        warnings=tuple(warnings),
        **totals(*every),
    )


def without_bound(found: Verdict) -> Verdict:
    """The verdict without a bound of false alarms, as it does not rest on compared runs."""
    return replace(found, false_alarms=None, scope="")


def totals(baseline: Sequence[RunMetrics], candidate: Sequence[RunMetrics]) -> Counts:
    """Counts of both arms."""
    return Counts(
        requests=(sum(run.requests for run in baseline), sum(run.requests for run in candidate)),
        failed=(sum(run.failed for run in baseline), sum(run.failed for run in candidate)),
        wrong=(sum(run.wrong for run in baseline), sum(run.wrong for run in candidate)),
        checked=(sum(run.checked for run in baseline), sum(run.checked for run in candidate)),
    )


def describe_effect(result: MetricResult) -> str:
    """`latency p50 +10.3 % [+8.1 … +12.4 %]`, for a reason."""
    change, lo, hi = effect_changes(result)
    if change is None:
        return result.metric.label
    return f"{result.metric.label} {format_estimate(change, lo, hi, partial(format_effect, result))}"


def unclear_reason(noisy: Sequence[str], cure: str, requests: str) -> str:
    """Why metrics are neither shown to be worse nor to be fine.

    Args:
        noisy: those whose noise is why, with their effects.
        cure: against noise.
        requests: that there are too few requests for the error share, with the cure; "" if that is not why.
    """
    return "; ".join(filter(None, (f"too noisy: {'; '.join(noisy)}; {cure}" if noisy else "", requests)))


def effect_changes(result: MetricResult) -> tuple[float | None, float | None, float | None]:
    """The change of the metric that the effect means, and the lower and upper end of its interval."""
    effect = result.effect
    change, lo, hi = (
        None if end is None else as_change(result.metric, end) for end in (effect.center, effect.lo, effect.hi)
    )
    return (change, hi, lo) if result.metric.higher_is_better else (change, lo, hi)


def format_effect(result: MetricResult, change: float) -> str:
    """`+10.3 %`, or `+0.31 points` for a difference of proportions; a twentieth of the smallest effect is none."""
    absolute = result.metric.absolute
    return f"{format_change(100 * change, 100 * result.min_effect / 20)} {'points' if absolute else '%'}"


def format_min_effect(result: MetricResult) -> str:
    """The smallest effect as it was given: `5 %`, `1.25 %`, `0.002 points`."""
    return f"{format_number(100 * result.min_effect, 6)} {'points' if result.metric.absolute else '%'}"


def as_change(metric: GateMetric, effect: float) -> float:
    """The change of the metric itself: a throughput that is worse by 25 % has fallen to 1 / 1.25, by 20 %."""
    return 1 / (1 + effect) - 1 if metric.higher_is_better else effect


def _median(metric: GateMetric, runs: Sequence[RunMetrics]) -> float | None:
    values = [run.values[metric.name] for run in runs if metric.name in run.values]
    return float(np.median(values)) if values else None


_OF_PROCESS: Final = ("cpu", "memory")
_NO_PROCESS: Final = "the server's process is not on this machine or not known"


def unknown_process(plan: Plan, pairs: Sequence[Pair]) -> str:
    """Why a verdict that needs figures of the server's process cannot be had, with the cure; "" if it can."""
    runs = [pair.arm(arm) for pair in pairs for arm in ARMS]
    without = [name for name in plan.required if name in _OF_PROCESS and all(name not in run.values for run in runs)]
    if not runs or not without:
        return ""
    return f"{' and '.join(without)} could not be measured: {_NO_PROCESS}; leave it out of --metrics"


def _why_not_evaluated(metric: GateMetric, runs: Sequence[RunMetrics]) -> str:
    if not runs:
        return "nothing was measured"
    if all(metric.name in run.values for run in runs):
        return "the gate ended before the first look"
    if metric.name in _OF_PROCESS:
        return _NO_PROCESS
    return "too few answered requests in a run"
