"""The text of values on a page is that of the reports: `assets/format.js` and Python are held to one table."""

import itertools
import math
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import numpy as np
import pytest

from bench.analysis.metrics import METRICS, Metric
from bench.core.units import format_bytes, format_number, format_percent, format_rate, format_seconds
from bench.report import text
from bench.stats.estimate import Estimate
from tests.support.browser import open_browser

pytestmark = pytest.mark.long(30)

VALUES = [
    *(0.0, 4e-9, 1e-7, 1.5e-6, 0.0003, 0.00049, 0.0009995, 0.00125, 0.0025, 0.125, 0.5, 1.5, 2.5, 0.9997, 0.99999),
    *(0.9999999, 1.0, 9.995, 9.9949, 21.749999999999996, 99.95, 100.5, 119.95, 120.0, 120.5, 121.5, 999.5, 999.7),
    *(1000.0, 1234.0, 1234.4, 1234.5, 1235.5, 7199.5, 7200.0, 7229.0, 12345.0, 99999.5, 400.1e6, 999_700.0),
    *(999_999_999.0, 1e12, 3.2e15, 2e18),
]
SIGNED = [*VALUES, *(-value for value in VALUES), math.inf, -math.inf]
FUNCTIONS: dict[str, Callable[[float, int], str]] = {
    "number": format_number,
    "percent": format_percent,
    "rate": format_rate,
    "seconds": format_seconds,
    "bytes": format_bytes,
}
UNITS = sorted({metric.unit for metric in METRICS.values()})


@pytest.fixture(scope="module")
def evaluate() -> Iterator[Callable[[str, Any], Any]]:
    """Evaluates a function of `format` and an argument."""
    source = resources.files("bench.report").joinpath("assets", "format.js").read_text("utf-8")
    with open_browser() as browser:
        page = browser.new_page()
        yield lambda function, argument: page.evaluate(
            f"(argument) => {{ {source}\nreturn ({function})(argument); }}", argument
        )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numbers_with_any_digits(evaluate: Callable[[str, Any], Any], name: str) -> None:
    drawn = (10.0 ** np.random.default_rng(1).uniform(-8, 13, 3_000)).tolist()
    rows = [*itertools.product(SIGNED, (2, 3, 4, 6, 9)), *((value, 3) for value in drawn)]
    found = evaluate(f"rows => rows.map(([value, digits]) => format.{name}(value, digits))", rows)
    assert found == [FUNCTIONS[name](*row) for row in rows]


def test_metrics_with_their_units_and_intervals(evaluate: Callable[[str, Any], Any]) -> None:
    ends = [None, 0.0, 0.0123, 0.9, 1.5, 200.0, 1234.5]
    rows = [*itertools.product(UNITS, ends, ends)]
    found = evaluate(
        "rows => rows.map(([unit, lo, hi]) => [format.shown(lo, unit), format.interval(lo, hi, unit)])", rows
    )
    metrics = {unit: Metric("x", "x", unit) for unit in UNITS}
    assert found == [
        [text.metric_value(metrics[unit], lo), text.interval(metrics[unit], Estimate("x", 0.5, lo, hi, 0.95, 1))]
        for unit, lo, hi in rows
    ]


def test_changes_with_their_intervals(evaluate: Callable[[str, Any], Any]) -> None:
    ends = [None, 0.0, 0.0003, 0.00034, 0.9, 0.99975, 0.9999, 1.0, 1.00024, 1.00026, 1.05, 9.999, 12.0, 12_340.0]
    rows = [*itertools.product((False, True), ends, ends, ends)]
    rows = [row for row in rows if row[1] is not None]
    found = evaluate("rows => rows.map(([share, center, lo, hi]) => format.change(center, lo, hi, share))", rows)
    for (share, center, lo, hi), texts in zip(rows, found, strict=True):
        metric, estimate = Metric("x", "x", "share" if share else "s"), Estimate("x", center, lo, hi, 0.95, 1)
        assert texts == [text.change(metric, estimate), text.change_interval(metric, estimate)], (share, center, lo, hi)


def test_values_that_differ_read_apart(evaluate: Callable[[str, Any], Any]) -> None:
    pairs = [(4e8, 4.001e8), (4e8, 4e8), (0.01234, 0.012341), (250.01, 250.02), (None, 1.0), (0.5, 0.5000000001)]
    rows = [(unit, *pair) for unit in UNITS for pair in pairs]
    found = evaluate("rows => rows.map(([unit, one, other]) => format.apart(one, other, unit))", rows)
    assert found == [list(text.values_apart(Metric("x", "x", unit), one, other)) for unit, one, other in rows]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("number(1234)", "1,234"),
        ("number(12345)", "12,345"),
        ("rate(1234.4)", "1,234/s"),
        ("percent(0.9997)", "99.97 %"),
        ("bytes(999.7)", "1 kB"),
        ("bytes(999700)", "1 MB"),
        ("shown(250, 'W')", "250 W"),
        ("shown(3.2, 'J')", "3.2 J"),
    ],
)
def test_what_a_page_shows(evaluate: Callable[[str, Any], Any], call: str, expected: str) -> None:
    assert evaluate(f"() => format.{call}", None) == expected
