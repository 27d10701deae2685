"""Verdicts on objectives from estimates with known intervals."""

import math

import pytest

from bench.objectives.grammar import Objective, parse_objectives
from bench.objectives.text import objective_lines
from bench.objectives.verdicts import Counted, ObjectiveResult, ObjectivesResult, Verdict, decide
from bench.stats.estimate import Estimate


def objective(text: str) -> Objective:
    return parse_objectives(text)[0]


def found(text: str, center: float | None, lo: float | None, hi: float | None, **more: float) -> ObjectiveResult:
    return decide(objective(text), Estimate("x", center, lo, hi, 0.95, 1000), more.get("seconds", 60.0))


@pytest.mark.parametrize(
    ("text", "interval", "verdict"),
    [
        ("p99<=250ms", (0.2, 0.18, 0.24), Verdict.PASS),
        ("p99<=250ms", (0.2, 0.18, 0.25), Verdict.PASS),
        ("p99<=250ms", (0.2, 0.18, 0.26), Verdict.CANNOT_TELL),
        ("p99<=250ms", (0.26, 0.24, 0.28), Verdict.CANNOT_TELL),
        ("p99<=250ms", (0.3, 0.26, 0.35), Verdict.FAIL),
        ("p99<=250ms", (0.2, 0.18, None), Verdict.CANNOT_TELL),
        ("p99<=250ms", (0.3, 0.26, None), Verdict.FAIL),
        ("p99<=250ms", (0.3, 0.26, math.inf), Verdict.FAIL),
        ("p99<=250ms", (0.2, 0.18, math.inf), Verdict.CANNOT_TELL),
        ("p99<=250ms", (math.inf, 0.26, math.inf), Verdict.FAIL),
        ("p99<=250ms", (None, None, None), Verdict.CANNOT_TELL),
        ("throughput>=50/s", (60.0, 55.0, 65.0), Verdict.PASS),
        ("throughput>=50/s", (50.0, 48.0, 52.0), Verdict.CANNOT_TELL),
        ("throughput>=50/s", (40.0, 38.0, 49.0), Verdict.FAIL),
        ("throughput>=50/s", (60.0, None, None), Verdict.CANNOT_TELL),
        ("errors<=1%", (0.0, 0.0, 0.005), Verdict.PASS),
        ("errors<=1%", (0.03, 0.02, 0.04), Verdict.FAIL),
        ("errors<=1%", (0.005, 0.001, 0.02), Verdict.CANNOT_TELL),
    ],
)
def test_the_interval_decides(text: str, interval: tuple[float, float, float], verdict: Verdict) -> None:
    assert found(text, *interval).verdict is verdict


@pytest.mark.parametrize(
    ("bad", "of", "over", "verdict", "note"),
    [
        (1, 900, True, Verdict.FAIL, "1 of 900 checked answers"),
        (1, 900, False, Verdict.FAIL, "1 of 900 checked answers"),
        (0, 900, True, Verdict.PASS, "none of 900 checked answers in this run, which excludes a share above 0.41 %"),
        (0, 900, False, Verdict.CANNOT_TELL, "none of 900 checked answers in this run"),
        (0, 0, True, Verdict.CANNOT_TELL, "no checked answer; give a --check-share above 0"),
    ],
)
def test_counts_decide_on_what_was_counted(bad: int, of: int, over: bool, verdict: Verdict, note: str) -> None:
    share = bad / of if of else 0.0
    estimate = Estimate("wrong_share", share, 0.0, 0.0041, 0.95, of)
    result = decide(objective("wrong=0"), estimate, 60.0, Counted(bad, of, "checked answer"), over=over)
    assert result.verdict is verdict
    assert result.note.startswith(note)


@pytest.mark.parametrize(
    ("text", "interval", "more"),
    [
        # Half the distance takes four times as long: three more minutes.
        ("p99<=250ms", (0.2, 0.1, 0.3), 180.0),
        ("p99<=250ms", (0.3, 0.2, 0.4), 180.0),
        ("throughput>=50/s", (60.0, 40.0, 80.0), 180.0),
        # Without a failure the bound falls with the number of requests.
        ("errors<=1%", (0.0, 0.0, 0.02), 60.0),
        ("p99<=250ms", (0.25, 0.2, 0.3), None),
        ("p99<=250ms", (0.2499999, 0.1, 0.4), None),
        ("p99<=250ms", (0.2, 0.1, None), None),
    ],
)
def test_how_much_longer(text: str, interval: tuple[float, float, float], more: float | None) -> None:
    assert found(text, *interval).more == (None if more is None else pytest.approx(more))


def result(text: str, verdict: Verdict) -> ObjectiveResult:
    return ObjectiveResult(objective(text), verdict, Estimate("x", 0.1, 0.09, 0.11, 0.95, 100))


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ((Verdict.PASS, Verdict.PASS), Verdict.PASS),
        ((Verdict.PASS, Verdict.CANNOT_TELL), Verdict.CANNOT_TELL),
        ((Verdict.FAIL, Verdict.CANNOT_TELL), Verdict.FAIL),
    ],
)
def test_all_together(verdicts: tuple[Verdict, Verdict], whole: Verdict) -> None:
    results = [result(text, verdict) for text, verdict in zip(("p99=1s", "p50=1s"), verdicts, strict=True)]
    assert ObjectivesResult.of(results).verdict is whole


@pytest.mark.parametrize(
    ("text", "verdict", "whole"),
    [
        ("p99<=1s", Verdict.PASS, Verdict.CANNOT_TELL),
        ("p99<=1s", Verdict.FAIL, Verdict.CANNOT_TELL),
        ("wrong=0", Verdict.PASS, Verdict.CANNOT_TELL),
        ("wrong=0", Verdict.FAIL, Verdict.FAIL),
    ],
)
def test_an_invalid_run_passes_nothing(text: str, verdict: Verdict, whole: Verdict) -> None:
    found = ObjectivesResult.of([result(text, verdict)], valid=False)
    assert found.verdict is whole
    assert found.note == "the run is INVALID"


def test_the_lines() -> None:
    found = ObjectivesResult.of([result("p99<=1s", Verdict.PASS), result("send-p50<=1s", Verdict.FAIL)])
    assert objective_lines(found) == [
        "objectives: FAIL",
        "  p99<=1000ms       PASS  100 ms [90 … 110 ms]",
        "  send-p50<=1000ms  FAIL  100 ms [90 … 110 ms]",
    ]
    assert found.line() == "FAIL: send-p50<=1000ms: 100 ms [90 … 110 ms]"
