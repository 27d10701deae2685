"""The socket server of both endpoints: its threads wait on one epoll, and each handles the event that it gets.

A few threads handle all events, and others help while these run jobs.

A connection is armed for one event at a time (EPOLLONESHOT), so that one thread reads it. Only complete requests occupy
a thread: a client that sends slowly does not, and what one does not read is sent by a thread of its own, which all such
clients share. A connection's protocol interprets its bytes.
"""

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from bench.core.cores import allowed_cores
from bench.server.embedded.base.status import PrintedFaults
from bench.server.embedded.net.connection import (
    CHUNK,
    CloseConnectionError,
    Connection,
    ConnectionProtocol,
    Job,
    SlowClients,
)
from bench.server.embedded.net.connection_table import DEFAULT_LIMITS, ConnectionTable, SocketLimits
from bench.server.embedded.net.job_queue import JobQueue
from bench.server.embedded.net.listeners import BACKLOG, accept
from bench.server.embedded.net.polling import Polling
from bench.server.embedded.net.rests import Rests

_READ: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
# What a thread does for one connection before it looks at others.
_READS_PER_TURN: Final = 16
_JOBS_PER_TURN: Final = 16
_TURN_SECONDS: Final = 1e-3
_ACCEPTS_PER_TURN: Final = 64
FRONT_THREADS: Final = max(len(allowed_cores()), 2)
"""Threads that handle all events while they can: more jobs at a time than cores gain nothing."""


