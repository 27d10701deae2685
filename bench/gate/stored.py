"""The gate on stored runs: two sets that were made at different times, with each run as a unit.

There are no pairs in random order, so an exact permutation test replaces the sign-flip test: under the null hypothesis
every split of the runs into two sets is equally likely. That holds if nothing drifted between the sets, which stored
runs cannot show; a warning says so. There is one look, no confirmation, and the joint error rate is `ALPHA` over all
metrics (Holm).

Runs in which the server fell behind the rate count, on both sides alike: the slower a candidate, the clearer the
verdict. Where most of the baseline's are such, the rate is too high for a comparison, unless the candidate keeps up.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from bench.analysis.compare import Difference, manifest_differences
from bench.analysis.run import Analysis
from bench.core.message_text import cures_once
from bench.core.types import Floats
from bench.core.units import pluralize
from bench.gate.early_verdicts import (
    errors_reason,
    failure_verdict,
    no_good_answer,
    wrong_answers_reason,
    wrong_baseline_reason,
    wrong_baseline_warnings,
)
from bench.gate.error_share import ErrorCounts
from bench.gate.metrics import stored_run_metrics, stored_warmup_metrics
from bench.gate.types import ARMS, ERRORS, GateMetric, Plan, RunMetrics, State, Verdict, VerdictKind
from bench.gate.verdicts import Effect, describe_effect, metric_results, totals, unclear_reason, without_bound
from bench.results.manifest import RunManifest
from bench.stats.between_runs import change_between_runs
from bench.stats.holm import holm

ALPHA: Final = 0.05
MIN_RUNS: Final = 4
"""Fewest runs a side, even where the test needs fewer: they say too little about how runs vary."""
_RESAMPLES: Final = 20_000
_NOT_COMPARED: Final = "the runs were not compared"
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
    if found := _differences(baseline, candidate):
        return _without(plan, f"the runs cannot be compared: {found}; make both sets on one machine under one load")
    if failed := _failed(plan, sets, analyses):
        return failed
    if wrong := _wrong_answers(plan, sets, analyses):
        return wrong
    for name, found_runs in sets.items():
        if not any(run.requests for run in found_runs):
            return _without(plan, f"no run of the {name} holds a request; give a longer --duration")
    if behind := _behind(analyses):
        return _without(plan, behind)
    invalid = _invalid((*baseline, *candidate))
    used = [
        [metrics for metrics, run in zip(sets[name], runs, strict=True) if run.validity.shows_server]
        for name, runs in analyses.items()
    ]
    if min(map(len, used)) < MIN_RUNS:
        why = f"; INVALID: {'; '.join(invalid)}" if invalid else ""
        return _without(plan, f"{_too_few(len(plan.metrics), (len(used[0]), len(used[1])))}{why}")
    warnings = [
        "the runs were not made side by side: a machine that changed between the sets looks like a change of the server"
    ]
    warnings += [f"excluded: {line}" for line in invalid]
    for name, runs in analyses.items():
        if count := sum(run.validity.overloaded for run in runs):
            warnings.append(f"the {name} fell behind the rate in {count} of {pluralize(len(runs), 'run')}, which count")
    every = [*sets["baseline"], *map(stored_warmup_metrics, baseline)]
    warnings += wrong_baseline_warnings(every)
    return _against(wrong_baseline_reason(every), _evaluate(plan, used[0], used[1], warnings))


def _against(wrong_baseline: str, found: Verdict) -> Verdict:
    """The verdict, which is no PASS if the baseline gives wrong answers."""
    if not wrong_baseline or found.kind is not VerdictKind.PASS:
        return found
    metrics = [
        replace(result, state=State.UNCLEAR) if result.state is State.PASSED else result for result in found.metrics
    ]
    return replace(found, kind=VerdictKind.INCONCLUSIVE, reason=wrong_baseline, metrics=tuple(metrics))


def _invalid(runs: Sequence[Analysis]) -> list[str]:
    """The runs that do not show the server, a line for each check that they fail first: its text once, then the names.

    The figures in the text are those of the first.
    """
    found: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    for run in runs:
        if not run.validity.shows_server:
            failed = next(check for check in run.validity.checks if check.passed is False)
            found.setdefault(failed.name, []).append(run.run.name)
            texts.setdefault(failed.name, failed.text)
    lines = zip(found.values(), cures_once(list(texts.values())), strict=True)
    return [
        f"{first} {text}; likewise {', '.join(others)}" if others else f"{first} {text}"
        for (first, *others), text in lines
    ]


def smallest_p(counts: tuple[int, int]) -> float:
    """The smallest p-value that `larger` can give for so many runs of both sides: that of one split."""
    return 1 / min(math.comb(sum(counts), counts[0]), _RESAMPLES + 1)


def enough_runs(metrics: int, counts: tuple[int, int]) -> bool:
    """Whether so many runs of both sides can show a regression of each of so many metrics."""
    return min(counts) >= MIN_RUNS and metrics * smallest_p(counts) <= ALPHA


def runs_needed(metrics: int, counts: tuple[int, int]) -> tuple[int, int]:
    """The fewest runs with which each of so many metrics can be shown to regress: of the smaller side, then of both."""
    smaller, larger = max(min(counts), MIN_RUNS), max(*counts, MIN_RUNS)
    while not enough_runs(metrics, (smaller, larger)):
        smaller = smaller + 1
        larger = max(smaller, larger)
    return smaller, larger


def shares(metrics: Sequence[GateMetric], counts: tuple[int, int]) -> list[float]:
    """Each metric's share of `ALPHA`, by weight; where that is too small for any p-value, what the smallest one needs.

    The shares follow from the number of runs alone, so the joint error rate is not affected.
    """
    least = smallest_p(counts) / ALPHA if enough_runs(len(metrics), counts) else 0.0
    raised: set[str] = set()
    while True:
        left = 1 - least * len(raised)
        weights = sum(metric.weight for metric in metrics if metric.name not in raised)
        found = [least if metric.name in raised else metric.weight / weights * left for metric in metrics]
        low = {metric.name for metric, share in zip(metrics, found, strict=True) if share < least}
        if not low:
            return found
        raised |= low


def _too_few(metrics: int, counts: tuple[int, int]) -> str:
    """`4 and 4 valid runs are too few for 7 metrics: a verdict needs 5 a side`; "" if they are enough."""
    if enough_runs(metrics, counts):
        return ""
    smaller, larger = runs_needed(metrics, counts)
    needed = f"{smaller} a side" if smaller == larger else f"{smaller} against {larger}"
    few = f"{counts[0]} and {counts[1]} valid runs are too few to show a regression of {pluralize(metrics, 'metric')}"
    return f"{few}: a verdict needs {needed}; add runs"


def _wrong_answers(
    plan: Plan, sets: Mapping[str, list[RunMetrics]], analyses: Mapping[str, Sequence[Analysis]]
) -> Verdict | None:
    """A REGRESSION where the candidate gave a wrong answer, be it in an INVALID run or in the warm-up; else None."""
    every = {name: [*sets[name], *map(stored_warmup_metrics, runs)] for name, runs in analyses.items()}
    reason = wrong_answers_reason(every["candidate"])
    if not reason:
        return None
    warnings = wrong_baseline_warnings(every["baseline"])
    found = _verdict(plan, VerdictKind.REGRESSION, reason, sets["baseline"], sets["candidate"], {}, warnings)
    return replace(without_bound(found), **totals(every["baseline"], every["candidate"]))


def _behind(analyses: Mapping[str, Sequence[Analysis]]) -> str:
    """Why the runs cannot be compared if the rate was too high for both servers; else ""."""
    behind = {name: sum(run.validity.overloaded for run in runs) for name, runs in analyses.items()}
    if not behind["candidate"] or 2 * behind["baseline"] <= len(analyses["baseline"]):
        return ""
    counts = [f"{count} of {pluralize(len(analyses[name]), 'run')} of the {name}" for name, count in behind.items()]
    fell = f"the servers fell behind the rate in {' and '.join(counts)}"
    return f"{fell}: it is too high for both; make both sets with a lower rate in --arrivals"


def _failed(
    plan: Plan, sets: Mapping[str, list[RunMetrics]], analyses: Mapping[str, Sequence[Analysis]]
) -> Verdict | None:
    """The verdict where a whole run has no good answer, or most requests to the candidate failed.

    Runs whose load generator lacked something say nothing of the server.
    """
    shown = {
        name: [(run.run.name, metrics) for run, metrics in zip(runs, sets[name], strict=True) if not run.run.file.lacks]
        for name, runs in analyses.items()
    }
    failures = {}
    for name, runs_of in shown.items():
        # Wrong answers of the candidate have a verdict of their own.
        found = {
            run: metrics
            for run, metrics in runs_of
            if metrics.requests and not metrics.good and (metrics.failed or name == "baseline")
        }
        if found:
            failure = no_good_answer(name, list(found.values()))
            failures[name] = replace(failure, why=f"{failure.why} in {', '.join(found)}")
    if failures:
        found_verdict = failure_verdict(plan, failures)
        return replace(found_verdict, **totals(sets["baseline"], sets["candidate"]))
    if ERRORS not in plan.min_effects or not all(shown.values()):
        return None
    reason = errors_reason(*([metrics for _, metrics in shown[name]] for name in ARMS))
    if not reason:
        return None
    return without_bound(_verdict(plan, VerdictKind.REGRESSION, reason, sets["baseline"], sets["candidate"], {}))


def _evaluated(plan: Plan, baseline: Sequence[RunMetrics], candidate: Sequence[RunMetrics]) -> list[GateMetric]:
    """The plan's metrics that all runs have."""
    return [
        metric
        for metric in plan.metrics
        if all(metric.name in run.values for run in (*baseline, *candidate)) and _positive(metric, baseline, candidate)
    ]


