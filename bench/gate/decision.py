"""The gate's decisions: pairs of runs in, a verdict out. No clock, no I/O.

    gate = Gate(default_plan(min_effect=0.05))
    gate.add(pair)
    verdict = gate.decide(left=40)        # None: more pairs are needed

**Alarm.** At looks that grow further apart, each metric is tested for being worse by more than *half* its smallest
effect that matters, by `bench.stats.sign_flip`, which needs nothing but the coin that decided the order within each
pair. The joint error rate is shared out among the metrics by weight, a metric that raised the alarm hands its share on
(Holm), and looks spend it bit by bit. **Confirmation.** An alarm starts a count of fresh pairs, fixed in advance;
only these decide, most at once, or after as many again where they all but do. The metrics that raised the alarm are
tested on them one after the other, the strongest first, each at the full rate, until one fails (a fixed sequence,
chosen from data that the test does not use). **PASS** needs
every metric to be shown to be worse by *less* than its smallest effect, each at its own error rate: a true effect
gets through only if it does so in its own metric, so that no correction is due (R. Berger, *Multiparameter hypothesis
testing*, Technometrics 24, 1982). Between half and the whole of a smallest effect either verdict may come.
"""

from collections.abc import Sequence

from bench.core.units import pluralize
from bench.gate.failure import failed_arms, failure_verdict, mostly_failed, silent_arms
from bench.gate.results import ARMS, describe_effect, evaluated_metrics, verdict, without_bound
from bench.gate.sequential_tests import Alarm, also_worse, confirmed_by, raised_alarms, unpassed_metrics
from bench.gate.types import (
    ERRORS,
    WRONG_ANSWERS,
    GateMetric,
    Pair,
    Plan,
    State,
    Verdict,
    VerdictKind,
)
from bench.stats.clopper_pearson import larger_share

_MIN_PAIRS_TO_GIVE_UP = 6


