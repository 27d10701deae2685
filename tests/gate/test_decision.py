from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from typing import Any

import numpy as np
import pytest

from bench.core.errors import UsageError
from bench.gate.decision import Gate
from bench.gate.early_verdicts import unusable_reason
from bench.gate.types import Pair, Plan, RunMetrics, State, VerdictKind, default_plan, restricted
from bench.stats import sign_flip
from bench.stats.proportion import proportion_bounds
from tests.support.gate_noise import BASE, pairs, run_gate, slower

pytestmark = pytest.mark.long(30)

PLAN = default_plan()

AT_THE_NULL = {name: effect / 2 for name, effect in PLAN.min_effects.items() if name != "errors"}
"""Worse by exactly half of every smallest effect, the worst case of "nothing that matters"."""


def run_metrics(requests: int = 400, failed: int = 0, wrong: int = 0, **values: float) -> RunMetrics:
    known = {**BASE, "errors": failed / requests if requests else 0.0, **values}
    failures = {"timeout": failed} if failed else {}
    return RunMetrics(requests, failed, wrong, requests - failed, known if requests > failed else {}, failures)


def verdict_of(plan: Plan, stream: Iterator[Pair], limit: int = 40) -> VerdictKind:
    return run_gate(plan, stream, limit)[0].kind


