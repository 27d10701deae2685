"""The rule that stops a run, with looks whose findings are given."""

import pytest

from bench.objectives.grammar import parse_objectives
from bench.objectives.stopping import Look, StoppingRule
from bench.objectives.until import Until, look_times, parse_until
from bench.objectives.verdicts import ObjectiveResult, Verdict
from bench.stats.estimate import Estimate

LONGEST = 400.0


def precise(width: float, n: float = 5000.0) -> Estimate:
    return Estimate("from_due_p99", 0.1, 0.1 * (1 - width), 0.1 * (1 + width), 0.95, n)


def result(text: str, verdict: Verdict, n: float = 5000.0) -> ObjectiveResult:
    return ObjectiveResult(parse_objectives(text)[0], verdict, Estimate("x", 0.1, 0.09, 0.11, 0.99, n))


def test_a_run_stops_at_the_first_look_that_is_narrow_enough() -> None:
    rule = StoppingRule(parse_until("p99±5%"), (), LONGEST)
    lines = []
    for width in (0.4, 0.2, 0.049):
        assert rule.next_time is not None
        assert rule.confidence == 0.95
        lines.append(rule.take(Look(rule.next_time, estimates=(precise(width),))))
    assert rule.next_time is None
    assert rule.reason == "p99 is known to ±4.9 %, after 3 looks"
    assert lines[0].startswith("p99 100 ms ±40 %, about ")
    assert lines[2] == "p99 100 ms ±4.9 %"


def test_the_prediction_grows_with_the_square() -> None:
    rule = StoppingRule(parse_until("p99±5%"), (), LONGEST)
    assert rule.take(Look(20.0, estimates=(precise(0.1),))) == "p99 100 ms ±10 %, about 60 s more for ±5 %"
    beyond = rule.take(Look(20.0, estimates=(precise(0.5),)))
    assert beyond.endswith("more for ±5 %, longer than the 6 m 20 s that are left")


def test_a_width_of_few_values_stops_nothing() -> None:
    rule = StoppingRule(parse_until("p99±5%"), (), LONGEST)
    line = rule.take(Look(20.0, estimates=(precise(0.01, n=40.0),)))
    assert not rule.reason
    # Five times as many values are needed.
    assert line == "p99 100 ms ±1 %, about 80 s more for the 200 effective values that a stop needs"


def test_the_end_of_the_run_is_no_look() -> None:
    until = Until()
    rule = StoppingRule(until, parse_objectives("p99<=1s"), LONGEST)
    seen = []
    while (moment := rule.next_time) is not None:
        seen.append(moment)
        rule.take(Look(moment, (result("p99<=1s", Verdict.CANNOT_TELL),)))
    assert tuple(seen) == look_times(LONGEST, until)[:-1]
    assert not rule.reason
    assert rule.confidence == rule.final_confidence == 0.975


def test_looks_that_have_passed_are_left_out_and_what_they_could_spend_with_them() -> None:
    rule = StoppingRule(Until(), parse_objectives("p99<=1s"), LONGEST)
    rule.skip(100.0)
    assert rule.next_time is not None
    assert rule.next_time > 100.0
    assert rule.looks == 0
    rule.skip(10 * LONGEST)
    assert rule.next_time is None
    assert rule.confidence == 0.975


def test_what_is_decided_stays_so_and_the_last_decision_stops_the_run() -> None:
    objectives = parse_objectives("p99<=1s,throughput>=5/s,wrong=0")
    rule = StoppingRule(Until(), objectives, LONGEST)
    undecided = result("wrong=0", Verdict.CANNOT_TELL)
    first = (result("p99<=1s", Verdict.PASS), result("throughput>=5/s", Verdict.CANNOT_TELL), undecided)
    assert rule.take(Look(20.0, first)).startswith(
        "p99<=1000ms PASS, 100 ms [90 … 110 ms]; throughput>=5/s CANNOT TELL"
    )
    assert rule.open_objectives == objectives[1:]
    second = (result("p99<=1s", Verdict.FAIL), result("throughput>=5/s", Verdict.PASS), undecided)
    rule.take(Look(25.0, second))
    assert rule.reason == "every objective is decided, after 2 looks"
    assert [(entry.objective.name, entry.verdict, entry.look) for entry in rule.decided] == [
        ("p99", Verdict.PASS, 1),
        ("throughput", Verdict.PASS, 2),
    ]


@pytest.mark.parametrize(("n", "decided"), [(5000.0, 1), (40.0, 0)])
def test_few_values_decide_nothing_early(n: float, decided: int) -> None:
    rule = StoppingRule(Until(), parse_objectives("p99<=1s,p50<=1s"), LONGEST)
    rule.take(Look(20.0, (result("p99<=1s", Verdict.FAIL, n),)))
    assert len(rule.decided) == decided
