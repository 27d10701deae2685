from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.run import Analysis, analyse
from bench.gate.stored import MIN_RUNS, decide_stored, larger
from bench.gate.types import State, VerdictKind, default_plan
from bench.results.records import Outcome
from tests.support.synthetic_runs import ENVIRONMENT, WORKLOAD, exponential, simulate, write_run

PLAN = default_plan(0.1)
ARRIVALS = "constant:rate=60"


def runs(
    root: Path,
    count: int,
    mean: float = 0.003,
    seed: int = 1,
    outcome: Outcome | None = None,
    every: int = 1,
    **manifest: Any,
) -> list[Analysis]:
    """Stored runs of a single-server queue; every `every`-th request ends with `outcome`."""
    found = []
    for repeat in range(count):
        workload = replace(WORKLOAD, seed=seed + repeat, duration=15.0, warmup=1.0)
        requests = simulate(ARRIVALS, workload, exponential(mean))
        if outcome is not None:
            requests.outcome = [outcome if index % every == 0 else Outcome.OK for index in range(requests.due.size)]
        stored = write_run(root, requests, ARRIVALS, workload, slug=f"run-{repeat}", **manifest)
        found.append(analyse(stored))
    return found


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> list[Analysis]:
    return runs(tmp_path_factory.mktemp("baseline"), 6)


def test_equal_sets_pass(baseline: list[Analysis], tmp_path: Path) -> None:
    found = decide_stored(default_plan(0.4), baseline, runs(tmp_path, 6, seed=50))
    assert found.kind is VerdictKind.PASS, found.reason
    assert any("side by side" in warning for warning in found.warnings)
    assert found.pairs == 6


def test_a_slower_set_is_a_regression(baseline: list[Analysis], tmp_path: Path) -> None:
    found = decide_stored(PLAN, baseline, runs(tmp_path, 6, mean=0.006, seed=50))
    assert found.kind is VerdictKind.REGRESSION
    assert "latency p50" in found.reason
    states = {result.metric.name: result.state for result in found.metrics}
    assert states["p50"] is State.REGRESSION
    assert states["errors"] is State.PASSED


def test_errors_are_a_regression(baseline: list[Analysis], tmp_path: Path) -> None:
    found = decide_stored(PLAN, baseline, runs(tmp_path, 6, seed=50, outcome=Outcome.TIMEOUT, every=40))
    assert found.kind is VerdictKind.REGRESSION
    assert "error ratio" in found.reason


def test_one_wrong_answer_is_a_regression(baseline: list[Analysis], tmp_path: Path) -> None:
    found = decide_stored(PLAN, baseline, runs(tmp_path, 2, outcome=Outcome.WRONG_ANSWER, every=500))
    assert found.kind is VerdictKind.REGRESSION
    assert "wrong_answers" in found.reason
    assert found.wrong[1] == 2


def test_other_machines_are_inconclusive_and_the_field_is_named(baseline: list[Analysis], tmp_path: Path) -> None:
    other = replace(ENVIRONMENT, cpu_model="Another CPU")
    found = decide_stored(PLAN, baseline, runs(tmp_path, 6, environment=other))
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "environment.cpu_model: Example CPU against Another CPU" in found.reason


def test_other_loads_are_inconclusive_and_the_field_is_named(baseline: list[Analysis], tmp_path: Path) -> None:
    requests = simulate(ARRIVALS, replace(WORKLOAD, sentences=4))
    other = analyse(write_run(tmp_path, requests, ARRIVALS, replace(WORKLOAD, sentences=4)))
    found = decide_stored(PLAN, baseline, [other] * 6)
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "workload.sentences: 1 against 4" in found.reason


@pytest.mark.parametrize("model", [{"model_digest": "sha256:2"}, {"precision": "bfloat16"}])
def test_another_model_may_be_compared(baseline: list[Analysis], tmp_path: Path, model: dict[str, Any]) -> None:
    """Its golden answers differ, and with them the digest of their file."""
    workload = replace(WORKLOAD, **model, sentences_digest="sha256:3", duration=15.0, warmup=1.0)
    stored = [
        analyse(
            write_run(tmp_path, simulate(ARRIVALS, own, exponential(0.003)), ARRIVALS, own, slug=f"other-{own.seed}")
        )
        for own in (replace(workload, seed=seed) for seed in range(90, 96))
    ]
    assert "cannot be compared" not in decide_stored(PLAN, baseline, stored).reason


def test_dead_runs_are_a_verdict(baseline: list[Analysis], tmp_path: Path) -> None:
    dead = runs(tmp_path / "dead", 5, outcome=Outcome.UNAVAILABLE)
    most = runs(tmp_path / "most", 2, outcome=Outcome.OK)
    mostly = [*runs(tmp_path / "mostly", 2, seed=90, outcome=Outcome.REJECTED, every=1)]
    for sides, kind, reason in (
        ((baseline, dead), VerdictKind.REGRESSION, "to the candidate failed (unavailable"),
        ((dead, baseline), VerdictKind.TARGET_FAILED, "to the baseline failed (unavailable"),
        ((dead, dead), VerdictKind.TARGET_FAILED, "to the baseline failed (unavailable"),
        # One run of six is enough, however few there are.
        ((baseline, [*most, mostly[0]]), VerdictKind.REGRESSION, "in 20260131T120000Z-run-0"),
    ):
        found = decide_stored(PLAN, *sides)
        assert found.kind is kind
        assert reason in found.reason
        assert found.requests[0] > 0
        assert found.false_alarms is None


def test_empty_sets_and_too_few_are_inconclusive(baseline: list[Analysis]) -> None:
    for candidate, reason in (
        ([], "the candidate has no run"),
        (baseline[: MIN_RUNS - 1], f"a verdict needs {MIN_RUNS}"),
    ):
        found = decide_stored(PLAN, baseline, candidate)
        assert found.kind is VerdictKind.INCONCLUSIVE
        assert reason in found.reason
    assert decide_stored(PLAN, [], baseline).kind is VerdictKind.INCONCLUSIVE


def test_invalid_runs_are_left_out_with_their_reason(baseline: list[Analysis], tmp_path: Path) -> None:
    late = runs(tmp_path, 5, client={"cpu": 0.99})
    found = decide_stored(PLAN, baseline, late)
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "INVALID" in found.reason
    assert "the client was the limit" in found.reason


def test_the_permutation_test_counts_splits() -> None:
    """5 above 5 is the most extreme of 252 splits; 3 above 3 of 20."""
    low, high = np.arange(5.0), np.arange(5.0) + 10
    assert larger(high, low, 0.0) == pytest.approx(1 / 252)
    assert larger(high[:3], low[:3], 0.0) == pytest.approx(1 / 20)
    assert larger(low, high, 0.0) == 1.0
    assert larger(high, low, 10.0) > 0.4
