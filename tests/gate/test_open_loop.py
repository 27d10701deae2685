"""Gates in open loop on two simulated queues, each with a pool of users."""

import heapq
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.gate.decision import Gate
from bench.gate.interleaving import late_reasons
from bench.gate.metrics import run_metrics
from bench.gate.types import Pair, Verdict, VerdictKind, default_plan
from bench.results.blocks import OUTCOME_CODES

USERS = 64
RATE = 100.0
SECONDS = 5.0

Columns = dict[str, NDArray[Any]]


def run(rng: np.random.Generator, service: float, start_delay: float = 0.0002) -> tuple[Columns, float]:
    """The requests of a run on a server that takes `service` seconds on average, and how long it took."""
    due = np.sort(rng.random(rng.poisson(RATE * SECONDS)) * SECONDS)
    pool, free = [0.0] * USERS, 0.0
    sent, done = np.empty(due.size), np.empty(due.size)
    for index, moment in enumerate(due):
        sent[index] = max(moment, heapq.heappop(pool)) + start_delay
        free = max(free, sent[index]) + rng.gamma(4, service / 4)
        done[index] = free
        heapq.heappush(pool, free)
    ok = np.full(due.size, OUTCOME_CODES["ok"], np.uint8)
    columns = {"due": due, "sent": sent, "done": done, "outcome": ok, "checked": np.ones(due.size, np.bool_)}
    return columns, float(done.max())


def gate(seed: int, baseline: float, candidate: float, start_delay: float = 0.0002, most: int = 40) -> Verdict:
    """The verdict of a gate on two servers with these service times, seconds."""
    rng, found = np.random.default_rng([4, seed]), Gate(default_plan())
    for left in reversed(range(most)):
        arms = [run(rng, service, start_delay) for service in (baseline, candidate)]
        runs = [run_metrics(columns, seconds) for columns, seconds in arms]
        reasons = late_reasons([columns for columns, _ in arms], runs, USERS)
        found.add(Pair(runs[0], runs[1], invalid=tuple(reasons)))
        if (verdict := found.decide(left)) is not None:
            return verdict
    raise AssertionError("no verdict after the last pair")


@pytest.mark.parametrize("service", [0.008, 0.0095, 0.02, 0.05])
def test_a_slower_candidate_is_a_regression_however_slow_it_is(service: float) -> None:
    """From 10 ms on it falls behind the rate, and all its users wait."""
    verdict = gate(1, 0.004, service)
    assert verdict.kind is VerdictKind.REGRESSION, verdict.reason
    assert "latency p50" in verdict.reason
    assert verdict.invalid_pairs == 0


def test_a_faster_candidate_passes_where_the_baseline_falls_behind() -> None:
    assert gate(1, 0.02, 0.004).kind is VerdictKind.PASS


def test_a_rate_that_neither_server_holds_is_inconclusive() -> None:
    verdict = gate(1, 0.02, 0.05)
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert verdict.reason == (
        "6 of 6 pairs are INVALID: all 64 users were waiting for responses of both servers: the rate is too high for "
        "them; give --arrivals a lower rate"
    )


def test_requests_that_are_late_while_users_are_free_are_the_load_generator_s_doing() -> None:
    verdict = gate(1, 0.004, 0.004, start_delay=0.03)
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert "although users were free: the load generator was starved of CPU" in verdict.reason


@pytest.mark.parametrize("service", [0.004, 0.0099, 0.0103])
def test_equal_servers_are_no_regression_at_any_load(service: float) -> None:
    """Also where chance decides whether the users of the one, the other or both are all waiting."""
    found = [gate(seed, service, service, most=16).kind for seed in range(12)]
    assert VerdictKind.REGRESSION not in found
