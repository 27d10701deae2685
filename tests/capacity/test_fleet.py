"""The simulation of replicas, compared with exact formulas, and the effects of incidents."""

import numpy as np
import pytest

from bench.capacity.plan.fleet import Fleet, FleetServed, simulate_fleet
from bench.capacity.plan.incidents import Autoscaling, Failure, RollingRestart, Slow
from bench.capacity.queue.latency_table import ParameterSet
from bench.capacity.queue.queue_model import Batching, QueueModel
from bench.capacity.queue.vectorized_batch_queue import simulate_batches
from bench.core.errors import UsageError
from bench.workload.balancing import POLICIES
from tests.support.exact_queues import exponential_sample, md1_waiting, mmc_waiting, poisson

EXPONENTIAL = exponential_sample(1.0)


def serve(fleet: Fleet, rate: float, requests: int, seed: int = 1) -> FleetServed:
    return simulate_fleet(fleet, poisson(rate, (requests,), seed), seed)


@pytest.mark.parametrize(("servers", "rho"), [(1, 0.5), (4, 0.5)])
def test_waiting_is_erlangs(servers: int, rho: float) -> None:
    served = serve(Fleet(ParameterSet(QueueModel.independent(servers), EXPONENTIAL), 1), rho * servers, 1_000_000)
    for share in (0.8, 0.9, 0.95, 0.99):
        exact = mmc_waiting(rho * servers, 1.0, servers, share)
        assert np.quantile(served.waiting[2000:], share) == pytest.approx(exact, rel=0.02)


def test_constant_work_waits_as_crommelin_says() -> None:
    served = serve(Fleet(ParameterSet(QueueModel.independent(1), np.ones(1)), 1), 0.5, 700_000)
    for share in (0.8, 0.9, 0.99):
        assert np.quantile(served.waiting, share) == pytest.approx(md1_waiting(0.5, 1.0, share), rel=0.02)


def test_replicas_behind_random_choice_are_independent_queues() -> None:
    served = serve(Fleet(ParameterSet(QueueModel.independent(1), EXPONENTIAL), 20, "random"), 0.6 * 20, 500_000)
    for share in (0.8, 0.95, 0.99):
        exact = mmc_waiting(0.6, 1.0, 1, share)
        assert np.quantile(served.waiting[20_000:], share) == pytest.approx(exact, rel=0.03)


def test_the_better_the_policy_the_shorter_the_wait() -> None:
    parameter_set = ParameterSet(QueueModel.independent(1), EXPONENTIAL)
    waits = {name: serve(Fleet(parameter_set, 10, name), 8.0, 60_000).waiting.mean() for name in POLICIES}
    assert waits["least-loaded"] < waits["two-choices"] < waits["round-robin"] < waits["random"]


def test_shared_speed_slows_all_requests_in_service() -> None:
    """Processor sharing: the mean sojourn time is work / (1 - load)."""
    served = serve(Fleet(ParameterSet(QueueModel(40, (1.0,) * 40), EXPONENTIAL), 1), 0.5, 300_000)
    assert served.sojourn.mean() == pytest.approx(2.0, rel=0.02)


def test_overhead_adds_to_the_sojourn_time_only() -> None:
    served = serve(Fleet(ParameterSet(QueueModel.independent(1, overhead=0.25), np.ones(1)), 1), 1e-6, 10)
    np.testing.assert_allclose(served.sojourn, 1.25)
    np.testing.assert_allclose(served.waiting, 0.0)


def test_a_replica_with_batching_agrees_with_the_vectorized_queues() -> None:
    queue_model = QueueModel(2, (1.0, 1.4), 0.0, batching=Batching(8, 0.5, 0.3))
    served = serve(Fleet(ParameterSet(queue_model, EXPONENTIAL), 1), 2.0, 60_000)
    arrivals = poisson(2.0, (20, 4000), 5)
    work = np.random.default_rng(6).exponential(1.0, arrivals.shape)
    queues = simulate_batches(arrivals, work, np.tile(queue_model.speeds, (20, 1)), np.full(20, 0.3), 8, 0.5)
    for share in (0.5, 0.9, 0.99):
        expected = np.quantile(queues.sojourn[:, 400:], share)
        assert np.quantile(served.sojourn[1000:], share) == pytest.approx(expected, rel=0.05)


def test_a_failure_loses_requests_until_the_balancer_notices() -> None:
    fleet = Fleet(
        ParameterSet(QueueModel.independent(1), np.full(1, 0.01)), 2, "round-robin", (Failure(0, 100.0, 120.0, 2.0),)
    )
    served = serve(fleet, 20.0, 4000)
    lost = served.arrived[served.lost]
    assert lost.min() >= 99.9
    assert lost.max() <= 102.0
    assert lost.size == pytest.approx(20, abs=12)
    assert [count for _, count in served.replicas] == [2, 1, 2]
    assert [time for time, _ in served.replicas] == [0.0, 102.0, 122.0]


