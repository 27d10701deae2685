"""What every figure for people keeps, whatever the value."""

import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.core.units import (
    format_apart,
    format_bytes,
    format_estimate,
    format_interval,
    format_number,
    format_percent,
    format_rate,
    format_seconds,
    parse_duration,
    times_as_long,
)

SIZES = st.floats(1e-6, 1e14)
ANY = st.floats(allow_nan=True, allow_infinity=True)
FORMATS = (format_bytes, format_number, format_percent, format_rate, format_seconds)


def number(text: str) -> float:
    """The number that a reader takes from a text of one number."""
    return float(re.sub(r"[^\d.-]", "", text))


@given(ANY)
def test_nothing_is_nan_inf_or_minus_zero(value: float) -> None:
    for write in FORMATS:
        text = write(value)
        assert "nan" not in text
        assert "inf" not in text
        assert not re.search(r"-0(?![\d.,])|-0[.,]?0*(?=[^\d.,]|$)", text)


@given(st.floats(-1e12, 1e12))
def test_no_exponents(value: float) -> None:
    for write in FORMATS:
        assert "e" not in write(value)


@given(SIZES)
def test_a_number_is_read_back_to_three_digits(value: float) -> None:
    assert number(format_number(value)) == pytest.approx(value, rel=0.0051)


@given(st.floats(1e-9, 119.4))
def test_times_are_read_back_by_their_unit(seconds: float) -> None:
    text, unit = format_seconds(seconds).split(" ")
    factor = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
    assert number(text) * factor == pytest.approx(seconds, rel=0.0051)
    assert 1 <= number(text) < 1000 or unit == "s"


@given(st.floats(1e-3, 119.4))
def test_short_times_are_durations_that_options_take(seconds: float) -> None:
    assert parse_duration(format_seconds(seconds).replace(" ", "")) == pytest.approx(seconds, rel=0.0051)


@given(st.floats(120, 1e9))
def test_long_times_are_read_back_to_their_last_unit(seconds: float) -> None:
    parts = [int(part.replace(",", "")) for part in re.findall(r"[\d,]+", format_seconds(seconds))]
    unit = 60.0 if "h" in format_seconds(seconds) else 1.0
    assert (parts[0] * 60 + parts[1]) * unit == pytest.approx(seconds, abs=unit / 2 + 1e-6)


@given(SIZES, SIZES)
def test_numbers_keep_their_order(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert number(format_number(low)) <= number(format_number(high))


@given(st.floats(0, 1))
def test_only_all_is_all_and_only_none_is_none(share: float) -> None:
    text = format_percent(share)
    assert (text == "100 %") == (share == 1)
    assert (text == "0 %") == (share == 0)
    assert number(text) == pytest.approx(100 * share, rel=0.0051, abs=1.01e-4)


@given(st.floats(1.0, 1e6))
def test_advice_is_enough_and_helps(factor: float) -> None:
    advised = number(times_as_long(factor))
    assert advised >= max(factor - 1e-8, 1.1)
    assert advised <= max(factor * 1.1 + 0.1, 1.1)


@given(st.floats(1e-6, 100), st.floats(1e-9, 1e-2))
def test_a_value_beyond_its_limit_reads_as_beyond_it(limit: float, more: float) -> None:
    value = limit * (1 + more)
    assume(value > limit)
    over, held = format_apart(value, limit, format_seconds)
    assert over != held or math.isclose(value, limit, rel_tol=1e-8)


@given(st.floats(1e-6, 100), st.floats(0, 1), st.floats(0, 1))
def test_an_interval_names_both_ends(center: float, below: float, above: float) -> None:
    lo, hi = center * (1 - below), center * (1 + above)
    text = format_estimate(center, lo, hi, format_seconds)
    assert text.startswith(format_seconds(center) + " [")
    assert text.endswith(f" … {format_seconds(hi)}]")
    low = text.partition("[")[2].partition(" … ")[0]
    assert format_seconds(lo).startswith(low)
    assert format_interval(None, hi, format_seconds) == f"[— … {format_seconds(hi)}]"
