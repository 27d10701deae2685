"""Types of the gate: metrics, the metrics of one run, pairs of runs, the plan, the verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypedDict

import numpy as np

from bench.core import interrupts
from bench.core.errors import ExitCode, UsageError
from bench.core.types import Floats
from bench.stats.estimate import Estimate

ARMS: Final = ("baseline", "candidate")


class VerdictKind(StrEnum):
    """The outcome of a gate."""

    PASS = "PASS"
    REGRESSION = "REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"
    TARGET_FAILED = "TARGET_FAILED"
    INTERRUPTED = "INTERRUPTED"

    @property
    def exit_code(self) -> ExitCode:
        """The command's exit code; for INTERRUPTED see `GateReport.exit_code`."""
        return {
            "PASS": ExitCode.OK,
            "REGRESSION": ExitCode.REGRESSION,
            "INCONCLUSIVE": ExitCode.INCONCLUSIVE,
            "TARGET_FAILED": ExitCode.TARGET_FAILED,
            "INTERRUPTED": ExitCode.INCONCLUSIVE,
        }[self.value]


@dataclass(frozen=True, slots=True)
class GateMetric:
    """A metric of a run that the gate compares.

    Args:
        name: key in `RunMetrics.values`.
        label: for people.
        unit: `s`, `1/s`, `B` or `share`.
        scale: its smallest effect that matters, in multiples of `--min-effect`: tails vary more than medians.
        weight: its share of the joint error rate, before normalizing.
        higher_is_better: as with throughput.
        absolute: compared by difference, not by ratio: error shares, which are often 0.
    """

    name: str
    label: str
    unit: str
    scale: float
    weight: float
    higher_is_better: bool = False
    absolute: bool = False

    def worsening(self, baseline: float, candidate: float) -> float:
        """How much worse the candidate is: logarithm of the ratio, or the difference; above 0 is worse."""
        if self.absolute:
            return candidate - baseline
        ratio = math.log(candidate / baseline)
        return -ratio if self.higher_is_better else ratio

    def scaled(self, values: Floats) -> Floats:
        """`values` on the scale on which differences are compared: logarithms, or unchanged; the same shape."""
        return values if self.absolute else np.asarray(np.log(values))

    def as_worsening(self, effect: float) -> float:
        """An effect given as a fraction (0.05 is 5 %) on the scale of `worsening`."""
        return effect if self.absolute else math.log1p(effect)

    def as_effect(self, worsening: float) -> float:
        """The inverse: worse by this fraction, or by this difference."""
        return worsening if self.absolute else math.expm1(worsening)


ERRORS: Final = "errors"
WRONG_ANSWERS: Final = "wrong_answers"

