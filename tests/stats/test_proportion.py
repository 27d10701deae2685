import pytest

from bench.stats.proportion import fisher_greater, proportion_bounds, upper_bound


def test_bounds_of_counts() -> None:
    """The rule of three, and Clopper and Pearson's own table (4 of 10 at 95 %: 0.122 to 0.738)."""
    assert upper_bound(0, 60) == pytest.approx(0.0487, abs=1e-4)
    assert proportion_bounds(4, 10) == pytest.approx((0.1216, 0.7376), abs=1e-4)
    assert proportion_bounds(0, 10)[0] == 0.0
    assert proportion_bounds(10, 10)[1] == 1.0
    assert proportion_bounds(0, 0) == (0.0, 1.0)


def test_impossible_counts() -> None:
    with pytest.raises(ValueError, match="3 of 2 is not a proportion"):
        proportion_bounds(3, 2)


def test_fisher() -> None:
    """The lady tasting tea: 4 of 4 cups right has a chance of 1 in 70."""
    assert fisher_greater(4, 4, 0, 4) == pytest.approx(1 / 70)
    assert fisher_greater(0, 4, 4, 4) == 1.0
    assert fisher_greater(0, 0, 1, 4) == 1.0
