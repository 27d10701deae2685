"""Connections whose bytes cost more than they ask for are left alone for a while.

The frames of a flood cost a thread as much as calls do, and ask for nothing. Their connections rest after them, each
for as long as it takes to earn what it owes. Where many do, they go on one after the other, those that owe the least
first, so that all together take `SHARE` of a core.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Final

from bench.server.embedded.base.status import PrintedFaults
from bench.server.embedded.net.connection import Connection
from bench.server.embedded.net.connection_table import ConnectionTable
from bench.server.embedded.net.cpu_budget import SHARE

# CPU seconds of taking up a connection, for one that violates the protocol: others take its place at once.
_TAKEN_UP: Final = 5e-4


class Rests:
    """Lets connections rest, in a thread of its own.

    Args:
        name: the thread's name.
        table: the connections, of which one that rests may be closed.
        over: called with a connection whose rest is over.
    """

    def __init__(self, name: str, table: ConnectionTable, over: Callable[[Connection], None]) -> None:
        self._table = table
        self._over = over
        self._number = itertools.count()
        # (when it has earned what it owes, number, seconds owed, connection), and those that have, by what they owe.
        self._resting: list[tuple[float, int, float, Connection]] = []
        self._rested: list[tuple[float, int, Connection]] = []
        # When all together have earned what the last one took up.
        self._free = 0.0
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

    def rest(self, connection: Connection, spent: float, violated: bool = False) -> bool:
        """Whether a connection rests after a turn; if it does, the caller leaves it alone.

        Args:
            connection: no other thread reads it.
            spent: CPU seconds that its newest bytes cost.
            violated: whether it is about to close since it violates the protocol.
        """
        owed = connection.budget.spend(spent - connection.protocol.earned() + _TAKEN_UP * violated)
        if not owed:
            return False
        self._table.rest(connection)
        with self._changed:
            if not self._ended:
                heapq.heappush(self._resting, (time.monotonic() + owed / SHARE, next(self._number), owed, connection))
                self._changed.notify()
                return True
        self._wake(connection)
        return True

    def _work(self) -> None:
        while (connection := self._next()) is not None:
            self._wake(connection)

    def _wake(self, connection: Connection) -> None:
        with PrintedFaults():
            if self._table.wake(connection):
                self._over(connection)

    def _next(self) -> Connection | None:
        """The next connection whose rest is over, once it is; None at the end."""
        with self._changed:
            while not self._ended:
                now = time.monotonic()
                while self._resting and self._resting[0][0] <= now:
                    _, number, seconds, connection = heapq.heappop(self._resting)
                    heapq.heappush(self._rested, (seconds, number, connection))
                if self._rested and self._free <= now:
                    seconds, _, connection = heapq.heappop(self._rested)
                    self._free = now + seconds / SHARE
                    return connection
                moments = [self._resting[0][0]] if self._resting else []
                moments += [self._free] if self._rested else []
                self._changed.wait(min(moments) - now if moments else None)
            waiting = self._rested or self._resting
            return waiting.pop()[-1] if waiting else None
