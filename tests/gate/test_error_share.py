"""A PASS says that the error share is not larger by a smallest effect, which few requests without a failure do not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.gate.decision import Gate
from bench.gate.error_share import ErrorCounts, sequential_excess
from bench.gate.report.text import gate_table
from bench.gate.stored import decide_stored
from bench.gate.types import (
    ERRORS,
    GateReport,
    MetricResult,
    Pair,
    RunMetrics,
    State,
    Verdict,
    VerdictKind,
    default_plan,
    restricted,
)
from bench.stats import sign_flip
from bench.stats.proportion import proportion_bounds
from tests.gate.test_stored import runs
from tests.support.gate_noise import pairs, run_gate

pytestmark = pytest.mark.long(30)

PLAN = default_plan()
EFFECT = PLAN.min_effects[ERRORS]
ONLY_ERRORS = restricted(PLAN, (ERRORS,))


def failing(requests: int, failed: int, count: int) -> Iterator[Pair]:
    """`count` pairs of `requests` each, in which the candidate's first `failed` runs have one failure."""
    for index in range(count):
        share = 1 if index < failed else 0
        baseline = RunMetrics(requests, 0, 0, requests, {ERRORS: 0.0})
        failures = {"timeout": share} if share else {}
        yield Pair(baseline, RunMetrics(requests, share, 0, requests - share, {ERRORS: share / requests}, failures))


def of_errors(verdict: Verdict) -> MetricResult:
    return next(result for result in verdict.metrics if result.metric.name == ERRORS)


@pytest.mark.parametrize(
    ("requests", "limit", "fail"),
    [
        # A server that answers 3.4 requests/s, for five minutes, and for twelve.
        (20, 23, (0.0, EFFECT)),
        (20, 55, (0.0, EFFECT)),
        (330, 40, (0.0, EFFECT)),
        (330, 40, (0.01, 0.01 + EFFECT)),
    ],
)
def test_worse_by_a_smallest_effect_passes_as_seldom_as_stated(
    requests: int, limit: int, fail: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_flip, "GENERATORS", 9)
    rng = np.random.default_rng([requests, limit])
    gates = 120
    passed = sum(
        run_gate(ONLY_ERRORS, pairs("plain", rng, limit, 0.01, requests=requests, fail=fail), limit)[0].kind
        is VerdictKind.PASS
        for _ in range(gates)
    )
    low, _ = proportion_bounds(passed, gates, 0.99)
    assert low <= PLAN.miss, f"{passed} of {gates} pass, at most {PLAN.miss:.0%} may"


def test_the_bounds_of_all_looks_together_are_too_low_as_seldom_as_stated() -> None:
    """With failures drawn one by one, at looks as a gate takes them; a bound of each look at 5 % misses this."""
    rng, looks = np.random.default_rng(5), [7, 10, 13, 17, 23, 30, 39]
    gates = 1000
    low = 0
    for _ in range(gates):
        failed = rng.binomial(100, EFFECT, looks[-1])
        series = [Pair(RunMetrics(100, 0, 0, 100, {}), RunMetrics(100, int(count), 0, 100, {})) for count in failed]
        low += any(
            sequential_excess(PLAN, series[:look], looks[: index + 1], final=look == looks[-1]) < EFFECT
            for index, look in enumerate(looks)
        )
    bounds = proportion_bounds(low, gates, 0.99)
    assert bounds[0] <= PLAN.miss
    # And it is no use if it hardly ever errs.
    assert bounds[1] >= PLAN.miss / 3


def test_a_server_without_failures_passes_as_soon_as_its_other_metrics_do() -> None:
    """At the first look, or at the next if a PASS waits for 3,000 checked answers."""
    for requests, at in ((600, 7), (330, 10)):
        found, taken = run_gate(PLAN, pairs("plain", np.random.default_rng(1), 60, 0.005, requests=requests), 60)
        assert (found.kind, taken) == (VerdictKind.PASS, at)
        assert of_errors(found).state is State.PASSED


