"""The CPU time of a server that one connection may take without asking for anything worth it."""

import time
from collections.abc import Callable
from typing import Final

SHARE: Final = 0.1
"""Of a core."""

# Seconds that a connection may take at once, and that it may owe at most: a tenth of a second is owed for one.
_MOST: Final = 1e-3
_LEAST: Final = -0.1
ON_TRUST: Final = 1 << 20
"""Bytes of requests of a connection that earn something before these are complete."""


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


class ByteEarnings:
    """What the bytes of a connection's requests earn.

    A request that never ends asks for nothing: beyond some on trust, its bytes earn once it is complete.

    Args:
        seconds: CPU seconds that a byte earns.
    """

    __slots__ = ("_counted", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._counted = 0

    def take(self, received: int, complete: int) -> float:
        """CPU seconds earned since the last call.

        Args:
            received: bytes of requests so far.
            complete: those of them that belong to complete requests.
        """
        before, self._counted = self._counted, min(received, complete + ON_TRUST)
        return self._seconds * (self._counted - before)
