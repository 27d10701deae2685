"""Verdicts that need no statistics: wrong answers, arms that failed, requests most of which fail, unusable pairs.

An arm fails if it cannot be started, ends, or does not answer while the other arm does. A candidate that ran and then
failed is a REGRESSION; one that never ran is TARGET_FAILED, and so is a baseline that fails at any time, since nothing
can be compared with it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bench.core.units import format_seconds, pluralize
from bench.gate.error_share import ErrorCounts, in_bursts
from bench.gate.types import ARMS, ERRORS, WRONG_ANSWERS, Failure, Pair, Plan, RunMetrics, State, Verdict, VerdictKind
from bench.gate.verdicts import evaluated_metrics, unknown_process, verdict, without_bound
from bench.stats.proportion import fisher_greater

SILENCE: Final = 2.0
"""Seconds without a good answer after which an arm may have stopped answering..."""
_TIMES_SLOWEST: Final = 5.0
"""...if that is also this many times what the slowest good answer of either arm took."""
_MIN_FAILED_REQUESTS: Final = 20
"""An arm whose requests all fail has failed after this many, however quickly they fail."""
_MIN_FAILED_SHARE: Final = 0.5
"""Share of failed requests that needs no statistics..."""
_MAX_OTHER_SHARE: Final = 0.1
"""...where no more than this share of the other arm's failed."""
_MIN_STREAK: Final = 3
"""Consecutive pairs in which an arm fails, while there is time for more."""
_MIN_INVALID: Final = 6
"""INVALID pairs after which a gate gives up if most pairs are INVALID."""
_MIN_WITHOUT_REQUEST: Final = 3
"""Pairs after which a gate gives up if no request went to an arm."""


def early_verdict(
    plan: Plan, pairs: Sequence[Pair], probes: Sequence[Pair], probed: int, final: bool
) -> Verdict | None:
    """The verdict where none of the statistical tests is needed; None if they are.

    Args:
        plan: the plan.
        pairs: all pairs.
        probes: requests outside the pairs.
        probed: pairs before the last probe that both arms answered: what they failed at before does not count.
        final: whether there is no time for more pairs.
    """
    if wrong := wrong_answers(plan, pairs, probes):
        return wrong
    if failures := failed_arms(pairs[probed:], final):
        return failure_verdict(plan, failures, pairs)
    return mostly_failed(plan, pairs, final)


def wrong_answers(plan: Plan, pairs: Sequence[Pair], probes: Sequence[Pair] = ()) -> Verdict | None:
    """A REGRESSION where the candidate gave a wrong answer, be it in an INVALID pair or in a probe; else None."""
    every = (*pairs, *probes)
    reason = wrong_answers_reason([pair.candidate for pair in every])
    if not reason:
        return None
    warnings = wrong_baseline_warnings([pair.baseline for pair in every])
    valid = [pair for pair in pairs if not pair.invalid]
    states = {metric.name: State.UNCLEAR for metric in evaluated_metrics(plan, valid)}
    return without_bound(verdict(plan, VerdictKind.REGRESSION, reason, pairs, states, warnings, probes))


def wrong_answers_reason(runs: Sequence[RunMetrics], arm: str = "candidate") -> str:
    """How many answers of an arm's runs are wrong; "" if none is."""
    wrong, checked = (sum(getattr(run, name) for run in runs) for name in ("wrong", "checked"))
    if not wrong:
        return ""
    return f"{WRONG_ANSWERS}: {wrong} of {checked} checked answers of the {arm} differ from the Estimator's"


def wrong_baseline_reason(runs: Sequence[RunMetrics]) -> str:
    """Why there is no PASS against the baseline if answers of its runs are wrong; "" if none is.

    Its figures are those of its right answers: a throughput that is too low hides a candidate that is slower.
    """
    reason = wrong_answers_reason(runs, "baseline")
    return f"{reason}, so nothing can be compared with it; give a baseline that answers right" if reason else ""


