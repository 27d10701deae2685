"""The workload's checks and its schedule."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.core.errors import UsageError
from bench.workload.arrivals import OpenLoop, parse_arrivals
from bench.workload.workload import MOST_SENTENCES, Workload, checked_requests, run_schedule, sentence_order

WORKLOAD = Workload(protocol="rest", transport="fast", signature="score", users=8, duration=10.0)


def open_loop(text: str) -> OpenLoop:
    arrivals = parse_arrivals(text)
    assert isinstance(arrivals, OpenLoop)
    return arrivals


def test_a_warm_up_of_an_absurd_length_is_refused_before_it_takes_memory() -> None:
    with pytest.raises(UsageError, match="a warm-up of 2,777 h 47 m at 100/s has 1,000,000,000 requests, the limit is"):
        run_schedule(open_loop("poisson:rate=100"), replace(WORKLOAD, warmup=1e7))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "soap"}, "protocol must be one of rest, grpc, both"),
        ({"transport": "grpc"}, "transport of rest must be fast or requests"),
        ({"protocol": "grpc", "transport": "requests"}, "transport of grpc must be fast or grpcio"),
        ({"signature": ""}, "signature is empty"),
        ({"sentences": 0}, "sentences must be 1 or more"),
        ({"sentences": MOST_SENTENCES + 1}, "sentences must be 1 or more and at most 65,535, not 65536"),
        ({"users": 0}, "users must be 1 or more"),
        ({"timeout": 0.0}, "timeout must be above 0"),
        ({"duration": float("inf")}, "duration must be above 0"),
        ({"warmup": -1.0}, "warmup must be 0 to"),
        ({"check_share": 1.1}, "check share must lie between"),
    ],
)
def test_bad_values_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(WORKLOAD, **change)


@pytest.mark.parametrize("text", ["poisson:rate=20", "ramp:from=0,to=40", "burst:base=5,peak=50,every=5s,length=1s"])
def test_the_warm_up_does_not_change_the_measured_part(text: str) -> None:
    arrivals = open_loop(text)
    plain = run_schedule(arrivals, WORKLOAD)
    warmed = run_schedule(arrivals, replace(WORKLOAD, warmup=4.0))
    assert plain.warmup == 0
    np.testing.assert_allclose(warmed.due[warmed.warmup :] - 4.0, plain.due)
    assert (warmed.begins, warmed.ends) == (4.0, 14.0)
    assert np.all(warmed.due[: warmed.warmup] < 4.0)
    assert np.all(np.diff(warmed.due) >= 0)


@pytest.mark.parametrize(
    ("text", "count"), [("poisson:rate=20", 80), ("ramp:from=0,to=40", 80), ("constant:rate=1", 4)]
)
def test_the_warm_up_runs_at_the_first_rate_or_the_mean(text: str, count: int) -> None:
    assert run_schedule(open_loop(text), replace(WORKLOAD, warmup=4.0)).warmup == count


def test_sentences_and_checks_come_from_the_seed() -> None:
    order = sentence_order(3, 10_000, 200)
    np.testing.assert_array_equal(order, sentence_order(3, 10_000, 200))
    assert set(np.unique(order)) == set(range(200))
    assert checked_requests(3, 1000, 1.0).all()
    assert not checked_requests(3, 1000, 0.0).any()
    assert abs(checked_requests(3, 10_000, 0.2).mean() - 0.2) < 0.02


@pytest.mark.parametrize(
    ("protocol", "transport", "clients"),
    [
        ("rest", "requests", {"rest": "requests"}),
        ("grpc", "grpcio", {"grpc": "grpcio"}),
        ("both", "fast", {"rest": "fast", "grpc": "fast"}),
        ("both", "fast+grpcio", {"rest": "fast", "grpc": "grpcio"}),
    ],
)
def test_clients_by_protocol(protocol: str, transport: str, clients: Any) -> None:
    workload = replace(WORKLOAD, protocol=protocol, transport=transport)
    assert workload.clients == clients
    assert workload.protocols == tuple(clients)
