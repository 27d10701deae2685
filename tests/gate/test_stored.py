from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.check import Check
from bench.analysis.run import Analysis, analyse
from bench.analysis.validity import Validity
from bench.gate.report.html_page import gate_html
from bench.gate.report.text import gate_markdown, gate_table, stored_counts, verdict_line
from bench.gate.stored import ALPHA, MIN_RUNS, decide_stored, enough_runs, larger, runs_needed, shares, smallest_p
from bench.gate.types import METRICS, GateReport, State, Verdict, VerdictKind, default_plan, restricted
from bench.results.records import Outcome
from bench.serving.errors import Lack
from bench.stats.holm import holm
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
    # In each run one of the warm-up, and one after it.
    assert found.wrong == (0, 4)


def test_wrong_answers_in_the_warm_up_count(baseline: list[Analysis], tmp_path: Path) -> None:
    bad = []
    for seed in range(50, 56):
        workload = replace(WORKLOAD, seed=seed, duration=15.0, warmup=1.0)
        requests = simulate(ARRIVALS, workload, exponential(0.003))
        requests.outcome[:20] = [Outcome.WRONG_ANSWER] * 20
        bad.append(analyse(write_run(tmp_path, requests, ARRIVALS, workload, slug=f"bad-{seed}")))
    found = decide_stored(PLAN, baseline, bad)
    assert found.kind is VerdictKind.REGRESSION
    assert found.reason.startswith("wrong_answers: 120 of ")
    assert (found.wrong, found.false_alarms) == ((0, 120), None)
    assert found.checked[1] == found.requests[1]
    found = decide_stored(default_plan(0.4), bad, baseline)
    assert "the baseline gives wrong answers (120); is this the golden file of its model?" in found.warnings
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert found.reason.startswith("wrong_answers: 120 of ")


def open_loop(root: Path, service: float, seed: int, client: dict[str, float] | None = None) -> list[Analysis]:
    """Six runs at 50 requests/s of a server that takes `service` seconds."""
    found = []
    for repeat in range(6):
        workload = replace(WORKLOAD, seed=seed + repeat, duration=15.0, warmup=1.0, users=10_000)
        requests = simulate("poisson:rate=50", workload, exponential(service))
        run = write_run(root, requests, workload=workload, slug=f"run-{repeat}", client=client)
        found.append(analyse(run))
    return found


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> list[Analysis]:
    return open_loop(tmp_path_factory.mktemp("quick"), 0.01, 1)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> list[Analysis]:
    return open_loop(tmp_path_factory.mktemp("behind"), 0.03, 50)


def test_a_candidate_that_falls_behind_the_rate_is_a_regression(quick: list[Analysis], behind: list[Analysis]) -> None:
    assert all(run.validity.overloaded for run in behind)
    found = decide_stored(PLAN, quick, behind)
    assert found.kind is VerdictKind.REGRESSION
    assert found.reason.startswith("latency p50 +")
    assert "the candidate fell behind the rate in 6 of 6 runs, which count" in found.warnings
    assert decide_stored(PLAN, behind, quick).kind is VerdictKind.PASS


def test_a_rate_that_neither_side_holds_is_inconclusive(
    quick: list[Analysis], behind: list[Analysis], tmp_path: Path
) -> None:
    found = decide_stored(PLAN, behind, open_loop(tmp_path, 0.06, 90))
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert found.reason == (
        "the servers fell behind the rate in 6 of 6 runs of the baseline and 6 of 6 runs of the candidate: it is too "
        "high for both; make both sets with a lower rate in --arrivals"
    )
    # Few of the baseline's are a slow spell.
    assert decide_stored(PLAN, [*quick[:5], behind[0]], behind[1:]).kind is VerdictKind.REGRESSION


def test_a_load_generator_at_its_limit_is_no_server_that_falls_behind(quick: list[Analysis], tmp_path: Path) -> None:
    found = decide_stored(PLAN, quick, open_loop(tmp_path, 0.03, 90, client={"cpu": 0.99}))
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "INVALID" in found.reason


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


