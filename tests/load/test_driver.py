"""The engine of one process: connections made and closed, and what counts."""

import random
import time
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest

from bench.load.engine.dispatcher import Limits
from bench.load.engine.driver import Driver
from bench.load.engine.jobs import ClosedJobs
from bench.load.engine.pacer import Pacer
from bench.load.transports.balanced_pool import BalancedPool
from bench.load.transports.endpoint import Endpoint
from bench.load.transports.pool import TransportPool
from bench.results.blocks import parse_block
from bench.results.records import Outcome
from bench.serving.access import Access
from bench.serving.errors import ServingError, Unavailable
from bench.serving.headers import Headers
from bench.workload.balancing import make_policy
from bench.workload.workload import Workload
from tests.support.programmed_servers import rest_server
from tests.support.toy_golden import toy_golden

GOLDEN = toy_golden()


class Refusing:
    """A transport whose server refuses everything."""

    def __init__(self) -> None:
        self.closed = False

    def exchange(self, body: bytes, timeout: float, traceparent: str | None = None) -> bytes:
        raise Unavailable("busy")

    def close(self) -> None:
        self.closed = True


@dataclass
class Pool:
    made: list[str] = field(default_factory=list)
    closed: int = 0

    def make(self, protocol: str) -> Refusing:
        self.made.append(protocol)
        return Refusing()

    def redacted(self, error: ServingError) -> ServingError:
        return error

    def close(self) -> None:
        self.closed += 1


def workload(**changed: object) -> Workload:
    given = {"protocol": "both", "transport": "fast", "signature": "score", "users": 1, "duration": 1.0, **changed}
    return Workload(**given)  # type: ignore[arg-type]


def drive(driver: Driver, seconds: float) -> None:
    pacer = Pacer()
    limits = Limits(0.0, seconds, 0.1, 1.0, 0.0)
    dispatcher = driver.dispatcher(ClosedJobs(driver.workload, len(driver.payloads), 0, seconds), limits, pacer)
    dispatcher.begin(time.perf_counter())
    gevent.spawn(dispatcher.drive, driver.user_transports()).get()
    dispatcher.finish()
    pacer.close()


def test_each_user_has_a_transport_of_each_protocol_and_all_are_told() -> None:
    pool, heard = Pool(), list[Outcome]()
    driver = Driver(GOLDEN, workload(), pool, lambda _, ended, __: heard.append(ended.outcome), worker=3)  # type: ignore[arg-type]
    drive(driver, 0.25)
    assert pool.made == ["rest", "grpc"]
    block = parse_block(driver.take())
    assert block.worker == 3
    assert len(block.rows) == len(heard) >= 1
    assert set(heard) == {Outcome.UNAVAILABLE}
    assert driver.take() == b""


@pytest.mark.parametrize(("begins", "warm"), [(None, True), (0.0, False)])
def test_all_is_warm_up_until_measuring_begins(begins: float | None, warm: bool) -> None:
    driver = Driver(GOLDEN, workload(), Pool(), lambda *_: None)  # type: ignore[arg-type]
    if begins is not None:
        driver.measure_from(begins)
    drive(driver, 0.05)
    assert set(parse_block(driver.take()).rows["warmup"].tolist()) == {warm}


@pytest.mark.parametrize("client", ["fast", "requests"])
@pytest.mark.parametrize("servers", [1, 2])
def test_what_a_server_repeats_of_a_header_is_in_no_failure(servers: int, client: str) -> None:
    """In the body of an answer with status 200, or in its head."""
    value, asked = "Planted-5F3A9C27", []

    def answer(method: str, path: str, body: bytes, handler: Any) -> Any:
        asked.append(sent := handler.headers["X-Api-Key"])
        return (200, f"no {sent}".encode()) if len(asked) % 2 else (200, b"{}", {"Content-Encoding": sent})

    with rest_server(answer) as url:
        endpoint = Endpoint(rest=url, path="/x", access=Access(Headers([("X-Api-Key", value)])))
        pools = [TransportPool(endpoint, {"rest": client}) for _ in range(servers)]
        pool = BalancedPool(pools, make_policy("round-robin", random.Random(1))) if servers > 1 else pools[0]
        heard = list[str]()
        driver = Driver(GOLDEN, workload(protocol="rest"), pool, lambda _, __, error: heard.append(str(error)))
        while len(asked) < 2:
            drive(driver, 0.25)
        driver.close()
    assert set(asked) == {value}
    texts = {entry.text for entry in driver.failures.found()}
    assert texts == set(heard)
    assert {text.partition(" (")[0].partition(" '")[0] for text in texts} == {
        "the answer is not JSON",
        "the response has the content coding",
    }
    assert all("<redacted>" in text and "planted" not in text.lower() for text in texts)


def test_other_transports_take_the_place_of_the_first() -> None:
    first, second = Pool(), Pool()
    driver = Driver(GOLDEN, workload(), first, lambda *_: None)  # type: ignore[arg-type]
    driver.reconnect(second)  # type: ignore[arg-type]
    assert (first.closed, second.closed) == (1, 0)
    assert driver.user_transports().keys() == {"rest", "grpc"}
    assert (first.made, second.made) == ([], ["rest", "grpc"])
    driver.close()
    assert second.closed == 1
