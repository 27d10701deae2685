"""A client's connection, whose output never waits for the client, and the thread that sends what was not taken."""

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bench.server.embedded.base.status import PrintedFaults
from bench.server.embedded.net.cpu_budget import CpuBudget
from bench.serving.http2.buffers import trimmed

CHUNK: Final = 1 << 16
# Reads of a connection that closes. Bytes left unread make the system send a reset, which discards an answer that is
# still in transit; a client that sends without end gets that.
_LAST_READS: Final = 16
_TICK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """A request that is complete.

    Args:
        run: answers it; returns whether the connection stays open.
        brief: whether that takes less than a millisecond of Python, and no model.
    """

    run: Callable[[], bool]
    brief: bool = False


class ConnectionProtocol(Protocol):
    """Interprets the bytes of one connection.

    Attributes:
        concurrent: whether the connection may be read while a job runs.
        most_unsent: bytes of output that the client may leave unread and still be read from.
    """

    concurrent: bool
    most_unsent: int

    def received(self, data: bytes) -> Sequence[Job]:
        """Takes bytes; the requests that they complete.

        Without `concurrent` it is one job at most, and an empty `data` gives the next one of bytes taken before.

        Raises:
            CloseConnectionError: the connection must close.
        """

    def held(self) -> int:
        """Bytes in memory: of incomplete and unanswered requests, and of undelivered answers."""

    def earned(self) -> float:
        """CPU seconds that reading what the client has sent since the last call may cost.

        Requests and their bytes earn some, and what they cost and gains nothing is subtracted.
        """

    def overloaded(self) -> bytes:
        """The last bytes of a connection that closes because the server holds too many bytes."""

    def draining(self) -> None:
        """The server stops: requests in progress are still answered."""

    def idle(self) -> bool:
        """Whether no complete request is without its answer."""

    def closed(self) -> None:
        """The connection has closed."""


class CloseConnectionError(Exception):
    """The connection must close.

    Args:
        closing_message: the last bytes to send on it.
    """

    def __init__(self, closing_message: bytes) -> None:
        super().__init__(closing_message)
        self.closing_message = closing_message


class _Closed:
    """The protocol of a connection that is closed: with its own, the two would stay in memory for each other."""

    concurrent = True
    most_unsent = 0

    def received(self, data: bytes) -> Sequence[Job]:
        raise CloseConnectionError(b"")

    def held(self) -> int:
        return 0

    def earned(self) -> float:
        return 0.0

    def overloaded(self) -> bytes:
        return b""

    def draining(self) -> None:
        pass

    def idle(self) -> bool:
        return True

    def closed(self) -> None:
        pass


_CLOSED: Final = _Closed()


