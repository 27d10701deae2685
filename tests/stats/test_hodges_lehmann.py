import numpy as np
import pytest

from bench.stats.hodges_lehmann import hodges_lehmann


def test_estimate_and_interval_of_the_textbook() -> None:
    """Hollander and Wolfe, example 3.1 (depression scores): -0.46; the interval at 96 % is [-0.786, -0.010]."""
    before = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    after = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    found = hodges_lehmann("m", after - before, confidence=0.96)
    assert found.center == pytest.approx(-0.46, abs=0.001)
    assert (found.lo, found.hi) == pytest.approx((-0.786, -0.010), abs=0.001)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        found = hodges_lehmann("m", 1.0 + rng.standard_t(3, 15))
        assert found.lo is not None
        assert found.hi is not None
        hits += found.lo <= 1.0 <= found.hi
    assert hits / 400 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)


def test_too_few_pairs_have_no_ends_and_say_how_many_are_needed() -> None:
    found = hodges_lehmann("m", np.arange(5.0))
    assert (found.center, found.lo, found.hi) == (2.0, None, None)
    assert "6 pairs" in found.warnings[0]
    assert hodges_lehmann("m", np.arange(6.0)).lo is not None


def test_no_pair_is_no_estimate() -> None:
    assert hodges_lehmann("m", np.empty(0)).center is None
