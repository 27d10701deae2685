"""Text to base units and back."""

import math

import pytest

from bench.core.errors import UsageError
from bench.core.units import (
    format_apart,
    format_bytes,
    format_change,
    format_estimate,
    format_interval,
    format_number,
    format_percent,
    format_rate,
    format_seconds,
    parse_bytes,
    parse_duration,
    parse_duration_or_zero,
    parse_fraction,
    parse_number,
    parse_rate,
    parse_whole,
    pluralize,
    times_as_long,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30.0), ("5m", 300.0), ("1m30s", 90.0), ("1h", 3600.0), ("1.5s", 1.5), ("1e-05s", 1e-5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "5 apples", "-3s", "0", "0s", "nan", "inf", "5s later", "3d", "1e99s", "9000h", "250s250"]
)
def test_bad_durations_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@pytest.mark.parametrize("number", ["250", "0.25", "1e3", ".5", "30 "])
def test_a_duration_without_a_unit_is_refused_and_the_units_are_named(number: str) -> None:
    with pytest.raises(UsageError, match=f"write {number.strip()}ms or {number.strip()}s"):
        parse_duration(number)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0.0), ("0s", 0.0), ("0.0ms", 0.0), ("100ms", 0.1), (" 0 ", 0.0), ("00m", 0.0)]
)
def test_durations_that_may_be_none_at_all(text: str, seconds: float) -> None:
    assert parse_duration_or_zero(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "", "-0", "s", "0d"])
def test_what_is_neither_a_duration_nor_zero(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration_or_zero(text)


@pytest.mark.parametrize("text", ["", "x", "1.0", "nan", "inf", "1e99", "1_000", "٣", "-1", "11", "0x5", "9" * 400])
def test_whole_numbers_of_a_range(text: str) -> None:
    assert [parse_whole(good, 0, 10) for good in ("0", "10", " 7 ")] == [0, 10, 7]
    with pytest.raises(UsageError, match="from 0 to 10"):
        parse_whole(text, 0, 10)


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-inf", "1e99", "0", "-0.1", "2.5", "1_0"])
def test_numbers_of_a_range(text: str) -> None:
    assert [parse_number(good, 0, 2, open_least=True) for good in ("1e-3", "2")] == [0.001, 2.0]
    with pytest.raises(UsageError, match="above 0 and up to 2"):
        parse_number(text, 0, 2, open_least=True)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8MB", 8_000_000), ("1.5 kb", 1500), ("1GB", 10**9), ("8MiB", 8 << 20), ("1TB", 10**12), (" 2kib ", 2048)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "8", "8M", "MB", "-1MB", "0MB", "1e3kB", "2TB", "8 MB please", "8mb/s"])
def test_bad_sizes_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError, match="size"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "rate"), [("50", 50.0), ("50/s", 50.0), ("600/m", 10.0), ("0.5", 0.5)])
def test_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "-1", "0", "5/x", "fast", "1/", "nan", "inf", "1e999", "5/s/s", "50ms", "5_0"])
def test_bad_rates_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rate(text)


@pytest.mark.parametrize(("text", "fraction"), [("2%", 0.02), ("0.02", 0.02), ("0", 0.0), ("100%", 1.0)])
def test_fractions(text: str, fraction: float) -> None:
    assert parse_fraction(text) == pytest.approx(fraction)