def wrong_baseline_warnings(runs: Sequence[RunMetrics]) -> list[str]:
    """A warning if answers of the baseline's runs are wrong."""
    wrong = sum(run.wrong for run in runs)
    return [f"the baseline gives wrong answers ({wrong}); is this the golden file of its model?"] if wrong else []


def unusable_reason(plan: Plan, pairs: Sequence[Pair], final: bool) -> str:
    """Why the gate is INCONCLUSIVE where more pairs would not help, or time is over before the first look; else ""."""
    for arm in ARMS:
        without = pairs and not any(pair.arm(arm).requests for pair in pairs)
        if without and (final or len(pairs) >= _MIN_WITHOUT_REQUEST):
            return f"no request went to the {arm}; look at its target"
    if (unknown := unknown_process(plan, pairs)) and (final or len(pairs) >= _MIN_WITHOUT_REQUEST):
        return unknown
    invalid = [pair.invalid[0] for pair in pairs if pair.invalid]
    if len(invalid) >= _MIN_INVALID and len(invalid) > len(pairs) / 2:
        return f"{len(invalid)} of {len(pairs)} pairs are INVALID: {max(set(invalid), key=invalid.count)}"
    count = len(pairs) - len(invalid)
    if final and count < plan.first_look:
        why = f" ({len(invalid)} INVALID: {invalid[0]})" if invalid else ""
        return f"{pluralize(count, 'pair')}{why}, a verdict needs {plan.first_look}; give more --max-time"
    return ""


def error_bursts(plan: Plan, pairs: Sequence[Pair]) -> str:
    """Why more failures than the baseline has forbid a PASS without a REGRESSION; "" if they do not."""
    counts = ErrorCounts.of_pairs(pairs)
    (other_hits, other_size), (hits, size) = counts.baseline, counts.candidate
    if ERRORS not in plan.min_effects or fisher_greater(hits, size, other_hits, other_size) > plan.confirm:
        return ""
    if hits / size - other_hits / other_size <= plan.min_effects[ERRORS] / 2:
        return ""
    how = "in bursts; run it again" if in_bursts(pairs) else "more than to the baseline; give more --max-time"
    return f"errors: {hits} of {size} requests to the candidate failed, {how}"


def failure_verdict(
    plan: Plan,
    failures: Mapping[str, Failure],
    pairs: Sequence[Pair] = (),
    probes: Sequence[Pair] = (),
    earlier: Verdict | None = None,
) -> Verdict:
    """The verdict where arms have failed.

    Args:
        plan: the plan.
        failures: by arm, `baseline` or `candidate`; at least one.
        pairs: measured before.
        probes: requests outside the pairs that led to this.
        earlier: a verdict that was reached before; it stands if it is a REGRESSION or TARGET_FAILED.
    """
    notes = [failures[arm].why for arm in ARMS if arm in failures]
    if earlier is not None and earlier.kind in (VerdictKind.REGRESSION, VerdictKind.TARGET_FAILED):
        return replace(earlier, warnings=(*earlier.warnings, *notes))
    regression = "baseline" not in failures and failures["candidate"].ran
    kind = VerdictKind.REGRESSION if regression else VerdictKind.TARGET_FAILED
    warnings = () if earlier is None else earlier.warnings
    return without_bound(verdict(plan, kind, "; ".join(notes), pairs, {}, warnings, probes))


def silent_arms(pair: Pair, earlier: Sequence[Pair] = ()) -> dict[str, Failure]:
    """The arms of a pair that do not answer, with the reason; `earlier` pairs show whether they ever did."""
    return {
        arm: no_good_answer(arm, [pair.arm(arm)], [before.arm(arm) for before in earlier])
        for arm in ARMS
        if _is_silent(pair, arm)
    }


def failed_arms(pairs: Sequence[Pair], final: bool) -> dict[str, Failure]:
    """The arms that have stopped giving right answers in the last pairs.

    Args:
        pairs: those since the last probe that both arms answered.
        final: whether there is no time for more, so that the last pair is enough.
    """
    found = {}
    for arm in ARMS:
        streak = _streak([_is_silent(pair, arm) for pair in pairs]) if final else 0
        if not streak:
            streak = _streak([_is_silent(pair, arm) or _is_bad(pair, arm) for pair in pairs])
            streak = streak if streak >= _MIN_STREAK else 0
        if streak:
            runs = [pair.arm(arm) for pair in pairs]
            found[arm] = no_good_answer(arm, runs[-streak:], runs[:-streak])
    return found


