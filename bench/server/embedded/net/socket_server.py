"""Sockets for both faces: threads that all wait on one epoll and each do what they find, without handing it on.

A connection is armed for one event at a time, so that one thread reads it; a thread is taken up by whole requests only,
never by a client that sends slowly. What a connection's bytes mean is its protocol's business.
"""

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from bench.server.embedded.base.status import StartError

_READ: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_CHUNK: Final = 1 << 16
_BACKLOG: Final = 1024
_SEND_TIMEOUT: Final = 60.0
# How long a connection without a request is kept when the server ends: a client that was just sending one gets its
# answer, and the word that the connection closes.
_LINGER: Final = 0.5

Job = Callable[[], bool]


class ConnectionProtocol(Protocol):
    """What the bytes of one connection mean.

    Attributes:
        concurrent: whether more bytes may be read while a job runs.
    """

    concurrent: bool

    def received(self, data: bytes) -> Sequence[Job]:
        """Takes bytes; the requests that they complete, as jobs that say whether the connection goes on.

        Raises:
            FarewellError: the connection cannot go on.
        """

    def draining(self) -> None:
        """The server ends: requests that are in are still answered."""

    def idle(self) -> bool:
        """Whether no request is under way."""

    def closed(self) -> None:
        """The connection is gone."""


class FarewellError(Exception):
    """The connection ends with these bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class Connection:
    """A client's connection; at most one thread reads it at a time, and `busy` says whether one does."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.number = accepted.fileno()
        self.protocol: ConnectionProtocol
        self.busy = False
        self.last_used = time.monotonic()
        self._sending = threading.Lock()

    def send(self, data: bytes) -> None:
        """Sends all; waits for a client that reads slowly, up to a limit.

        Raises:
            OSError: the client is gone or does not read.
        """
        view = memoryview(data)
        with self._sending:
            while view:
                try:
                    view = view[self.socket.send(view) :]
                except BlockingIOError:
                    waiting = select.poll()
                    waiting.register(self.socket, select.POLLOUT)
                    if not waiting.poll(_SEND_TIMEOUT * 1000):
                        raise TimeoutError("the client does not read its answer") from None

    def silent(self) -> bool:
        """Whether the client has sent nothing that is not read yet."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Ends the connection; a thread that waits for it to be readable sees that."""
        # Bytes left unread would make the end a reset, which takes back an answer that is still on its way.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(_CHUNK):
                pass
        self.socket.close()
        self.protocol.closed()


