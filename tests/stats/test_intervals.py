"""Percentiles and means with intervals: tables for what is exact, simulation for what is stated of coverage."""

import math
import re

import numpy as np
import pytest

from bench.stats.correlation import few_times_warning, mean_error, mean_interval
from bench.stats.estimate import Estimate
from bench.stats.percentile_intervals import percentile_interval, percentile_intervals
from bench.stats.percentiles import nearest_rank, needed
from tests.support.simulated_queues import single_server


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3, 1, 2], 0.5, 2),
        ([1, 2, 3, 4], 0.5, 2),
        ([1, 2, 3, 4], 0.51, 3),
        (range(1, 101), 0.99, 99),
        (range(1, 101), 0.991, 100),
        (range(1, 1001), 0.95, 950),
        ([7], 0.99, 7),
        ([1, 2], 0.0, 1),
        ([1, 2], 1.0, 2),
    ],
)
def test_nearest_rank(values: list[int], share: float, expected: float) -> None:
    assert nearest_rank(np.array(values, np.float64), [share]) == [expected]


def test_no_value_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        nearest_rank(np.empty(0), [0.5])


@pytest.mark.parametrize(("share", "count"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688), (0.01, 368)])
def test_the_floor_is_the_least_number_that_can_bound_the_percentile(share: float, count: int) -> None:
    assert needed(share) == count
    assert max(share, 1 - share) ** count <= 0.025 < max(share, 1 - share) ** (count - 1)


def test_below_the_floor_a_percentile_is_absent_and_says_what_it_needs() -> None:
    found = percentile_interval("p99", np.arange(367.0), 0.99)
    assert found.center is found.lo is found.hi is None
    assert found.warnings == ("p99 needs 368 requests, the run has 367",)
    nothing = percentile_interval("p50", np.empty(0), 0.5)
    assert nothing.center is None


def test_enough_requests_that_are_worth_too_few_have_no_upper_end() -> None:
    values = single_server(np.random.default_rng(1), 0.9, 3000)
    found = percentile_interval("p99", values, 0.99)
    assert found.center == np.sort(values)[2969]
    assert found.lo is not None
    assert found.lo < found.center
    assert found.hi is None
    assert found.n < 368
    assert "an upper end needs 368" in found.warnings[0]
    assert "times as long" in found.warnings[0]


@pytest.mark.parametrize("seed", range(8))
def test_the_advised_length_is_enough_by_the_same_rule(seed: int) -> None:
    found = percentile_interval("p99", single_server(np.random.default_rng(seed), 0.5, 900), 0.99)
    if found.hi is not None:
        return
    worth, factor = re.fullmatch(
        r"the p99 of 900 requests \(effective number: (\d+)\); an upper end needs 368: "
        r"run ([\d.,]+) times as long, or repeat",
        found.warnings[0],
    ).groups()
    assert int(worth) < 368
    assert float(factor.replace(",", "")) * found.n >= 368
    assert float(factor.replace(",", "")) > 1


@pytest.mark.parametrize("times", [49.99, 49.0, 25.001, 3.3, 1.0])
def test_a_series_that_is_short_by_a_hair_is_advised_something_that_helps(times: float) -> None:
    said, factor = re.match(
        r"the run is only ([\d.]+) correlation times long .* run ([\d.]+) times as long", few_times_warning(times)
    ).groups()
    assert float(said) < 50
    assert float(factor) * times >= 50
    assert float(factor) > 1


@pytest.mark.parametrize("value", [0.0, 0.1, 0.25, 1 / 3, 7.3])
@pytest.mark.parametrize("count", [2, 3, 20, 1000, 40_000])
def test_equal_values_have_a_mean_without_a_doubt(value: float, count: int) -> None:
    """As the counts of constant arrivals may be: a mean that is off by rounding was no correlation."""
    found = mean_interval("throughput", np.full(count, value))
    assert found.lo == found.hi == found.center == pytest.approx(value, rel=1e-14)
    assert (found.n, found.warnings) == (count, ())


def test_equal_values_are_their_own_percentile() -> None:
    found = percentile_interval("p95", np.full(1000, 0.25), 0.95)
    assert (found.lo, found.center, found.hi, found.n) == (0.25, 0.25, 0.25, 1000)


@pytest.mark.parametrize("load", [0.0, 0.7])
def test_intervals_cover_the_truth_about_as_often_as_they_say(load: float) -> None:
    """Nominal 95 %; 120 runs, so 86 % is more than four standard errors below."""
    rng = np.random.default_rng(11)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    hits: dict[str, list[bool]] = {name: [] for name in (*shares, "mean")}
    for _ in range(120):
        values = single_server(rng, load, 16_000) if load else rng.exponential(1.0, 16_000)
        for found in percentile_intervals(list(shares), values, list(shares.values())):
            truth = -math.log(1 - shares[found.metric]) / (1 - load)
            if found.lo is not None and found.hi is not None:
                hits[found.metric].append(found.lo <= truth <= found.hi)
        mean = mean_interval("mean", values)
        assert mean.lo is not None
        assert mean.hi is not None
        hits["mean"].append(mean.lo <= 1 / (1 - load) <= mean.hi)
    for name, covered in hits.items():
        assert len(covered) >= 90, name
        assert np.mean(covered) >= 0.86, name


def test_independent_intervals_would_not_cover() -> None:
    """The reason for all this: as if independent, the interval of the mean of a queue at 90 % load misses mostly."""
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(100):
        values = single_server(rng, 0.9, 16_000)
        hits.append(abs(values.mean() - 10) <= 1.96 * values.std() / math.sqrt(values.size))
    assert np.mean(hits) < 0.4


def test_effective_size_of_independent_and_correlated_values() -> None:
    rng = np.random.default_rng(3)
    white = rng.normal(size=50_000)
    assert mean_error(white).n == pytest.approx(50_000, rel=0.1)
    # First-order autoregression with coefficient 0.9: one value in (1 + 0.9) / (1 - 0.9) = 19 counts.
    noise, series = rng.normal(size=50_000), np.empty(50_000)
    series[0] = 0.0
    for index in range(1, series.size):
        series[index] = 0.9 * series[index - 1] + noise[index]
    assert mean_error(series).n == pytest.approx(50_000 / 19, rel=0.2)


def test_the_size_known_from_the_literature_at_90_percent_load() -> None:
    """24,576 requests at 90 % load are worth about 150."""
    rng = np.random.default_rng(7)
    sizes = [mean_error(single_server(rng, 0.9, 24_576)).n for _ in range(40)]
    assert 75 <= np.median(sizes) <= 300


def test_a_short_run_is_marked() -> None:
    found = mean_interval("mean", np.sin(np.linspace(0, 7, 500)))
    assert "correlation times long" in found.warnings[0]


def test_means_of_few_values() -> None:
    assert mean_interval("m", np.empty(0)).center is None
    one = mean_interval("m", np.array([2.0]))
    assert (one.center, one.lo, one.hi) == (2.0, None, None)
    with pytest.raises(ValueError, match="not finite"):
        mean_error(np.array([1.0, math.nan]))


def test_a_summary_holds_no_number_where_there_is_none() -> None:
    with pytest.raises(ValueError, match="without an estimate"):
        Estimate("x", None, 1.0, 2.0, 0.95, 1)
    with pytest.raises(ValueError, match="NaN"):
        Estimate("x", math.nan, None, None, 0.95, 1)
