"""How long a command will take, from what it has measured: nothing is known at first."""

from typing import Final

_WINDOW: Final = 0.5
"""Seconds in which results count as one: many come at once, and the first of all have waited for a warm-up."""
_LEAST: Final = 1.0
"""Fewest seconds between two such moments that say how fast it goes."""


class TimeLeft:
    """The rate between the ends of the first and the latest burst of results, and what follows from it.

    Times are those of one clock, seconds.
    """

    def __init__(self) -> None:
        self._opened: float | None = None
        self._last = (0.0, 0.0)
        self._ends: list[tuple[float, float]] = []

    def reach(self, completed: float, now: float) -> None:
        """Notes that so much is done."""
        self._close(now)
        if self._opened is None:
            self._opened = now
        self._last = now, completed

    def seconds(self, total: float | None, now: float) -> float | None:
        """Seconds until `total` is done; None while that is not known."""
        self._close(now)
        if total is None or len(self._ends) < 2:
            return None
        (begun, before), (ended, after) = self._ends
        if ended - begun < _LEAST or after <= before:
            return None
        return max(total - self._last[1], 0.0) * (ended - begun) / (after - before)

    def _close(self, now: float) -> None:
        """Ends a burst that has lasted long enough."""
        if self._opened is not None and now - self._opened >= _WINDOW:
            self._ends[1:] = [self._last]
            self._opened = None
