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