@pytest.mark.parametrize(
    ("failed", "counts", "percent"),
    [(0, "0 of 460 requests", "0.68"), (3, "3 of 460 requests", "1.8")],
)
def test_too_few_requests_are_inconclusive_with_what_they_cannot_exclude(
    failed: int, counts: str, percent: str
) -> None:
    found, taken = run_gate(ONLY_ERRORS, failing(20, failed, 23), 23)
    assert (found.kind, taken) == (VerdictKind.INCONCLUSIVE, 23)
    assert found.reason == (
        f"error ratio: {counts} to the candidate failed, 0 of 460 to the baseline, which cannot exclude +{percent} "
        f"points, smallest effect 0.5 points; give more --max-time, or --min-effect errors={percent}%"
    )
    assert of_errors(found).state is State.UNCLEAR
    # Where none failed, what the reason says to give is enough for so many requests; and so is more time.
    larger = restricted(default_plan(0.05, {ERRORS: 0.0068}), (ERRORS,))
    assert run_gate(larger, failing(20, 0, 23), 23)[0].kind is VerdictKind.PASS
    assert run_gate(ONLY_ERRORS, failing(20, 0, 60), 60)[0].kind is VerdictKind.PASS


def test_noise_and_too_few_requests_are_both_named() -> None:
    found, _ = run_gate(PLAN, pairs("plain", np.random.default_rng(1), 12, 0.3, requests=20), 12)
    assert found.kind is VerdictKind.INCONCLUSIVE
    noise, cure, requests = found.reason.partition("; give more --max-time, a larger --min-effect or a quieter machine")
    assert noise.startswith("too noisy: latency p50 ")
    assert cure
    assert "error ratio" not in noise
    assert requests.startswith("; error ratio: 0 of 240 requests to the candidate failed")


def test_runs_without_a_failure_show_what_their_requests_exclude() -> None:
    """0 of 460 against 0 of 460: what may differ is up to 0.82 points either way, not nothing."""
    found, _ = run_gate(ONLY_ERRORS, failing(20, 0, 23), 23)
    effect = of_errors(found).effect
    assert effect.center == 0.0
    assert (effect.lo, effect.hi) == pytest.approx((-0.00821, 0.00821), abs=1e-5)
    table = gate_table(GateReport(found, "a", "b", "grpc", 1.0))
    assert "[-0.82 … +0.82 points]" in table


def test_a_look_at_too_few_requests_costs_nothing() -> None:
    """Then the last one has all of the error rate, as if it were the only one."""
    series = list(failing(20, 0, 30))
    all_looks = sequential_excess(PLAN, series, [7, 10, 13, 17, 23, 30], final=True)
    assert all_looks == sequential_excess(PLAN, series, [30], final=True)
    assert all_looks == pytest.approx(ErrorCounts((0, 600), (0, 600)).excess(PLAN.miss))
    # Without a last look there is something left for it.
    assert sequential_excess(PLAN, series, [30], final=False) > all_looks


def test_single_failures_of_a_short_gate_are_no_burst() -> None:
    """Six of 460 are more than the baseline's by Fisher's test, and each stands alone."""
    gate = Gate(replace(ONLY_ERRORS, attempts=0))
    for pair in failing(20, 6, 23):
        gate.add(pair)
    found = gate.decide_now()
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "burst" not in found.reason
    assert "6 of 460 requests to the candidate failed, 0 of 460 to the baseline" in found.reason


def test_stored_runs_of_few_requests_are_no_pass(tmp_path: Path) -> None:
    """No run has a failure, so that no split of them is like another; 5,040 requests exclude 0.06 %, not 0.05 %."""
    baseline, candidate = runs(tmp_path / "baseline", 6), runs(tmp_path / "candidate", 6, seed=50)
    count = sum(run.summary.due for run in candidate)
    found = decide_stored(restricted(default_plan(0.1, {ERRORS: 0.0005}), (ERRORS,)), baseline, candidate)
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert found.reason.startswith(f"error ratio: 0 of {count:,} requests to the candidate failed, 0 of ")
    assert "add runs, or make longer ones, or --min-effect errors=0.0" in found.reason
    effect = of_errors(found).effect
    assert effect.lo is not None
    assert effect.hi is not None
    assert effect.lo < 0 < effect.hi
    fine = decide_stored(restricted(default_plan(0.1, {ERRORS: 0.001}), (ERRORS,)), baseline, candidate)
    assert fine.kind is VerdictKind.PASS
