"""The gate's sequential tests: which metrics raise an alarm, which of them are confirmed, which have not passed.

Each is a sign-flip test (`bench.stats.sign_flip`) on the worsenings of pairs; the error rates are those of the plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.core.types import Floats
from bench.gate.error_share import sequential_excess
from bench.gate.types import ERRORS, GateMetric, Pair, Plan
from bench.gate.verdicts import worsenings
from bench.stats.holm import remaining_weights
from bench.stats.sign_flip import sequential_sign_flip


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that awaits its confirmation.

    Args:
        metrics: the names of those that raised it, the strongest first.
        begin: index of the first fresh pair.
        looks: numbers of fresh pairs at which they are tested, increasing.
    """

    metrics: tuple[str, ...]
    begin: int
    looks: tuple[int, ...]


def raised_alarms(
    plan: Plan, metrics: Sequence[GateMetric], pairs: Sequence[Pair], looks: Sequence[int], spent: Sequence[float]
) -> tuple[str, ...]:
    """Metrics that raise an alarm at the present look, the strongest first, by Holm's step-down procedure.

    Args:
        plan: smallest effects and error rates.
        metrics: those that are evaluated.
        pairs: the valid pairs.
        looks: numbers of pairs at the looks so far, the present one last.
        spent: share of the alarm's error rate that is spent at each look.
    """
    if not metrics:
        return ()
    values = _margins(plan, metrics, pairs, half=True)
    weights = [metric.weight for metric in metrics]
    on = np.zeros(len(metrics), np.bool_)
    while True:
        shares = remaining_weights(weights, list(on)) * plan.alarm
        found = sequential_sign_flip(values, looks, np.outer(spent, shares))
        # A crossing at an earlier look counts only if the present data still support it.
        now = np.array([look is not None for look in found.crossed]) & (np.array(found.p) <= shares)
        if not (now & ~on).any():
            break
        on |= now
    order = np.argsort(np.array(found.p), kind="stable")
    return tuple(metrics[index].name for index in order if on[index])


def confirmed_by(
    plan: Plan, alarm: Alarm, metrics: Sequence[GateMetric], pairs: Sequence[Pair], final: bool
) -> tuple[list[str], float]:
    """The alarm's metrics that its fresh pairs confirm, and the p-value of the first that they do not."""
    fresh = pairs[alarm.begin :]
    looks = [look for look in alarm.looks if look <= len(fresh)]
    if final and fresh and len(fresh) not in looks:
        looks.append(len(fresh))
    spending = np.full((len(looks), 1), plan.confirm * plan.confirm_at_once)
    if final or len(fresh) >= alarm.looks[-1]:
        spending[-1:] = plan.confirm
    known = {metric.name: metric for metric in metrics}
    confirmed: list[str] = []
    for name in alarm.metrics:
        if name not in known or not looks:
            return confirmed, 1.0
        found = sequential_sign_flip(_margins(plan, [known[name]], fresh, half=True), looks, spending)
        if found.crossed[0] is None:
            return confirmed, found.p[0]
        confirmed.append(name)
    return confirmed, 0.0


def also_worse(plan: Plan, metrics: Sequence[GateMetric], pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Metrics that all pairs together show to be worse, once a regression is confirmed in another (Bonferroni)."""
    if not metrics:
        return ()
    limits = np.full((1, len(metrics)), plan.confirm / len(metrics))
    found = sequential_sign_flip(_margins(plan, metrics, pairs, half=True), [len(pairs)], limits)
    return tuple(metric.name for metric, look in zip(metrics, found.crossed, strict=True) if look is not None)


def unpassed_metrics(
    plan: Plan, metrics: Sequence[GateMetric], pairs: Sequence[Pair], looks: Sequence[int], final: bool
) -> list[str]:
    """Metrics that may still be worse by a smallest effect.

    The error share also needs enough requests, see `bench.gate.error_share`.
    """
    if not metrics or len(pairs) < plan.first_look:
        return [metric.name for metric in metrics] or ["every metric"]
    spent = 1 - (1 - plan.spent_per_look) ** np.arange(1, len(looks) + 1)
    if final:
        spent[-1] = 1.0
    spending = np.repeat((spent * plan.miss)[:, np.newaxis], len(metrics), axis=1)
    found = sequential_sign_flip(-_margins(plan, metrics, pairs, half=False), looks, spending)
    # As with alarms, an earlier crossing counts only if the present data still support it.
    unpassed = {
        metric.name
        for metric, look, p in zip(metrics, found.crossed, found.p, strict=True)
        if look is None or p > plan.miss
    }
    names = [metric.name for metric in metrics]
    if ERRORS in names and sequential_excess(plan, pairs, looks, final) > plan.min_effects[ERRORS]:
        unpassed.add(ERRORS)
    return [name for name in names if name in unpassed]


def _margins(plan: Plan, metrics: Sequence[GateMetric], pairs: Sequence[Pair], half: bool) -> Floats:
    """Worsenings minus half (or all) of the smallest effect, `[n, K]`; 0, which has no weight, where absent."""
    columns = []
    for metric in metrics:
        effect = plan.min_effects[metric.name]
        columns.append(worsenings(metric, pairs) - metric.as_worsening(effect / 2 if half else effect))
    return np.asarray(np.nan_to_num(np.stack(columns, axis=1), nan=0.0))
