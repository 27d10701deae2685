"""The threads of a run: simulated sessions, whose runs take the time of a simulated clock."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from bench.server.embedded.base.status import Code, StatusError, invalid_argument
from bench.server.embedded.runtime import inline_threads, model_runtime
from bench.server.embedded.runtime.model_runtime import ModelRuntime
from bench.server.embedded.runtime.session import Feeds
from bench.server.embedded.runtime.tensors import Tensor

DT_FLOAT = 1
Seconds = Callable[[int, bool], float]


class Clock:
    """Stands in for the module `time`."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Simulated:
    """A session whose runs take `seconds(elements, inline)`; records how each one ran."""

    def __init__(self, clock: Clock, seconds: Seconds) -> None:
        self._clock = clock
        self._seconds = seconds
        self.inline: list[bool] = []
        self.closed = False
        self.during: Callable[[], None] = lambda: None
        self.refuses = False

    def run(
        self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int | None = None, inline: bool = False
    ) -> list[Tensor]:
        if self.refuses:
            raise invalid_argument("no")
        self.inline.append(inline)
        self._clock.now += self._seconds(feeds[0][1].size, inline)
        during, self.during = self.during, lambda: None
        during()
        return [tensor for _, tensor in feeds]

    def close(self) -> None:
        self.closed = True


def request(elements: int) -> Feeds:
    return [("x:0", Tensor(DT_FLOAT, (elements,), np.zeros(elements, np.float32)))]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(model_runtime, "time", clock)
    monkeypatch.setattr(model_runtime, "_CORES", 2)
    monkeypatch.setattr(inline_threads._local, "allowed", True, raising=False)
    return clock


def small_is_faster_inline(elements: int, inline: bool) -> float:
    handing_over = 0.0 if inline else 0.001
    spread = 1.0 if inline else 0.6
    return handing_over + spread * elements * 1e-5


def warmed(clock: Clock, seconds: Seconds, *sizes: int, budget: float = 60.0) -> tuple[ModelRuntime, Simulated]:
    session = Simulated(clock, seconds)
    runtime = ModelRuntime(session)
    for size in sizes:
        runtime.run(request(size), ["y:0"])
    runtime.settle(budget)
    session.inline.clear()
    return runtime, session


@pytest.mark.parametrize(("elements", "inline"), [(16, True), (128, True), (2048, False)])
def test_a_run_goes_where_its_like_answered_sooner_in_the_warm_up(clock: Clock, elements: int, inline: bool) -> None:
    runtime, session = warmed(clock, small_is_faster_inline, 16, 128, 2048)
    runtime.run(request(elements), ["y:0"])
    assert session.inline == [inline]


@pytest.mark.parametrize(("elements", "inline"), [(100, True), (500, True), (3000, False), (20, False)])
def test_what_was_measured_holds_for_nearly_as_many_elements(clock: Clock, elements: int, inline: bool) -> None:
    # 20 elements are more than two doublings away from 128, of which nothing follows for them.
    runtime, session = warmed(clock, small_is_faster_inline, 128, 2048)
    runtime.run(request(elements), ["y:0"])
    assert session.inline == [inline]


def test_other_tensors_are_a_matter_of_their_own(clock: Clock) -> None:
    runtime, session = warmed(clock, small_is_faster_inline, 16)
    runtime.run(request(16), ["z:0"])
    assert session.inline == [False]


def test_without_a_warm_up_runs_are_handed_to_the_sessions_threads(clock: Clock) -> None:
    runtime, session = warmed(clock, small_is_faster_inline)
    for _ in range(3):
        runtime.run(request(16), ["y:0"])
    assert session.inline == [False] * 3


def test_with_a_run_for_every_core_a_short_run_keeps_to_its_thread(clock: Clock) -> None:
    runtime, session = warmed(clock, lambda elements, inline: 0.001 + 0.001 * inline, 16)

    def second() -> None:
        session.during = lambda: runtime.run(request(16), ["y:0"]) and None  # type: ignore[assignment]
        runtime.run(request(16), ["y:0"])

    session.during = second
    runtime.run(request(16), ["y:0"])
    assert session.inline == [False, False, True]


def test_only_some_threads_run_models_themselves(clock: Clock) -> None:
    runtime, session = warmed(clock, small_is_faster_inline, 16)
    allow = inline_threads.allow_first(2)

    def run_twice() -> None:
        allow()
        for _ in range(2):
            runtime.run(request(16), ["y:0"])

    for _ in range(3):
        thread = threading.Thread(target=run_twice)
        thread.start()
        thread.join()
    assert session.inline == [True, True, True, True, False, False]


def test_a_run_that_may_come_near_its_limit_stays_where_it_can_be_stopped(clock: Clock) -> None:
    runtime, session = warmed(clock, small_is_faster_inline, 16)
    runtime.run(request(16), ["y:0"], timeout_ms=30_000)
    runtime.run(request(16), ["y:0"], timeout_ms=1)
    assert session.inline == [True, False]


def test_an_inline_run_that_took_too_long_is_late(clock: Clock) -> None:
    runtime, session = warmed(clock, small_is_faster_inline, 16)

    def hold() -> None:
        clock.now += 10.0

    session.during = hold
    with pytest.raises(StatusError) as raised:
        runtime.run(request(16), ["y:0"], timeout_ms=1000)
    assert raised.value.code is Code.DEADLINE_EXCEEDED
    assert session.inline == [True]


def test_measuring_ends_with_its_budget_and_leaves_the_rest_alone(clock: Clock) -> None:
    runtime, session = warmed(clock, small_is_faster_inline, 16, 128, budget=0.026)
    runtime.run(request(16), ["y:0"])
    runtime.run(request(128), ["y:0"])
    assert session.inline == [True, False]


def test_a_run_after_one_of_the_other_kind_does_not_count(clock: Clock) -> None:
    """In service each follows one of its own kind; measured in turn, the slower kind won."""
    session = Simulated(clock, lambda elements, inline: 0.0)
    session._seconds = lambda elements, inline: 0.002 if session.inline[-2:] == [True, False] else 0.001 + 1e-4 * inline
    runtime = ModelRuntime(session)
    for _ in range(2):
        runtime.run(request(16), ["y:0"])
    runtime.settle(60.0)
    runtime.run(request(16), ["y:0"])
    assert session.inline[-1] is False


@pytest.mark.parametrize(("gain", "inline"), [(0.04, False), (0.06, True)])
def test_a_run_leaves_the_sessions_threads_only_where_that_is_clearly_faster(
    clock: Clock, gain: float, inline: bool
) -> None:
    runtime, session = warmed(clock, lambda elements, inline: 0.001 * (1 - gain * inline), 16)
    runtime.run(request(16), ["y:0"])
    assert session.inline == [inline]


def test_long_runs_are_not_measured(clock: Clock) -> None:
    session = Simulated(clock, lambda elements, inline: 0.2)
    runtime = ModelRuntime(session)
    runtime.run(request(16), ["y:0"])
    runtime.settle(60.0)
    assert len(session.inline) == 2
    runtime.run(request(16), ["y:0"])
    assert session.inline[-1] is False


def test_a_request_that_the_model_refuses_later_does_not_end_the_loading(clock: Clock) -> None:
    session = Simulated(clock, small_is_faster_inline)
    runtime = ModelRuntime(session)
    runtime.run(request(16), ["y:0"])
    session.refuses = True
    runtime.settle(60.0)
    runtime.close()
    assert session.closed
