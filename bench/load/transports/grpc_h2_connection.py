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
# After so many bytes other users have their turn; a piece counts as some, so that many small ones do not go on either.
_AT_ONCE: Final = 1 << 15
_PIECE: Final = 256
_SENT_AT_ONCE: Final = 1 << 18
# A server that has not read for so long gets no more requests on this connection, seconds.
_STUCK_AFTER: Final = 5.0


class Link:
    """One connection, from its first byte to its end.

    Args:
        connected: the socket.
        plain: whether it is not encrypted, so that the kernel counts the bytes that are written here.
        most: largest answer that is taken, bytes.
        failure: gives what a request fails with, from what ended the connection.
        ended: told when it has ended.
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
        self._sent = 0
        self._flushing = False
        self._flushing_since: float | None = None
        self._broken = self._retired = False
        self._end: Exception | None = None
        self._reader = gevent.spawn(self._read)

    @property
    def usable(self) -> bool:
        """Whether another request may go this way."""
        if self._end is not None or self._broken or self._retired or not self._connection.usable:
            return False
        return self._flushing_since is None or time.perf_counter() - self._flushing_since < _STUCK_AFTER

    @property
    def room(self) -> int:
        """How many requests the server takes at a time on this connection."""
        return self._connection.room

    @property
    def answered(self) -> bool:
        """Whether the server has answered a request on this connection."""
        return self._connection.answered

    def retire(self) -> None:
        """No new requests go this way."""
        self._retired = True
        self._finish_if_done()

    def exchange(self, request: Request) -> None:
        """Sends a request and waits until it is over.

        Raises:
            ServingError: the connection ended before. The request is `unprocessed` where the server certainly did not
                get all of it, though the connection had served others.
        """
        over = self._waiting[request] = Event()
        try:
            self._connection.send(request)
            request.end = self._sent + len(self._connection.out)
            self._flush()
            over.wait()
        finally:
            # Still there: the time is up, or the user is being stopped.
            if self._waiting.pop(request, None) is not None and self._end is None:
                self._connection.cancel(request)
                self._finish_if_done()
            self._flush_later()
        if self._end is not None and request in self._connection.unanswered:
            raise self._failure(self._end)

    def close(self) -> None:
        """Ends the connection."""
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
                # Not by this greenlet: it would not read while it sends.
                self._flush_later()
                if self._retired or not self._connection.usable:
                    self._finish_if_done()
                taken += len(data) + _PIECE
                if taken > _AT_ONCE:
                    taken = 0
                    let_others()
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
        if self._connection.out and not self._flushing and not self._broken and self._end is None:
            gevent.spawn(self._flush)

    def _flush(self) -> None:
        """Sends what there is to send. A user whose time is up in the midst of it leaves the rest to the next."""
        if self._flushing or self._broken:
            return
        self._flushing = True
        out = self._connection.out
        self._flushing_since = self._flushing_since or time.perf_counter()
        try:
            while out and self._end is None:
                sent = self._socket.send(bytes(out) if len(out) < _SENT_AT_ONCE else bytes(out[:_SENT_AT_ONCE]))
                del out[:sent]
                self._sent += sent
                self._flushing_since = time.perf_counter() if out else None
        except OSError:
            # The reader still finds what the server said before it closed, and then the end.
            self._broken = True
        except AttributeError:
            # A TLS socket of gevent that was closed meanwhile has nothing to write with.
            if self._end is None:
                raise
        finally:
            self._flushing = False

    def _finish_if_done(self) -> None:
        """Nobody waits on a connection that takes no more requests."""
        if not self._waiting and self._end is None and not self.usable and not self._connection.unanswered:
            self._finish(ConnectionError("the server takes no more requests on the connection"))

    def _mark_unprocessed(self, error: OSError) -> None:
        """Marks the requests that the server certainly had not read as a whole when it closed the connection."""
        got: int = self._sent
        end = tcp_end(self._socket)
        if end is not None and end.unread:
            # A reset says that the last byte was not read. A FIN says how far it came, and nothing after it was read.
            reset = self._broken or isinstance(error, ConnectionResetError)
            got = self._sent - 1 if reset or not self._plain or end.acked is None else end.acked
        for request in self._connection.unanswered:
            if not self._connection.is_whole(request) or request.end > got:
                request.unprocessed = True

    def _finish(self, error: Exception) -> None:
        """The connection is over, and with it whatever waits."""
        if self._end is None:
            self._end = error
            if isinstance(error, OSError) and self._connection.answered:
                self._mark_unprocessed(error)
            # First of all for the server, which may wait for us to go; closing alone can be put off by a reader.
            with contextlib.suppress(OSError):
                self._socket.shutdown(gevent.socket.SHUT_RDWR)
            self._socket.close()
            self._ended(self)
        while self._waiting:
            self._waiting.popitem()[1].set()
