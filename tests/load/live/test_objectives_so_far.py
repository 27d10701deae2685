"""Verdicts on objectives while a run is in progress, against those of the same requests at its end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.measured import load
from bench.analysis.objectives import evaluate
from bench.core.types import Floats
from bench.load.live.live_figures import LiveFigures, LivePlan
from bench.load.live.objectives_so_far import ObjectiveSoFar
from bench.objectives.grammar import parse_objectives
from bench.objectives.verdicts import Verdict
from bench.results.records import Outcome
from bench.results.run_reader import Run
from tests.analysis.test_objectives import about_ten_milliseconds
from tests.load.live.test_live_figures import blocks_of, sample
from tests.support.synthetic_runs import WORKLOAD as SHORT
from tests.support.synthetic_runs import Requests, simulate, write_run

WORKLOAD = replace(SHORT, duration=40.0)
ENDS = WORKLOAD.warmup + WORKLOAD.duration
# Every answer takes 10.1 to 10.2 ms from due.
GOOD = {
    "p50<=10.5ms": Verdict.PASS,
    "p99<=10.5ms": Verdict.PASS,
    "p99<=10ms": Verdict.FAIL,
    "send-p95<=10.5ms": Verdict.PASS,
    "errors<=1%": Verdict.PASS,
    "throughput>=40/s": Verdict.PASS,
    "throughput>=60/s": Verdict.FAIL,
    "max<=5ms": Verdict.FAIL,
    "p99.9<=10.5ms": Verdict.CANNOT_TELL,
}
FAILING = {
    "p99<=1s": Verdict.FAIL,
    "p90<=10.5ms": Verdict.PASS,
    "errors<=1%": Verdict.FAIL,
    "errors=0": Verdict.FAIL,
    "max<=1s": Verdict.FAIL,
}


@pytest.fixture(scope="module")
def requests() -> Requests:
    return simulate(workload=WORKLOAD, service=about_ten_milliseconds, servers=64)


def spoilt(requests: Requests) -> Requests:
    """One of 20 of the measured requests fails."""
    outcome = list(requests.outcome)
    outcome[requests.warmup :: 20] = [Outcome.TIMEOUT] * len(outcome[requests.warmup :: 20])
    return replace(requests, outcome=outcome)


def so_far(run: Run, due: Floats, *slo: str) -> list[ObjectiveSoFar]:
    """How an unfinished run with all its records stands to objectives."""
    objectives = tuple(objective for text in slo for objective in parse_objectives(text))
    figures = LiveFigures(LivePlan(WORKLOAD.warmup, ENDS, due, objectives), [0])
    for block in blocks_of(run):
        figures.add_block(block.rows)
    figures.add_sample(sample(0, ENDS + 0.01))
    return list(figures.snapshot().objectives)


@pytest.mark.parametrize("expected", [GOOD, FAILING], ids=["good", "failing"])
def test_verdicts_so_far_are_those_of_the_end(tmp_path: Path, requests: Requests, expected: dict[str, Verdict]) -> None:
    given = spoilt(requests) if expected is FAILING else requests
    found = so_far(write_run(tmp_path / "live", given, workload=WORKLOAD, finish=False), given.due, *expected)
    assert [entry.verdict for entry in found] == list(expected.values())
    measured = load(write_run(tmp_path / "finished", given, workload=WORKLOAD))
    assert [evaluate(parse_objectives(text), measured, 1)[0].verdict for text in expected] == list(expected.values())


def test_none_wrong_is_not_yet_a_pass(tmp_path: Path, requests: Requests) -> None:
    run = write_run(tmp_path, requests, workload=WORKLOAD, finish=False)
    wrong, most, mean = so_far(run, requests.due, "wrong=0,max<=1s,mean<=1s")
    assert {wrong.verdict, most.verdict, mean.verdict} == {Verdict.CANNOT_TELL}
    assert wrong.remark.startswith("none of")
    assert mean.remark == "told at the end of the run"
    outcome = [Outcome.WRONG_ANSWER, *requests.outcome[1:]]
    run = write_run(tmp_path, replace(requests, outcome=outcome), workload=WORKLOAD, finish=False)
    (wrong,) = so_far(run, requests.due, "wrong=0")
    assert wrong.verdict is Verdict.FAIL
    assert wrong.remark.endswith(" requests, 1 of them in the warm-up")


def test_open_requests_may_all_be_late(tmp_path: Path, requests: Requests) -> None:
    """A tenth more requests were due than have ended."""
    run = write_run(tmp_path, requests, workload=WORKLOAD, finish=False)
    due = np.sort(np.concatenate((requests.due, requests.due[::10])))
    found = so_far(run, due, "p50<=10.5ms,p95<=10.5ms,p99<=10ms")
    assert [entry.verdict for entry in found] == [Verdict.PASS, Verdict.CANNOT_TELL, Verdict.FAIL]


def test_a_run_without_objectives_stands_to_none(tmp_path: Path, requests: Requests) -> None:
    assert so_far(write_run(tmp_path, requests, workload=WORKLOAD, finish=False), requests.due) == []
