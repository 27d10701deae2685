import pytest
from scipy import stats

from bench.stats.proportion import difference_bounds, excess_bound, fisher_greater, proportion_bounds, upper_bound


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


@pytest.mark.parametrize("error", [0.05, 0.2])
def test_the_bound_of_a_difference_is_too_low_as_seldom_as_stated(error: float) -> None:
    """Over all outcomes of two samples, for proportions from rare to common."""
    size, other_size = 30, 20
    bounds = [[excess_bound(k, size, m, other_size, error) for m in range(other_size + 1)] for k in range(size + 1)]
    for other in (0.0, 0.02, 0.3, 0.9):
        for excess in (-0.2, 0.0, 0.05, 0.1):
            if not 0 <= other + excess <= 1:
                continue
            chance = sum(
                stats.binom.pmf(k, size, other + excess) * stats.binom.pmf(m, other_size, other)
                for k in range(size + 1)
                for m in range(other_size + 1)
                if bounds[k][m] < excess
            )
            assert chance <= error, (other, excess)


def test_bounds_of_a_difference() -> None:
    """Without a hit: the rule of three with nine tenths of the error rate, and the same to both sides."""
    assert excess_bound(0, 460, 0, 460, 0.05) == pytest.approx(1 - 0.045 ** (1 / 460))
    assert difference_bounds(0, 460, 0, 460) == pytest.approx((0.0225 ** (1 / 460) - 1, 1 - 0.0225 ** (1 / 460)))
    low, high = difference_bounds(80, 100, 10, 100)
    assert 0 < low < 0.7 < high
    assert difference_bounds(10, 100, 80, 100) == pytest.approx((-high, -low))
    # Without data anything may be.
    assert excess_bound(0, 0, 0, 0, 0.05) == 1.0
    assert difference_bounds(0, 0, 5, 10)[1] <= 1.0
