"""The clocks of the load generator's processes, compared over the run.

The master asks each worker for its time and takes the middle of question and answer for the moment that it names, as
NTP does (RFC 5905, section 8): the difference of the clocks is known to half the time between the two. The answer that
came fastest is the best. The start of the run is told to each worker in its own time, so that all begin together
wherever they run; differences of the clocks of day are reported.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.core.units import format_seconds

FIRST: Final = 10
"""Comparisons before the start, in quick succession."""
# Seconds. Smaller differences of the clocks of day matter to nobody who reads logs beside a run...
_NOTED: Final = 0.01
# ...and a smaller drift moves no request in a chart of seconds.
_DRIFT_NOTED: Final = 0.005
# Twice that of an answer that waits for a busy event loop: the start of the run is uncertain by as much.
_UNCERTAIN: Final = 0.02


@dataclass(frozen=True, slots=True)
class ClockDifference:
    """One comparison of a worker's clocks with the master's.

    Args:
        offset: `time.perf_counter` of the worker less that of the master, seconds.
        day: the same of `time.time`.
        bound: the largest error of both, half the time between question and answer, seconds.
    """

    offset: float
    day: float
    bound: float


def question(run: str, worker: int) -> dict[str, Any]:
    """The master's message."""
    return {"run": run, "worker": worker, "sent": time.perf_counter()}


def answer(message: Mapping[str, Any]) -> dict[str, Any]:
    """The worker's message, to be sent at once."""
    return {**message, "perf": time.perf_counter(), "day": time.time()}


def difference(message: Mapping[str, Any]) -> ClockDifference:
    """The difference of the clocks that an answer shows; to be called when it comes."""
    now, day = time.perf_counter(), time.time()
    half = (now - float(message["sent"])) / 2
    return ClockDifference(float(message["perf"]) - (now - half), float(message["day"]) - (day - half), half)


class WorkerClock:
    """What is known of a worker's clock.

    Attributes:
        asked: whether a question is on its way. Before the start the next one waits for its answer: a worker that is
            busy with its plan would answer all of them late.
    """

    def __init__(self) -> None:
        self.asked = False
        self._first: list[ClockDifference] = []
        self._last: list[ClockDifference] = []

    @property
    def known(self) -> bool:
        """Whether the run can be started by it."""
        return bool(self._first)

    @property
    def settled(self) -> bool:
        """Whether the comparisons before the start are complete."""
        return len(self._first) == FIRST

    def add(self, found: ClockDifference) -> None:
        """Takes a comparison."""
        self.asked = False
        if not self.settled:
            self._first.append(found)
        self._last = [*self._last[1 - FIRST :], found]

    def moment(self, of_master: float) -> float:
        """A moment of the master's `time.perf_counter` on the worker's. Processes of one machine share a clock."""
        best = _best(self._first)
        return of_master if abs(best.offset) <= best.bound else of_master + best.offset

    def note(self, name: str) -> str:
        """A line for the run's report; "" where the clocks agree and the comparison was good."""
        if not self._first:
            return (
                f"the clock of {name} could not be compared with the master's; its start is later by the transmission"
            )
        first, last = _best(self._first), _best(self._last)
        parts = []
        if abs(first.day) > _NOTED + first.bound:
            ahead = "ahead of" if first.day > 0 else "behind"
            parts.append(
                f"is {format_seconds(abs(first.day), 5)} {ahead} the master's (± {format_seconds(first.bound)}), which "
                "the run's times do not show"
            )
        drift = last.offset - first.offset
        if abs(drift) > _DRIFT_NOTED + first.bound + last.bound:
            parts.append(
                f"drifted by {format_seconds(abs(drift))} in the run: its requests are off by so much in charts"
            )
        if first.bound > _UNCERTAIN:
            parts.append(f"is known to {format_seconds(first.bound)} only: the run began that much apart there")
        return f"the clock of {name} {', and '.join(parts)}" if parts else ""


def _best(found: list[ClockDifference]) -> ClockDifference:
    return min(found, key=lambda one: one.bound)