METRICS: Final = (
    GateMetric("p50", "latency p50", "s", 1.0, 5.0),
    GateMetric("throughput", "throughput", "1/s", 1.0, 3.0, higher_is_better=True),
    GateMetric("p95", "latency p95", "s", 2.0, 3.0),
    GateMetric("p99", "latency p99", "s", 4.0, 3.0),
    GateMetric(ERRORS, "error ratio", "share", 0.1, 3.0, absolute=True),
    GateMetric("cpu", "server CPU per request", "s", 2.0, 2.0),
    GateMetric("memory", "server memory", "B", 2.0, 1.0),
)


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """The metrics of one run of one arm, warm-up excluded.

    Args:
        requests: requests due.
        failed: of these, those without an answer: every outcome but `ok` and `wrong_answer`.
        wrong: wrong answers.
        checked: answers that were compared with the golden ones.
        values: by metric, in base units; a metric that was not measured is absent.
        failures: failed requests by outcome.
        silence: seconds of requests without a good answer at the end of the run; 0 if the last answer was good.
        slowest: seconds that the slowest good answer took.
    """

    requests: int
    failed: int
    wrong: int
    checked: int
    values: Mapping[str, float]
    failures: Mapping[str, int] = field(default_factory=dict)
    silence: float = 0.0
    slowest: float = 0.0

    @property
    def good(self) -> int:
        """Requests with a right answer."""
        return self.requests - self.failed - self.wrong


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an arm cannot be measured at all.

    Args:
        why: one line.
        ran: whether it was ready at any time.
    """

    why: str
    ran: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """One run of each arm, side by side, in an order drawn at random.

    Args:
        baseline: metrics of the baseline.
        candidate: metrics of the candidate.
        baseline_first: whether the baseline was driven first.
        invalid: why the pair is INVALID; empty for a valid one.
    """

    baseline: RunMetrics
    candidate: RunMetrics
    baseline_first: bool = True
    invalid: tuple[str, ...] = ()

    def arm(self, name: str) -> RunMetrics:
        """The metrics of `baseline` or `candidate`."""
        return self.baseline if name == "baseline" else self.candidate


@dataclass(frozen=True)
class Plan:
    """What the gate looks for and how often it may err.

    The chance that a candidate that is worse by no more than half of every smallest effect is called a REGRESSION is at
    most `alarm * confirm * attempts` (0.5 % at the defaults): an alarm costs `alarm` over all metrics and all looks,
    and each of at most `attempts` confirmations by pairs that had no part in the alarm passes by chance with `confirm`.
    The chance that a candidate that is worse by a smallest effect or more in any metric is called PASS is at most
    `miss`.

    Args:
        min_effects: by metric, the smallest effect that matters, a fraction (for absolute metrics a difference).
        required: metrics that must be evaluated, or there is no PASS.
        alarm: chance of an alarm, over all metrics and looks.
        confirm: chance that one confirmation passes.
        attempts: how many alarms are followed up.
        miss: chance of a PASS despite a smallest effect.
        first_look: pairs before the first look.
        growth: from look to look the number of pairs grows by this factor.
        spent_per_look: share of the remaining error rate that each look may spend.
        min_confirm_pairs: pairs of a confirmation, at least...
        confirm_share: ...or this share of the pairs that led to the alarm.
        confirm_at_once: share of `confirm` that these may spend; the rest is for as many pairs again...
        futility: ...which are taken unless the p-value by then is above this.
        min_checked: checked answers before a PASS, if time allows: among 3,000 at least one of a share of 0.1 % wrong
            ones is found with a probability of 95 % (the rule of three).
        fresh_alarms: whether the pairs that raise an alarm are independent: each on processes of its own, or all on
            the two processes that are compared. If not, an alarm may be a lasting difference between two processes,
            and only the confirmation counts.
        scope: what `false_alarms` covers, for people; "" if that is not known.
    """

    min_effects: Mapping[str, float]
    required: tuple[str, ...] = ()
    alarm: float = 0.10
    confirm: float = 0.025
    attempts: int = 2
    miss: float = 0.05
    first_look: int = 7
    growth: float = 1.3
    spent_per_look: float = 0.4
    min_confirm_pairs: int = 7
    confirm_share: float = 0.6
    confirm_at_once: float = 0.8
    futility: float = 0.25
    min_checked: int = 3000
    fresh_alarms: bool = True
    scope: str = ""

    @property
    def false_alarms(self) -> float:
        """Bound of the chance of a false REGRESSION."""
        # Rounded, so that the product prints as a short decimal.
        return round(self.confirm * self.attempts * (self.alarm if self.fresh_alarms else 1.0), 12)

    @property
    def metrics(self) -> tuple[GateMetric, ...]:
        """The metrics that this plan has a smallest effect for."""
        return tuple(metric for metric in METRICS if metric.name in self.min_effects)

    def next_look(self, pairs: int) -> int:
        """The number of pairs at the look after one at `pairs`."""
        return max(self.first_look, pairs + 2, math.ceil(pairs * self.growth)) if pairs else self.first_look

    def confirm_pairs(self, pairs: int) -> int:
        """Pairs of the first part of a confirmation after an alarm at `pairs`."""
        return max(self.min_confirm_pairs, math.ceil(self.confirm_share * pairs))

    def confirm_looks(self, pairs: int) -> tuple[int, int]:
        """Numbers of fresh pairs at which a confirmation after an alarm at `pairs` is looked at."""
        return self.confirm_pairs(pairs), 2 * self.confirm_pairs(pairs)


DEFAULT_EFFECT: Final = 0.05
P_VALUE: Final = 0.001
"""Of one split of a history, by default."""


def default_plan(min_effect: float = DEFAULT_EFFECT, overrides: Mapping[str, float] | None = None) -> Plan:
    """The plan for a smallest effect of the median; those of the other metrics follow from it, but for `overrides`.

    Raises:
        UsageError: an effect that is not above 0, or no such metric.
    """
    overrides = overrides or {}
    known = [metric.name for metric in METRICS]
    for name in overrides:
        if name not in known:
            raise UsageError(f"no gate metric {name!r}; take one of {', '.join(known)}")
    effects = {metric.name: overrides.get(metric.name, min_effect * metric.scale) for metric in METRICS}
    if not all(0 < effect < math.inf for effect in effects.values()):
        raise UsageError("a smallest effect must be above 0; write it like --min-effect 5% or --min-effect p99=20%")
    return Plan(effects, required=tuple(overrides))


def make_plan(min_effect: float, min_effects: Mapping[str, float], metrics: Sequence[str]) -> Plan:
    """The plan for a smallest effect of the median, those of single metrics, and the metrics evaluated; () is all.

    Raises:
        UsageError: an effect that is not above 0, or no such metric.
    """
    plan = default_plan(min_effect, min_effects)
    return restricted(plan, tuple(metrics)) if metrics else plan


def restricted(plan: Plan, names: tuple[str, ...]) -> Plan:
    """The plan for these metrics only, which then must be evaluated.

    Raises:
        UsageError: no such metric.
    """
    unknown = set(names) - set(plan.min_effects)
    if unknown or not names:
        raise UsageError(f"no gate metric {', '.join(sorted(unknown))}; take one of {', '.join(plan.min_effects)}")
    return replace(plan, min_effects={name: plan.min_effects[name] for name in names}, required=names)


class State(StrEnum):
    """The decision on one metric."""

    REGRESSION = "regression"
    PASSED = "passed"
    UNCLEAR = "unclear"
    # The text is part of the format of `gate.json`.
    NOT_EVALUATED = "not judged"


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric in a verdict.

    Args:
        metric: which.
        baseline: the baseline's level; None without any. Where there is an effect, `candidate` and `baseline` differ by
            exactly that.
        candidate: the candidate's level.
        effect: how much worse the candidate is, a fraction (below 0 is better), with its interval.
        min_effect: the smallest effect that matters.
        state: what was decided.
        improved: whether the whole interval lies below minus half the smallest effect.
        note: why it was not evaluated; empty if it was.
    """

    metric: GateMetric
    baseline: float | None
    candidate: float | None
    effect: Estimate
    min_effect: float
    state: State
    improved: bool = False
    note: str = ""


