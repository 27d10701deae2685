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