def test_other_loads_are_inconclusive_even_where_requests_fail(baseline: list[Analysis], tmp_path: Path) -> None:
    """Twice the rate may be what they fail of."""
    failing = []
    for seed in range(90, 95):
        workload = replace(WORKLOAD, seed=seed, duration=15.0, warmup=1.0)
        requests = simulate("constant:rate=120", workload, exponential(0.003))
        requests.outcome = [Outcome.TIMEOUT] * requests.due.size
        failing.append(analyse(write_run(tmp_path, requests, "constant:rate=120", workload, slug=f"run-{seed}")))
    for sides in ((baseline, failing), (failing, baseline)):
        found = decide_stored(PLAN, *sides)
        assert found.kind is VerdictKind.INCONCLUSIVE
        assert "the runs cannot be compared: " in found.reason
        assert "constant:rate=120" in found.reason


@pytest.mark.parametrize("every", [1, 2])
def test_what_the_load_generator_lacked_is_no_regression(baseline: list[Analysis], tmp_path: Path, every: int) -> None:
    """Requests that fail for lack of open files say nothing of the server; `ulimit -n` is no field of a run."""
    starved = runs(tmp_path / "starved", 6, seed=50, outcome=Outcome.UNAVAILABLE, every=every, lacks={Lack.FILES: 400})
    for sides in ((baseline, starved), (starved, baseline)):
        found = decide_stored(PLAN, *sides)
        assert found.kind is VerdictKind.INCONCLUSIVE
        assert "not the server but the load generator was the limit" in found.reason
    # A run that lacked nothing is enough, as before.
    dead = runs(tmp_path / "dead", 1, seed=80, outcome=Outcome.UNAVAILABLE)
    assert decide_stored(PLAN, baseline, [*starved, *dead]).kind is VerdictKind.REGRESSION


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
        (baseline[: MIN_RUNS - 1], f"a verdict needs {MIN_RUNS} against 6"),
    ):
        found = decide_stored(PLAN, baseline, candidate)
        assert found.kind is VerdictKind.INCONCLUSIVE
        assert reason in found.reason
    assert decide_stored(PLAN, [], baseline).kind is VerdictKind.INCONCLUSIVE


def test_one_cure_of_runs_that_are_left_out_stands_once(baseline: list[Analysis], tmp_path: Path) -> None:
    """Runs that fail different checks, which one thing cures."""
    delayed, held_up = runs(tmp_path / "a", 2), runs(tmp_path / "b", 3)
    cure = "give it a core of its own"
    for candidates, name in ((delayed, "start delay"), (held_up, "event-loop lag")):
        for index, entry in enumerate(candidates):
            check = Check(name, False, f"{name}: starved; {cure}")
            candidates[index] = replace(entry, validity=Validity((check,)))
    found = decide_stored(PLAN, baseline, [*delayed, *held_up])
    assert found.reason.count(cure) == 1
    assert found.reason.count("likewise") == 2


def test_invalid_runs_are_left_out_with_their_reason(baseline: list[Analysis], tmp_path: Path) -> None:
    late = runs(tmp_path, 5, client={"cpu": 0.99})
    found = decide_stored(PLAN, baseline, late)
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "INVALID" in found.reason
    assert "the client was the limit" in found.reason
    # Each once: the reason of all runs, and why no metric has a row.
    assert found.reason.count("the client was the limit") == 1
    assert found.reason.endswith(f"; likewise {', '.join(run.run.name for run in late[1:])}")
    report = GateReport(found, "a", "b", "", 0.0)
    for shown in (gate_table(report), gate_markdown(report), gate_html(report)):
        assert shown.lower().count("no metric was evaluated: the runs were not compared") == 1
        assert "latency p50" not in shown


@pytest.mark.parametrize(
    ("names", "counts", "needed"),
    [
        # One of 70 splits each: 7 / 70 is above 5 %, 3 / 70 is not.
        (7, (4, 4), (5, 5)),
        (3, (4, 4), (4, 4)),
        (4, (4, 4), (5, 5)),
        # One of 126, of 210, of 252.
        (7, (4, 5), (5, 5)),
        (6, (4, 5), (4, 5)),
        (7, (6, 4), (4, 6)),
        (7, (5, 5), (5, 5)),
        (7, (0, 0), (5, 5)),
        (1, (9, 3), (4, 9)),
    ],
)
def test_the_least_number_of_runs_is_what_each_test_needs_to_reject(
    names: int, counts: tuple[int, int], needed: tuple[int, int]
) -> None:
    assert runs_needed(names, counts) == needed
    assert enough_runs(names, counts) == (needed == tuple(sorted(counts)))


