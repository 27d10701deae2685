"""Objectives from text."""

import re

import pytest

from bench.analysis.metrics import METRICS
from bench.capacity.queue.latency_table import COLUMNS
from bench.core.errors import UsageError
from bench.objectives.grammar import EXAMPLE, QUANTITIES, Objective, parse_objectives


def test_an_example() -> None:
    found = parse_objectives(EXAMPLE)
    assert found == (
        Objective("p99", 0.25),
        Objective("errors", 0.001),
        Objective("wrong", 0.0),
        Objective("throughput", 50.0),
    )
    assert ",".join(map(str, found)) == EXAMPLE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p99=250ms", Objective("p99", 0.25)),
        ("p99<=250ms", Objective("p99", 0.25)),
        ("p99≤250ms", Objective("p99", 0.25)),
        (" send-p99.9 <= 1s ", Objective("send-p99.9", 1.0)),
        ("mean<=20ms", Objective("mean", 0.02)),
        ("max<=2s", Objective("max", 2.0)),
        ("errors<=0.1%", Objective("errors", 0.001)),
        ("errors=0", Objective("errors", 0.0)),
        ("throughput≥600/m", Objective("throughput", 10.0)),
        ("words>=1000", Objective("words", 1000.0)),
        ("sentences>=2.5/s", Objective("sentences", 2.5)),
    ],
)
def test_each_form(text: str, expected: Objective) -> None:
    assert parse_objectives(text) == (expected,)
    assert parse_objectives(str(expected)) == (expected,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot parse ''; write it like"),
        ("p99", "cannot parse 'p99'"),
        ("p99<250ms", "cannot parse 'p99<250ms'"),
        ("p99=250ms,p99=300ms", "p99 is there twice"),
        ("p98=1s", "'p98' is not a limit of an objective; the limits are mean, p50"),
        ("latency=1s", "'latency' is not a limit"),
        ("thruput>=5/s", "did you mean throughput?"),
        ("p99=250", "p99 of the objective: '250' is a duration without a unit; write 250ms or 250s"),
        ("errors<=0.1", "errors of the objective: '0.1' is a fraction without a unit; write 0.1%"),
        ("throughput>=fast", "throughput of the objective: 'fast' is not a rate"),
        ("p99>=250ms", "p99 takes an upper limit; write p99<=250ms"),
        ("errors>=1%", "errors takes an upper limit; write errors<=1%"),
        ("throughput<=50/s", "throughput takes a lower limit; write throughput>=50/s"),
        ("throughput=50/s", "throughput takes a lower limit; write throughput>=50/s"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        parse_objectives(text)


@pytest.mark.parametrize(
    ("text", "counted"),
    [("wrong=0", True), ("errors=0%", True), ("max<=1s", True), ("errors<=1%", False), ("p99<=1s", False)],
)
def test_what_the_requests_themselves_decide(text: str, counted: bool) -> None:
    assert parse_objectives(text)[0].counted is counted


def test_every_quantity_is_a_metric_of_that_direction() -> None:
    for quantity in QUANTITIES.values():
        assert METRICS[quantity.metric].better == ("lower" if quantity.at_most else "higher")


def test_capacity_knows_the_same_latencies() -> None:
    assert set(COLUMNS) <= QUANTITIES.keys()
