"""Text to base units and back."""

import pytest

from bench.errors import UsageError
from bench.units import counted, format_bytes, format_seconds, parse_duration, parse_fraction, parse_rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30.0), ("5m", 300.0), ("1m30s", 90.0), ("1h", 3600.0), ("1.5s", 1.5), ("20", 20.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5 apples", "-3s", "0", "nan", "inf", "5s later", "3d"])
def test_bad_durations_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@pytest.mark.parametrize(("text", "rate"), [("50", 50.0), ("50/s", 50.0), ("600/m", 10.0), ("0.5", 0.5)])
def test_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "-1", "0", "5/x", "fast", "1/"])
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
    ],
)
def test_seconds_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(812, "812 B"), (4100, "4.1 kB"), (12_300_000, "12.3 MB"), (5e9, "5 GB")])
def test_bytes_for_people(count: float, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 pairs"), (1, "1 pair"), (7, "7 pairs")])
def test_counts_for_people(count: int, text: str) -> None:
    assert counted(count, "pair") == text