def test_a_rolling_restart_with_enough_time_to_drain_loses_nothing() -> None:
    parameter_set = ParameterSet(QueueModel.independent(1), np.full(1, 0.05))
    fleet = Fleet(parameter_set, 3, "least-loaded", (RollingRestart(10.0, drain=2.0, away=5.0),))
    served = serve(fleet, 20.0, 1000)
    assert not served.lost.any()
    assert min(count for _, count in served.replicas) == 2
    away = (served.arrived > 12) & (served.arrived < 31)
    assert served.waiting[away].mean() > served.waiting[~away].mean()


def test_a_rolling_restart_without_drain_loses_requests_in_service() -> None:
    parameter_set = ParameterSet(QueueModel.independent(1), np.full(1, 0.05))
    served = serve(Fleet(parameter_set, 3, "random", (RollingRestart(10.0, drain=0.0, away=5.0),)), 40.0, 2000)
    assert 0 < served.lost.sum() < 60


def test_a_slow_replica_affects_round_robin_more_than_least_loaded() -> None:
    parameter_set = ParameterSet(QueueModel.independent(1), EXPONENTIAL)
    slow = (Slow(0, 3.0),)
    waits = {
        name: serve(Fleet(parameter_set, 4, name, slow), 2.0, 20_000).waiting
        for name in ("round-robin", "least-loaded")
    }
    assert np.quantile(waits["round-robin"], 0.99) > 10 * np.quantile(waits["least-loaded"], 0.99)


def test_autoscaling_follows_the_rate_after_its_lag() -> None:
    parameter_set = ParameterSet(QueueModel.independent(1), np.full(1, 0.1))
    scaling = Autoscaling(target=0.5, every=10.0, lag=30.0, min_replicas=2, max_replicas=20)
    arrivals = np.concatenate((poisson(10.0, (1000,), 1), 100.0 + poisson(50.0, (20_000,), 2)))
    arrivals.sort()
    served = simulate_fleet(Fleet(parameter_set, 2, "least-loaded", (), scaling), arrivals, 1)
    times = {count: time for time, count in reversed(served.replicas)}
    assert 130.0 <= times[max(times)] <= 165.0
    assert max(times) == pytest.approx(10, abs=2)
    before = served.waiting[(served.arrived > 110) & (served.arrived < 130)]
    after = served.waiting[(served.arrived > 250) & (served.arrived < 450)]
    assert before.mean() > 20 * after.mean()


def test_autoscaling_does_not_count_a_replica_twice_before_it_fails() -> None:
    parameter_set = ParameterSet(QueueModel.independent(1), np.full(1, 0.005))
    scaling = Autoscaling(target=0.6, every=6.0, lag=5.0, min_replicas=2, max_replicas=6)
    failure = (Failure(0, 10.0, 20.0, 1.0),)
    served = simulate_fleet(Fleet(parameter_set, 3, "round-robin", failure, scaling), poisson(30.0, (1800,), 1), 1)
    assert min(count for _, count in served.replicas) == 1
    assert served.arrived[served.lost].max() <= 11.0
    assert served.lost.sum() == pytest.approx(15, abs=12)


def test_a_replica_that_was_scaled_down_does_not_return_after_its_failure() -> None:
    parameter_set = ParameterSet(QueueModel.independent(1), np.full(1, 0.005))
    scaling = Autoscaling(target=0.6, every=6.0, lag=5.0, min_replicas=1, max_replicas=6)
    fleet = Fleet(parameter_set, 2, "least-loaded", (Failure(1, 10.0, 20.0, 1.0),), scaling)
    served = simulate_fleet(fleet, poisson(30.0, (1800,), 1), 1)
    assert [count for _, count in served.replicas] == [2, 1]
    assert not served.lost.any()


def test_replica_seconds() -> None:
    served = FleetServed(np.zeros(0), np.zeros(0), np.zeros(0), ((0.0, 2), (10.0, 5), (20.0, 1)))
    assert served.replica_seconds(30.0) == 20 + 50 + 10
    assert served.replica_seconds(15.0) == 20 + 25


def test_the_same_seed_gives_the_same_result() -> None:
    fleet = Fleet(ParameterSet(QueueModel.independent(2), EXPONENTIAL), 3, "two-choices")
    np.testing.assert_array_equal(serve(fleet, 4.0, 2000).sojourn, serve(fleet, 4.0, 2000).sojourn)


def test_invalid_fleets_are_refused() -> None:
    parameter_set = ParameterSet(QueueModel.independent(1), EXPONENTIAL)
    with pytest.raises(UsageError, match="at least one"):
        Fleet(parameter_set, 0)
    with pytest.raises(UsageError, match="unknown policy"):
        Fleet(parameter_set, 1, "magic")
    with pytest.raises(UsageError, match="no replica 7"):
        simulate_fleet(Fleet(parameter_set, 2, incidents=(Failure(7, 1.0),)), np.array([1.0]), 1)