def _states(
    plan: Plan, metrics: Sequence[GateMetric], baseline: Sequence[RunMetrics], candidate: Sequence[RunMetrics]
) -> dict[str, State]:
    """What the tests show of each metric."""
    pairs = [(_scaled(metric, baseline), _scaled(metric, candidate)) for metric in metrics]
    margins = [metric.as_worsening(plan.min_effects[metric.name]) for metric in metrics]
    alarms = [
        larger(after, before, metric.as_worsening(plan.min_effects[metric.name] / 2))
        for metric, (before, after) in zip(metrics, pairs, strict=True)
    ]
    worse = holm(alarms, shares(metrics, (len(baseline), len(candidate)))) if metrics else ()
    fine = [larger(-after, -before, -margin) for margin, (before, after) in zip(margins, pairs, strict=True)]
    few = _few_requests(plan, baseline, candidate)
    states = {}
    for metric, bad, good in zip(metrics, worse, fine, strict=True):
        passed = good <= plan.miss and not (few and metric.name == ERRORS)
        # A share may be just what the smallest p-value needs.
        regressed = bad <= ALPHA * (1 + 1e-9)
        states[metric.name] = State.REGRESSION if regressed else State.PASSED if passed else State.UNCLEAR
    return states


def _few_requests(plan: Plan, baseline: Sequence[RunMetrics], candidate: Sequence[RunMetrics]) -> str:
    """What so many requests cannot exclude of the error share; "" if they exclude its smallest effect, or need not."""
    if ERRORS not in plan.min_effects:
        return ""
    counts = ErrorCounts.of_runs(baseline, candidate)
    return counts.not_excluded(counts.excess(plan.miss), plan.min_effects[ERRORS], "add runs, or make longer ones")


