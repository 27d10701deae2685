"""The vectorized queues, compared with exact formulas."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.capacity.queue.vectorized_queue import simulate_queues
from tests.support.exact_queues import exponential_sample, md1_waiting, mmc_waiting, poisson

SHARES = (0.8, 0.9, 0.95, 0.99)


def speeds(queues: int, *values: float) -> NDArray[Any]:
    return np.tile(values, (queues, 1))


def exponential(mean: float, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).exponential(mean, shape)


@pytest.mark.parametrize(("servers", "rho"), [(1, 0.5), (4, 0.6), (8, 0.7)])
def test_waiting_of_independent_servers_is_erlangs(servers: int, rho: float) -> None:
    shape = (400, 6000)
    arrivals = poisson(rho * servers, shape, 1)
    served = simulate_queues(arrivals, exponential(1.0, shape, 2), speeds(400, *range(1, servers + 1)))
    waiting = served.waiting[:, 1000:]
    for share in SHARES:
        exact = mmc_waiting(rho * servers, 1.0, servers, share)
        assert np.quantile(waiting, share) == pytest.approx(exact, rel=0.02)


def test_constant_work_waits_as_crommelin_says() -> None:
    arrivals = poisson(0.8, (600, 5000), 3)
    waiting = simulate_queues(arrivals, np.ones_like(arrivals), speeds(600, 1.0)).waiting[:, 500:]
    for share in (0.5, *SHARES):
        assert np.quantile(waiting, share) == pytest.approx(md1_waiting(0.8, 1.0, share), rel=0.02)


def test_a_shared_processor_is_as_fast_for_any_work_of_one_mean() -> None:
    """Processor sharing: the mean sojourn time is work / (1 - load), whatever the distribution (L. Kleinrock, 1967)."""
    arrivals = poisson(0.6, (800, 3000), 4)
    heavy = np.random.default_rng(5).choice([0.5, 5.5], arrivals.shape, p=[0.9, 0.1])
    served = simulate_queues(arrivals, heavy, speeds(800, *([1.0] * 24)))
    assert served.sojourn[:, 500:2900].mean() == pytest.approx(1 / 0.4, rel=0.02)


def test_sharing_at_full_speed_equals_independent_servers() -> None:
    """Speeds almost equal to those of c independent servers give the same result."""
    arrivals = poisson(3.0, (20, 500), 6)
    work = exponential(1.0, arrivals.shape, 7)
    one = simulate_queues(arrivals, work, speeds(20, 1, 2, 3, 4))
    other = simulate_queues(arrivals, work, speeds(20, 1, 2, 3, 4 * (1 - 1e-12)))
    np.testing.assert_allclose(other.sojourn, one.sojourn, rtol=1e-6)
    np.testing.assert_allclose(other.waiting, one.waiting, rtol=1e-6, atol=1e-6)


def test_first_come_first_served_by_hand() -> None:
    served = simulate_queues(np.array([[0.0, 1.0, 1.5]]), np.array([[2.0, 1.0, 1.0]]), np.array([[1.0]]))
    np.testing.assert_allclose(served.waiting, [[0.0, 1.0, 1.5]])
    np.testing.assert_allclose(served.sojourn, [[2.0, 2.0, 2.5]])


def test_sharing_by_hand() -> None:
    """From 1 on, both are at half speed: the first, with 1 of work left, ends at 3, as does the second."""
    served = simulate_queues(np.array([[0.0, 1.0]]), np.array([[2.0, 1.0]]), np.array([[1.0, 1.0]]))
    np.testing.assert_allclose(served.sojourn, [[3.0, 2.0]])


def test_queues_do_not_affect_each_other() -> None:
    arrivals = poisson(1.5, (3, 200), 8)
    work = exponential(1.0, arrivals.shape, 9)
    together = simulate_queues(arrivals, work, speeds(3, 1.0, 1.6))
    for queue in range(3):
        single = simulate_queues(arrivals[queue : queue + 1], work[queue : queue + 1], speeds(1, 1.0, 1.6))
        np.testing.assert_allclose(together.sojourn[queue], single.sojourn[0])


def test_exponential_sample_has_its_mean() -> None:
    assert exponential_sample(0.02).mean() == pytest.approx(0.02)
