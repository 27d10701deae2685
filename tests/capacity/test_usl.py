"""The Universal Scalability Law: recovered parameters, and data that deviate from it."""

import numpy as np
import pytest

from bench.capacity.model.usl import fit_usl, usl

USERS = (1, 2, 4, 8, 16, 32)


def test_parameters_lie_in_their_intervals() -> None:
    rng = np.random.default_rng(1)
    truth = usl(np.array(USERS, float), 100.0, 0.05, 0.002)
    inside = 0
    for seed in range(10):
        fit = fit_usl(USERS, truth * np.exp(0.02 * rng.standard_normal(len(USERS))), [0.02] * len(USERS), seed)
        assert fit is not None
        assert fit.misfit < 0.1
        for summary, value in ((fit.single, 100.0), (fit.contention, 0.05), (fit.coherency, 0.002)):
            assert summary.lo is not None
            assert summary.hi is not None
            inside += summary.lo <= value <= summary.hi
    assert inside >= 22  # of 30 at 90 %; fewer than 22 by chance once in 400


def test_the_peak_is_where_the_law_has_it() -> None:
    fit = fit_usl(USERS, usl(np.array(USERS, float), 100.0, 0.05, 0.002), [0.001] * len(USERS))  # type: ignore[arg-type]
    assert fit is not None
    assert fit.peak_users.center == pytest.approx((0.95 / 0.002) ** 0.5, rel=0.01)


def test_a_server_that_deviates_from_the_law_gives_a_warning() -> None:
    """Four servers without contention: a straight line, then flat."""
    fit = fit_usl(USERS, [min(count, 4) * 100.0 for count in USERS], [0.01] * len(USERS))
    assert fit is not None
    assert fit.warnings


def test_unbounded_growth_has_no_peak() -> None:
    fit = fit_usl(USERS, [100.0 * count for count in USERS], [0.01] * len(USERS))
    assert fit is not None
    assert fit.peak_users.center is None


def test_three_steps_are_too_few() -> None:
    assert fit_usl((1, 2, 4), (1.0, 2.0, 3.0), (0.01,) * 3) is None
