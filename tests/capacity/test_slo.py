"""Objectives from text, and the limits that values violate."""

import re

import pytest

from bench.capacity.plan.slo import Slo
from bench.core.errors import UsageError


def test_an_example() -> None:
    slo = Slo.parse("p99=250ms,errors=0.1%,wrong=0")
    assert slo.latency == {"p99": 0.25}
    assert slo.errors == pytest.approx(0.001)
    assert slo.wrong == 0
    assert str(slo) == "p99=250ms,errors=0.1%,wrong=0"
    assert Slo.parse(str(slo)) == slo


def test_several_limits() -> None:
    slo = Slo.parse(" p50=20ms , p99.9=1s,mean=50ms")
    assert slo.latency == {"p50": 0.02, "p99.9": 1.0, "mean": 0.05}
    assert slo.errors is None


@pytest.mark.parametrize(
    "text", ["", "p99", "p98=1s", "errors=1%", "p99=fast", "p99=-1s", "errors=200%,p99=1s", "p99=1s,p99=2s", "p99=0"]
)
def test_malformed_objectives_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Slo.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("p99=250", "p99 of the objective: '250' is a duration without a unit; write 250ms or 250s"),
        ("p50=0.25", "p50 of the objective: '0.25' is a duration without a unit"),
        ("p99=250ms,mean=20", "mean of the objective: '20' is a duration without a unit"),
        ("p99=250ms,errors=1", "errors of the objective: '1' is a fraction without a unit; write 1%"),
        ("p99=250ms,errors=0.1", "errors of the objective: '0.1' is a fraction without a unit; write 0.1%"),
        ("p999=1s", "did you mean p99"),
        ("p99=1s,error=1%", "did you mean errors?"),
        ("p99=250ms,wrong=0.01", "wrong of the objective: '0.01' is a fraction without a unit"),
        ("p99=250ms,errors=50000", "errors of the objective: a fraction lies between"),
    ],
)
def test_a_missing_unit_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        Slo.parse(text)


def test_0_needs_no_unit() -> None:
    slo = Slo.parse("p99=250ms,errors=0,wrong=0.0")
    assert (slo.errors, slo.wrong) == (0.0, 0.0)


def test_violated_limits() -> None:
    slo = Slo.parse("p99=250ms,errors=0.1%,wrong=0")
    assert slo.broken({"p99": 0.2, "p50": 9.0}, 0.0, 0.0) == ()
    assert slo.broken({"p99": None}, 0.001, None) == ()
    assert len(slo.broken({"p99": 0.3}, 0.01, 0.0001)) == 3
    assert slo.broken({"p99": 0.26}, 0.0, 0.0, tolerance=0.05) == ()


@pytest.mark.parametrize(
    ("limit", "value", "text"),
    [
        ("p99=1s", 1.25, "p99 1.25 s over 1 s"),
        ("p99=250ms", 0.2500001, "p99 250.0001 ms over 250 ms"),
        ("p50=2m", 200.0, "p50 3 m 20 s over 2 m 00 s"),
    ],
)
def test_violated_limits_have_plain_numbers(limit: str, value: float, text: str) -> None:
    slo = Slo.parse(limit)
    assert slo.broken({next(iter(slo.latency)): value}, 0.0, 0.0) == (text,)


def test_fractions_just_over_their_limit_read_differently() -> None:
    assert Slo.parse("p99=1s,errors=1%").broken({}, 0.010001, 0.0) == ("errors 1.0001 % over 1 %",)


def test_the_text_of_an_objective_has_all_digits() -> None:
    slo = Slo.parse("p99=1234.567ms,p50=1h")
    assert Slo.parse(str(slo)) == slo
