"""When a run may stop, and what each look may spend."""

import itertools
import re

import pytest

from bench.core.errors import UsageError
from bench.objectives.until import (
    Precision,
    Until,
    confidences,
    look_times,
    measured_seconds,
    parse_until,
    relative_width,
)
from bench.stats.estimate import Estimate


def estimate(center: float | None, lo: float | None, hi: float | None, n: float = 5000) -> Estimate:
    return Estimate("from_due_p99", center, lo, hi, 0.95, n)


@pytest.mark.parametrize("text", ["p99±5%", "p99+-5%", "p99+/-5%", " p99 ± 5% "])
def test_a_precision(text: str) -> None:
    assert parse_until(text) == Until((Precision("p99", 0.05),))
    assert str(parse_until(text)) == "p99±5%"


def test_several_and_decided() -> None:
    assert parse_until("p99±5%,throughput±2%") == Until((Precision("p99", 0.05), Precision("throughput", 0.02)))
    assert parse_until("decided").decided
    assert str(Until()) == "decided"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("p99", "cannot parse 'p99'; write it like p99+-5%"),
        ("decide", "did you mean decided?"),
        ("p99±5", "'5' of p99 has no unit; write it like p99±5%"),
        ("p99±0.01%", "a precision of 0.01% is out of range; give one from 0.1 % to 50 %"),
        ("p99±90%", "out of range"),
        ("p99±5%,p99±6%", "has p99 twice"),
        ("max±5%", "'max' has no relative precision; give one of mean, p50"),
        ("errors±5%", "'errors' has no relative precision"),
        ("p98±5%", "did you mean p9"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        parse_until(text)


@pytest.mark.parametrize(
    ("found", "reached"),
    [
        (estimate(1.0, 0.96, 1.04), True),
        (estimate(1.0, 0.96, 1.06), False),
        (estimate(1.0, 0.94, 1.04), False),
        (estimate(1.0, 0.96, None), False),
        (estimate(None, None, None), False),
        (estimate(1.0, 0.96, 1.04, n=50), False),
    ],
)
def test_both_ends_must_be_near(found: Estimate, reached: bool) -> None:
    assert Precision("p99", 0.05).reached(found) is reached


def test_four_times_as_long_for_half_the_width() -> None:
    found = estimate(1.0, 0.9, 1.1)
    assert relative_width(found) == pytest.approx(0.1)
    assert Precision("p99", 0.05).times(found) == pytest.approx(4.0)


@pytest.mark.parametrize("until", [Until(), Until((Precision("p99", 0.05),))])
def test_looks_grow_and_end_at_the_longest(until: Until) -> None:
    times = look_times(600.0, until)
    assert times[-1] == pytest.approx(600.0)
    assert 12 < times[0] <= 15
    ratios = [after / before for before, after in itertools.pairwise(times)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))


@pytest.mark.parametrize("looks", [1, 2, 18])
def test_all_looks_together_err_as_one(looks: int) -> None:
    levels = confidences(looks, 0.95)
    assert len(levels) == looks
    assert sum(1 - level for level in levels) == pytest.approx(0.05)
    assert levels[-1] == pytest.approx(0.975 if looks > 1 else 0.95)


@pytest.mark.parametrize(
    ("until", "longest", "seconds"), [(None, None, 54.0), (Until(), None, 540.0), (Until(), 90.0, 90.0)]
)
def test_the_longest_run(until: Until | None, longest: float | None, seconds: float) -> None:
    assert measured_seconds(until, longest, 54.0) == seconds


def test_a_longest_run_that_does_not_stop_by_itself_is_refused() -> None:
    with pytest.raises(UsageError, match="--max-duration belongs to a run that stops by itself; give --until too"):
        measured_seconds(None, 90.0, 54.0)
