"""Tails beyond the largest value of a sample."""

import numpy as np
import pytest

from bench.capacity.model.tail import SIZE, excess, pareto, with_tail


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_parameters_are_found_again(shape: float) -> None:
    values = np.sort(excess(np.random.default_rng(1).random(20_000), shape, 2.0))
    found_shape, found_scale = pareto(values)
    assert found_shape == pytest.approx(shape, abs=0.05)
    assert found_scale == pytest.approx(2.0, rel=0.05)


def test_a_heavy_sample_gets_values_beyond_its_largest() -> None:
    rng = np.random.default_rng(2)
    ordered = np.sort(rng.lognormal(0, 1.1, 1000))
    found = with_tail(ordered)
    assert found.size == SIZE
    assert found[-1] > ordered[-1]
    assert np.all(np.diff(found) >= 0)
    np.testing.assert_allclose(np.median(found), np.median(ordered), rtol=0.01)


def test_second_moments_scatter_less_than_those_of_samples() -> None:
    rng = np.random.default_rng(3)
    samples = [np.sort(rng.lognormal(0, 1.1, 2000)) for _ in range(100)]
    plain = [np.mean(sample**2) for sample in samples]
    tailed = [np.mean(with_tail(sample) ** 2) for sample in samples]
    assert np.std(tailed) < np.std(plain)
    assert np.median(tailed) == pytest.approx(np.exp(2 * 1.1**2), rel=0.1)


def test_few_values_and_equal_values_are_not_changed() -> None:
    few = np.array([1.0, 2.0, 3.0])
    assert set(with_tail(few)) == {1.0, 2.0, 3.0}
    assert set(with_tail(np.ones(5000))) == {1.0}
