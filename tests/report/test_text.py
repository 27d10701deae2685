"""Values of metrics as text."""

import pytest

from bench.analysis.metrics import METRICS, Metric
from bench.report import text
from bench.stats.estimate import Estimate


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("from_due_p50", 0.01234, "12.3 ms"),
        ("from_due_p50", None, "—"),
        ("throughput", 48.25, "48.2"),
        ("throughput", 15200.4, "15,200"),
        ("error_share", 0.00213, "0.213 %"),
        ("bytes_out", 17_900, "17.9 kB"),
        ("server_cpu", 1.349, "1.35 cores"),
        ("in_flight", 0.9164, "0.916"),
        ("from_due_p99", 1.25, "1.25 s"),
        ("from_due_p99", 0.99996, "1 s"),
        ("error_share", 0.99996, "99.996 %"),
        ("server_memory", 999_999_999, "1 GB"),
    ],
)
def test_values(name: str, value: float | None, expected: str) -> None:
    assert text.metric_value(METRICS[name], value) == expected


@pytest.mark.parametrize(
    ("lo", "hi", "expected"),
    [(0.01, 0.02, "[10 … 20 ms]"), (0.01, None, "[10 ms … —]"), (None, 0.02, "[— … 20 ms]"), (None, None, "")],
)
def test_intervals(lo: float | None, hi: float | None, expected: str) -> None:
    assert text.interval(METRICS["from_due_p50"], Estimate("x", 0.015, lo, hi, 0.95, 10)) == expected


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("s", 1.052, "+5.2 %"),
        ("s", 0.9, "-10.0 %"),
        ("s", 12.34, "× 12.3"),
        ("share", 0.0031, "+0.31 points"),
        ("share", -0.000123, "-0.012 points"),
        ("s", 0.00034, "-99.97 %"),
        ("share", -0.0, "0.0 points"),
        ("s", 0.99999, "0.0 %"),
        ("1/s", 12_340.0, "× 12,340"),
    ],
)
def test_changes(unit: str, value: float, expected: str) -> None:
    metric = Metric("x", "x", unit)
    assert text.change(metric, Estimate("x", value, None, None, 0.95, 10)) == expected


@pytest.mark.parametrize(
    ("center", "lo", "hi", "expected"),
    [
        (1.00025, 1.00024, 1.00026, "+0.025 % [+0.024 … +0.026 %]"),
        (0.99975, 0.9994, 0.99991, "-0.025 % [-0.060 … -0.0090 %]"),
        (1.00025, 0.999, 1.001, "0.0 % [-0.1 … +0.1 %]"),
        (1.05, 1.0001, 1.1, "+5.0 % [+0.010 … +10.0 %]"),
        (1.00025, 1.00024, None, "+0.025 % [+0.024 % … —]"),
        (0.0003, 0.00025, 0.00035, "-99.97 % [-99.98 … -99.97 %]"),
        (0.0003, None, None, "-99.97 %"),
        (0.00096, None, None, "-99.9 %"),
        (0.0, None, None, "-100.0 %"),
        (1.0, 1.0, 1.0, "0.0 % [0.0 … 0.0 %]"),
        (12.0, 11.0, 13.0, "× 12 [× 11 … × 13]"),
    ],
)
def test_a_change_that_is_there_does_not_read_as_none(
    center: float, lo: float | None, hi: float | None, expected: str
) -> None:
    metric, found = Metric("x", "x", "s"), Estimate("x", center, lo, hi, 0.95, 10)
    assert f"{text.change(metric, found)} {text.change_interval(metric, found)}".rstrip() == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(0.0002, "+0.020 %"), (0.031, "+3.1 %"), (1e-16, "0.0 %"), (0.0, "0.0 %")]
)
def test_the_smallest_change_that_is_seen(size: float, expected: str) -> None:
    assert text.detectable(Metric("x", "x", "s"), size) == expected


@pytest.mark.parametrize(
    ("name", "one", "other", "expected"),
    [
        ("server_memory", 4e8, 4.001e8, ("400 MB", "400.1 MB")),
        ("server_memory", 4e8, 5e8, ("400 MB", "500 MB")),
        ("server_memory", 4e8, 4e8, ("400 MB", "400 MB")),
        ("server_memory", None, 4e8, ("—", "400 MB")),
        ("from_due_p50", 0.01234, 0.012341, ("12.34 ms", "12.341 ms")),
        ("throughput", 48.21, 48.22, ("48.21", "48.22")),
        ("server_gpu_power", 250.01, 250.02, ("250.01 W", "250.02 W")),
    ],
)
def test_values_of_a_change_that_is_there_differ(
    name: str, one: float | None, other: float | None, expected: tuple[str, str]
) -> None:
    assert text.values_apart(METRICS[name], one, other) == expected


def test_a_change_has_the_same_interval_notation() -> None:
    metric = Metric("x", "x", "s")
    assert text.change_interval(metric, Estimate("x", 1.05, 1.021, 1.084, 0.95, 10)) == "[+2.1 … +8.4 %]"
    assert text.change_interval(metric, Estimate("x", 1.05, 1.021, None, 0.95, 10)) == "[+2.1 % … —]"


def test_tables_align() -> None:
    assert text.table([("a", "1"), ("long", "234")]) == "a       1\nlong  234"
    assert text.table([]) == ""