def mostly_failed(plan: Plan, pairs: Sequence[Pair], final: bool) -> Verdict | None:
    """A REGRESSION where most of the candidate's requests fail, pair after pair, and hardly any of the baseline's.

    The arms are driven in alternating slices of a few requests, so a failure of what both depend on affects both.

    Args:
        plan: the plan.
        pairs: all pairs.
        final: whether there is no time for more.
    """
    streak = _streak(
        [_share(pair.candidate) >= _MIN_FAILED_SHARE and _share(pair.baseline) <= _MAX_OTHER_SHARE for pair in pairs]
    )
    if ERRORS not in plan.min_effects or streak < (1 if final else _MIN_STREAK):
        return None
    reason = errors_reason(*([pair.arm(arm) for pair in pairs[-streak:]] for arm in ARMS))
    if not reason:
        return None
    return without_bound(verdict(plan, VerdictKind.REGRESSION, reason, pairs, {ERRORS: State.REGRESSION}))


def errors_reason(baseline: Sequence[RunMetrics], candidate: Sequence[RunMetrics]) -> str:
    """Why the candidate is worse if most requests of each of its runs fail and hardly any of the baseline; else ""."""
    if any(_share(run) < _MIN_FAILED_SHARE for run in candidate) or any(
        _share(run) > _MAX_OTHER_SHARE for run in baseline
    ):
        return ""
    if sum(run.requests for run in candidate) < _MIN_FAILED_REQUESTS:
        return ""
    shares = [
        f"{sum(run.failed for run in runs)} of {sum(run.requests for run in runs)}" for runs in (candidate, baseline)
    ]
    return (
        f"error ratio: {shares[0]} requests to the candidate failed ({_kinds(candidate)}), {shares[1]} to the baseline"
    )


def _is_bad(pair: Pair, arm: str) -> bool:
    run = pair.arm(arm)
    return bool(run.requests) and not run.good


def no_good_answer(arm: str, runs: Sequence[RunMetrics], earlier: Sequence[RunMetrics] = ()) -> Failure:
    """The failure of an arm none of whose requests, or none of whose last requests, got a right answer.

    Args:
        arm: `baseline` or `candidate`.
        runs: those requests.
        earlier: runs before them.
    """
    if any(run.good for run in (*runs, *earlier)):
        silence = format_seconds(sum(run.silence for run in runs))
        why = f"the {arm} stopped answering: no good answer in {silence} of requests ({_kinds(runs)})"
    elif any(run.failed for run in runs):
        requests = sum(run.requests for run in runs)
        what = "the only request" if requests == 1 else f"every one of {pluralize(requests, 'request')}"
        why = f"{what} to the {arm} failed ({_kinds(runs)})"
    else:
        why = f"every one of {pluralize(sum(run.wrong for run in runs), 'answer')} of the {arm} is wrong"
    return Failure(why, ran=True)


def _share(run: RunMetrics) -> float:
    return run.failed / run.requests if run.requests else 0.0


def _streak(found: Sequence[bool]) -> int:
    """How many of the last are true."""
    return found[::-1].index(False) if False in found else len(found)


def _is_silent(pair: Pair, arm: str) -> bool:
    run = pair.arm(arm)
    slowest = max(pair.baseline.slowest, pair.candidate.slowest)
    long = run.silence >= max(SILENCE, _TIMES_SLOWEST * slowest)
    return bool(run.requests) and (long or (run.failed == run.requests >= _MIN_FAILED_REQUESTS))


def _kinds(runs: Iterable[RunMetrics]) -> str:
    kinds: Counter[str] = Counter()
    for run in runs:
        kinds.update(run.failures)
    return ", ".join(f"{name}: {count}" for name, count in kinds.most_common())
