"""Connections that cost more than they ask for, jobs that run one at a time, and bytes that come compressed."""

import gzip
import threading
import tracemalloc
import zlib
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.server.embedded.base.unpacking import (
    DEFLATE_BITS,
    GZIP_BITS,
    NotPackedError,
    UnpackedTooLargeError,
    unpack,
)
from bench.server.embedded.net.connection_table import DEFAULT_LIMITS, ConnectionTable
from bench.server.embedded.net.cpu_budget import SHARE, CpuBudget
from bench.server.embedded.net.job_queue import JobQueue
from bench.server.embedded.net.rests import Rests


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now += timeout
        return True


def test_a_budget_grows_with_time_up_to_its_size() -> None:
    clock = Clock()
    budget = CpuBudget(clock)
    assert budget.spend(0.001) == 0
    assert budget.spend(0.003) == pytest.approx(0.003)
    clock.now += 0.01
    assert budget.spend(0.0) == pytest.approx(0.003 - SHARE * 0.01)
    clock.now += 3600
    assert budget.spend(0.001) == 0
    # What is worth more than it costs is not saved up.
    assert budget.spend(-1.0) == 0
    assert budget.spend(0.003) == pytest.approx(0.002)


def test_a_flood_takes_its_share_of_the_time() -> None:
    """Turns of 1 ms, each as soon as the rest after the last one is over."""
    clock, busy = Clock(), 0.0
    budget = CpuBudget(clock)
    while clock.now < 110:
        missing = budget.spend(0.001)
        busy += 0.001
        clock.now += 0.001 + missing / SHARE
    assert busy == pytest.approx(SHARE * 10, rel=0.1)


def test_a_budget_forgets_what_was_owed_beyond_a_second() -> None:
    clock = Clock()
    budget = CpuBudget(clock)
    for _ in range(60):
        assert budget.spend(10.0) <= SHARE * 1.0
    clock.now += 1.02
    assert budget.spend(0.0) == 0


class Table(ConnectionTable):
    """Takes whatever rests for one of its connections, unless it is closed."""

    def __init__(self) -> None:
        super().__init__(DEFAULT_LIMITS)
        self.closed: list[Any] = []

    def wake(self, connection: Any) -> bool:
        return connection not in self.closed


def connection(earned: float = 0.0) -> Any:
    return SimpleNamespace(number=1, budget=CpuBudget(), protocol=SimpleNamespace(earned=lambda: earned))


def test_connections_rest_until_their_time_or_the_end() -> None:
    over: list[Any] = []
    came = threading.Event()

    def back(one: Any) -> None:
        over.append(one)
        came.set()

    table = Table()
    rests = Rests("test_rests", table, back)
    rests.start()
    cheap, asking, flooding, violating, gone = (connection(earned) for earned in (0.0, 0.1, 0.0, 0.0, 0.0))
    table.closed.append(gone)
    assert not rests.rest(cheap, 0.0004)
    assert not rests.rest(cheap, 0.0, violated=True)
    assert not rests.rest(asking, 0.1)
    assert rests.rest(gone, 0.003)
    assert rests.rest(flooding, 0.003)
    assert came.wait(60)
    assert over == [flooding]
    # The longest rest ends with the server.
    assert rests.rest(flooding, 60.0)
    assert rests.rest(violating, 0.0009, violated=True)
    rests.stop(60)
    assert sorted(map(id, over)) == sorted(map(id, (flooding, flooding, violating)))
    assert rests.rest(flooding, 60.0)
    assert over[-1] is flooding


def test_many_that_rest_take_their_share_together_and_the_least_first() -> None:
    """The moments at which they go on, by a clock of the test."""
    clock = Clock()
    rests = Rests("test_rests", Table(), lambda one: None)
    large = [connection() for _ in range(50)]
    small = [connection() for _ in range(5)]
    with patch("bench.server.embedded.net.rests.time.monotonic", clock):
        for one in large:
            assert rests.rest(one, 0.0035)
        for one in small:
            assert rests.rest(one, 0.0011)
        rests._changed.wait = clock.wait  # type: ignore[method-assign]
        order, moments = [], []
        for _ in range(55):
            order.append(rests._next())
            moments.append(clock.now - 100)
    assert order[:5] == small
    assert moments[-1] >= 49 * 0.0024 / SHARE


def test_brief_jobs_run_one_at_a_time_and_leave_others_their_turn() -> None:
    jobs, order = JobQueue(), list[int]()
    for number in range(40):
        jobs.put(partial(order.append, number), brief=True)
    jobs.put(lambda: order.append(-1))
    rounds = 0
    while len(order) < 41:
        jobs.run_next()
        rounds += 1
    # 16 at a time in one job, behind which the other job has its turn.
    assert (order, rounds) == ([*range(16), -1, *range(16, 40)], 4)
    jobs.run_next()
    jobs.put(lambda: order.append(41), brief=True)
    jobs.run_next()
    assert order[-1] == 41


def test_brief_jobs_of_many_threads_all_run() -> None:
    jobs, done, running = JobQueue(), list[int](), list[int]()
    most = 0

    def job() -> None:
        nonlocal most
        running.append(1)
        most = max(most, len(running))
        done.append(1)
        running.pop()

    def put() -> None:
        for _ in range(200):
            jobs.put(job, brief=True)

    def run() -> None:
        while len(done) < 800:
            jobs.run_next()

    threads = [threading.Thread(target=target) for target in (put,) * 4 + (run,) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(done), most) == (800, 1)


@pytest.mark.parametrize(("bits", "pack"), [(GZIP_BITS, gzip.compress), (DEFLATE_BITS, zlib.compress)])
@given(data=st.binary(max_size=300), repeats=st.sampled_from([1, 217, 70_000 // 300, 1000]), cut=st.integers(1, 40))
def test_bytes_are_unpacked_whole_or_refused(bits: int, pack: Any, data: bytes, repeats: int, cut: int) -> None:
    data *= repeats
    packed = pack(data)
    assert unpack(packed, bits, len(data)).data == data
    assert unpack(packed, bits, len(data)).whole
    more = unpack(packed + b"more" * 20_000, bits, len(data))
    assert (more.data, more.whole) == (data, False)
    if data:
        with pytest.raises(UnpackedTooLargeError):
            unpack(packed, bits, len(data) - 1)
    with pytest.raises(NotPackedError):
        unpack(packed[: max(len(packed) - cut, 0)], bits, len(data))


def test_a_bomb_takes_no_memory() -> None:
    packed = gzip.compress(bytes(64 << 20), 1)
    tracemalloc.start()
    try:
        with pytest.raises(UnpackedTooLargeError):
            unpack(packed, GZIP_BITS, 16 << 20)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