class Counts(TypedDict):
    """Counts of both arms, (baseline, candidate), by field of `Verdict`."""

    requests: tuple[int, int]
    failed: tuple[int, int]
    wrong: tuple[int, int]
    checked: tuple[int, int]


@dataclass(frozen=True)
class Verdict:
    """The result of a gate.

    Args:
        kind: PASS, REGRESSION, INCONCLUSIVE, TARGET_FAILED or INTERRUPTED.
        reason: one line: the metric of a regression, or what is missing.
        metrics: one result for each metric of the plan.
        pairs: valid pairs; of stored runs the runs of the smaller set.
        invalid_pairs: pairs that were excluded.
        requests: (baseline, candidate) requests.
        failed: (baseline, candidate) failed requests.
        wrong: (baseline, candidate) wrong answers.
        checked: (baseline, candidate) answers compared with the golden ones.
        false_alarms: bound of the chance of a REGRESSION where there is none; None where the verdict does not rest on
            compared runs.
        scope: what that bound covers, for people.
        warnings: what a reader must know, one line each.
        runs: (baseline, candidate) stored runs that were compared; None for a live gate.
    """

    kind: VerdictKind
    reason: str
    metrics: tuple[MetricResult, ...]
    pairs: int
    invalid_pairs: int = 0
    requests: tuple[int, int] = (0, 0)
    failed: tuple[int, int] = (0, 0)
    wrong: tuple[int, int] = (0, 0)
    checked: tuple[int, int] = (0, 0)
    false_alarms: float | None = None
    scope: str = ""
    warnings: tuple[str, ...] = ()
    runs: tuple[int, int] | None = None


@dataclass(frozen=True)
class GateReport:
    """A verdict with its context.

    Args:
        verdict: the result.
        baseline: what the baseline was, for people.
        candidate: what the candidate was.
        load: the load on both, for people; "" for stored runs, whose manifests have it.
        seconds: how long the gate took.
        measured: the measured rate of false alarms with its bound, one line; None where none was measured.
        folder: folder of the verdict and the runs of a live gate; None if they were not stored.
        signal: the signal that ended the gate before it had a verdict; None if there was none.
    """

    verdict: Verdict
    baseline: str
    candidate: str
    load: str
    seconds: float
    measured: str | None = None
    folder: str | None = None
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """The command's exit code."""
        return int(self.verdict.kind.exit_code) if self.signal is None else interrupts.exit_code(self.signal)
