"""Verdicts from the records of runs whose truth is known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.check import Check
from bench.analysis.measured import Measured, load
from bench.analysis.objectives import evaluate, run_objectives
from bench.analysis.run import analyse
from bench.analysis.validity import Validity
from bench.core.types import Floats
from bench.objectives.grammar import parse_objectives
from bench.objectives.verdicts import ObjectiveResult, Verdict
from bench.results.manifest import Stopping
from bench.results.records import Outcome
from bench.results.run_reader import Run
from tests.support.synthetic_runs import WORKLOAD, Requests, simulate, write_run


def about_ten_milliseconds(rng: np.random.Generator, size: int) -> Floats:
    return rng.uniform(0.0099, 0.01, size)


# Every answer takes 10.1 to 10.2 ms from due: 0.2 ms until it is sent, then its service, which never waits.
REQUESTS = {"workload": replace(WORKLOAD, duration=40.0), "service": about_ten_milliseconds, "servers": 64}


def run_with(root: Path, spoil: Any = None, objectives: str = "", **more: Any) -> Run:
    requests = simulate(**{**REQUESTS, **more})
    if spoil is not None:
        spoil(requests)
    workload = more.get("workload", REQUESTS["workload"])
    return write_run(root, requests, workload=workload, objectives=parse_objectives(objectives) if objectives else ())


def measured(root: Path, spoil: Any = None, **more: Any) -> Measured:
    return load(run_with(root, spoil, **more))


def fail(every: int, outcome: Outcome = Outcome.TIMEOUT) -> Any:
    def spoil(requests: Any) -> None:
        for index in range(requests.warmup, len(requests.outcome), every):
            requests.outcome[index] = outcome

    return spoil


def verdicts(measured: Measured, text: str, **more: Any) -> list[ObjectiveResult]:
    return evaluate(parse_objectives(text), measured, 1, **more)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("p99<=10.5ms", Verdict.PASS),
        ("p99<=10.1ms", Verdict.FAIL),
        ("send-p99<=10.1ms", Verdict.PASS),
        ("p50<=10ms", Verdict.FAIL),
        ("mean<=10.5ms", Verdict.PASS),
        ("max<=10.5ms", Verdict.PASS),
        ("max<=10ms", Verdict.FAIL),
        ("errors=0", Verdict.PASS),
        ("errors<=1%", Verdict.PASS),
        ("wrong=0", Verdict.PASS),
        ("throughput>=40/s", Verdict.PASS),
        ("throughput>=60/s", Verdict.FAIL),
        ("throughput>=50/s", Verdict.CANNOT_TELL),
        ("words>=560/s", Verdict.PASS),
        ("sentences>=40/s", Verdict.PASS),
        # 2,000 requests are too few for a p99.9.
        ("p99.9<=10.5ms", Verdict.CANNOT_TELL),
    ],
)
def test_a_server_that_hardly_varies(text: str, verdict: Verdict, tmp_path: Path) -> None:
    assert [result.verdict for result in verdicts(measured(tmp_path), text)] == [verdict]


def test_failed_requests_are_later_than_every_limit(tmp_path: Path) -> None:
    """A server that answers 95 % at once and fails the rest has no p99 within any limit."""
    found = measured(tmp_path, fail(20))
    p99, p90, send = verdicts(found, "p99<=1s,p90<=10.5ms,send-p99<=1s")
    assert (p99.verdict, p90.verdict, send.verdict) == (Verdict.FAIL, Verdict.PASS, Verdict.FAIL)
    assert p99.estimate.center is None
    assert p99.note.startswith("so many requests failed that the value is beyond every limit; 5.")
    assert p90.note.endswith("% of the requests failed and count as later than every limit")


def test_few_failures_move_a_percentile_by_little(tmp_path: Path) -> None:
    (p99,) = verdicts(measured(tmp_path, fail(1000)), "p99<=10.5ms")
    assert p99.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("outcome", "text", "verdict", "note"),
    [
        (Outcome.WRONG_ANSWER, "wrong=0", Verdict.FAIL, "of 2,010 checked answers"),
        (Outcome.WRONG_ANSWER, "wrong<=5%", Verdict.PASS, ""),
        (Outcome.TIMEOUT, "wrong=0", Verdict.PASS, "none of"),
        (Outcome.TIMEOUT, "errors=0", Verdict.FAIL, "requests"),
        (Outcome.TIMEOUT, "max<=1s", Verdict.FAIL, "requests"),
    ],
)
def test_counts(outcome: Outcome, text: str, verdict: Verdict, note: str, tmp_path: Path) -> None:
    (found,) = verdicts(measured(tmp_path, fail(500, outcome)), text)
    assert found.verdict is verdict
    assert all(word in found.note for word in note.split() if not word[0].isdigit())


@pytest.mark.parametrize(
    ("requests", "text", "verdict"),
    [
        (10, "mean<=10s", Verdict.CANNOT_TELL),
        (10, "send-mean<=10s", Verdict.CANNOT_TELL),
        (10, "mean<=5ms", Verdict.FAIL),
        (80, "mean<=10s", Verdict.PASS),
    ],
)
def test_a_mean_of_few_requests_passes_nothing(requests: int, text: str, verdict: Verdict, tmp_path: Path) -> None:
    (found,) = verdicts(measured(tmp_path).before(2.0 + requests / 50), text)
    assert found.verdict is verdict
    if verdict is Verdict.CANNOT_TELL:
        assert found.note.endswith(" effective requests may lack the rare slow ones; a PASS needs 50")
        assert found.more is not None
        assert found.more > 0


def test_a_wrong_answer_in_the_warm_up_is_a_wrong_answer(tmp_path: Path) -> None:
    """Without an objective the run fails; with wrong=0 it passed."""

    def spoil(requests: Requests) -> None:
        requests.outcome[:3] = [Outcome.WRONG_ANSWER] * 3

    found = measured(tmp_path, spoil)
    assert found.wrong_kinds() == {}
    none, few = verdicts(found, "wrong=0"), verdicts(found, "wrong<=1%")
    assert [entry.verdict for entry in (*none, *few)] == [Verdict.FAIL, Verdict.PASS]
    checked = found.checked.sum() + found.warmup_checked
    assert none[0].note == f"3 of {checked:,} checked answers, 3 of them in the warm-up"
    assert evaluate(parse_objectives("wrong=0"), found.before(20.0), 1, over=False)[0].verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("text", "shown", "how"),
    [
        ("max<=10s", "—", "count as later than every limit"),
        ("send-max<=10s", "—", "count as later than every limit"),
        ("p50<=10s", "ms [", "count as later than every limit"),
        ("mean<=10s", "ms [", "are left out"),
    ],
)
def test_what_is_said_of_failures_is_what_was_done_with_them(text: str, shown: str, how: str, tmp_path: Path) -> None:
    (found,) = verdicts(measured(tmp_path, fail(500)), text)
    assert shown in found.figure
    assert found.note.endswith(f"of the requests failed and {how}")
    assert (found.verdict is Verdict.FAIL) == text.endswith("max<=10s")


def test_without_a_checked_answer_wrong_answers_are_unknown(tmp_path: Path) -> None:
    found = measured(tmp_path)
    unchecked = replace(found, checked=np.zeros_like(found.checked))
    (wrong,) = verdicts(unchecked, "wrong=0")
    assert (wrong.verdict, wrong.note) == (Verdict.CANNOT_TELL, "no checked answer; give a --check-share above 0")


def test_before_the_end_only_a_failure_is_sure(tmp_path: Path) -> None:
    good, bad = measured(tmp_path / "good"), measured(tmp_path / "bad", fail(500))
    assert [entry.verdict for entry in verdicts(good, "errors=0", over=False)] == [Verdict.CANNOT_TELL]
    assert [entry.verdict for entry in verdicts(bad, "errors=0", over=False)] == [Verdict.FAIL]


def test_the_part_before_a_moment(tmp_path: Path) -> None:
    found = measured(tmp_path)
    part = found.before(22.0)
    assert (part.begins, part.ends, part.seconds) == (2.0, 22.0, 20.0)
    assert part.due.size == int((found.due < 22.0).sum()) == part.outcome.size == part.words.size
    assert found.before(1.0).seconds == 0
    assert found.before(99.0).seconds == found.seconds


def test_the_manifest_s_objectives_are_evaluated(tmp_path: Path) -> None:
    analysis = analyse(run_with(tmp_path, objectives="p99<=10.5ms,throughput>=60/s"))
    assert analysis.objectives is not None
    assert analysis.objectives.verdict is Verdict.FAIL
    assert [entry.verdict for entry in analysis.objectives.results] == [Verdict.PASS, Verdict.FAIL]


def test_a_run_without_objectives_has_no_verdict(tmp_path: Path) -> None:
    assert analyse(run_with(tmp_path)).objectives is None


def test_an_invalid_run_passes_nothing(tmp_path: Path) -> None:
    run = run_with(tmp_path, objectives="p99<=10.5ms")
    invalid = Validity((Check("start delay", False, "the client was the limit"),))
    found = run_objectives(run, load(run), invalid)
    assert found is not None
    assert (found.verdict, found.note) == (Verdict.CANNOT_TELL, "the run is INVALID")


def test_what_a_look_decided_stays_decided(tmp_path: Path) -> None:
    run = run_with(tmp_path, objectives="p99<=10.1ms,throughput>=40/s")
    (early,) = verdicts(load(run), "p99<=10.5ms")
    early = replace(early, objective=run.manifest.objectives[0], look=4)
    stopping = Stopping(planned=600.0, looks=4, reason="every objective is decided", decided=(early,), confidence=0.975)
    found = run_objectives(Run(run.path, replace(run.file, stopping=stopping)), load(run), Validity(()))
    assert found is not None
    assert found.results[0] == early
    assert found.results[1].verdict is Verdict.PASS
    assert found.results[1].estimate.confidence == 0.975
