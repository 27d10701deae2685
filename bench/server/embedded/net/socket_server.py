"""The socket server of both endpoints: its threads wait on one epoll, and each handles the event that it gets.

A connection is armed for one event at a time (EPOLLONESHOT), so that one thread reads it. Only complete requests occupy
a thread; a client that sends slowly does not. A connection's protocol interprets its bytes.
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
# Seconds that an idle connection stays open when the server stops: a client that is just sending a request gets its
# answer, with `Connection: close`.
_LINGER: Final = 0.5

Job = Callable[[], bool]


class ConnectionProtocol(Protocol):
    """Interprets the bytes of one connection.

    Attributes:
        concurrent: whether the connection may be read while a job runs.
    """

    concurrent: bool

    def received(self, data: bytes) -> Sequence[Job]:
        """Takes bytes; the requests that they complete, as jobs that return whether the connection stays open.

        Raises:
            CloseConnectionError: the connection must close.
        """

    def draining(self) -> None:
        """The server stops: requests in progress are still answered."""

    def idle(self) -> bool:
        """Whether no request is in progress."""

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


class Connection:
    """A client's connection; at most one thread reads it at a time, `busy` while one does."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.number = accepted.fileno()
        self.protocol: ConnectionProtocol
        self.busy = False
        self.last_used = time.monotonic()
        self._sending = threading.Lock()

    def send(self, data: bytes) -> None:
        """Sends all of it, and waits for a client that reads slowly.

        Raises:
            OSError: the client has gone, or reads nothing for a minute.
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
                        raise TimeoutError(f"the client read nothing for {_SEND_TIMEOUT:g} s") from None

    def silent(self) -> bool:
        """Whether there is nothing to read."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Closes the connection."""
        # Closing with unread bytes sends a reset, which discards an answer that is still in transit.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(_CHUNK):
                pass
        self.socket.close()
        self.protocol.closed()


class SocketServer:
    """Serves until stopped.

    Args:
        name: prefix of the threads' names.
        listeners: bound sockets; closed with the server.
        threads: number of threads.
        protocol: creates the protocol of a new connection.
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
        """Starts accepting connections."""
        for number in (self._ended, self._has_jobs):
            self._epoll.register(number, select.EPOLLIN)
        for listener in self._listeners.values():
            listener.setblocking(False)
            listener.listen(_BACKLOG)
            self._epoll.register(listener, select.EPOLLIN | select.EPOLLONESHOT)
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        """Refuses new connections, waits for the requests in progress, then closes.

        Args:
            timeout: seconds to wait; requests that run longer are abandoned.
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
        # Readable for every thread and never read: each thread sees it and ends.
        os.eventfd_write(self._ended, 1)
        for thread in self._threads:
            thread.join(max(limit - time.monotonic(), 0))

    def _close_idle(self) -> bool:
        """Closes connections that have been idle for a while; whether none is left."""
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
        """Runs a queued job."""
        try:
            os.eventfd_read(self._has_jobs)
        except BlockingIOError:
            return
        connection, job = self._jobs.popleft()
        self._run(connection, job)

    def _take(self, number: int) -> Connection | None:
        """The connection of a descriptor, reserved for this thread to read."""
        with self._lock:
            connection = self._connections.get(number)
            if connection is not None:
                connection.busy = True
            return connection

    def _accept(self, listener: socket.socket) -> None:
        """Accepts all pending connections."""
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError as error:
                # None is pending, or descriptors have run out; pending ones raise another event.
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
        """Reads the available bytes and runs the jobs in them."""
        try:
            jobs, ended = self._read(connection)
        except CloseConnectionError as error:
            with contextlib.suppress(OSError):
                connection.send(error.closing_message)
            self._drop(connection)
            return
        except OSError:
            self._drop(connection)
            return
        if not connection.protocol.concurrent:
            # A client that has shut down its sending side still waits for the answer.
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
        """The jobs in the available bytes, and whether the client has closed."""
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
        """Runs a job of a connection that other threads may read meanwhile."""
        if not self._try(connection, job):
            # The thread that reads the connection next sees its end and drops it.
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
        """Rearms a connection for reading, or closes it."""
        if not alive:
            self._drop(connection)
            return
        connection.last_used = time.monotonic()
        with self._lock:
            connection.busy = False
        # From here on another thread may use the connection, and may have closed it.
        with contextlib.suppress(OSError, ValueError):
            self._epoll.modify(connection.number, _READ)

    def _drop(self, connection: Connection) -> None:
        with self._lock:
            self._connections.pop(connection.number, None)
        connection.close()


def listen_tcp(host: str, port: int, flag: str) -> socket.socket:
    """A socket that listens at an address.

    Raises:
        StartError: the address cannot be bound.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Listens already, so that two servers that start on one port at the same moment conflict here.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(
            f"cannot listen on {host}:{port} ({error.strerror}); free the port or give another --{flag}"
        ) from error
    return listener


def listen_unix(path: Path) -> socket.socket:
    """A socket that listens at a path; a stale socket there is replaced.

    Raises:
        StartError: the path cannot be bound.
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
