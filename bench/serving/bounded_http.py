"""Connections within a time: opened alike for all clients, and an adapter for `requests`, which bounds single waits.

The adapter also reads what the standard library takes for something else: interim responses, and heads that break off.
"""

import contextlib
import contextvars
import errno
import functools
import http.client
import io
import math
import os
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import requests.adapters
import urllib3
import urllib3.connection
from urllib3.util.wait import wait_for_socket, wait_for_write

from bench.serving.errors import lack_of

_BUFFER: Final = 1 << 16
_SENT_AT_ONCE: Final = 1 << 16
_INTERIM: Final = re.compile(rb"HTTP/\d\.\d 1")
_STATUS_LINE: Final = len(b"HTTP/1.1 100")
# A server that has work to do may send some.
_MOST_INTERIM: Final = 100
# Seconds of work on data that is always there, after which others run: greenlets, where sockets are gevent's.
_TURN: Final = 0.01
# Seconds; above zero, since gevent's sleep of 0 serves neither timers nor sockets.
_PAUSE: Final = 0.0005
# Errors of an address that this machine cannot reach, whoever listens there.
_NO_WAY: Final = frozenset({errno.EAFNOSUPPORT, errno.ENETUNREACH, errno.EHOSTUNREACH})
# For an address that is silent, before the others have been tried.
_TURN_SECONDS: Final = 1.0
_ENDS: Final[contextvars.ContextVar[float]] = contextvars.ContextVar("ends", default=float("inf"))


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """In the context, an exchange on this module's connections that exceeds `seconds` raises TimeoutError."""
    token = _ENDS.set(time.perf_counter() + seconds)
    try:
        yield
    finally:
        _ENDS.reset(token)


def time_left() -> float:
    """Seconds left for the exchange.

    Raises:
        TimeoutError: the time is over.
    """
    left = _ENDS.get() - time.perf_counter()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def open_connection(sockets: Any, host: str, port: int, left: Callable[[], float | None]) -> Any:
    """Opens a TCP connection, without Nagle's algorithm, to the first of a host's addresses that accepts one.

    An address that is silent for a second waits until the others have been tried, as RFC 8305 asks for: packets
    of one family may get lost where those of the other arrive.

    Args:
        sockets: the module `socket`, or gevent's.
        host: name or address.
        port: TCP port.
        left: seconds left for the next address; None for no limit. May raise.

    Raises:
        OSError: none accepts one. An address that this machine has no way to says nothing of the server, and what this
            machine lacks is not the server's failure: the error is that of an address, if it can be.
    """
    failure, weight = OSError(f"{host} has no address"), -1
    found = sockets.getaddrinfo(host, port, 0, sockets.SOCK_STREAM)
    turns = deque((entry, _TURN_SECONDS if len(found) > 1 else math.inf) for entry in found)
    while turns:
        entry, most = turns.popleft()
        try:
            # The last one need not make room for others: a server with a full queue takes the second attempt of TCP.
            most = most if turns else math.inf
            return _connect(sockets, entry, left(), most)
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None and most < math.inf:
                turns.append((entry, math.inf))
                continue
            its = -1 if error.errno in _NO_WAY else 1 if lack_of([error]) else 0
            if its >= weight:
                failure, weight = error, its
    raise failure


def _connect(sockets: Any, entry: Any, left: float | None, most: float) -> Any:
    """A connection to one address of `getaddrinfo`, whose limit of time is `left` seconds.

    Args:
        sockets: the module `socket`, or gevent's.
        entry: the address.
        left: seconds; None for no limit.
        most: seconds for the connection to be opened; may be infinite.

    Raises:
        OSError: there is none.
    """
    family, kind, protocol, _, address = entry
    connection = None
    try:
        connection = sockets.socket(family, kind, protocol)
        connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        within = min(most, math.inf if left is None else left)
        connection.settimeout(left if within == math.inf else within)
        connection.connect(address)
        connection.settimeout(left)
        return connection
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, OSError):
            raise _without_way(error, sockets, family, address) from None
        raise


def _without_way(error: OSError, sockets: Any, family: int, address: Any) -> OSError:
    """The error, or that there is no way to an address for which this machine has none of its own, as without IPv6.

    The system has the same error for a lack of ports; UDP, which has ports of its own, tells the two apart.
    """
    if error.errno != errno.EADDRNOTAVAIL:
        return error
    try:
        with sockets.socket(family, sockets.SOCK_DGRAM) as probe:
            probe.connect(address)
    except OSError as fault:
        if fault.errno == errno.EADDRNOTAVAIL:
            return OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
    return error


class BoundedAdapter(requests.adapters.HTTPAdapter):
    """Makes connections to which `bounded` applies.

    Args:
        context: the TLS context of all of them, with its certificates; None for plain ones.
    """

    def __init__(self, context: Any = None) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def cert_verify(self, *_: Any) -> None:
        """Names no files, which the library would read again for each connection, in a request's time."""


