"""gRPC for load: HTTP/2 in the user's own process and thread, without the threads of the grpcio package.

Those cost 0.4 to 0.6 ms a request beside a busy server, and count as the server's then. Nothing is sent
twice but what a server that says goodbye says that it never looked at (RFC 9113, section 6.8).
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import gevent
import gevent.socket
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from bench.http2.client import ClientConnection, Request
from bench.http2.frames import H2Error
from bench.http2.grpc_wire import framed
from bench.load.endpoint import Endpoint, not_connected, ssl_context
from bench.serving.errors import ServingError
from bench.serving.grpc_errors import no_answer_in_time
from bench.serving.grpc_http2 import answer_of, broken, call_block
from bench.serving.protos import PREDICT_METHOD

_CHUNK: Final = 1 << 16
_SENT_AT_ONCE: Final = 1 << 18
_BLOCKS_KEPT: Final = 64


class Link:
    """One connection, from its first byte to its end.

    Args:
        connected: the socket.
        failure: gives what a request fails with, from what ended the connection.
        ended: told when it has ended.
    """

    def __init__(
        self, connected: Any, failure: Callable[[Exception], ServingError], ended: Callable[["Link"], None]
    ) -> None:
        self._socket = connected
        self._failure = failure
        self._ended = ended
        self._connection = ClientConnection()
        self._waiting: dict[Request, Event] = {}
        self._flushing = False
        self._end: Exception | None = None
        self._reader = gevent.spawn(self._read)

    @property
    def usable(self) -> bool:
        """Whether another request may go this way."""
        return self._end is None and self._connection.usable

    def exchange(self, request: Request) -> None:
        """Sends a request and waits until it is over.

        Raises:
            ServingError: the connection ended before.
        """
        over = self._waiting[request] = Event()
        try:
            self._connection.send(request)
            self._flush()
            over.wait()
        finally:
            # Still there: the time is up, or the user is being stopped.
            if self._waiting.pop(request, None) is not None and self._end is None:
                self._connection.cancel(request)
            self._flush_later()
        if self._end is not None and request in self._connection.unanswered:
            raise self._failure(self._end)

    def close(self) -> None:
        """Ends the connection."""
        self._finish(ConnectionError("the connection was closed here"))
        self._reader.kill(block=False)

    def _read(self) -> None:
        try:
            while self._end is None:
                data = self._socket.recv(_CHUNK)
                if not data:
                    raise ConnectionError("the server closed the connection")
                for request in self._connection.receive(data):
                    if (over := self._waiting.pop(request, None)) is not None:
                        over.set()
                # Not by this greenlet: it would not read while it sends.
                self._flush_later()
                if not self._connection.usable and not self._connection.unanswered:
                    self._finish(ConnectionError("the server said goodbye"))
        except (OSError, H2Error) as error:
            self._finish(error)
        except ValueError:
            # gevent's word for reading a TLS socket that was closed meanwhile.
            if self._end is None:
                raise
        finally:
            # Whatever it was, nobody reads any more: all who wait must hear of it.
            self._finish(ConnectionError("nobody reads the connection any more"))

    def _flush_later(self) -> None:
        if self._connection.out and not self._flushing and self._end is None:
            gevent.spawn(self._flush)

    def _flush(self) -> None:
        """Sends what there is to send. A user whose time is up in the midst of it leaves the rest to the next."""
        if self._flushing:
            return
        self._flushing = True
        out = self._connection.out
        try:
            while out and self._end is None:
                del out[: self._socket.send(bytes(out[:_SENT_AT_ONCE]))]
        except OSError as error:
            self._finish(error)
        except AttributeError:
            # A TLS socket of gevent that was closed meanwhile has nothing to write with.
            if self._end is None:
                raise
        finally:
            self._flushing = False

    def _finish(self, error: Exception) -> None:
        """The connection is over, and with it whatever waits."""
        if self._end is None:
            self._end = error
            # First of all for the server, which may wait for us to go; closing alone can be put off by a reader.
            with contextlib.suppress(OSError):
                self._socket.shutdown(gevent.socket.SHUT_RDWR)
            self._socket.close()
            self._ended(self)
        while self._waiting:
            self._waiting.popitem()[1].set()


class SharedConnection:
    """A way to the server that users share: one connection at a time, made when it is needed.

    Args:
        endpoint: where to; it has a gRPC address.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        assert endpoint.grpc is not None
        self.address = endpoint.grpc
        parts = urlsplit(f"//{endpoint.grpc}")
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._context = ssl_context(endpoint.tls, ["h2"]) if endpoint.grpc_secure else None
        self._link: Link | None = None
        # The current one, and those that the server said goodbye on and that still owe answers.
        self._links: set[Link] = set()
        self._connecting = BoundedSemaphore()
        self._closed = False
        metadata = [(name.lower().encode(), value.encode()) for name, value in endpoint.headers.items()]
        secure = endpoint.grpc_secure
        self._block = functools.lru_cache(_BLOCKS_KEPT)(
            lambda timeout: call_block(PREDICT_METHOD, self.address, timeout, metadata, secure=secure)
        )

    def exchange(self, body: bytes, timeout: float) -> bytes:
        deadline = gevent.Timeout.start_new(timeout)
        try:
            request = self._sent(body, timeout)
            if request.unseen:
                # The server said goodbye and that it never looked at this one: the next connection may have it.
                request = self._sent(body, timeout)
        except gevent.Timeout as error:
            if error is not deadline:
                raise
            raise no_answer_in_time(self.address, timeout) from None
        except (OSError, UnicodeError) as error:
            raise not_connected(self.address, error) from error
        finally:
            deadline.close()
        return answer_of(request, self.address, timeout)

    def close(self) -> None:
        """Ends all connections; whoever waits for an answer gets an error."""
        self._closed = True
        for link in list(self._links):
            link.close()

    def _sent(self, body: bytes, timeout: float) -> Request:
        """A request that is over."""
        request = Request(self._block(timeout), framed(body))
        self._connected().exchange(request)
        return request

    def _connected(self) -> Link:
        with self._connecting:
            if self._link is None or not self._link.usable:
                connected = self._connect()
                if self._closed:
                    connected.close()
                    raise ConnectionError("the connection was closed here")
                self._link = Link(connected, self._failure, self._links.discard)
                self._links.add(self._link)
            return self._link

    def _connect(self) -> Any:
        connection = gevent.socket.create_connection((self._host, self._port))
        try:
            connection.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
            if self._context is None:
                return connection
            return self._context.wrap_socket(connection, server_hostname=self._host)
        except BaseException:
            connection.close()
            raise

    def _failure(self, error: Exception) -> ServingError:
        if isinstance(error, OSError):
            return not_connected(self.address, error)
        return broken(error, self.address)
