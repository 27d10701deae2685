"""Repeats, shifts, Little's law and the test of fit."""

import math

import numpy as np
import pytest

from bench.stats.between_runs import change_between_runs, mean_of_runs
from bench.stats.littles_law import little_residual
from bench.stats.poisson_gaps import exponential_gaps
from bench.stats.stationarity import level_shift
from tests.support.simulated_queues import single_server


def test_mean_of_runs_by_hand() -> None:
    """Student's t for 2 degrees of freedom at 95 % is 4.3027."""
    found = mean_of_runs("p50", [1.0, 2.0, 3.0], log=False)
    half = 4.3027 * 1.0 / math.sqrt(3)
    assert found.center == 2.0
    assert (found.lo, found.hi) == (pytest.approx(2 - half, abs=1e-3), pytest.approx(2 + half, abs=1e-3))  # type: ignore[comparison-overlap]
    geometric = mean_of_runs("p50", [1.0, 4.0, 16.0])
    assert geometric.center == pytest.approx(4.0)
    assert geometric.lo is not None
    assert geometric.hi is not None
    assert geometric.lo * geometric.hi == pytest.approx(16.0)


def test_zeros_take_the_plain_mean_and_one_run_has_no_interval() -> None:
    assert mean_of_runs("errors", [0.0, 0.2]).center == pytest.approx(0.1)
    one = mean_of_runs("p50", [3.0])
    assert (one.center, one.lo, one.hi) == (pytest.approx(3.0), None, None)  # type: ignore[comparison-overlap]
    assert "repeat" in one.warnings[0]
    assert mean_of_runs("p50", []).center is None


def test_equal_sides_are_called_different_as_rarely_as_stated() -> None:
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(1000):
        before, after = (np.exp(rng.normal(0, 0.05, 5)) for _ in range(2))
        found = change_between_runs("p50", before.tolist(), after.tolist())
        assert found.lo is not None
        assert found.hi is not None
        alarms += not found.lo <= 1 <= found.hi
    assert 25 <= alarms <= 75


def test_a_change_is_found_with_its_size() -> None:
    rng = np.random.default_rng(2)
    found = change_between_runs(
        "p50", np.exp(rng.normal(0, 0.02, 6)).tolist(), (1.2 * np.exp(rng.normal(0, 0.02, 6))).tolist()
    )
    assert found.center == pytest.approx(1.2, rel=0.05)
    assert found.lo is not None
    assert 1.1 < found.lo < 1.2
    difference = change_between_runs("errors", [0.0, 0.0, 0.0], [0.1, 0.1, 0.1], log=False)
    assert [difference.lo, difference.center, difference.hi] == pytest.approx([0.1] * 3)


def test_one_run_a_side_is_no_change() -> None:
    assert change_between_runs("p50", [1.0], [2.0, 2.0]).center is None
    with pytest.raises(ValueError, match="above 0"):
        change_between_runs("p50", [0.0, 1.0], [2.0, 2.0])


def test_a_level_shift_is_seen_and_a_steady_queue_is_not_called_shifting() -> None:
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(200):
        found = level_shift(np.log(single_server(rng, 0.7, 4000)))
        assert found is not None
        alarms += found.p < 0.001
    assert alarms <= 5
    drifting = np.log(single_server(rng, 0.3, 4000)) + np.linspace(0, 0.6, 4000)
    found = level_shift(drifting)
    assert found is not None
    assert found.p < 0.001
    assert found.late - found.early == pytest.approx(0.3, abs=0.15)


def test_a_warm_up_shows_in_the_head() -> None:
    rng = np.random.default_rng(4)
    series = rng.normal(0, 0.2, 3000)
    series[:500] += 0.5
    found = level_shift(series, head=0.2)
    assert found is not None
    assert found.p < 0.001
    assert found.early > found.late


@pytest.mark.parametrize("size", [0, 10])
def test_too_short_to_tell(size: int) -> None:
    assert level_shift(np.zeros(size)) is None


def test_equal_values_do_not_shift() -> None:
    found = level_shift(np.ones(100))
    assert found is not None
    assert found.p == 1.0


@pytest.mark.parametrize(
    ("in_flight", "rate", "time", "expected"),
    [(10.0, 100.0, 0.1, 0.0), (10.0, 100.0, 0.08, 0.2), (4.0, 100.0, 0.05, -0.25), (0.0, 0.0, 0.0, None)],
)
def test_littles_law(in_flight: float, rate: float, time: float, expected: float | None) -> None:
    assert little_residual(in_flight, rate, time) == (None if expected is None else pytest.approx(expected))


def test_gaps_of_a_poisson_process_and_of_a_metronome() -> None:
    rng = np.random.default_rng(1)
    assert exponential_gaps(np.cumsum(rng.exponential(0.02, 3000)), 50.0).p > 0.001
    assert exponential_gaps(np.arange(3000) * 0.02, 50.0).p < 1e-9
