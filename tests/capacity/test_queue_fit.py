"""Queue models recovered from the ladders that they produce."""

import numpy as np
import pytest

from bench.capacity.model.queue_fit import Ladder, fit_queue, speed_knots
from bench.capacity.queue.closed_network import closed_network_throughput
from bench.capacity.queue.queue_model import QueueModel

USERS = (2, 3, 4, 6, 8, 12, 16)


def ladder(queue_model: QueueModel, work: float, noise: float = 0.0, seed: int = 0) -> Ladder:
    rng = np.random.default_rng(seed)
    rates = closed_network_throughput(USERS, np.array(queue_model.speeds), work, queue_model.overhead)
    rates = rates * np.exp(noise * rng.standard_normal(rates.size))
    single_user = (work + queue_model.overhead) * np.exp(noise * rng.standard_normal())
    return Ladder(float(single_user), max(noise, 1e-3), USERS, tuple(rates), (max(noise, 1e-3),) * len(USERS))


@pytest.mark.parametrize("servers", [1, 4])
def test_independent_servers_are_found(servers: int) -> None:
    """The truth has the lowest penalty, up to a difference of 4 by noise."""
    truth = QueueModel.independent(servers, overhead=0.0007)
    measured = ladder(truth, 0.01, noise=0.01)
    fits = {(n, kind): fit_queue(measured, n, kind) for n in (1, 2, 3, 4, 6, 8) for kind in (True, False)}
    truth_fit = fits[servers, True]
    assert truth_fit.penalty < min(fit.penalty for fit in fits.values()) + 4
    assert truth_fit.capacity == pytest.approx(servers / 0.01, rel=0.01)
    assert truth_fit.work == pytest.approx(0.01, rel=0.02)
    assert all(fits[n, True].penalty > truth_fit.penalty + 20 for n in (2, 3, 6, 8) if n != servers)


def test_contention_is_found() -> None:
    truth = QueueModel(4, (1.0, 1.4, 1.6, 1.7), 0.0005)
    fit = fit_queue(ladder(truth, 0.02), 4, independent=False)
    np.testing.assert_allclose(fit.queue_model.speeds, truth.speeds, rtol=0.03)
    assert fit.misfit < 1
    assert fit_queue(ladder(truth, 0.02), 4, independent=True).misfit > 100


def test_a_request_is_never_faster_in_company() -> None:
    """A ladder that is superlinear by noise gives speeds of at most the number in service."""
    superlinear = Ladder(0.0102, 0.02, (2, 4), (201.0, 403.0), (0.01, 0.01))
    assert max(np.array(fit_queue(superlinear, 4, False).queue_model.speeds) / [1, 2, 3, 4]) <= 1.0


def test_a_fit_can_begin_from_another() -> None:
    measured = ladder(QueueModel(3, (1.0, 1.8, 2.2)), 0.01, noise=0.01)
    cold = fit_queue(measured, 3, independent=False)
    warm = fit_queue(measured, 3, independent=False, start=cold)
    np.testing.assert_allclose(warm.queue_model.speeds, cold.queue_model.speeds, rtol=1e-3)


def test_speeds_are_fitted_where_they_were_measured() -> None:
    assert speed_knots((2, 4, 8, 16), 8).tolist() == [2, 4, 8]
    assert speed_knots((2, 4, 8, 16), 6).tolist() == [2, 4, 6]
    assert speed_knots((2, 4), 1).tolist() == []
