"""One connection that gRPC calls share: HTTP/2 in the users' own process and thread, on a gevent socket."""

import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

import gevent
import gevent.socket
from gevent.event import Event

from bench.load.transports.tcp import let_others, tcp_end
from bench.serving.errors import ServingError
from bench.serving.http2.client import ClientConnection, Request
from bench.serving.http2.frames import H2Error

_CHUNK: Final = 1 << 14
# Bytes read after which other users run; each piece counts extra, so that many small pieces yield too.
_AT_ONCE: Final = 1 << 15
_PIECE: Final = 256
_SENT_AT_ONCE: Final = 1 << 18
# If the server has not read for so many seconds, the connection takes no more requests.
_STUCK_AFTER: Final = 5.0


class Link:
    """One connection, from its first byte to its end.

    Args:
        connected: the socket.
        plain: whether it is not encrypted, so that the kernel counts the bytes written here.
        most: largest response that is read, bytes.
        failure: the error of a request, from the error that ended the connection.
        ended: called when it has ended.
    """

    def __init__(
        self,
        connected: Any,
        plain: bool,
        most: int,
        failure: Callable[[Exception], ServingError],
        ended: Callable[["Link"], None],
    ) -> None:
        self._socket = connected
        self._plain = plain
        self._failure = failure
        self._ended = ended
        self._connection = ClientConnection(most)
        self._waiting: dict[Request, Event] = {}
        self._flushing = False
        self._flushing_since: float | None = None
        self._broken = self._retired = False
        self._end: Exception | None = None
        # Requests that the connection's end has left without an answer.
        self._unanswered: frozenset[Request] = frozenset()
        self._reader = gevent.spawn(self._read)

    @property
    def usable(self) -> bool:
        """Whether the connection takes another request."""
        if self._end is not None or self._broken or self._retired or not self._connection.usable:
            return False
        return self._flushing_since is None or time.perf_counter() - self._flushing_since < _STUCK_AFTER

    @property
    def room(self) -> int:
        """The server's stream limit on this connection."""
        return self._connection.room

    @property
    def answered(self) -> bool:
        """Whether the server has answered a request on this connection."""
        return self._connection.answered

    def retire(self) -> None:
        """Takes no more requests."""
        self._retired = True
        self._finish_if_done()

    def exchange(self, request: Request, deadline: gevent.Timeout) -> None:
        """Sends a request and waits until it has ended.

        Args:
            request: a new one.
            deadline: what ends the wait; an answer that has come by then is one, however late this greenlet runs.

        Raises:
            ServingError: the connection ended first. The request is `unprocessed` if the connection had served others
                and the server certainly did not receive all of this one.
        """
        over = self._waiting[request] = Event()
        try:
            self._connection.send(request)
            self._flush(until_empty=False)
            over.wait()
        except gevent.Timeout as error:
            if error is not deadline or not over.is_set():
                raise
        finally:
            # Still waiting: the time is up, or the user is stopped.
            if self._waiting.pop(request, None) is not None and self._end is None:
                self._connection.cancel(request)
                self._finish_if_done()
            self._flush_later()
        if request in self._unanswered:
            assert self._end is not None
            raise self._failure(self._end)

    def close(self) -> None:
        """Closes the connection."""
        self._finish(ConnectionError("the connection was closed here"))
        self._reader.kill(block=False)

    def _read(self) -> None:
        taken = 0
        try:
            while self._end is None:
                data = self._socket.recv(_CHUNK)
                if not data:
                    raise ConnectionError("the server closed the connection")
                for request in self._connection.receive(data):
                    if (over := self._waiting.pop(request, None)) is not None:
                        over.set()
                # In another greenlet: this one must go on reading.
                self._flush_later()
                if self._retired or not self._connection.usable:
                    self._finish_if_done()
                taken += len(data) + _PIECE
                if taken > _AT_ONCE:
                    taken = 0
                    let_others()
        except (OSError, H2Error, MemoryError) as error:
            self._finish(error)
        except ValueError:
            # gevent raises this for a TLS socket that was closed meanwhile.
            if self._end is None:
                raise
        finally:
            # Whatever the cause, nothing is read from here on: all waiting requests must fail.
            self._finish(ConnectionError("the connection is no longer read"))

    def _flush_later(self) -> None:
        if self._connection.out and not self._flushing and not self._broken and self._end is None:
            gevent.spawn(self._flush)

    def _flush(self, *, until_empty: bool = True) -> None:
        """Sends the output buffer. A user whose time is up meanwhile leaves the rest to the next.

        Args:
            until_empty: whether to go on until nothing is left. A user, who waits for an answer, leaves to another
                greenlet what the connection does not take at once: others' requests may follow its own.
        """
        if self._flushing or self._broken:
            return
        self._flushing = True
        out = self._connection.out
        taken = True
        self._flushing_since = self._flushing_since or time.perf_counter()
        try:
            while out and self._end is None and (taken or until_empty):
                size = len(out)
                sent = self._socket.send(bytes(out) if size < _SENT_AT_ONCE else bytes(out[:_SENT_AT_ONCE]))
                taken = sent >= min(size, _SENT_AT_ONCE)
                del out[:sent]
                self._connection.sent += sent
                self._flushing_since = time.perf_counter() if out else None
        except OSError:
            # The reader still receives what the server sent before it closed.
            self._broken = True
        except AttributeError:
            # gevent raises this for a TLS socket that was closed meanwhile.
            if self._end is None:
                raise
        finally:
            self._flushing = False
        if not taken:
            self._flush_later()

    def _finish_if_done(self) -> None:
        """Closes a connection that takes no more requests once the last has ended."""
        if not self._waiting and self._end is None and not self.usable and not self._connection.unanswered:
            self._finish(ConnectionError("the server takes no more requests on the connection"))

    def _mark_unprocessed(self, error: OSError) -> None:
        """Marks the requests that the server certainly had not read completely when it closed the connection."""
        got = sent = self._connection.sent
        end = tcp_end(self._socket)
        if end is not None and end.unread:
            # After a reset the last byte was not read. After a FIN nothing beyond the acknowledged bytes was read.
            reset = self._broken or isinstance(error, ConnectionResetError)
            got = sent - 1 if reset or not self._plain or end.acked is None else end.acked
        for request in self._unanswered:
            if not request.end or request.end > got:
                request.unprocessed = True

    def _finish(self, error: Exception) -> None:
        """Ends the connection, and all waiting requests with it."""
        if self._end is None:
            self._end = error
            self._unanswered = frozenset(self._connection.unanswered)
            if isinstance(error, OSError) and self._connection.answered:
                self._mark_unprocessed(error)
            # First shutdown: a pending read can delay close, and the server may wait for our end.
            with contextlib.suppress(OSError):
                self._socket.shutdown(gevent.socket.SHUT_RDWR)
            self._socket.close()
            self._ended(self)
        while self._waiting:
            self._waiting.popitem()[1].set()