class SocketServer:
    """Serves until stopped.

    Args:
        name: of the threads.
        listeners: bound sockets; closed with this.
        threads: what is done at a time.
        protocol: makes the protocol of a new connection.
    """

    def __init__(
        self,
        name: str,
        listeners: Sequence[socket.socket],
        threads: int,
        protocol: Callable[[Connection], ConnectionProtocol],
    ) -> None:
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._protocol = protocol
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._lock = threading.Lock()
        self._draining = False
        self._ended = os.eventfd(0)
        self._jobs: deque[tuple[Connection, Job]] = deque()
        self._has_jobs = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK)
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        """Begins to accept."""
        for number in (self._ended, self._has_jobs):
            self._epoll.register(number, select.EPOLLIN)
        for listener in self._listeners.values():
            listener.setblocking(False)
            listener.listen(_BACKLOG)
            self._epoll.register(listener, select.EPOLLIN | select.EPOLLONESHOT)
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        """Refuses new connections, lets requests that are in be answered, then closes.

        Args:
            timeout: seconds after which what is still running is left alone.
        """
        limit = time.monotonic() + timeout
        self._draining = True
        for listener in self._listeners.values():
            self._accept(listener)
            self._epoll.unregister(listener)
            listener.close()
        with self._lock:
            connections = list(self._connections.values())
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.protocol.draining()
        while time.monotonic() < limit and not self._close_idle():
            time.sleep(0.02)
        # Readable for every thread, and never read: each one that comes round ends.
        os.eventfd_write(self._ended, 1)
        for thread in self._threads:
            thread.join(max(limit - time.monotonic(), 0))

    def _close_idle(self) -> bool:
        """Closes connections that have had no request for a while; whether none is left."""
        now = time.monotonic()
        with self._lock:
            idle = [
                one
                for one in self._connections.values()
                if not one.busy and now - one.last_used > _LINGER and one.protocol.idle() and one.silent()
            ]
            for connection in idle:
                del self._connections[connection.number]
        for connection in idle:
            connection.close()
        return not self._connections

    def _work(self) -> None:
        while True:
            for number, _ in self._epoll.poll(maxevents=1):
                if number == self._ended:
                    return
                if number == self._has_jobs:
                    self._next_job()
                elif (listener := self._listeners.get(number)) is not None and not self._draining:
                    self._accept(listener)
                    with contextlib.suppress(OSError, ValueError):
                        self._epoll.modify(number, select.EPOLLIN | select.EPOLLONESHOT)
                elif connection := self._take(number):
                    self._serve(connection)

    def _next_job(self) -> None:
        """Does a job that another thread could not."""
        try:
            os.eventfd_read(self._has_jobs)
        except BlockingIOError:
            return
        connection, job = self._jobs.popleft()
        self._run(connection, job)

    def _take(self, number: int) -> Connection | None:
        """The connection of a descriptor, for this thread alone to read."""
        with self._lock:
            connection = self._connections.get(number)
            if connection is not None:
                connection.busy = True
            return connection

    def _accept(self, listener: socket.socket) -> None:
        """Takes all connections that wait."""
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError as error:
                # None is left, or no more can be had; those that wait are seen again.
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    time.sleep(0.05)
                return
            accepted.setblocking(False)
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(accepted)
            connection.protocol = self._protocol(connection)
            with self._lock:
                self._connections[connection.number] = connection
            self._epoll.register(accepted, _READ)

    def _serve(self, connection: Connection) -> None:
        """Reads what is there and does what it asks for."""
        try:
            jobs, ended = self._read(connection)
        except FarewellError as farewell:
            with contextlib.suppress(OSError):
                connection.send(farewell.data)
            self._drop(connection)
            return
        except OSError:
            self._drop(connection)
            return
        if not connection.protocol.concurrent:
            # Whoever ends its side after a request still waits for the answer.
            alive = all(self._try(connection, job) for job in jobs)
            self._release(connection, alive and not ended)
            return
        for job in jobs[1:]:
            self._jobs.append((connection, job))
            os.eventfd_write(self._has_jobs, 1)
        self._release(connection, not ended)
        for job in jobs[:1]:
            self._run(connection, job)

    def _read(self, connection: Connection) -> tuple[list[Job], bool]:
        """The jobs in what is there to read, and whether it is the end."""
        jobs: list[Job] = []
        while True:
            try:
                data = connection.socket.recv(_CHUNK)
            except BlockingIOError:
                return jobs, False
            if not data:
                return jobs, True
            jobs += connection.protocol.received(data)
            if len(data) < _CHUNK:
                return jobs, False

    def _run(self, connection: Connection, job: Job) -> None:
        """Does a job of a connection that others may read meanwhile."""
        if not self._try(connection, job):
            # Whoever reads the connection sees its end and drops it.
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def _try(self, connection: Connection, job: Job) -> bool:
        try:
            return job()
        except OSError:
            return False
        finally:
            connection.last_used = time.monotonic()

    def _release(self, connection: Connection, alive: bool) -> None:
        """Lets others read a connection, or closes it."""
        if not alive:
            self._drop(connection)
            return
        connection.last_used = time.monotonic()
        with self._lock:
            connection.busy = False
        # From here on another thread may have the connection, and may have closed it.
        with contextlib.suppress(OSError, ValueError):
            self._epoll.modify(connection.number, _READ)

    def _drop(self, connection: Connection) -> None:
        with self._lock:
            self._connections.pop(connection.number, None)
        connection.close()


def listen_tcp(host: str, port: int, flag: str) -> socket.socket:
    """A socket bound to an address.

    Raises:
        StartError: it cannot be bound.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Listening already, so that a port that two servers were given at the same moment is seen here.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(
            f"cannot listen on {host}:{port} ({error.strerror}); free the port or give another --{flag}"
        ) from error
    return listener


def listen_unix(path: Path) -> socket.socket:
    """A socket at a path; one that a server left there is replaced.

    Raises:
        StartError: it cannot be bound.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if path.is_socket():
                path.unlink()
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {path} ({error.strerror}); give another --grpc_socket_path") from error
    return listener
