"""When a side of the gate has failed: it cannot be brought up, has ended, or does not answer while the other side does.

That is a verdict, not a lack of data. A candidate that ran and then failed is a REGRESSION; one that never ran is
TARGET_FAILED, and so is a baseline that fails at any time, as nothing can be held against it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bench.core.units import format_seconds, pluralize
from bench.gate.results import ARMS, verdict, without_bound
from bench.gate.types import ERRORS, Failure, Pair, Plan, RunMetrics, State, Verdict, VerdictKind

SILENCE: Final = 2.0
"""Seconds without a good answer after which a side may have stopped answering..."""
_TIMES_SLOWEST: Final = 5.0
"""...if that is also this many times what the slowest good answer of either side took."""
_MIN_FAILED_REQUESTS: Final = 20
"""This many requests that all fail are enough, however quickly they fail."""
_MIN_FAILED_SHARE: Final = 0.5
"""Share of failed requests that needs no statistics..."""
_MAX_OTHER_SHARE: Final = 0.1
"""...where no more than this share of the other side's failed."""
_MIN_STREAK: Final = 3
"""Pairs one after the other in which a side fails, while there is time for more."""


def failure_verdict(
    plan: Plan,
    failures: Mapping[str, Failure],
    pairs: Sequence[Pair] = (),
    probes: Sequence[Pair] = (),
    earlier: Verdict | None = None,
) -> Verdict:
    """The verdict where sides have failed.

    Args:
        plan: the plan.
        failures: by side, `baseline` or `candidate`; one at least.
        pairs: measured before.
        probes: requests beside the pairs that led to this.
        earlier: a verdict that was reached before; one that does not let the candidate pass stands.
    """
    notes = [failures[arm].why for arm in ARMS if arm in failures]
    if earlier is not None and earlier.kind in (VerdictKind.REGRESSION, VerdictKind.TARGET_FAILED):
        return replace(earlier, warnings=(*earlier.warnings, *notes))
    regression = "baseline" not in failures and failures["candidate"].ran
    kind = VerdictKind.REGRESSION if regression else VerdictKind.TARGET_FAILED
    warnings = () if earlier is None else earlier.warnings
    return without_bound(verdict(plan, kind, "; ".join(notes), pairs, {}, warnings, probes))


def silent_arms(pair: Pair, earlier: Sequence[Pair] = ()) -> dict[str, Failure]:
    """The sides of a pair that do not answer, with what became of their requests; `earlier` pairs say if they did."""
    return {
        arm: no_good_answer(arm, [_of(pair, arm)], [_of(before, arm) for before in earlier])
        for arm in ARMS
        if _is_silent(pair, arm)
    }


def failed_arms(pairs: Sequence[Pair], final: bool) -> dict[str, Failure]:
    """The sides that the last pairs show to have stopped giving good answers.

    Args:
        pairs: those in question.
        final: whether there is no time for more, so that the last pair has to do.
    """
    found = {}
    for arm in ARMS:
        streak = _streak([_is_silent(pair, arm) for pair in pairs]) if final else 0
        if not streak:
            streak = _streak([_is_silent(pair, arm) or _is_bad(pair, arm) for pair in pairs])
            streak = streak if streak >= _MIN_STREAK else 0
        if streak:
            runs = [_of(pair, arm) for pair in pairs]
            found[arm] = no_good_answer(arm, runs[-streak:], runs[:-streak])
    return found


def mostly_failed(plan: Plan, pairs: Sequence[Pair], final: bool) -> Verdict | None:
    """A REGRESSION where most of the candidate's requests fail, pair after pair, and hardly any of the baseline's.

    The sides are driven in turns of a few requests, so that what both depend on does not fail for one of them only.

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
    reason = errors_reason(*([_of(pair, arm) for pair in pairs[-streak:]] for arm in ARMS))
    if not reason:
        return None
    return without_bound(verdict(plan, VerdictKind.REGRESSION, reason, pairs, {ERRORS: State.REGRESSION}))


def errors_reason(baseline: Sequence[RunMetrics], candidate: Sequence[RunMetrics]) -> str:
    """Why the candidate is worse if most requests of each of its runs fail and hardly any of the others; else ""."""
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
    run = _of(pair, arm)
    return bool(run.requests) and not run.good


def no_good_answer(arm: str, runs: Sequence[RunMetrics], earlier: Sequence[RunMetrics] = ()) -> Failure:
    """What became of requests none of which, or none of the last of which, got a good answer.

    Args:
        arm: `baseline` or `candidate`.
        runs: of these requests.
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


def _of(pair: Pair, arm: str) -> RunMetrics:
    return pair.baseline if arm == "baseline" else pair.candidate


def _share(run: RunMetrics) -> float:
    return run.failed / run.requests if run.requests else 0.0


def _streak(found: Sequence[bool]) -> int:
    """How many at the end are true."""
    return found[::-1].index(False) if False in found else len(found)


def _is_silent(pair: Pair, arm: str) -> bool:
    run = _of(pair, arm)
    slowest = max(pair.baseline.slowest, pair.candidate.slowest)
    long = run.silence >= max(SILENCE, _TIMES_SLOWEST * slowest)
    return bool(run.requests) and (long or (run.failed == run.requests >= _MIN_FAILED_REQUESTS))


def _kinds(runs: Iterable[RunMetrics]) -> str:
    kinds: Counter[str] = Counter()
    for run in runs:
        kinds.update(run.failures)
    return ", ".join(f"{name}: {count}" for name, count in kinds.most_common())