class _Reader(io.RawIOBase):
    """Reads from a socket, after `early`, which has been read already; each wait ends with the time left."""

    def __init__(self, connected: Any, raw: Any, early: bytes) -> None:
        super().__init__()
        self._socket = connected
        self._raw = raw
        self._early = early
        self._turn_began = time.perf_counter()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._early:
            part = self._early[: len(buffer)]
            buffer[: len(part)], self._early = part, self._early[len(part) :]
            return len(part)
        before = time.perf_counter()
        if before - self._turn_began > _TURN:
            time.sleep(_PAUSE)
            self._turn_began = time.perf_counter()
        self._socket.settimeout(time_left())
        count: int | None = self._raw.readinto(buffer)
        if time.perf_counter() - before > _TURN:
            self._turn_began = time.perf_counter()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Lines(io.BufferedReader):
    """Knows whether the last line that was asked for is missing, since the connection has ended."""

    ended = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.ended = not line
        return line


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, early: bytes = b"", **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp: _Lines = _Lines(_Reader(sock, self.fp.detach(), early), _BUFFER)

    def begin(self) -> None:
        """Reads the head.

        Raises:
            HTTPException: it breaks off, or has a coding that is not supported.
        """
        super().begin()
        if self.fp.ended:
            raise http.client.HTTPException("the connection ended within the headers")
        coding = (self.headers.get("Transfer-Encoding") or "chunked").strip().lower()
        if coding not in ("chunked", "identity"):
            raise http.client.HTTPException(f"the transfer coding {coding} is not supported")

    def _read_status(self) -> tuple[str, int, str]:
        """The status of the final response: interim ones precede it (RFC 9110, section 15.2), and only 100 is usual."""
        for _ in range(_MOST_INTERIM):
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if found[1] == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.HTTPException("HTTP 101, without being asked for another protocol")
            if found[1] >= http.HTTPStatus.OK:
                return found
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {_MOST_INTERIM} interim responses")


class _Bounded:
    """Sets the time left as the timeout of plain and TLS connections."""

    sock: Any
    port: Any
    response_class: Any
    _dns_host: Any
    # What was read of a response while the request was sent.
    _early = b""
    # Whether a request was not sent to its end, so that the connection takes no other.
    _cut = False

    @property
    def is_connected(self) -> bool:
        return not self._cut and bool(super().is_connected)  # type: ignore[misc]

    def _new_conn(self) -> Any:
        # The library gives each of a host's addresses the whole time.
        return open_connection(socket, self._dns_host, self.port, time_left)

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self._cut, self._early = False, b""
        self.sock.settimeout(time_left())

    def getresponse(self) -> Any:
        self.response_class = functools.partial(_Response, early=self._early)
        self._early = b""
        return super().getresponse()  # type: ignore[misc]

    def send(self, data: Any) -> None:
        if self.sock is None or not (isinstance(data, bytes) and len(data) > _SENT_AT_ONCE):
            if self.sock is not None:
                self.sock.settimeout(time_left())
            with _ended_as_usual():
                super().send(data)  # type: ignore[misc]
            return
        self.sock.settimeout(time_left())
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self._send_large_over_tls(memoryview(data))
            else:
                self._send_large(memoryview(data))
        except BrokenPipeError:
            self._cut = True
            raise
        finally:
            self.sock.settimeout(time_left())

    def _send_large(self, data: memoryview) -> None:
        """Sends a body as long as the server reads it, or until it responds.

        Raises:
            BrokenPipeError: the server responds and reads no further; the library reads its response then.
            TimeoutError: the time is over.
        """
        heed = True
        while data:
            self._await(read=heed, write=True)
            if not wait_for_write(self.sock, 0):
                if _INTERIM.match(self.sock.recv(_STATUS_LINE, socket.MSG_PEEK)):
                    # It stays unread until the body is sent, and would end each wait.
                    heed = False
                    continue
                raise BrokenPipeError("the server responded first")
            data = data[self.sock.send(data[:_SENT_AT_ONCE]) :]

    def _send_large_over_tls(self, data: memoryview) -> None:
        """The same where data may arrive that is no response, and what was read cannot be left to the library."""
        early = b""
        self.sock.settimeout(0)
        while data:
            # After an interim response no other is waited for.
            if not early:
                early = self._early = self._arrived()
                if early and not _INTERIM.match(early):
                    raise BrokenPipeError("the server responded first")
            try:
                with _ended_as_usual():
                    sent = self.sock.send(data[:_SENT_AT_ONCE])
            except ssl.SSLWantReadError:
                self._await(read=True, write=False)
                continue
            except ssl.SSLWantWriteError:
                sent = 0
            data = data[sent:]
            if not sent:
                # Where gevent has replaced sockets there is no exception.
                self._await(read=not early, write=True)

    def _arrived(self) -> bytes:
        """What a TLS connection has for its reader now.

        Raises:
            BrokenPipeError: its end.
        """
        try:
            with _ended_as_usual():
                data: bytes = self.sock.recv(_BUFFER)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        if not data:
            raise BrokenPipeError("the server closed the connection")
        return data

    def _await(self, *, read: bool, write: bool) -> None:
        """Waits for the socket.

        Raises:
            TimeoutError: the time is over.
        """
        if not wait_for_socket(self.sock, read=read, write=write, timeout=time_left()):
            raise TimeoutError("timed out")


@contextlib.contextmanager
def _ended_as_usual() -> Iterator[None]:
    """The end of a TLS connection as that of a plain one, after which the library looks for a response."""
    try:
        yield
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise BrokenPipeError("the server closed the connection") from error


class _Connection(_Bounded, urllib3.connection.HTTPConnection):
    """Plain."""


class _SecureConnection(_Bounded, urllib3.connection.HTTPSConnection):
    """TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
