"""The gate on stored runs: two sets that were made at different times, with each run as a unit.

There are no pairs in random order, so an exact permutation test replaces the sign-flip test: under the null hypothesis
every split of the runs into two sets is equally likely. That holds if nothing drifted between the sets, which stored
runs cannot show; a warning says so. There is one look, no confirmation, and the joint error rate is `ALPHA` over all
metrics (Holm).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from bench.analysis.compare import Difference, manifest_differences
from bench.analysis.run import Analysis
from bench.core.types import Floats
from bench.gate.early_verdicts import errors_reason, failure_verdict, no_good_answer, wrong_answers_reason
from bench.gate.metrics import stored_run_metrics
from bench.gate.results import Effect, describe_effect, metric_results, totals, without_bound
from bench.gate.types import ERRORS, GateMetric, Plan, RunMetrics, State, Verdict, VerdictKind
from bench.stats.between_runs import change_between_runs
from bench.stats.holm import holm

ALPHA: Final = 0.05
MIN_RUNS: Final = 4
_RESAMPLES: Final = 20_000
SCOPE: Final = "chance from run to run, while nothing else changes between the two sets"
"""What the bound of false alarms covers."""

_FREE: Final = frozenset(
    {"target", "workload.seed", "workload.model_digest", "workload.precision", "environment.packages.bertbench"}
)
"""Fields that may differ between the sets: the gate compares targets and models, and the seed is drawn."""

_MODEL: Final = ("workload.model_digest", "workload.precision")
_SENTENCES: Final = "workload.sentences_digest"
"""A digest of the golden answers too, so that it differs with the model and its precision."""


def decide_stored(plan: Plan, baseline: Sequence[Analysis], candidate: Sequence[Analysis]) -> Verdict:
    """The verdict on two sets of stored runs."""
    analyses = {"baseline": baseline, "candidate": candidate}
    for name, runs in analyses.items():
        if not runs:
            return _without(plan, f"the {name} has no run; give a folder of runs")
    sets = {name: [stored_run_metrics(run) for run in runs] for name, runs in analyses.items()}
    if failed := _failed(plan, sets, analyses):
        return failed
    if found := _differences(baseline, candidate):
        return _without(plan, f"the runs cannot be compared: {found}; make both sets on one machine under one load")
    # Wrong answers count in an INVALID run too.
    if reason := wrong_answers_reason(sets["candidate"]):
        return without_bound(_verdict(plan, VerdictKind.REGRESSION, reason, sets["baseline"], sets["candidate"], {}))
    for name, found_runs in sets.items():
        if not any(run.requests for run in found_runs):
            return _without(plan, f"no run of the {name} holds a request; give a longer --duration")
    invalid = [f"{run.run.name} {run.validity.reasons[0]}" for run in (*baseline, *candidate) if not run.validity.valid]
    used = [
        [metrics for metrics, run in zip(sets[name], runs, strict=True) if run.validity.valid]
        for name, runs in analyses.items()
    ]
    if min(map(len, used)) < MIN_RUNS:
        why = f"; INVALID: {'; '.join(invalid)}" if invalid else ""
        reason = f"{len(used[0])} and {len(used[1])} valid runs, a verdict needs {MIN_RUNS} a side{why}"
        return _without(plan, reason)
    return _evaluate(plan, used[0], used[1], invalid)


def _failed(
    plan: Plan, sets: Mapping[str, list[RunMetrics]], analyses: Mapping[str, Sequence[Analysis]]
) -> Verdict | None:
    """The verdict where a whole run has no good answer, or most requests to the candidate failed."""
    failures = {}
    for name, runs in analyses.items():
        # Wrong answers of the candidate have a verdict of their own.
        found = {
            run.run.name: metrics
            for run, metrics in zip(runs, sets[name], strict=True)
            if metrics.requests and not metrics.good and (metrics.failed or name == "baseline")
        }
        if found:
            failure = no_good_answer(name, list(found.values()))
            failures[name] = replace(failure, why=f"{failure.why} in {', '.join(found)}")
    if failures:
        found_verdict = failure_verdict(plan, failures)
        return replace(found_verdict, **totals(sets["baseline"], sets["candidate"]))
    reason = errors_reason(sets["baseline"], sets["candidate"]) if ERRORS in plan.min_effects else ""
    if not reason:
        return None
    return without_bound(_verdict(plan, VerdictKind.REGRESSION, reason, sets["baseline"], sets["candidate"], {}))


def _evaluate(plan: Plan, baseline: list[RunMetrics], candidate: list[RunMetrics], invalid: Sequence[str]) -> Verdict:
    metrics = [
        metric
        for metric in plan.metrics
        if all(metric.name in run.values for run in (*baseline, *candidate)) and _positive(metric, baseline, candidate)
    ]
    missing = [name for name in plan.required if name not in {metric.name for metric in metrics}]
    pairs = [(_scaled(metric, baseline), _scaled(metric, candidate)) for metric in metrics]
    margins = [metric.as_worsening(plan.min_effects[metric.name]) for metric in metrics]
    alarms = [
        larger(after, before, metric.as_worsening(plan.min_effects[metric.name] / 2))
        for metric, (before, after) in zip(metrics, pairs, strict=True)
    ]
    worse = holm(alarms, [metric.weight for metric in metrics]) if metrics else ()
    fine = [larger(-after, -before, -margin) for margin, (before, after) in zip(margins, pairs, strict=True)]
    states = {}
    for metric, bad, good in zip(metrics, worse, fine, strict=True):
        passed = State.PASSED if good <= plan.miss else State.UNCLEAR
        states[metric.name] = State.REGRESSION if bad <= ALPHA else passed
    regressions = [name for name, state in states.items() if state is State.REGRESSION]
    unclear = [name for name, state in states.items() if state is State.UNCLEAR]
    kind = VerdictKind.REGRESSION if regressions else VerdictKind.INCONCLUSIVE
    if not (regressions or unclear or missing) and metrics:
        kind = VerdictKind.PASS
    warnings = [
        "the runs were not made side by side: a machine that changed between the sets looks like a change of the server"
    ]
    warnings += [f"excluded: {line}" for line in invalid]
    found = _verdict(plan, kind, "", baseline, candidate, states, warnings)
    effects = {result.metric.name: describe_effect(result) for result in found.metrics}
    if kind is VerdictKind.PASS:
        reason = "no metric is worse by the smallest effect that matters"
    elif regressions:
        reason = ", ".join(effects[name] for name in regressions)
    elif missing or not metrics:
        reason = f"{', '.join(missing) or 'no metric'} could not be evaluated: the runs lack it; use longer runs"
    else:
        reason = f"too noisy: {'; '.join(effects[name] for name in unclear)}; add runs, or give a larger --min-effect"
    return replace(found, reason=reason)


def larger(values: Floats, others: Floats, shift: float) -> float:
    """One-sided p-value of `values` being at most `shift` above `others`: rank sums over all splits of the runs.

    Up to `_RESAMPLES` splits are enumerated; of more, that many are drawn.
    """
    from scipy import stats

    moved = values - shift
    ranks = stats.rankdata(np.round(np.concatenate((moved, others)), 12))
    found = stats.permutation_test(
        (ranks[: moved.size], ranks[moved.size :]),
        lambda first, second, axis: first.mean(axis=axis) - second.mean(axis=axis),
        vectorized=True,
        n_resamples=_RESAMPLES,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def _scaled(metric: GateMetric, runs: Sequence[RunMetrics]) -> Floats:
    """A metric of runs on the scale of `GateMetric.worsening`."""
    values = metric.scaled(np.array([run.values[metric.name] for run in runs]))
    return -values if metric.higher_is_better else values


def _positive(metric: GateMetric, *sets: Sequence[RunMetrics]) -> bool:
    return metric.absolute or all(run.values[metric.name] > 0 for runs in sets for run in runs)


def _effect(metric: GateMetric, baseline: Sequence[RunMetrics], candidate: Sequence[RunMetrics]) -> Effect:
    before, after = (_scaled(metric, side) for side in (baseline, candidate))
    middle = float(before.mean() + after.mean()) / 2
    change = change_between_runs(metric.name, before.tolist(), after.tolist(), log=False)
    return Effect(change, -middle if metric.higher_is_better else middle)


def _differences(baseline: Sequence[Analysis], candidate: Sequence[Analysis]) -> str:
    """Fields that must not differ but do between the first baseline run and any other; "" if there are none."""
    first = baseline[0].run.manifest
    for entry in (*baseline[1:], *candidate):
        every = manifest_differences(first, entry.run.manifest)
        other_model = any(difference.name in _MODEL for difference in every)
        found = [difference for difference in every if _matters(difference, other_model)]
        if found:
            return "; ".join(str(difference) for difference in found)
    return ""


def _matters(difference: Difference, other_model: bool) -> bool:
    if difference.name in _FREE or (difference.name == _SENTENCES and other_model):
        return False
    return not difference.name.startswith("server.")


def _without(plan: Plan, reason: str) -> Verdict:
    return _verdict(plan, VerdictKind.INCONCLUSIVE, reason, [], [], {})


def _verdict(
    plan: Plan,
    kind: VerdictKind,
    reason: str,
    baseline: Sequence[RunMetrics],
    candidate: Sequence[RunMetrics],
    states: dict[str, State],
    warnings: Sequence[str] = (),
) -> Verdict:
    effects = {metric.name: _effect(metric, baseline, candidate) for metric in plan.metrics if metric.name in states}
    return Verdict(
        kind,
        reason,
        metric_results(plan, baseline, candidate, states, effects),
        min(len(baseline), len(candidate)),
        false_alarms=ALPHA if baseline and candidate else None,
        scope=SCOPE if baseline and candidate else "",
        warnings=tuple(warnings),
        **totals(baseline, candidate),
    )
