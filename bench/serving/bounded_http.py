"""An adapter for `requests` that bounds an exchange's total time: `requests` itself only bounds each single wait."""

import contextlib
import contextvars
import http.client
import io
import time
from collections.abc import Iterator
from typing import Any, Final

import requests.adapters
import urllib3
import urllib3.connection

_BUFFER: Final = 1 << 16
# Seconds of work on data that is always there, after which others run: greenlets, where sockets are gevent's.
_TURN: Final = 0.01
# Seconds; above zero, since gevent's sleep of 0 serves neither timers nor sockets.
_PAUSE: Final = 0.0005
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


class BoundedAdapter(requests.adapters.HTTPAdapter):
    """Makes connections to which `bounded` applies."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


class _Reader(io.RawIOBase):
    """Reads from a socket; each wait ends with the time left."""

    def __init__(self, connected: Any, raw: Any) -> None:
        super().__init__()
        self._socket = connected
        self._raw = raw
        self._turn_began = time.perf_counter()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
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


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Reader(sock, self.fp.detach()), _BUFFER)


class _Bounded:
    """Sets the time left as the timeout of plain and TLS connections."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock.settimeout(time_left())

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(time_left())
        super().send(data)  # type: ignore[misc]


class _Connection(_Bounded, urllib3.connection.HTTPConnection):
    response_class = _Response


class _SecureConnection(_Bounded, urllib3.connection.HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
