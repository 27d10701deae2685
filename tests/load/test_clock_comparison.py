"""Clocks that differ by known amounts, and answers that take known times."""

import re
import time

import pytest

from bench.load.engine.clock_comparison import FIRST, ClockDifference, WorkerClock, answer, difference, question


class Clocks:
    """Both clocks of a machine, as they stand at a moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def set(self, perf: float, day: float) -> None:
        """Sets `time.perf_counter` and `time.time`."""
        self._monkeypatch.setattr(time, "perf_counter", lambda: perf)
        self._monkeypatch.setattr(time, "time", lambda: day)


@pytest.mark.parametrize(("there", "back"), [(0.001, 0.001), (0.0, 0.004), (0.03, 0.0)])
def test_the_difference_is_right_within_its_bound(there: float, back: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever share of the time the question took, and the answer."""
    clocks = Clocks(monkeypatch)
    clocks.set(100.0, 5000.0)
    asked = question("run", 3)
    clocks.set(100.0 + there + 2.0, 5000.0 + there - 7.0)
    answered = answer(asked)
    clocks.set(100.0 + there + back, 5000.0 + there + back)
    found = difference(answered)
    assert answered["worker"] == 3
    assert found.bound == pytest.approx((there + back) / 2)
    assert abs(found.offset - 2.0) <= found.bound + 1e-9
    assert abs(found.day + 7.0) <= found.bound + 1e-9


def clock(*found: ClockDifference) -> WorkerClock:
    made = WorkerClock()
    for one in found:
        made.add(one)
    return made


def test_the_start_is_told_by_the_fastest_answer() -> None:
    known = clock(ClockDifference(2.01, 0.0, 0.02), ClockDifference(2.0001, 0.0, 0.0002))
    assert known.moment(50.0) == 52.0001


def test_processes_of_one_machine_share_a_clock() -> None:
    """A difference within its bound is none: the comparison is worse than the shared clock."""
    assert clock(ClockDifference(0.0001, 0.0, 0.0002)).moment(50.0) == 50.0


def test_comparisons_after_the_start_change_no_moment() -> None:
    known = clock(*[ClockDifference(2.0, 0.0, 0.001)] * FIRST, ClockDifference(9.0, 0.0, 0.0001))
    assert known.settled
    assert known.moment(50.0) == 52.0


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [
        (ClockDifference(0.0, 0.0, 0.001), ClockDifference(0.0, 0.0, 0.001), ""),
        (ClockDifference(900.0, 0.002, 0.001), ClockDifference(900.001, 0.002, 0.001), ""),
        (ClockDifference(2.0, 2.0003, 0.0004), ClockDifference(2.0, 2.0003, 0.0004), "is 2.0003 s ahead of .* 400 µs"),
        (ClockDifference(-2.0, -2.0, 0.0004), ClockDifference(-2.0, -2.0, 0.0004), "is 2 s behind the master's"),
        (ClockDifference(1.0, 0.0, 0.001), ClockDifference(1.05, 0.0, 0.001), "drifted by 50 ms in the run"),
        (ClockDifference(1.0, 0.0, 0.05), ClockDifference(1.0, 0.0, 0.05), "is known to 50 ms only"),
    ],
)
def test_what_is_reported(first: ClockDifference, last: ClockDifference, says: str) -> None:
    note = clock(*[first] * FIRST, *[last] * FIRST).note("worker 1")
    assert re.search(says, note)
    assert bool(note) == bool(says)


def test_a_clock_that_was_never_compared_is_named() -> None:
    assert not WorkerClock().known
    assert "could not be compared" in WorkerClock().note("worker 2")
