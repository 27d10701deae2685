"""Waiting for moments. What time it takes is for the benchmarks; here is in which order, and that it ends."""

import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from bench.load.engine import pacer as pacer_module
from bench.load.engine.pacer import Pacer


@pytest.fixture(params=["timerfd", "event loop"])
def pacer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if request.param == "event loop":
        monkeypatch.setattr(pacer_module, "_timerfd", lambda libc: -1)
    made = Pacer()
    yield made
    made.close()


def test_nobody_wakes_early_and_all_in_order(pacer: Any) -> None:
    start = time.perf_counter()
    woken = []

    def wait(moment: Any) -> None:
        assert pacer.wait_until(moment)
        woken.append((moment, time.perf_counter()))

    moments = [start + 0.02 * index for index in range(6)] + [start + 0.1] * 2
    gevent.joinall([gevent.spawn(wait, moment) for moment in moments], raise_error=True, timeout=5)
    assert [moment for moment, _ in woken] == sorted(moments)
    # libev rounds the loop's idea of now: a timer may fire a millisecond early there, never with a timerfd.
    assert all(now >= moment - 0.002 for moment, now in woken)


def test_the_past_is_no_wait(pacer: Any) -> None:
    assert pacer.wait_until(time.perf_counter() - 1.0)
    pacer.stop()
    assert pacer.wait_until(time.perf_counter() - 1.0)


def test_stop_ends_waits_and_pauses(pacer: Any) -> None:
    far = time.perf_counter() + 60.0
    waits = [
        gevent.spawn(pacer.wait_until, far),
        gevent.spawn(pacer.wait_until, far + 1),
        gevent.spawn(pacer.pause, 60.0),
    ]
    gevent.sleep(0.02)
    pacer.stop()
    gevent.joinall(waits, timeout=5)
    assert [greenlet.value for greenlet in waits] == [False, False, False]
    assert not pacer.wait_until(far)


def test_moments_may_come_in_any_order(pacer: Any) -> None:
    """A request that another user gave back is due before those that the others wait for."""
    start = time.perf_counter()
    woken = []

    def wait(moment: float) -> None:
        assert pacer.wait_until(moment)
        woken.append(moment)

    waits = [gevent.spawn(wait, start + seconds) for seconds in (60.0, 0.06, 0.02, 0.04)]
    gevent.joinall(waits[1:], raise_error=True, timeout=5)
    assert woken == [start + 0.02, start + 0.04, start + 0.06]
    waits[0].kill()
    assert not pacer._waiting


def test_a_wait_or_a_pause_can_be_ended_alone(pacer: Any) -> None:
    far = time.perf_counter() + 60.0
    waits = [gevent.spawn(pacer.wait_until, far), gevent.spawn(pacer.pause, 60.0), gevent.spawn(pacer.wait_until, far)]
    gevent.sleep(0.02)
    for each in waits[:2]:
        pacer.release(each)
    gevent.joinall(waits, timeout=0.5)
    assert [each.dead for each in waits] == [True, True, False]
    assert [each.value for each in waits[:2]] == [False, False]
    assert pacer.wait_until(time.perf_counter() + 0.001)
    pacer.stop()
    waits[2].join(timeout=5)


def test_the_latest_wait_is_ended_if_it_is_late_enough(pacer: Any) -> None:
    far = time.perf_counter() + 60.0
    waits = [gevent.spawn(pacer.wait_until, far + second) for second in range(3)]
    gevent.sleep(0.02)
    pacer.release_latest(far + 2)
    gevent.sleep(0.02)
    assert not any(each.dead for each in waits)
    pacer.release_latest(far + 1)
    gevent.sleep(0.02)
    assert [each.dead for each in waits] == [False, False, True]
    gevent.killall(waits)


class Counted(float):
    """A moment that counts what it is compared with."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return float(self) == other

    def __lt__(self, other: float) -> bool:
        Counted.compared += 1
        return float(self) < other

    def __neg__(self) -> "Counted":
        return Counted(-float(self))

    __hash__ = float.__hash__


@pytest.mark.parametrize("way", ["release", "release_latest", "kill", "killed while one asks for the latest"])
def test_ending_many_waits_costs_little_each(way: str, pacer: Any) -> None:
    """10,000 users that left took the event loop nine seconds, in which no request was sent."""
    far = time.perf_counter() + 600.0
    waits = [gevent.spawn(pacer.wait_until, Counted(far + index % 100)) for index in range(10_000)]
    gevent.sleep(0)
    Counted.compared = 0
    for each in waits:
        if way == "release":
            pacer.release(each)
        elif way == "release_latest":
            pacer.release_latest(far - 1.0)
        else:
            each.kill()
        if way.startswith("killed"):
            pacer.release_latest(far + 1000.0)
    gevent.joinall(waits, timeout=60)
    assert all(each.dead for each in waits)
    assert not pacer._waiting
    # A step of a heap of 10,000 takes 14 comparisons of two kinds on its way down, and as many up.
    assert Counted.compared < 100 * len(waits)


def test_waits_that_were_ended_are_not_kept(pacer: Any) -> None:
    """Users that come and go for hours, beside one that waits; some ask for the latest."""
    near = gevent.spawn(pacer.wait_until, time.perf_counter() + 300.0)
    for turn in range(1000):
        user = gevent.spawn(pacer.wait_until, time.perf_counter() + 600.0)
        gevent.sleep(0)
        if turn % 10:
            pacer.release(user)
        else:
            pacer.release_latest(time.perf_counter() + 500.0)
        user.join(timeout=5)
        assert user.value is False
        assert len(pacer._waiting) < 100
        assert len(pacer._latest or []) < 100
    assert not near.dead
    near.kill()


def test_the_latest_is_that_of_those_that_wait_now(pacer: Any) -> None:
    far = time.perf_counter() + 60.0
    waits = [gevent.spawn(pacer.wait_until, far + second) for second in range(5)]
    gevent.sleep(0)
    pacer.release_latest(far)
    # One that ended otherwise, one that was killed, and one that came after the last was asked for.
    pacer.release(waits[3])
    waits[2].kill()
    waits.append(gevent.spawn(pacer.wait_until, far + 9))
    gevent.sleep(0)
    pacer.release_latest(far)
    pacer.release_latest(far)
    gevent.joinall(waits[1:], timeout=5)
    assert [each.dead for each in waits] == [False, True, True, True, True, True]
    waits[0].kill()


def test_a_killed_waiter_does_not_hold_up_the_next(pacer: Any) -> None:
    start = time.perf_counter()
    first = gevent.spawn(pacer.wait_until, start + 0.03)
    second = gevent.spawn(pacer.wait_until, start + 0.05)
    gevent.sleep(0)
    first.kill()
    second.join(timeout=5)
    assert second.value is True


def test_a_pause_passes(pacer: Any) -> None:
    assert pacer.pause(0.001)
