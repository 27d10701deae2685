"""The verdict on objectives: PASS, FAIL or CANNOT TELL, decided on the interval of the measured value.

PASS needs the whole interval on the good side of the limit, FAIL the whole interval on the other side. Where the
requests of the run itself decide (`Objective.counted`), one bad request is a FAIL, and none is a PASS of this run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bench.core.units import format_estimate, format_seconds, pluralize
from bench.objectives.grammar import Objective
from bench.stats.estimate import Estimate

LONGEST: Final = 7 * 86400.0
"""A longer time for a verdict is not stated, seconds: the value is at the limit."""


class Verdict(StrEnum):
    """The verdict on an objective, or on all of a run."""

    PASS = "PASS"
    FAIL = "FAIL"
    CANNOT_TELL = "CANNOT TELL"


@dataclass(frozen=True, slots=True)
class Counted:
    """The requests that decide an objective which is counted.

    Args:
        bad: failed requests, wrong answers, or requests over a maximum.
        of: requests that could have been.
        what: the name of one of them: `checked answer`.
        warmup: how many of the bad ones belong to the warm-up.
    """

    bad: int
    of: int
    what: str
    warmup: int = 0


@dataclass(frozen=True, slots=True)
class ObjectiveResult:
    """The verdict on one objective.

    Args:
        objective: what was asked.
        verdict: the verdict.
        estimate: the measured value with its interval.
        note: what decided, or what is missing; one line, "" where the interval says it all.
        more: seconds of measurement that would probably decide, at the same rate; None where it is decided or where
            they cannot be told.
        look: the look at which it was decided while the run was in progress, counted from 1; None at its end.
    """

    objective: Objective
    verdict: Verdict
    estimate: Estimate
    note: str = ""
    more: float | None = None
    look: int | None = None

    @property
    def figure(self) -> str:
        """The measured value with its interval: `23 ms [20.5 … 27.8 ms]`."""
        found = self.estimate
        return format_estimate(found.center, found.lo, found.hi, self.objective.figure)

    @property
    def remark(self) -> str:
        """The note, when it was decided, and how much longer a verdict would take; one line."""
        parts = [self.note] if self.note else []
        if self.look is not None:
            parts.append(f"decided at look {self.look}")
        if self.more is not None:
            parts.append(f"needs about {format_seconds(self.more, 2)} more at this rate")
        return "; ".join(parts)

    def __str__(self) -> str:
        remark = f"; {self.remark}" if self.remark else ""
        return f"{self.objective} {self.verdict}: {self.figure}{remark}"


@dataclass(frozen=True, slots=True)
class ObjectivesResult:
    """The verdicts on all objectives of a run.

    Args:
        verdict: FAIL if one fails, else CANNOT TELL if one cannot be told, else PASS.
        results: of each objective.
        note: why the whole is not what the results say; "" if it is.
    """

    verdict: Verdict
    results: tuple[ObjectiveResult, ...]
    note: str = ""

    @classmethod
    def of(cls, results: Sequence[ObjectiveResult], *, valid: bool = True) -> "ObjectivesResult":
        """The verdict on all.

        Args:
            results: of each objective.
            valid: whether the run is VALID; the metrics of one that is not decide nothing, but what was counted still
                fails.
        """
        if not valid:
            results = [_undecided(result) for result in results]
        found = {result.verdict for result in results}
        verdict = next((v for v in (Verdict.FAIL, Verdict.CANNOT_TELL) if v in found), Verdict.PASS)
        return cls(verdict, tuple(results), "" if valid else "the run is INVALID")

    def line(self) -> str:
        """The whole in one line: `FAIL: p99<=250ms: 312 ms [290 … 340 ms]`."""
        if self.verdict is Verdict.PASS:
            return f"{self.verdict}: {pluralize(len(self.results), 'objective')} met"
        if self.note and self.verdict is Verdict.CANNOT_TELL:
            return f"{self.verdict}: {self.note}"
        shown = [result for result in self.results if result.verdict is self.verdict]
        texts = (
            f"{entry.objective}: {entry.figure}" + (f" ({entry.remark})" if entry.remark else "") for entry in shown
        )
        return f"{self.verdict}: " + "; ".join(texts)


def _undecided(result: ObjectiveResult) -> ObjectiveResult:
    if result.verdict is Verdict.FAIL and result.objective.counted:
        return result
    return replace(result, verdict=Verdict.CANNOT_TELL, more=None)


def decide(
    objective: Objective, estimate: Estimate, seconds: float, counted: Counted | None = None, *, over: bool = True
) -> ObjectiveResult:
    """The verdict on one objective.

    Args:
        objective: what was asked.
        estimate: of its metric; infinite ends are those of requests that failed.
        seconds: measured time that the estimate is based on.
        counted: the requests that decide, exactly if the objective is counted.
        over: whether the run is over; before that no count is a PASS.
    """
    if counted is not None:
        return _decide_counted(objective, estimate, counted, over)
    side = 1.0 if objective.quantity.at_most else -1.0
    # Mirrored for a lower limit, so that low is good.
    worst, best = (estimate.hi, estimate.lo) if side > 0 else (estimate.lo, estimate.hi)
    shown = _finite(estimate)
    if best is not None and side * best > side * objective.limit:
        return ObjectiveResult(objective, Verdict.FAIL, shown, _note(estimate))
    if worst is not None and math.isfinite(worst) and side * worst <= side * objective.limit:
        return ObjectiveResult(objective, Verdict.PASS, shown)
    return ObjectiveResult(objective, Verdict.CANNOT_TELL, shown, _note(estimate), _more(objective, estimate, seconds))


def _decide_counted(objective: Objective, estimate: Estimate, counted: Counted, over: bool) -> ObjectiveResult:
    shown = _finite(estimate)
    if not counted.of:
        cure = "; give a --check-share above 0" if objective.name == "wrong" else ""
        return ObjectiveResult(objective, Verdict.CANNOT_TELL, shown, f"no {counted.what}{cure}")
    if counted.bad:
        note = f"{counted.bad:,} of {pluralize(counted.of, counted.what)}"
        note += f", {counted.warmup:,} of them in the warm-up" if counted.warmup else ""
        return ObjectiveResult(objective, Verdict.FAIL, shown, note)
    note = f"none of {pluralize(counted.of, counted.what)} in this run"
    if shown.hi and not objective.name.endswith("max"):
        note += f", which excludes a share above {objective.figure(shown.hi, 2)}"
    return ObjectiveResult(objective, Verdict.PASS if over else Verdict.CANNOT_TELL, shown, note)


def _finite(estimate: Estimate) -> Estimate:
    """The estimate with open ends instead of infinite ones; absent if it is itself infinite."""
    if estimate.center is not None and math.isinf(estimate.center):
        return replace(estimate, center=None, lo=None, hi=None)
    lo, hi = (None if end is not None and math.isinf(end) else end for end in (estimate.lo, estimate.hi))
    return replace(estimate, lo=lo, hi=hi)


def _note(estimate: Estimate) -> str:
    """Why there is no value or no end; without one the interval says it all."""
    if estimate.center is not None and math.isinf(estimate.center):
        return "so many requests failed that the value is beyond every limit"
    return "; ".join(estimate.warnings[:1])


def _more(objective: Objective, estimate: Estimate, seconds: float) -> float | None:
    """Seconds after which the interval probably excludes the limit, if the value stays where it is.

    The width of an interval falls with the root of the time; without a bad request, with the time.
    """
    center, lo, hi = estimate.center, estimate.lo, estimate.hi
    if center is None or seconds <= 0 or any(end is None or math.isinf(end) for end in (center, lo, hi)):
        return None
    assert lo is not None
    assert hi is not None
    distance, width = abs(objective.limit - center), hi - center if center < objective.limit else center - lo
    if distance == 0:
        return None
    factor = width / distance if center == 0 else (width / distance) ** 2
    more = seconds * (factor - 1)
    return more if 0 < more <= LONGEST else None
