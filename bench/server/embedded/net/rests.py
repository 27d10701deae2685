"""Connections whose bytes cost more than they ask for are left alone for a while.

The frames of a flood cost a thread as much as calls do, and ask for nothing. Their connection rests after them, so that
all such connections together take about `SHARE` of a core.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Final

from bench.server.embedded.net.connection import Connection
from bench.server.embedded.net.cpu_budget import SHARE

# CPU seconds of taking up a connection, for one that violates the protocol: others take its place at once.
_TAKEN_UP: Final = 5e-4
_LONGEST: Final = 1.0


class Rests:
    """Lets connections rest, in a thread of its own.

    Args:
        name: the thread's name.
        over: called with a connection whose rest is over.
    """

    def __init__(self, name: str, over: Callable[[Connection], None]) -> None:
        self._over = over
        self._resting: list[tuple[float, int, Connection]] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Ends all rests, then the thread, and waits for it."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(timeout)

    def rests(self, connection: Connection, spent: float, violated: bool = False) -> bool:
        """Whether a connection rests; if it does, the caller leaves it alone.

        Args:
            connection: no thread uses it meanwhile.
            spent: CPU seconds that its newest bytes cost.
            violated: whether it is about to close since it violates the protocol.
        """
        missing = connection.budget.spend(spent - connection.protocol.earned() + _TAKEN_UP * violated)
        if not missing:
            return False
        with self._changed:
            if self._ended:
                return False
            seconds = missing / SHARE * (len(self._resting) + 1)
            due = time.monotonic() + min(seconds, _LONGEST)
            heapq.heappush(self._resting, (due, next(self._number), connection))
            if self._resting[0][2] is connection:
                self._changed.notify()
        return True

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._ended and not (self._resting and self._resting[0][0] <= time.monotonic()):
                    self._changed.wait(self._resting[0][0] - time.monotonic() if self._resting else None)
                if not self._resting:
                    return
                connection = heapq.heappop(self._resting)[2]
            self._over(connection)
