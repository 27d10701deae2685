"""Queues with batching, and the recovered parameters of such a server."""

import heapq

import numpy as np
import pytest

from bench.capacity.model.batch_fit import fit_batching
from bench.capacity.model.queue_fit import Ladder
from bench.capacity.queue.queue_model import Batching
from bench.capacity.queue.vectorized_batch_queue import closed_network_batch_throughput, simulate_batches
from bench.capacity.queue.vectorized_queue import simulate_queues
from tests.support.exact_queues import poisson

SPEEDS = (1.0, 1.3)


def brute(arrivals: list[float], work: list[float], marginal: float, largest: int, timeout: float) -> list[float]:
    """A plain event simulation; returns the end of each request."""
    free, done, index = [0.0, 0.0], [0.0] * len(arrivals), 0
    while index < len(arrivals):
        thread = heapq.heappop(free)
        full = arrivals[index + largest - 1] if index + largest <= len(arrivals) else float("inf")
        now = max(thread, min(full, arrivals[index] + timeout))
        size = 0
        while size < largest and index + size < len(arrivals) and arrivals[index + size] <= now:
            size += 1
        other_busy = free[0] > now
        mean = sum(work[index : index + size]) / size
        end = now + mean * (1 + marginal * (size - 1)) / (SPEEDS[other_busy] / (1 + other_busy))
        done[index : index + size] = [end] * size
        heapq.heappush(free, end)
        index += size
    return done


@pytest.mark.parametrize(("largest", "timeout"), [(1, 0.0), (4, 0.0), (4, 0.8), (50, 0.3)])
def test_vectorized_queues_agree_with_a_plain_simulation(largest: int, timeout: float) -> None:
    arrivals = poisson(1.5, (5, 400), 1)
    work = np.random.default_rng(2).exponential(1.0, arrivals.shape)
    found = simulate_batches(arrivals, work, np.tile(SPEEDS, (5, 1)), np.full(5, 0.4), largest, timeout)
    for queue in range(5):
        done = brute(arrivals[queue].tolist(), work[queue].tolist(), 0.4, largest, timeout)
        np.testing.assert_allclose(found.sojourn[queue], np.array(done) - arrivals[queue], rtol=1e-9, atol=1e-9)


def test_batches_of_one_are_a_plain_queue() -> None:
    arrivals = poisson(0.8, (10, 500), 3)
    work = np.random.default_rng(4).exponential(1.0, arrivals.shape)
    one = simulate_batches(arrivals, work, np.ones((10, 1)), np.zeros(10), 1, 0.0)
    np.testing.assert_allclose(one.sojourn, simulate_queues(arrivals, work, np.ones((10, 1))).sojourn, atol=1e-9)


def test_capacity_with_free_batching_is_that_of_the_largest_batch() -> None:
    """Eight users, batches of eight that cost as much as one: eight times the throughput of one user."""
    work = np.full((2, 200), 0.01)
    found = closed_network_batch_throughput(np.array([1, 8]), work, np.ones(1), 0.0, 0.0, 8, 0.001)
    np.testing.assert_allclose(found, [1 / 0.011, 8 / 0.01], rtol=0.01)


def test_parameters_are_found_again() -> None:
    users = (2, 4, 6, 8, 12, 16, 24, 32)
    rng = np.random.default_rng(5)
    work = 0.01 * rng.gamma(4, 0.25, (len(users), 3000))
    rates = closed_network_batch_throughput(np.array(users), work, np.array(SPEEDS), 0.45, 0.0005, 16, 0.001)
    noisy = rates * np.exp(0.01 * rng.standard_normal(rates.size))
    measured = Ladder(0.0115, 0.005, users, tuple(noisy), (0.01,) * len(users))
    fit = fit_batching(measured, 2, Batching(16, 0.001, 0.5))
    queue_model = fit.fit.queue_model
    assert queue_model.batching is not None
    assert queue_model.batching.marginal == pytest.approx(0.45, abs=0.06)
    assert queue_model.speeds[1] == pytest.approx(1.3, abs=0.08)
    assert fit.fit.work == pytest.approx(0.01, rel=0.05)
    drawn = [fit.draw(np.random.default_rng(seed)).capacity for seed in range(50)]
    assert np.mean(drawn) == pytest.approx(fit.fit.capacity, rel=0.02)
    assert 0 < np.std(drawn) < 0.05 * fit.fit.capacity