class SocketServer:
    """Serves until stopped.

    Args:
        name: prefix of the threads' names.
        listeners: bound sockets; closed with the server.
        threads: number of threads.
        protocol: creates the protocol of a new connection.
        limits: what clients may take up.
        front: called by each of the first FRONT_THREADS threads when it starts.
    """

    def __init__(
        self,
        name: str,
        listeners: Sequence[socket.socket],
        threads: int,
        protocol: Callable[[Connection], ConnectionProtocol],
        limits: SocketLimits = DEFAULT_LIMITS,
        front: Callable[[], None] = lambda: None,
    ) -> None:
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._protocol = protocol
        self._limits = limits
        self._epoll = select.epoll()
        self._connections = ConnectionTable(limits)
        self._draining = False
        self._ended = os.eventfd(0)
        self._jobs = JobQueue()
        self._polling = Polling()
        self._front = front
        self._slow = SlowClients(
            f"{name}_slow_clients", self._drained, self._gone, self._drop_stuck, limits.stuck_seconds
        )
        self._rests = Rests(f"{name}_rests", self._connections, self._rested)
        self._threads = [
            threading.Thread(target=self._work, args=(number < FRONT_THREADS,), name=f"{name}_{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Starts accepting connections."""
        for number in (self._ended, self._jobs.number):
            self._epoll.register(number, select.EPOLLIN)
        for listener in self._listeners.values():
            listener.setblocking(False)
            listener.listen(BACKLOG)
            self._epoll.register(listener, select.EPOLLIN | select.EPOLLONESHOT)
        for thread in self._threads:
            thread.start()
        self._slow.start()
        self._rests.start()

    def stop(self, timeout: float) -> None:
        """Refuses new connections, waits for the requests in progress, then closes.

        Args:
            timeout: seconds to wait; requests that run longer are abandoned.
        """
        if self._draining:
            return
        limit = time.monotonic() + timeout
        self._draining = True
        for listener in self._listeners.values():
            accept(listener, BACKLOG, self._connections, self._take_up)
            self._epoll.unregister(listener)
            listener.close()
        for connection in self._connections.all():
            with contextlib.suppress(OSError):
                connection.protocol.draining()
        self._rests.stop(max(limit - time.monotonic(), 0))
        while time.monotonic() < limit and not self._connections.close_idle():
            time.sleep(0.02)
        # Readable for every thread and never read: each thread sees it and ends.
        os.eventfd_write(self._ended, 1)
        self._polling.end()
        for thread in self._threads:
            thread.join(max(limit - time.monotonic(), 0))
        self._slow.stop(max(limit - time.monotonic(), 0))

    # Events

    def _work(self, front: bool) -> None:
        self._polling.begin()
        if front:
            self._front()
        while True:
            if not front:
                self._polling.stand_by()
            for number, _ in self._epoll.poll(maxevents=1):
                if number == self._ended:
                    return
                with PrintedFaults():
                    self._handle(number)

    def _handle(self, number: int) -> None:
        if number == self._jobs.number:
            self._jobs.run_next()
        elif (listener := self._listeners.get(number)) is not None and not self._draining:
            # What is pending beyond these raises another event.
            accept(listener, _ACCEPTS_PER_TURN, self._connections, self._take_up)
            self._watch(number, select.EPOLLIN | select.EPOLLONESHOT)
        elif (connection := self._connections.reserve(number)) is not None:
            self._serve(connection)

    def _watch(self, number: int, events: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._epoll.modify(number, events)

    def _take_up(self, accepted: socket.socket) -> None:
        connection = Connection(accepted, self._slow)
        connection.protocol = self._protocol(connection)
        self._connections.add(connection, partial(self._epoll.register, accepted, _READ))

    def _serve(self, connection: Connection) -> None:
        """Reads the available bytes and runs the jobs in them."""
        jobs: list[Job] = []
        began = time.thread_time()
        with PrintedFaults() as faults:
            try:
                jobs = _read(connection, began + _TURN_SECONDS)
                self._connections.count(connection)
            except CloseConnectionError as error:
                self._close_with(connection, error.closing_message, time.thread_time() - began)
                return
            except OSError:
                self._drop(connection)
                return
        if faults.occurred:
            self._drop(connection)
            return
        if not connection.protocol.concurrent and jobs:
            self._answer(connection, jobs)
            return
        for job in jobs[1:]:
            self._jobs.put(partial(self._run, connection, job), brief=job.brief)
        if connection.ended or not self._rests.rest(connection, time.thread_time() - began):
            self._release(connection)
        for job in jobs[:1]:
            self._run(connection, job)

    def _answer(self, connection: Connection, jobs: Sequence[Job] = ()) -> None:
        """Answers requests one after the other, while the client takes the answers and its turn lasts."""
        with PrintedFaults() as faults:
            try:
                goes_on = self._answer_some(connection, jobs)
            except CloseConnectionError as error:
                self._close_with(connection, error.closing_message)
                return
            except OSError:
                self._drop(connection)
                return
            if goes_on and not self._connections.pause(connection):
                self._jobs.put(partial(self._answer, connection))
        if faults.occurred:
            self._drop(connection)

    def _answer_some(self, connection: Connection, jobs: Sequence[Job]) -> bool:
        """Answers some requests; whether there may be more."""
        for _ in range(_JOBS_PER_TURN):
            jobs = jobs or connection.protocol.received(b"")
            self._connections.count(connection)
            if not jobs:
                # A client that has shut down its sending side still waits for its answers.
                self._release(connection)
                return False
            if not self._try(connection, jobs[0]):
                self._finish(connection)
                return False
            jobs = ()
            if connection.backlogged():
                break
        return True

    def _run(self, connection: Connection, job: Job) -> None:
        """Runs a job of a connection that other threads may read meanwhile."""
        if not self._try(connection, job):
            # The thread that reads the connection next sees its end and drops it.
            self._gone(connection)

    def _try(self, connection: Connection, job: Job) -> bool:
        goes_on = False
        with PrintedFaults(), contextlib.suppress(OSError), self._polling.job():
            goes_on = job.run()
        connection.last_used = time.monotonic()
        try:
            self._connections.count(connection)
        except CloseConnectionError:
            # Its answers are what is too much: there is no use in another one.
            return False
        return goes_on

    # The states of a connection

    def _release(self, connection: Connection) -> None:
        """Rearms a connection for reading, closes one whose client has, or waits until its output is taken."""
        if connection.ended:
            self._finish(connection)
        elif not connection.backlogged() or not self._connections.pause(connection):
            connection.last_used = time.monotonic()
            connection.busy = False
            # From here on another thread may use the connection, and may have closed it.
            self._watch(connection.number, _READ)

    def _finish(self, connection: Connection) -> None:
        """Closes a connection once its output is taken."""
        connection.closing = True
        if not connection.unsent or not self._connections.pause(connection):
            self._drop(connection)

    def _close_with(self, connection: Connection, message: bytes, spent: float = 0.0) -> None:
        """Sends the last bytes of a connection and closes it, soon if these cost CPU seconds that they did not earn."""
        try:
            connection.send(message)
        except OSError:
            self._drop(connection)
            return
        connection.closing = True
        if not self._rests.rest(connection, spent, violated=True):
            self._finish(connection)

    def _rested(self, connection: Connection) -> None:
        """Goes on with a connection whose rest is over."""
        (self._finish if connection.closing else self._release)(connection)

    def _drained(self, connection: Connection) -> None:
        """Goes on with a connection whose output is taken."""
        if not self._connections.resume(connection):
            return
        if connection.closing:
            self._drop(connection)
        elif connection.protocol.concurrent:
            self._release(connection)
        else:
            self._jobs.put(partial(self._answer, connection))

    def _gone(self, connection: Connection) -> None:
        """Ends a connection whose client has gone; a thread that reads it drops it."""
        connection.shut_down()
        if self._connections.resume(connection):
            self._drop(connection)

    def _drop_stuck(self) -> None:
        """Ends connections whose clients take nothing."""
        for connection in self._connections.stuck():
            self._gone(connection)

    def _drop(self, connection: Connection) -> None:
        self._connections.remove(connection)
        connection.close()


def _read(connection: Connection, until: float) -> list[Job]:
    """The jobs in the available bytes, up to a reading of `time.thread_time`."""
    jobs: list[Job] = []
    for _ in range(_READS_PER_TURN):
        try:
            data = connection.socket.recv(CHUNK)
        except BlockingIOError:
            break
        if not data:
            connection.ended = True
            break
        jobs += connection.protocol.received(data)
        enough = bool(jobs) and not connection.protocol.concurrent
        if len(data) < CHUNK or enough or time.thread_time() > until:
            break
    return jobs
