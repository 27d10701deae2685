"""The distributions are those of `scipy.stats`, and are there without its import."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from bench.stats import distributions as own

LEVELS = (0.0005, 0.025, 0.5, 0.9, 0.975, 0.9995)


@pytest.mark.parametrize("freedom", [0.5, 1.0, 3.3, 30.0, 1e6, np.inf])
def test_student(freedom: float) -> None:
    for p in LEVELS:
        assert own.student_quantile(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=1e-9, abs=1e-12)
    for value in (0.0, 0.3, 2.0, 40.0):
        assert own.student_tail(value, freedom) == pytest.approx(stats.t.sf(value, freedom), rel=1e-9)


def test_the_others() -> None:
    for p in LEVELS:
        assert own.normal_quantile(p) == pytest.approx(stats.norm.ppf(p))
        for a, b in ((0.5, 3.0), (1e-9, 10.0), (1e4, 1e6)):
            assert own.beta_quantile(p, a, b) == pytest.approx(stats.beta.ppf(p, a, b), rel=1e-9)
    for hits, size in ((0, 5), (3, 20), (7, 7)):
        assert own.binomial_tail(hits, size, 0.05) == pytest.approx(stats.binom.sf(hits, size, 0.05))


def test_a_run_starts_without_the_slow_import() -> None:
    code = "import sys, bench.cli.run, bench.capacity.cli.capacity, bench.gate; sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("events", [1, 3, 19])
def test_the_interval_of_a_count_is_where_so_many_or_so_few_are_as_unlikely(events: int) -> None:
    low, high = own.poisson_bounds(events, 0.95)
    assert stats.poisson.sf(events - 1, low) == pytest.approx(0.025)
    assert stats.poisson.cdf(events, high) == pytest.approx(0.025)
