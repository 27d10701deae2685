"""The gate's decisions: pairs of runs in, a verdict out. No clock, no I/O.

    gate = Gate(default_plan(min_effect=0.05))
    gate.add(pair)
    verdict = gate.decide(left=40)        # None while more pairs are needed

**Alarm.** At looks that grow further apart, each metric is tested for being worse by more than *half* its smallest
effect that matters, by `bench.stats.sign_flip`, which assumes nothing but the random order within each pair. The joint
error rate is divided among the metrics by weight, a metric that raised the alarm passes its share on (Holm), and each
look spends a part of it.

**Confirmation.** An alarm starts a number of fresh pairs, fixed in advance; only these decide, most at once, or after
as many pairs again where the first nearly suffice. The metrics that raised the alarm are tested on them one after the
other, the strongest first, each at the full rate, until one fails (a fixed sequence, chosen from data that the test
does not use).

**PASS** needs every metric to be shown to be worse by *less* than its smallest effect, each at its own error rate: a
true effect gets through only if it does so in its own metric, so that no correction is needed (R. Berger,
*Multiparameter hypothesis testing*, Technometrics 24, 1982). Between half and the whole of a smallest effect either
verdict may come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.core.units import pluralize
from bench.gate.early_verdicts import (
    early_verdict,
    error_bursts,
    failure_verdict,
    silent_arms,
    unusable_reason,
    wrong_answers,
    wrong_baseline_reason,
    wrong_baseline_warnings,
)
from bench.gate.error_share import ErrorCounts, in_bursts, sequential_excess
from bench.gate.restarts import RestartPolicy
from bench.gate.sequential_tests import Alarm, also_worse, confirmed_by, raised_alarms, unpassed_metrics
from bench.gate.types import ERRORS, Failure, GateMetric, Pair, Plan, RunMetrics, State, Verdict, VerdictKind
from bench.gate.verdicts import (
    describe_effect,
    evaluated_metrics,
    format_min_effect,
    unclear_reason,
    verdict,
    without_bound,
)


class Gate:
    """Collects pairs and decides; see the module's docstring.

    Args:
        plan: what to look for and how often to err.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._pairs: list[Pair] = []
        self._valid: list[Pair] = []
        self._looks: list[int] = []
        self._alarm_open = True
        self._alarm_spent: list[float] = []
        self._alarm: Alarm | None = None
        self._attempts = 0
        self._confirmed: tuple[str, ...] = ()
        self._refuted: tuple[str, ...] = ()
        self._probes: list[Pair] = []
        self._probed = 0

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs so far, invalid ones too."""
        return tuple(self._pairs)

    @property
    def alarm(self) -> Alarm | None:
        """The alarm that waits for its confirmation; None if there is none."""
        return self._alarm

    @property
    def state(self) -> str:
        """What has been done so far, for a progress line."""
        confirming = f", confirming {', '.join(self._alarm.metrics)}" if self._alarm else ""
        return f"{pluralize(len(self._pairs), 'pair')}{confirming}"

    @property
    def confirming_pairs(self) -> int:
        """Valid pairs since the alarm that waits for its confirmation; 0 if none does."""
        return len(self._valid) - self._alarm.begin if self._alarm else 0

    def scope_to(self, restarts: RestartPolicy) -> None:
        """Has the error bound cover what the restarts of the servers allow."""
        self._plan = replace(self._plan, fresh_alarms=restarts.fresh_alarms, scope=restarts.scope)

    def add(self, pair: Pair) -> None:
        """Adds one pair."""
        self._pairs.append(pair)
        if not pair.invalid:
            self._valid.append(pair)

    def probe(self, pair: Pair) -> Verdict | None:
        """The verdict if an arm does not answer or the candidate answers wrongly outside the pairs; else None.

        Args:
            pair: what both arms answered in the warm-up, in the soak, or when asked again after failed requests.
        """
        self._probes.append(pair)
        if found := silent_arms(pair, self._pairs):
            return failure_verdict(self._plan, found, self._pairs, (pair,))
        if all(run.requests > run.failed for run in (pair.baseline, pair.candidate)):
            self._probed = len(self._pairs)
        return wrong_answers(self._plan, self._pairs, self._probes)

    def decide_now(self, *warnings: str) -> Verdict:
        """The verdict on the pairs so far, when there is no time for more."""
        found = self.decide(0)
        assert found is not None
        return replace(found, warnings=(*found.warnings, *warnings))

    def fail(self, failures: Mapping[str, Failure], earlier: Verdict | None = None) -> Verdict:
        """The verdict where arms have failed, by name; `earlier` is one that was reached before."""
        return failure_verdict(self._plan, failures, self._pairs, earlier=earlier)

    def interrupt(self, signal: str) -> Verdict:
        """What was measured until `signal` ended the gate; it says nothing of the candidate."""
        reason = f"interrupted by {signal} after {pluralize(len(self._pairs), 'pair')}, before the verdict"
        return without_bound(verdict(self._plan, VerdictKind.INTERRUPTED, reason, self._pairs, {}))

    def decide(self, left: int | None = None) -> Verdict | None:
        """The verdict, or None while more pairs are needed; to be asked after each pair.

        Args:
            left: pairs that there is still time for; 0 asks for a verdict now, None is no limit.
        """
        final = left is not None and left <= 0
        early = early_verdict(self._plan, self._pairs, self._probes, self._probed, final)
        if early is not None:
            return early
        if reason := unusable_reason(self._plan, self._pairs, final):
            return self._verdict(VerdictKind.INCONCLUSIVE, reason, ())
        if self._alarm is not None:
            found = self._confirmation(final)
            if found is not None or self._alarm is not None:
                return found
        count = len(self._valid)
        # The last third of the time is reserved for a confirmation: the alarm has to come before.
        closing = self._alarm_open and left is not None and left <= self._plan.confirm_pairs(count)
        due = count >= self._plan.next_look(self._looks[-1] if self._looks else 0)
        if not (due or final or (closing and count >= self._plan.first_look)):
            return None
        return self._look(closing, final)

    def _look(self, closing: bool, final: bool) -> Verdict | None:
        count = len(self._valid)
        metrics = evaluated_metrics(self._plan, self._valid)
        if self._looks[-1:] != [count]:
            self._looks.append(count)
            spent = self._alarm_spent[-1] if self._alarm_spent else 0.0
            self._alarm_spent.append(spent + (1 - spent) * self._plan.spent_per_look if self._alarm_open else spent)
        if closing and self._alarm_open:
            self._alarm_spent[-1], self._alarm_open = 1.0, False
        raised = raised_alarms(self._plan, metrics, self._valid, self._looks, self._alarm_spent)
        if raised and self._attempts < self._plan.attempts:
            return self._raise_alarm(raised, metrics, final)
        unpassed = unpassed_metrics(self._plan, metrics, self._valid, self._looks, final)
        missing = [name for name in self._plan.required if name not in {metric.name for metric in metrics}]
        bursts = error_bursts(self._plan, self._valid) if (final or not unpassed) and not missing else ""
        if not (unpassed or missing or bursts) and (final or self._has_min_checked()):
            if wrong := wrong_baseline_reason(self._baseline_runs()):
                return self._verdict(VerdictKind.INCONCLUSIVE, wrong, metrics)
            return self._verdict(VerdictKind.PASS, "no metric is worse by the smallest effect that matters", metrics)
        if not final:
            return None
        if missing:
            reason = f"{', '.join(missing)} could not be measured: too few requests in a run; use longer runs"
        elif unpassed:
            reason = self._unpassed_reason(unpassed, bursts)
        else:
            reason = bursts
        return self._verdict(VerdictKind.INCONCLUSIVE, reason, metrics, unpassed)

    def _raise_alarm(self, raised: tuple[str, ...], metrics: Sequence[GateMetric], final: bool) -> Verdict | None:
        count = len(self._valid)
        self._attempts += 1
        if final:
            reason = (
                f"{self._named(raised)}: an alarm was raised, but no time is left to confirm it; give more --max-time"
            )
            return self._verdict(VerdictKind.INCONCLUSIVE, reason, metrics, list(raised))
        self._alarm = Alarm(raised, count, self._plan.confirm_looks(count))
        return None

    def _confirmation(self, final: bool) -> Verdict | None:
        """The verdict if the alarm is confirmed; else None, and the alarm ends if it is futile or time is over."""
        alarm = self._alarm
        assert alarm is not None
        count = self.confirming_pairs
        if count not in alarm.looks and not final:
            return None
        metrics = evaluated_metrics(self._plan, self._valid)
        confirmed, p = confirmed_by(self._plan, alarm, metrics, self._valid, final)
        if not (confirmed or final or count >= alarm.looks[-1] or p > self._plan.futility):
            return None
        self._alarm = None
        if confirmed:
            also = also_worse(self._plan, [metric for metric in metrics if metric.name not in confirmed], self._valid)
            self._confirmed = (*confirmed, *also)
            reason = self._named(confirmed) + (f"; also {self._named(also)}" if also else "")
            return self._verdict(VerdictKind.REGRESSION, reason, metrics)
        self._refuted = tuple(dict.fromkeys((*self._refuted, *alarm.metrics)))
        return None

    def _has_min_checked(self) -> bool:
        checks = [pair.candidate.checked for pair in self._pairs]
        return not any(checks) or sum(checks) >= self._plan.min_checked

    def _baseline_runs(self) -> list[RunMetrics]:
        """All of the baseline's, those outside the pairs too."""
        return [pair.baseline for pair in (*self._pairs, *self._probes)]

    def _unpassed_reason(self, unpassed: Sequence[str], bursts: str) -> str:
        """Why metrics have not passed by the last look: too few requests for the error share, too much noise."""
        few, effects = "", self._plan.min_effects
        if ERRORS in unpassed:
            bound = sequential_excess(self._plan, self._valid, self._looks, final=True)
            counts = ErrorCounts.of_pairs(self._valid)
            few = counts.not_excluded(bound, effects[ERRORS], "give more --max-time")
            few = bursts if bursts and (not few or in_bursts(self._valid)) else few
        results = verdict(self._plan, VerdictKind.INCONCLUSIVE, "", self._valid, {}).metrics
        noisy = [
            f"{describe_effect(result)}, smallest effect {format_min_effect(result)}"
            for result in results
            if result.metric.name in unpassed and not (few and result.metric.name == ERRORS)
        ]
        cure = "give more --max-time, a larger --min-effect or a quieter machine"
        return unclear_reason(noisy, cure, few)

    def _named(self, names: Sequence[str]) -> str:
        results = verdict(self._plan, VerdictKind.REGRESSION, "", self._valid, {}).metrics
        found = {result.metric.name: describe_effect(result) for result in results}
        return ", ".join(found[name] for name in names)

    def _verdict(
        self,
        kind: VerdictKind,
        reason: str,
        metrics: Sequence[GateMetric],
        unclear: Sequence[str] = (),
        warnings: Sequence[str] = (),
    ) -> Verdict:
        states = {}
        for metric in metrics:
            unknown = kind is not VerdictKind.PASS or metric.name in unclear
            states[metric.name] = State.UNCLEAR if unknown else State.PASSED
        if kind is VerdictKind.INCONCLUSIVE:
            states |= {metric.name: State.PASSED for metric in metrics if unclear and metric.name not in unclear}
        states |= dict.fromkeys(self._confirmed, State.REGRESSION)
        notes = [*warnings, *wrong_baseline_warnings(self._baseline_runs())]
        if self._refuted and kind is not VerdictKind.REGRESSION:
            notes.append(f"fresh pairs did not confirm an alarm of {', '.join(self._refuted)}")
        return verdict(self._plan, kind, reason, self._pairs, states, notes)