class Gate:
    """Collects pairs and decides; see the module's docstring.

    Args:
        plan: what to look for and how often to err.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
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
        """The alarm that waits for fresh pairs, if one does."""
        return self._alarm

    @property
    def confirming_pairs(self) -> int:
        """Valid pairs since the alarm that waits; 0 if none does."""
        return len(self._valid) - self._alarm.begin if self._alarm else 0

    def add(self, pair: Pair) -> None:
        """Adds one pair."""
        self._pairs.append(pair)
        if not pair.invalid:
            self._valid.append(pair)

    def probe(self, pair: Pair) -> Verdict | None:
        """The verdict if a side does not answer or the candidate answers wrongly beside the pairs; else None.

        Args:
            pair: what the sides gave when asked, in the warm-up or after requests of a pair that failed.
        """
        self._probes.append(pair)
        if found := silent_arms(pair, self._pairs):
            return failure_verdict(self.plan, found, self._pairs, (pair,))
        if all(run.requests > run.failed for run in (pair.baseline, pair.candidate)):
            self._probed = len(self._pairs)
        return self._wrong_answers()

    def decide(self, left: int | None = None) -> Verdict | None:
        """The verdict, or None while more pairs are needed; to be asked after each pair.

        Args:
            left: pairs that there is still time for; 0 asks for a verdict now, None is no limit.
        """
        final = left is not None and left <= 0
        early = self._wrong_answers() or self._failed(final) or self._unusable(final)
        if early is not None:
            return early
        if self._alarm is not None:
            found = self._confirmation(final)
            if found is not None or self._alarm is not None:
                return found
        count = len(self._valid)
        # The last third of the time is kept for a confirmation: the alarm has to come before.
        closing = self._alarm_open and left is not None and left <= self.plan.confirm_pairs(count)
        due = count >= self.plan.next_look(self._looks[-1] if self._looks else 0)
        if not (due or final or (closing and count >= self.plan.first_look)):
            return None
        return self._look(closing, final)

    def _look(self, closing: bool, final: bool) -> Verdict | None:
        count = len(self._valid)
        metrics = evaluated_metrics(self.plan, self._valid)
        if self._looks[-1:] != [count]:
            self._looks.append(count)
            spent = self._alarm_spent[-1] if self._alarm_spent else 0.0
            self._alarm_spent.append(spent + (1 - spent) * self.plan.spent_per_look if self._alarm_open else spent)
        if closing and self._alarm_open:
            self._alarm_spent[-1], self._alarm_open = 1.0, False
        raised = raised_alarms(self.plan, metrics, self._valid, self._looks, self._alarm_spent)
        if raised and self._attempts < self.plan.attempts:
            return self._raise_alarm(raised, metrics, final)
        unpassed = unpassed_metrics(self.plan, metrics, self._valid, self._looks, final)
        missing = [name for name in self.plan.required if name not in {metric.name for metric in metrics}]
        bursts = "" if unpassed or missing else self._error_bursts()
        if not (unpassed or missing or bursts) and (final or self._has_min_checked()):
            return self._verdict(VerdictKind.PASS, "no metric is worse by its smallest effect", metrics)
        if not final:
            return None
        if missing:
            reason = f"{', '.join(missing)} could not be measured: too few requests in a run; use longer runs"
        elif unpassed:
            reason = self._too_noisy(unpassed)
        else:
            reason = bursts
        return self._verdict(VerdictKind.INCONCLUSIVE, reason, metrics, unpassed)

    def _raise_alarm(self, raised: tuple[str, ...], metrics: Sequence[GateMetric], final: bool) -> Verdict | None:
        count = len(self._valid)
        self._attempts += 1
        if final:
            reason = f"{self._named(raised)}: an alarm that no time is left to confirm; give more --max-time"
            return self._verdict(VerdictKind.INCONCLUSIVE, reason, metrics, list(raised))
        self._alarm = Alarm(raised, count, self.plan.confirm_looks(count))
        return None

    def _confirmation(self, final: bool) -> Verdict | None:
        """A verdict if the alarm is confirmed; else clears it once it is hopeless or time is over, or lets it wait."""
        alarm = self._alarm
        assert alarm is not None
        count = self.confirming_pairs
        if count not in alarm.looks and not final:
            return None
        metrics = evaluated_metrics(self.plan, self._valid)
        confirmed, p = confirmed_by(self.plan, alarm, metrics, self._valid, final)
        if not (confirmed or final or count >= alarm.looks[-1] or p > self.plan.futility):
            return None
        self._alarm = None
        if confirmed:
            also = also_worse(self.plan, [metric for metric in metrics if metric.name not in confirmed], self._valid)
            self._confirmed = (*confirmed, *also)
            reason = self._named(confirmed) + (f"; also {self._named(also)}" if also else "")
            return self._verdict(VerdictKind.REGRESSION, reason, metrics)
        self._refuted = tuple(dict.fromkeys((*self._refuted, *alarm.metrics)))
        return None

    def _wrong_answers(self) -> Verdict | None:
        every = (*self._pairs, *self._probes)
        wrong = sum(pair.candidate.wrong for pair in every)
        if not wrong:
            return None
        checked = sum(pair.candidate.checked for pair in every)
        reason = f"{WRONG_ANSWERS}: {wrong} of {checked} checked answers of the candidate differ from the Estimator's"
        warnings = []
        if baseline := sum(pair.baseline.wrong for pair in every):
            warnings.append(f"the baseline gives wrong answers too ({baseline}); is this the golden file of its model?")
        states = {metric.name: State.UNCLEAR for metric in evaluated_metrics(self.plan, self._valid)}
        kind = VerdictKind.REGRESSION
        return without_bound(verdict(self.plan, kind, reason, self._pairs, states, warnings, self._probes))

    def _failed(self, final: bool) -> Verdict | None:
        """The verdict where a side has stopped answering, or most of the candidate's requests fail."""
        if found := failed_arms(self._pairs[self._probed :], final):
            return failure_verdict(self.plan, found, self._pairs)
        return mostly_failed(self.plan, self._pairs, final)

    def _requests(self, arm: str) -> int:
        return sum(getattr(pair, arm).requests for pair in self._pairs)

    def _unusable(self, final: bool) -> Verdict | None:
        """INCONCLUSIVE where more pairs would not help, or time is over without one that counts."""
        for arm in ARMS:
            if (final or len(self._pairs) >= _MIN_PAIRS_TO_GIVE_UP // 2) and self._pairs and not self._requests(arm):
                reason = f"no request went to the {arm}; look at its target"
                return self._verdict(VerdictKind.INCONCLUSIVE, reason, ())
        invalid = [pair.invalid[0] for pair in self._pairs if pair.invalid]
        if len(invalid) >= _MIN_PAIRS_TO_GIVE_UP and len(invalid) > len(self._pairs) / 2:
            reason = f"{len(invalid)} of {len(self._pairs)} pairs are INVALID: {max(set(invalid), key=invalid.count)}"
            return self._verdict(VerdictKind.INCONCLUSIVE, reason, ())
        if final and len(self._valid) < self.plan.first_look:
            count, least = len(self._valid), self.plan.first_look
            why = f" ({len(invalid)} INVALID: {invalid[0]})" if invalid else ""
            reason = f"{pluralize(count, 'pair')}{why}, a verdict needs {least}; give more --max-time"
            return self._verdict(VerdictKind.INCONCLUSIVE, reason, ())
        return None

    def _error_bursts(self) -> str:
        """Why failures forbid a PASS though they do not make a REGRESSION: many, but in few of the pairs."""
        arms = [[getattr(pair, arm) for pair in self._valid] for arm in ("candidate", "baseline")]
        hits, size, other_hits, other_size = (
            sum(getattr(run, name) for run in runs) for runs in arms for name in ("failed", "requests")
        )
        if ERRORS not in self.plan.min_effects or larger_share(hits, size, other_hits, other_size) > self.plan.confirm:
            return ""
        if hits / size - other_hits / other_size <= self.plan.min_effects[ERRORS] / 2:
            return ""
        return f"errors: {hits} of {size} requests to the candidate failed, in bursts; run it again"

    def _has_min_checked(self) -> bool:
        checks = [pair.candidate.checked for pair in self._pairs]
        return not any(checks) or sum(checks) >= self.plan.min_checked

    def _too_noisy(self, unpassed: Sequence[str]) -> str:
        results = verdict(self.plan, VerdictKind.INCONCLUSIVE, "", self._valid, {}).metrics
        parts = [
            f"{describe_effect(result)}, smallest effect {result.min_effect:.1%}"
            for result in results
            if result.metric.name in unpassed
        ]
        return f"too noisy: {'; '.join(parts)}; give more --max-time, a larger --min-effect or a quieter machine"

    def _named(self, names: Sequence[str]) -> str:
        results = verdict(self.plan, VerdictKind.REGRESSION, "", self._valid, {}).metrics
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
        notes = list(warnings)
        if self._refuted and kind is not VerdictKind.REGRESSION:
            notes.append(f"fresh pairs did not confirm an alarm of {', '.join(self._refuted)}")
        return verdict(self.plan, kind, reason, self._pairs, states, notes)