class Connection:
    """A client's connection; at most one thread reads it at a time.

    Args:
        accepted: its socket, which does not block.
        slow: sends on what the client does not take at once.

    Attributes:
        busy: whether a thread reads it, or is about to.
        paused: whether it is read again only once the client has taken its output.
        resting: whether it is left alone because its bytes cost more than they asked for.
        closing: whether it closes once the client has taken its output.
        ended: whether the client has closed its side.
        owed_since: reading of `time.monotonic` since which the client has not let the protocol send output that it
            holds; None without such output.
        last_used: reading of `time.monotonic` when it was last read from.
        last_progress: as `last_used`, when the client last took output.
        counted: bytes that the server's total of held bytes contains for it.
        forgotten: whether its output is dropped, as it is about to close.
        budget: what is left of the time that its bytes may cost.
    """

    def __init__(self, accepted: socket.socket, slow: "SlowClients") -> None:
        self.socket = accepted
        self.number = accepted.fileno()
        self.protocol: ConnectionProtocol
        self.busy = self.paused = self.resting = self.closing = self.ended = self.forgotten = False
        self.owed_since: float | None = None
        self.last_used = self.last_progress = time.monotonic()
        self.counted = 0
        self.budget = CpuBudget()
        self._slow = slow
        self._sending = threading.Lock()
        self._rest: deque[memoryview] = deque()
        self._discarded = False
        self.unsent = 0

    def send(self, data: bytes) -> None:
        """Sends what the client takes now, and the rest as it reads on; does not wait.

        Raises:
            OSError: the client has gone, or its output was discarded.
        """
        with self._sending:
            if self._discarded:
                raise ConnectionAbortedError
            if self._rest:
                self._rest.append(memoryview(data))
                self.unsent += len(data)
                return
            rest = self._taken(memoryview(data))
            if not rest:
                return
            self._rest.append(trimmed(rest))
            # Not before: as long as nothing waits here, no one looks at the connection again on account of it.
            self.unsent = len(rest)
            self.last_progress = time.monotonic()
        self._slow.add(self)

    def flush(self) -> bool:
        """Sends more of the output; whether all of it is sent.

        Raises:
            OSError: the client has gone.
        """
        with self._sending:
            while self._rest:
                part = self._rest.popleft()
                rest = self._taken(part)
                if len(rest) < len(part):
                    self.last_progress = time.monotonic()
                    self.unsent -= len(part) - len(rest)
                if rest:
                    self._rest.appendleft(trimmed(rest))
                    return False
            return True

    def discard(self) -> None:
        """Drops output that the client has not taken; nothing can be sent after a part of it."""
        with self._sending:
            if self._rest:
                self._discarded = True
                self._rest.clear()
                self.unsent = 0

    def _taken(self, data: memoryview) -> memoryview:
        """Sends what the client takes now; the rest."""
        try:
            while data:
                data = data[self.socket.send(data) :]
        except BlockingIOError:
            pass
        except OSError:
            self._rest.clear()
            self.unsent = 0
            raise
        return data

    def backlogged(self) -> bool:
        """Whether the client has so much output to take that it is not read from."""
        return self.unsent > self.protocol.most_unsent

    def stuck_for(self, now: float) -> float:
        """Seconds that the client has taken none of the output that waits for it; 0 without such output."""
        since = min(self.last_progress if self.unsent else now, now if self.owed_since is None else self.owed_since)
        return now - since

    def silent(self) -> bool:
        """Whether there is nothing to read."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def shut_down(self) -> None:
        """Ends both directions; whoever reads the connection next sees its end."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the connection."""
        self._slow.remove(self)
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            for _ in range(_LAST_READS):
                if not self.socket.recv(CHUNK):
                    break
        self.socket.close()
        self.protocol.closed()
        self.protocol = _CLOSED


class SlowClients:
    """One thread that sends to all clients that did not take their output at once.

    Args:
        name: the thread's name.
        drained: called with a connection all of whose output is sent.
        gone: called with a connection whose client has gone.
        tick: called about once a second.
        patience: seconds after which a client that takes nothing is noticed by `tick`.
    """

    def __init__(
        self,
        name: str,
        drained: Callable[[Connection], None],
        gone: Callable[[Connection], None],
        tick: Callable[[], None],
        patience: float,
    ) -> None:
        self._drained = drained
        self._gone = gone
        self._tick = tick
        self._tick_seconds = min(_TICK_SECONDS, patience)
        self._epoll = select.epoll()
        self._ended = os.eventfd(0)
        self._epoll.register(self._ended, select.EPOLLIN)
        self._lock = threading.Lock()
        self._connections: dict[int, Connection] = {}
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Ends the thread, and waits for it."""
        os.eventfd_write(self._ended, 1)
        self._thread.join(timeout)

    def add(self, connection: Connection) -> None:
        """Takes a connection with output that is not sent."""
        with self._lock:
            # Closed meanwhile: another connection may have its number.
            if connection.forgotten:
                return
            self._connections[connection.number] = connection
            with contextlib.suppress(OSError, ValueError):
                try:
                    self._epoll.register(connection.socket, select.EPOLLOUT | select.EPOLLONESHOT)
                except FileExistsError:
                    self._epoll.modify(connection.socket, select.EPOLLOUT | select.EPOLLONESHOT)

    def remove(self, connection: Connection) -> None:
        """Forgets a connection, which is about to close."""
        with self._lock:
            connection.forgotten = True
            if self._connections.get(connection.number) is connection:
                del self._connections[connection.number]

    def _work(self) -> None:
        due = time.monotonic() + self._tick_seconds
        while True:
            for number, _ in self._epoll.poll(max(due - time.monotonic(), 0)):
                if number == self._ended:
                    return
                with PrintedFaults():
                    self._flush(number)
            if time.monotonic() >= due:
                due = time.monotonic() + self._tick_seconds
                with PrintedFaults():
                    self._tick()

    def _flush(self, number: int) -> None:
        with self._lock:
            connection = self._connections.get(number)
        if connection is None:
            return
        try:
            if not connection.flush():
                with self._lock, contextlib.suppress(OSError, ValueError):
                    self._epoll.modify(connection.socket, select.EPOLLOUT | select.EPOLLONESHOT)
                return
        except OSError:
            self.remove(connection)
            self._gone(connection)
            return
        self._drained(connection)