def _evaluate(
    plan: Plan, baseline: Sequence[RunMetrics], candidate: Sequence[RunMetrics], warnings: Sequence[str]
) -> Verdict:
    metrics = _evaluated(plan, baseline, candidate)
    missing = [name for name in plan.required if name not in {metric.name for metric in metrics}]
    states = _states(plan, metrics, baseline, candidate)
    if few := _too_few(len(metrics), (len(baseline), len(candidate))):
        # A metric passes only where it could have failed.
        states = {name: State.UNCLEAR if state is State.PASSED else state for name, state in states.items()}
    regressions = [name for name, state in states.items() if state is State.REGRESSION]
    unclear = [name for name, state in states.items() if state is State.UNCLEAR]
    kind = VerdictKind.REGRESSION if regressions else VerdictKind.INCONCLUSIVE
    if not (regressions or unclear or missing) and metrics:
        kind = VerdictKind.PASS
    notes = [*warnings, few] if few and regressions else warnings
    found = _verdict(plan, kind, "", baseline, candidate, states, notes)
    effects = {result.metric.name: describe_effect(result) for result in found.metrics}
    if kind is VerdictKind.PASS:
        reason = "no metric is worse by the smallest effect that matters"
    elif regressions:
        reason = ", ".join(effects[name] for name in regressions)
    elif missing or not metrics:
        reason = f"{', '.join(missing) or 'no metric'} could not be evaluated: the runs lack it; use longer runs"
    elif few:
        reason = f"{few}, or give fewer --metrics"
    else:
        # Not the noise but the number of requests may be why the error share is unclear.
        requests = _few_requests(plan, baseline, candidate) if ERRORS in unclear else ""
        noisy = [effects[name] for name in unclear if not (requests and name == ERRORS)]
        reason = unclear_reason(noisy, "add runs, or give a larger --min-effect", requests)
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
    if metric.absolute:
        change = ErrorCounts.of_runs(baseline, candidate).widened(change)
    return Effect(change, -middle if metric.higher_is_better else middle)


def _differences(baseline: Sequence[Analysis], candidate: Sequence[Analysis]) -> str:
    """Fields that must not differ but do between the first baseline run and any other; "" if there are none."""
    for entry in (*baseline[1:], *candidate):
        if found := incomparable(baseline[0].run.manifest, entry.run.manifest):
            return "; ".join(map(str, found))
    return ""


def incomparable(first: RunManifest, other: RunManifest) -> list[Difference]:
    """The differences for which the metrics of two runs cannot be compared: of load, load generator and machine."""
    every = manifest_differences(first, other)
    other_model = any(difference.name in _MODEL for difference in every)
    return [difference for difference in every if _matters(difference, other_model)]


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
    results = metric_results(plan, baseline, candidate, states, effects)
    return Verdict(
        kind,
        reason,
        results if states else tuple(replace(result, note=_NOT_COMPARED) for result in results),
        min(len(baseline), len(candidate)),
        runs=(len(baseline), len(candidate)),
        false_alarms=ALPHA if baseline and candidate else None,
        scope=SCOPE if baseline and candidate else "",
        warnings=tuple(warnings),
        **totals(baseline, candidate),
    )