@pytest.mark.parametrize("kind", ["autocorrelated", "heavy", "drifting"])
def test_joint_false_alarm_rate_stays_within_its_bound(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """600 gates over the three kinds of noise, every metric at the edge of what matters.

    `python -m benchmarks.bench_gate simulate` runs 2,000 of each kind, with more pairs and patterns.
    """
    # A quarter of the patterns makes the test as exact and four times as fast.
    monkeypatch.setattr(sign_flip, "GENERATORS", 10)
    rng = np.random.default_rng([1, len(kind)])
    gates = 200
    alarms = sum(
        verdict_of(PLAN, pairs(kind, rng, 16, 0.04, AT_THE_NULL, fail=(0.001, 0.0035)), 16) is VerdictKind.REGRESSION
        for _ in range(gates)
    )
    low, _ = proportion_bounds(alarms, gates, 0.99)
    assert low <= PLAN.false_alarms, f"{alarms} of {gates}, the bound is {PLAN.false_alarms:.1%}"


def test_a_loose_plan_alarms_as_often_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: with its safeguards off the gate does alarm at the null, and no more than stated."""
    monkeypatch.setattr(sign_flip, "GENERATORS", 10)
    loose = replace(restricted(PLAN, ("p50",)), alarm=0.4, confirm=0.5, attempts=1)
    rng = np.random.default_rng(9)
    gates = 300
    alarms = sum(
        verdict_of(loose, pairs("heavy", rng, 24, 0.04, AT_THE_NULL), 24) is VerdictKind.REGRESSION
        for _ in range(gates)
    )
    low, high = proportion_bounds(alarms, gates, 0.999)
    assert low <= loose.false_alarms
    assert high >= loose.false_alarms / 3


@pytest.mark.parametrize("kind", ["plain", "autocorrelated", "drifting"])
def test_equal_sides_pass(kind: str) -> None:
    rng = np.random.default_rng(3)
    found = [verdict_of(PLAN, pairs(kind, rng, 60, 0.03), 60) for _ in range(20)]
    assert found.count(VerdictKind.PASS) >= 18
    assert VerdictKind.REGRESSION not in found


@pytest.mark.parametrize(
    ("effects", "fail", "metric"),
    [
        (slower(0.15), (0.0, 0.0), "latency p50"),
        ({"p99": 1.0}, (0.0, 0.0), "latency p99"),
        ({}, (0.0, 0.01), "error ratio"),
        ({"memory": 0.3}, (0.0, 0.0), "server memory"),
        ({"cpu": 0.3}, (0.0, 0.0), "server CPU"),
    ],
    ids=["slower", "tail only", "errors", "memory", "cpu"],
)
def test_what_got_worse_is_found_and_named(effects: dict[str, float], fail: tuple[float, float], metric: str) -> None:
    found, _ = run_gate(PLAN, pairs("plain", np.random.default_rng(1), 60, 0.02, effects, fail=fail), 60)
    assert found.kind is VerdictKind.REGRESSION
    assert metric in found.reason
    assert any(result.state is State.REGRESSION and metric in result.metric.label for result in found.metrics)


def test_an_improvement_passes_and_is_reported() -> None:
    effects = {"p50": -0.2, "throughput": -0.2}
    found, _ = run_gate(PLAN, pairs("plain", np.random.default_rng(1), 60, 0.02, effects), 60)
    assert found.kind is VerdictKind.PASS
    assert {result.metric.name for result in found.metrics if result.improved} == {"p50", "throughput"}


def test_a_wrong_answer_is_a_regression_at_once() -> None:
    gate = Gate(PLAN)
    gate.add(Pair(run_metrics(), run_metrics(wrong=1)))
    found = gate.decide(left=50)
    assert found is not None
    assert found.kind is VerdictKind.REGRESSION
    assert found.reason.startswith("wrong_answers: 1 of 400")


def test_a_wrong_answer_counts_in_an_invalid_pair_too() -> None:
    gate = Gate(PLAN)
    gate.add(Pair(run_metrics(), run_metrics(wrong=2), invalid=("the client was the limit",)))
    found = gate.decide()
    assert found is not None
    assert found.kind is VerdictKind.REGRESSION


def test_wrong_answers_on_both_sides_point_at_the_golden_file() -> None:
    gate = Gate(PLAN)
    gate.add(Pair(run_metrics(wrong=400), run_metrics(wrong=400)))
    found = gate.decide()
    assert found is not None
    assert "golden file" in found.warnings[0]


@pytest.mark.parametrize("slow", [0.0, 0.3])
def test_a_baseline_with_wrong_answers_is_no_measure(slow: float) -> None:
    """Its throughput counts right answers only: a candidate that is as slow as it has wrong ones seems equal."""

    def stream() -> Iterator[Pair]:
        for pair in pairs("plain", np.random.default_rng(1), 60, 0.01, slower(slow)):
            yield replace(pair, baseline=replace(pair.baseline, wrong=2))

    found, taken = run_gate(PLAN, stream(), 60)
    assert "the baseline gives wrong answers" in " ".join(found.warnings)
    assert taken < 60
    if slow:
        assert found.kind is VerdictKind.REGRESSION
        return
    assert found.kind is VerdictKind.INCONCLUSIVE
    wrong, checked = 2 * taken, 600 * taken
    assert found.reason.startswith(f"wrong_answers: {wrong} of {checked} checked answers of the baseline differ")
    assert State.PASSED not in {result.state for result in found.metrics}


def test_wrong_answers_of_the_baseline_in_the_warm_up_count_too() -> None:
    gate = Gate(PLAN)
    assert gate.probe(Pair(run_metrics(wrong=1), run_metrics())) is None
    for left, pair in zip(range(59, -1, -1), pairs("plain", np.random.default_rng(1), 60, 0.01), strict=True):
        gate.add(pair)
        if (found := gate.decide(left)) is not None:
            break
    assert found is not None
    assert found.kind is VerdictKind.INCONCLUSIVE


@pytest.mark.parametrize(
    ("side", "kind"), [("baseline", VerdictKind.TARGET_FAILED), ("candidate", VerdictKind.REGRESSION)]
)
def test_a_side_that_answers_nothing_is_a_verdict(side: str, kind: VerdictKind) -> None:
    dead, alive = run_metrics(failed=400), run_metrics()
    pair = Pair(dead, alive) if side == "baseline" else Pair(alive, dead)
    found, taken = run_gate(PLAN, repeat(pair, 40), 40)
    assert (found.kind, taken) == (kind, 3)
    assert f"every one of 1,200 requests to the {side} failed (timeout: 1200)" in found.reason
    assert found.false_alarms is None
    # Without time for more, one pair has to do; and with none of the metrics asked for, too.
    assert run_gate(restricted(PLAN, ("p50",)), repeat(pair, 1), 1)[0].kind is kind


def test_two_dead_sides_are_the_targets_failure() -> None:
    found, _ = run_gate(PLAN, repeat(Pair(run_metrics(failed=400), run_metrics(failed=400)), 40), 40)
    assert found.kind is VerdictKind.TARGET_FAILED
    assert "to the baseline failed" in found.reason
    assert "to the candidate failed" in found.reason


@pytest.mark.parametrize(("failed", "others", "alike"), [(240, 0, True), (360, 20, True), (240, 100, False)])
def test_most_requests_failing_needs_no_statistics(failed: int, others: int, alike: bool) -> None:
    """Three pairs are enough where hardly any request to the baseline fails."""
    found, taken = run_gate(PLAN, repeat(Pair(run_metrics(failed=others), run_metrics(failed=failed)), 40), 40)
    assert found.kind is VerdictKind.REGRESSION
    assert (taken == 3) is alike
    assert found.reason.startswith("error ratio")
    assert next(result.state for result in found.metrics if result.metric.name == "errors") is State.REGRESSION


def stopping(silence: float, slowest: float = 0.05) -> RunMetrics:
    """A run whose last requests got no good answer."""
    return replace(run_metrics(failed=1), silence=silence, slowest=slowest)


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (stopping(3.0), VerdictKind.REGRESSION),
        # A moment, and answers that always take this long.
        (stopping(0.5), VerdictKind.INCONCLUSIVE),
        (stopping(3.0, slowest=1.5), VerdictKind.INCONCLUSIVE),
    ],
)
def test_a_candidate_that_is_silent_at_the_end_has_stopped_answering(run: RunMetrics, kind: VerdictKind) -> None:
    gate = Gate(PLAN)
    gate.add(Pair(run_metrics(), run_metrics()))
    gate.add(Pair(run_metrics(), run))
    found = gate.decide(left=0)
    assert found is not None
    assert found.kind is kind
    assert ("the candidate stopped answering" in found.reason) is (kind is VerdictKind.REGRESSION)


def test_a_side_that_answers_again_when_asked_has_not_stopped() -> None:
    gate = Gate(PLAN)
    for _ in range(2):
        gate.add(Pair(run_metrics(), stopping(9.0)))
        assert gate.decide(left=9) is None
    assert gate.probe(Pair(run_metrics(1), run_metrics(1))) is None
    gate.add(Pair(run_metrics(), stopping(9.0)))
    assert gate.decide(left=9) is None
    failed = gate.probe(Pair(run_metrics(1), replace(run_metrics(1, failed=1), silence=3.0)))
    assert failed is not None
    assert failed.kind is VerdictKind.REGRESSION
    assert failed.failed[1] == 4, "the requests that it rests on are counted"


def test_no_request_at_all_is_inconclusive() -> None:
    found, _ = run_gate(PLAN, repeat(Pair(run_metrics(0), run_metrics(0)), 40), 40)
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "no request" in found.reason


def test_no_pair_is_inconclusive() -> None:
    found = Gate(PLAN).decide(left=0)
    assert found is not None
    assert found.kind is VerdictKind.INCONCLUSIVE


def test_too_few_pairs_are_inconclusive() -> None:
    found, _ = run_gate(PLAN, pairs("plain", np.random.default_rng(1), 4, 0.01), 4)
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "4 pairs, a verdict needs 7" in found.reason


def test_invalid_pairs_are_inconclusive_with_their_reason() -> None:
    bad = Pair(run_metrics(), run_metrics(), invalid=("the client was the limit",))
    found, taken = run_gate(PLAN, repeat(bad, 40), 40)
    assert (found.kind, taken, found.invalid_pairs) == (VerdictKind.INCONCLUSIVE, 6, 6)
    assert "the client was the limit" in found.reason


def test_a_few_invalid_pairs_are_left_out() -> None:
    def stream() -> Iterator[Pair]:
        for index, pair in enumerate(pairs("plain", np.random.default_rng(1), 60, 0.02)):
            yield replace(pair, invalid=("late",)) if index % 4 == 0 else pair

    found, taken = run_gate(PLAN, stream(), 60)
    assert found.kind is VerdictKind.PASS
    assert found.pairs + found.invalid_pairs == taken
    assert found.invalid_pairs >= 2


def test_noise_is_inconclusive_and_names_the_metric() -> None:
    found, _ = run_gate(PLAN, pairs("plain", np.random.default_rng(1), 12, 0.3), 12)
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "too noisy" in found.reason
    assert "latency p50" in found.reason


def test_errors_in_one_burst_are_neither_alarm_nor_pass() -> None:
    """One bad minute out of twelve may be chance, but it is not nothing."""

    def stream() -> Iterator[Pair]:
        for index, pair in enumerate(pairs("plain", np.random.default_rng(1), 12, 0.01)):
            values = {**pair.candidate.values, "errors": 0.3}
            yield replace(pair, candidate=replace(pair.candidate, failed=180, values=values)) if index == 3 else pair

    found, _ = run_gate(PLAN, stream(), 12)
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "in bursts" in found.reason


def test_a_required_metric_that_is_missing_is_inconclusive() -> None:
    def stream() -> Iterator[Pair]:
        for pair in pairs("plain", np.random.default_rng(1), 20, 0.01):
            baseline, candidate = (
                replace(side, values={name: value for name, value in side.values.items() if name != "p99"})
                for side in (pair.baseline, pair.candidate)
            )
            yield Pair(baseline, candidate)

    missing, _ = run_gate(restricted(PLAN, ("p50", "p99")), stream(), 20)
    assert missing.kind is VerdictKind.INCONCLUSIVE
    assert "p99" in missing.reason
    passed, _ = run_gate(PLAN, stream(), 20)
    assert passed.kind is VerdictKind.PASS
    assert [result.metric.name for result in passed.metrics if result.state is State.NOT_EVALUATED] == ["p99"]


def test_a_metric_that_was_not_evaluated_says_why() -> None:
    """Measured, but no time for a verdict; not measured at all; not carried by the runs."""
    pair = next(pairs("plain", np.random.default_rng(1), 1, 0.01))
    side = replace(pair.baseline, values={"p50": 0.01})
    bare = Pair(side, side)
    for given, name, note in (
        (pair, "memory", "the gate ended before the first look"),
        (bare, "memory", "not on this machine"),
        (Pair(pair.baseline, side), "p99", "too few answered requests"),
        (bare, "p99", "too few answered requests"),
        (None, "p50", "nothing was measured"),
    ):
        gate = Gate(PLAN)
        if given is not None:
            gate.add(given)
        found = gate.decide(left=0)
        assert found is not None
        assert note in next(result.note for result in found.metrics if result.metric.name == name)


def test_an_alarm_is_confirmed_by_fresh_pairs_only() -> None:
    """Seven pairs raise the alarm; what follows does not bear it out."""

    def stream() -> Iterator[Pair]:
        yield from pairs("plain", np.random.default_rng(1), 7, 0.01, slower(0.3))
        yield from pairs("plain", np.random.default_rng(2), 60, 0.01)

    gate = Gate(PLAN)
    source = stream()
    for _ in range(7):
        gate.add(next(source))
        assert gate.decide(60) is None
    assert gate.alarm is not None
    assert "p50" in gate.alarm.metrics
    found = None
    for left, pair in zip(range(59, -1, -1), source, strict=False):
        gate.add(pair)
        found = gate.decide(left)
        if found is not None:
            break
    assert found is not None
    assert found.kind is not VerdictKind.REGRESSION
    assert any("did not confirm" in warning for warning in found.warnings)


@pytest.mark.parametrize(("bad", "verdict", "pairs_taken"), [(2, VerdictKind.REGRESSION, 21), (5, None, 14)])
def test_a_confirmation_that_all_but_succeeds_gets_as_many_pairs_again(
    bad: int, verdict: VerdictKind | None, pairs_taken: int
) -> None:
    """Of seven fresh pairs `bad` say the opposite: too few for the rate, and hopeless only if they are most."""
    gate = Gate(replace(restricted(PLAN, ("p50",)), attempts=1))
    found = None
    for index in range(21):
        effect = (-0.1 if 7 <= index < 7 + bad else 0.3) * (1 + 0.01 * index)
        gate.add(Pair(run_metrics(), run_metrics(p50=BASE["p50"] * np.exp(effect))))
        found = gate.decide(40)
        if found is not None or (index > 7 and gate.alarm is None):
            break
    assert len(gate.pairs) == pairs_taken
    assert (found.kind if found else None) is verdict


def test_a_pass_waits_for_enough_checked_answers() -> None:
    few = pairs("plain", np.random.default_rng(1), 60, 0.01, requests=100)
    found, taken = run_gate(PLAN, few, 60)
    assert found.kind is VerdictKind.PASS
    assert taken >= 30


def test_smallest_effects_follow_from_the_medians() -> None:
    plan = default_plan(0.02, {"p99": 0.5})
    assert plan.min_effects["p50"] == 0.02
    assert plan.min_effects["p95"] == 0.04
    assert plan.min_effects["p99"] == 0.5
    assert plan.required == ("p99",)
    assert plan.false_alarms == pytest.approx(0.005)
    assert replace(plan, fresh_alarms=False).false_alarms == pytest.approx(0.05)


@pytest.mark.parametrize(
    "call",
    [
        lambda: default_plan(0.0),
        lambda: default_plan(0.1, {"p98": 0.1}),
        lambda: restricted(PLAN, ("p98",)),
        lambda: restricted(PLAN, ()),
    ],
)
def test_plans_that_make_no_sense(call: Any) -> None:
    with pytest.raises(UsageError):
        call()


def test_figures_of_an_unknown_process_end_the_gate_early_with_a_cure() -> None:
    """More pairs or longer runs would not bring them."""
    unknown = RunMetrics(400, 0, 0, 400, {name: value for name, value in BASE.items() if name != "cpu"}, {})
    plan, pair = replace(PLAN, required=("cpu",)), Pair(unknown, unknown)
    why = "the server's process is not on this machine or not known"
    text = f"cpu could not be measured: {why}; leave it out of --metrics"
    assert unusable_reason(plan, [pair] * 3, final=False) == text
    assert unusable_reason(plan, [pair], final=True) == text
    assert unusable_reason(PLAN, [pair] * 3, final=False) == ""