@pytest.mark.parametrize("text", ["", "2", "-1%", "101%", "some", "nan"])
def test_bad_fractions_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError):
        parse_fraction(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00087, "870 µs"),
        (0.0123, "12.3 ms"),
        (4.56, "4.56 s"),
        (200, "3 m 20 s"),
        (7380, "2 h 03 m"),
        (-0.5, "-500 ms"),
        (0, "0 s"),
        (-0.0, "0 s"),
        (1.25, "1.25 s"),
        (0.9999, "1 s"),
        (0.0009996, "1 ms"),
        (119.97, "2 m 00 s"),
        (7199.7, "2 h 00 m"),
        (3e-10, "0.3 ns"),
        (1e9, "277,777 h 47 m"),
        (float("nan"), "—"),
        (float("inf"), "∞ s"),
    ],
)
def test_seconds_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (812, "812 B"),
        (4100, "4.1 kB"),
        (12_300_000, "12.3 MB"),
        (5e9, "5 GB"),
        (0, "0 B"),
        (999.6, "1 kB"),
        (999_999, "1 MB"),
        (3e13, "30 TB"),
        (-2500, "-2.5 kB"),
        (float("nan"), "—"),
    ],
)
def test_bytes_for_people(count: float, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 pairs"), (1, "1 pair"), (7, "7 pairs"), (1250, "1,250 pairs")])
def test_counts_for_people(count: int, text: str) -> None:
    assert pluralize(count, "pair") == text


def test_counts_with_a_plural_of_their_own() -> None:
    assert [pluralize(count, "query", "queries") for count in (1, 2)] == ["1 query", "2 queries"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1250, "1,250"),
        (999.7, "1,000"),
        (48.25, "48.2"),
        (0, "0"),
        (-0.0, "0"),
        (-1e-320, ">-0.000001"),
        (0.00001, "0.00001"),
        (1e-7, "<0.000001"),
        (0.1 + 0.2, "0.3"),
        (21.75, "21.8"),
        (21.749999999999996, "21.8"),
        (1e20, "1.00e+20"),
        (float("nan"), "—"),
        (float("-inf"), "-∞"),
    ],
)
def test_numbers_for_people(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.9999, "99.99 %"),
        (0.99996, "99.996 %"),
        (0.999999999, ">99.9999 %"),
        (1e-9, "<0.0001 %"),
        (0.00213, "0.213 %"),
        (1 / 3, "33.3 %"),
        (1.37, "137 %"),
        (-0.25, "-25 %"),
        (float("nan"), "—"),
    ],
)
def test_shares_for_people(share: float, text: str) -> None:
    assert format_percent(share) == text


@pytest.mark.parametrize(("rate", "text"), [(48.25, "48.2/s"), (15200.4, "15,200/s"), (0, "0/s")])
def test_rates_for_people(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("value", "least", "text"),
    [
        *((5.16, 0.0, "+5.2"), (-10, 0.0, "-10.0"), (1234.56, 0.0, "+1,234.6"), (0, 0.0, "0.0"), (1e-9, 0.0, "0.0")),
        *((-0.01, 0.0, "-0.010"), (0.0249, 0.0, "+0.025"), (0.996, 0.0, "+1.0"), (0.0996, 0.0, "+0.10")),
        *((-0.01, 0.05, "0.0"), (0.04, math.inf, "0.0"), (0.31, 0.25, "+0.31"), (0.25, 0.25, "+0.2")),
    ],
)
def test_changes_for_people(value: float, least: float, text: str) -> None:
    assert format_change(value, least) == text


@pytest.mark.parametrize(
    ("lo", "hi", "text"),
    [
        (0.00709, 0.00822, "[7.09 … 8.22 ms]"),
        (0.00085, 0.00102, "[850 µs … 1.02 ms]"),
        (200, 230, "[3 m 20 s … 3 m 50 s]"),
        (0.01, None, "[10 ms … —]"),
        (None, 0.01, "[— … 10 ms]"),
        (None, None, ""),
    ],
)
def test_intervals_of_seconds(lo: float | None, hi: float | None, text: str) -> None:
    assert format_interval(lo, hi, format_seconds) == text


def test_intervals_of_other_figures() -> None:
    assert format_interval(171, 1190, format_rate) == "[171 … 1,190/s]"
    assert format_interval(0.01, 0.02, format_percent) == "[1 … 2 %]"
    assert format_interval(0.1, 0.2, format_number) == "[0.1 … 0.2]"


def test_estimates() -> None:
    assert format_estimate(0.00767, 0.00709, 0.00822, format_seconds) == "7.67 ms [7.09 … 8.22 ms]"
    assert format_estimate(0.00767, 0.00709, None, format_seconds) == "7.67 ms [7.09 ms … —]"
    assert format_estimate(0.00767, None, None, format_seconds) == "7.67 ms"
    assert format_estimate(None, None, None, format_seconds) == "—"


@pytest.mark.parametrize(
    ("value", "limit", "texts"),
    [
        (0.005003, 0.005, ("5.003 ms", "5 ms")),
        (0.006, 0.005, ("6 ms", "5 ms")),
        (0.005, 0.005, ("5 ms", "5 ms")),
        (0.00500000001, 0.005, ("5.00000001 ms", "5 ms")),
    ],
)
def test_a_value_over_its_limit_does_not_read_as_the_limit(value: float, limit: float, texts: tuple[str, str]) -> None:
    assert format_apart(value, limit, format_seconds) == texts


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (1.0001, "1.1 times as long"),
        (1.11, "1.2 times as long"),
        (1.2, "1.2 times as long"),
        (9.97, "10 times as long"),
        (10.01, "11 times as long"),
        (1234.2, "1,235 times as long"),
    ],
)
def test_advice_is_rounded_up(factor: float, text: str) -> None:
    assert times_as_long(factor) == text
