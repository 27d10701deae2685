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
        ("share", -0.0, "0 points"),
        ("s", 0.99999, "0.0 %"),
        ("1/s", 12_340.0, "× 12,340"),
    ],
)
def test_changes(unit: str, value: float, expected: str) -> None:
    metric = Metric("x", "x", unit)
    assert text.change(metric, Estimate("x", value, None, None, 0.95, 10)) == expected


def test_a_change_has_the_same_interval_notation() -> None:
    metric = Metric("x", "x", "s")
    assert text.change_interval(metric, Estimate("x", 1.05, 1.021, 1.084, 0.95, 10)) == "[+2.1 … +8.4 %]"
    assert text.change_interval(metric, Estimate("x", 1.05, 1.021, None, 0.95, 10)) == "[+2.1 % … —]"


def test_tables_align() -> None:
    assert text.table([("a", "1"), ("long", "234")]) == "a       1\nlong  234"
    assert text.table([]) == ""
