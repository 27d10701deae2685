"""Closed-loop throughput against formulas and a simulation."""

import heapq

import numpy as np
import pytest

from bench.capacity.queue.closed_network import closed_network_throughput

ONE = np.array([1.0])
FOUR = np.array([1.0, 2.0, 3.0, 4.0])


def test_without_overhead_throughput_is_speed_over_work() -> None:
    found = closed_network_throughput([1, 2, 4, 9], FOUR, 0.01, 0.0)
    np.testing.assert_allclose(found, [100, 200, 400, 400])


def test_no_user_waits_with_as_many_servers() -> None:
    found = closed_network_throughput([1, 3], FOUR, 0.01, 0.002)
    np.testing.assert_allclose(found, [1 / 0.012, 3 / 0.012])


def test_one_server_and_overhead_is_the_machine_repairman() -> None:
    """Two users, one server: utilization 1 - P(idle), by Erlang's formula for two machines."""
    work, overhead = 0.01, 0.005
    ratio = work / overhead
    idle = 1 / (1 + 2 * ratio + 2 * ratio**2)
    assert closed_network_throughput([2], ONE, work, overhead)[0] == pytest.approx((1 - idle) / work)


def test_many_users_do_not_overflow() -> None:
    assert closed_network_throughput([1000], ONE, 0.01, 1e-5)[0] == pytest.approx(100, rel=1e-6)


def test_close_to_a_simulation_with_constant_work() -> None:
    work, overhead = 0.01, 0.0006
    free, users, done = [0.0, 0.0], [0.0] * 3, 0
    while users[0] < 200.0:
        due = heapq.heappop(users)
        end = max(due, heapq.heappop(free)) + work
        heapq.heappush(free, end)
        heapq.heappush(users, end + overhead)
        done += 1
    found = closed_network_throughput([3], np.array([1.0, 2.0]), work, overhead)[0]
    assert found == pytest.approx(done / 200.0, rel=0.01)
