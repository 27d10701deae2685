"""A small HTTP/1.1 server: threads that all wait on one epoll and each answer what they find, without handing it on.

A connection is armed for one event at a time, so that one thread has it; a thread is taken up by whole requests only,
never by a client that sends slowly.
"""

import contextlib
import errno
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from bench.server.embedded.http_message import BadRequestError, Reader, Request, Response, error_page, to_bytes
from bench.server.embedded.status import StartError

Handler = Callable[[Request], Response]

_READ: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_CHUNK: Final = 1 << 16
_BACKLOG: Final = 1024
_SEND_TIMEOUT: Final = 60.0
# How long a connection without a request is kept when the server ends: a client that was just sending one gets its
# answer, and the word that the connection closes.
_LINGER: Final = 0.5


class _Connection:
    """A client's connection; at most one thread has it at a time, and `busy` says whether one has."""

    __slots__ = ("busy", "last_used", "number", "reader", "socket")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.number = accepted.fileno()
        self.reader = Reader()
        self.busy = False
        self.last_used = time.monotonic()

    def silent(self) -> bool:
        """Whether the client has sent nothing that is not read yet."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False


class HttpServer:
    """Serves until stopped.

    Args:
        host: address to bind.
        port: port to bind.
        threads: requests that are answered at a time.
        handler: what answers them; must not raise.

    Raises:
        StartError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int, threads: int, handler: Handler) -> None:
        self._handler = handler
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, port))
            self._listener.listen(_BACKLOG)
        except OSError as error:
            self._listener.close()
            raise StartError(
                f"REST cannot listen on {host}:{port} ({error.strerror}); free the port or give another --rest_api_port"
            ) from error
        self._listener.setblocking(False)
        self._listening = self._listener.fileno()
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._lock = threading.Lock()
        self._draining = False
        self._wake, self._woken = socket.socketpair()
        self._threads = [
            threading.Thread(target=self._work, name=f"rest_{number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        """Begins to accept."""
        self._epoll.register(self._woken, select.EPOLLIN)
        self._epoll.register(self._listener, select.EPOLLIN | select.EPOLLONESHOT)
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        """Refuses new connections, answers the requests that are in, then closes.

        Args:
            timeout: seconds after which what is still running is left alone.
        """
        limit = time.monotonic() + timeout
        self._draining = True
        self._accept()
        self._epoll.unregister(self._listener)
        self._listener.close()
        while time.monotonic() < limit:
            if self._close_idle():
                break
            time.sleep(0.02)
        # Readable for every thread, and never read: each one that comes round ends.
        self._wake.send(b"x")
        for thread in self._threads:
            thread.join(max(limit - time.monotonic(), 0))

    def _close_idle(self) -> bool:
        """Closes connections that have had no request for a while; whether none is left."""
        now = time.monotonic()
        with self._lock:
            connections = self._connections.values()
            idle = [one for one in connections if not one.busy and now - one.last_used > _LINGER and one.silent()]
            for connection in idle:
                del self._connections[connection.number]
        for connection in idle:
            self._close(connection)
        return not self._connections

    def _work(self) -> None:
        while True:
            for number, _ in self._epoll.poll(maxevents=1):
                if number == self._listening and not self._draining:
                    self._accept()
                    with contextlib.suppress(OSError, ValueError):
                        self._epoll.modify(number, select.EPOLLIN | select.EPOLLONESHOT)
                elif number == self._woken.fileno():
                    return
                elif connection := self._take(number):
                    self._serve(connection)

    def _take(self, number: int) -> _Connection | None:
        """The connection of a descriptor, for this thread alone."""
        with self._lock:
            connection = self._connections.get(number)
            if connection is not None:
                connection.busy = True
            return connection

    def _accept(self) -> None:
        """Takes all connections that wait."""
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError as error:
                # None is left, or no more can be had; those that wait are seen again.
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    time.sleep(0.05)
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(accepted)
            with self._lock:
                self._connections[connection.number] = connection
            self._epoll.register(accepted, _READ)

    def _serve(self, connection: _Connection) -> None:
        """Reads what is there and answers the requests that it completes."""
        try:
            alive = self._receive(connection) and self._answer(connection)
        except BadRequestError:
            self._send(connection, to_bytes(error_page(400), None, keep_alive=False))
            alive = False
        except OSError:
            alive = False
        connection.last_used = time.monotonic()
        with self._lock:
            connection.busy = False
            if not alive:
                self._connections.pop(connection.number, None)
        if not alive:
            self._close(connection)
            return
        # From here on another thread may have the connection, and may have closed it.
        with contextlib.suppress(OSError, ValueError):
            self._epoll.modify(connection.number, _READ)

    def _receive(self, connection: _Connection) -> bool:
        """Fills the buffer; False at the end of the connection."""
        while True:
            try:
                data = connection.socket.recv(_CHUNK)
            except BlockingIOError:
                return True
            if not data:
                # Whoever ends its side after a request still waits for the answer.
                self._answer(connection)
                return False
            connection.reader.buffer += data
            if len(data) < _CHUNK:
                return True

    def _answer(self, connection: _Connection) -> bool:
        """Answers all whole requests in the buffer; whether the connection goes on."""
        reader = connection.reader
        while True:
            request = reader.next()
            if request is None:
                if reader.wants_continue:
                    reader.wants_continue = False
                    self._send(connection, b"HTTP/1.1 100 Continue\r\n\r\n")
                return True
            reader.wants_continue = False
            response = self._handler(request)
            keep = request.keep_alive and not response.close and not self._draining
            self._send(connection, to_bytes(response, request, keep))
            if not keep:
                return False

    def _send(self, connection: _Connection, data: bytes) -> None:
        """Sends all; waits for a client that reads slowly, up to a limit."""
        sock, view = connection.socket, memoryview(data)
        while view:
            try:
                view = view[sock.send(view) :]
            except BlockingIOError:
                waiting = select.poll()
                waiting.register(sock, select.POLLOUT)
                if not waiting.poll(_SEND_TIMEOUT * 1000):
                    raise TimeoutError("the client does not read its answer") from None

    def _close(self, connection: _Connection) -> None:
        # Bytes left unread would make the end a reset, which takes back an answer that is still on its way.
        with contextlib.suppress(OSError):
            connection.socket.shutdown(socket.SHUT_WR)
            while connection.socket.recv(_CHUNK):
                pass
        connection.socket.close()