@pytest.mark.parametrize("counts", [(5, 5), (4, 6), (6, 6), (12, 9)])
def test_each_metric_alone_can_be_shown_to_regress(counts: tuple[int, int]) -> None:
    """The smallest p-value there is, in one metric, is significant; the shares add up to all of the error rate."""
    found = shares(METRICS, counts)
    assert sum(found) == pytest.approx(1.0)
    for index in range(len(METRICS)):
        p = [smallest_p(counts) if other == index else 1.0 for other in range(len(METRICS))]
        assert holm(p, found)[index] <= ALPHA * (1 + 1e-9)


def test_with_many_runs_the_shares_are_the_weights() -> None:
    assert shares(METRICS, (9, 9)) == pytest.approx([metric.weight / 20 for metric in METRICS])


def memory(runs: list[Analysis], factor: float) -> list[Analysis]:
    """The runs with another memory of the server."""
    found = []
    for run in runs:
        metrics = dict(run.summary.metrics)
        known = metrics["server_memory"]
        assert known.center is not None
        metrics["server_memory"] = replace(known, center=known.center * factor)
        found.append(replace(run, summary=replace(run.summary, metrics=metrics)))
    return found


def test_five_runs_a_side_show_a_regression_of_the_lightest_metric(baseline: list[Analysis], tmp_path: Path) -> None:
    others = runs(tmp_path, 5, seed=50)
    found = decide_stored(default_plan(0.4), baseline[:5], memory(others, 3.0))
    assert found.kind is VerdictKind.REGRESSION, found.reason
    assert found.reason.startswith("server memory +200.0 %")


def test_four_runs_a_side_are_too_few_for_seven_metrics(baseline: list[Analysis], tmp_path: Path) -> None:
    """Three times as slow or not: so few can show neither, and the reason says how many can."""
    slow, equal = runs(tmp_path / "slow", 5, mean=0.009, seed=40), runs(tmp_path / "equal", 4, seed=30)
    for candidate in (slow[:4], equal):
        found = decide_stored(default_plan(0.4), baseline[:4], candidate)
        assert found.kind is VerdictKind.INCONCLUSIVE
        assert found.reason == (
            "4 and 4 valid runs are too few to show a regression of 7 metrics: a verdict needs 5 a side; add runs, or "
            "give fewer --metrics"
        )
        assert State.PASSED not in {result.state for result in found.metrics}
    # Five show all of them; and what four against five do show is shown.
    for before in (baseline[:4], baseline[:5]):
        assert decide_stored(PLAN, before, slow).kind is VerdictKind.REGRESSION
    few = restricted(PLAN, ("p50", "p95", "throughput"))
    assert decide_stored(few, baseline[:4], slow[:4]).kind is VerdictKind.REGRESSION


@pytest.mark.parametrize(("counts", "text"), [((4, 9), "4 runs against 9"), ((6, 6), "6 runs a side"), ((0, 0), "")])
def test_the_runs_of_both_sides_are_named(counts: tuple[int, int], text: str) -> None:
    verdict = Verdict(VerdictKind.REGRESSION, "slow", (), min(counts), runs=counts)
    assert stored_counts(verdict) == text
    report = GateReport(verdict, "a", "b", "", 0.0)
    for shown in (verdict_line(report), gate_html(report), gate_markdown(report)):
        assert text in shown
        assert ("runs a side" in shown) == (text == "6 runs a side")


def test_the_permutation_test_counts_splits() -> None:
    """5 above 5 is the most extreme of 252 splits; 3 above 3 of 20."""
    low, high = np.arange(5.0), np.arange(5.0) + 10
    assert larger(high, low, 0.0) == pytest.approx(1 / 252)
    assert larger(high[:3], low[:3], 0.0) == pytest.approx(1 / 20)
    assert larger(low, high, 0.0) == 1.0
    assert larger(high, low, 10.0) > 0.4
