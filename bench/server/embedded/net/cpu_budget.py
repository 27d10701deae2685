"""The CPU time of a server that one connection may take without asking for anything worth it."""

import time
from collections.abc import Callable
from typing import Final

SHARE: Final = 0.1
"""Of a core."""

# Seconds that a connection may take at once, and that it may owe at most: a tenth of a second is owed for one.
_MOST: Final = 1e-3
_LEAST: Final = -0.1


class CpuBudget:
    """What is left to a connection: it grows by `SHARE` of the time.

    Args:
        clock: seconds.
    """

    __slots__ = ("_clock", "_last", "_left")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last, self._left = clock(), _MOST

    def spend(self, seconds: float) -> float:
        """Takes CPU seconds, or gives some if negative; those that are missing now."""
        now = self._clock()
        grown = min(self._left + SHARE * (now - self._last), _MOST)
        self._left, self._last = min(max(grown - seconds, _LEAST), _MOST), now
        return max(-self._left, 0.0)
