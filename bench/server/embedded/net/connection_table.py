"""The connections of a server: which may be read, which wait for their clients, and the bytes that they hold."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.server.embedded.net.connection import CloseConnectionError, Connection

# Bytes of requests that a connection holds without being counted.
_SMALL: Final = 1 << 16
# Seconds that an idle connection stays open when the server stops: a client that is just sending a request gets its
# answer, with `Connection: close`.
_LINGER: Final = 0.5


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What the clients of a server may take up.

    Args:
        connections: connections; one more closes the one that has been unused the longest.
        held_bytes: bytes of requests and answers in memory, without those of connections that hold 64 KiB or less.
        stuck_seconds: seconds that a client may take none of the output that waits for it.
        stuck_seconds_at_stop: the same while the server stops.
    """

    connections: int = 4096
    held_bytes: int = 128 << 20
    stuck_seconds: float = 30.0
    stuck_seconds_at_stop: float = 2.0


DEFAULT_LIMITS: Final = SocketLimits()


class ConnectionTable:
    """The connections of a server.

    Args:
        limits: what they may take up.
    """

    def __init__(self, limits: SocketLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        # Those used last are at the end.
        self._connections: dict[int, Connection] = {}
        self._held = 0

    def add(self, connection: Connection, watch: Callable[[], None]) -> None:
        """Adds a new connection, and has it watched; one that cannot be is closed."""
        with self._lock:
            self._connections[connection.number] = connection
        try:
            watch()
        except (OSError, ValueError):
            # Another one needed its place meanwhile, or the system has no room to watch it.
            self.remove(connection)
            connection.close()

    def all(self) -> list[Connection]:
        """All connections, those used last at the end."""
        with self._lock:
            return list(self._connections.values())

    def full(self) -> bool:
        """Whether there are as many as may be."""
        return len(self._connections) >= self._limits.connections

    def reserve(self, number: int) -> Connection | None:
        """The connection of a descriptor, reserved for the calling thread; None if it is not to be read now.

        An event may be one of a connection that is closed, and whose number a newer one has, which another thread
        reads.
        """
        with self._lock:
            connection = self._connections.get(number)
            if connection is None or connection.busy or connection.paused or connection.resting:
                return None
            # Those used last are at the end.
            del self._connections[number]
            self._connections[number] = connection
            connection.busy = True
            return connection

    def remove(self, connection: Connection) -> None:
        """Removes a connection, which is about to close."""
        with self._lock:
            if self._connections.get(connection.number) is connection:
                self._remove(connection)

    def take_free(self, wanted: Callable[[Connection], bool], most: int | None = None) -> list[Connection]:
        """Removes connections that no thread uses, for the caller to close; those unused the longest come first."""
        with self._lock:
            free = (one for one in self._connections.values() if not one.busy and wanted(one))
            found = list(itertools.islice(free, most))
            for connection in found:
                self._remove(connection)
            return found

    def evict(self) -> bool:
        """Closes a connection without a request in progress, the one unused the longest; whether there was one."""
        victims = self.take_free(lambda one: one.protocol.idle(), most=1)
        for victim in victims:
            victim.close()
        return bool(victims)

    def close_idle(self) -> bool:
        """Closes connections that have been idle or stuck for a while; whether none is left."""
        now, patience = time.monotonic(), self._limits.stuck_seconds_at_stop
        for connection in self.take_free(lambda one: _is_idle(one, now) or one.stuck_for(now) > patience):
            connection.close()
        return not self._connections

    def stuck(self) -> list[Connection]:
        """Connections whose clients take nothing."""
        now = time.monotonic()
        return [connection for connection in self.all() if connection.stuck_for(now) > self._limits.stuck_seconds]

    def pause(self, connection: Connection) -> bool:
        """Leaves a connection alone until its output is taken; False if that has happened."""
        with self._lock:
            connection.paused = connection.backlogged() or (connection.closing and connection.unsent > 0)
            connection.busy = not connection.paused
            return connection.paused

    def resume(self, connection: Connection) -> bool:
        """Reserves a paused connection for the calling thread; False if it was not paused."""
        with self._lock:
            paused = connection.paused and self._connections.get(connection.number) is connection
            if paused:
                connection.paused, connection.busy = False, True
            return paused

    def rest(self, connection: Connection) -> None:
        """Leaves a connection alone until `wake`, or until another one needs its place."""
        with self._lock:
            connection.resting, connection.busy = True, False
            # One that is about to close has dropped its requests.
            self._count(connection)

    def wake(self, connection: Connection) -> bool:
        """Reserves a resting connection for the calling thread; False if it is closed."""
        with self._lock:
            here = connection.resting and self._connections.get(connection.number) is connection
            if here:
                connection.resting, connection.busy = False, True
            return here

    def count(self, connection: Connection) -> None:
        """Counts the bytes that a connection holds; output that its client has not taken goes if they are too many.

        Raises:
            CloseConnectionError: they are too many for the server.
        """
        with self._lock:
            more = self._count(connection)
            too_many = more > 0 and self._held > self._limits.held_bytes
        if too_many:
            connection.discard()
            raise CloseConnectionError(connection.protocol.overloaded())

    def _count(self, connection: Connection) -> int:
        """Counts a connection anew; how many bytes more it holds.

        Needs the lock: what another thread releases meanwhile would be counted for good.
        """
        if self._connections.get(connection.number) is not connection:
            return 0
        held = connection.protocol.held()
        before, connection.counted = connection.counted, held if held > _SMALL else 0
        self._held += connection.counted - before
        return connection.counted - before

    def _remove(self, connection: Connection) -> None:
        del self._connections[connection.number]
        self._held -= connection.counted
        connection.counted = 0


def _is_idle(connection: Connection, now: float) -> bool:
    undelivered = connection.unsent or connection.owed_since is not None
    unused = now - connection.last_used > _LINGER and not undelivered
    return unused and connection.protocol.idle() and connection.silent()
