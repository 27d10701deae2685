"""The server's side of an HTTP/2 connection (RFC 9113), without I/O: bytes in, events and bytes out.

It has what gRPC needs: no server push, no priorities. It offers the largest possible windows, so that a client never
waits for one.
"""

from dataclasses import dataclass, field

from bench.serving.http2.blocks import Block
from bench.serving.http2.connection import Connection
from bench.serving.http2.frames import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LARGEST_STREAM,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    H2Error,
    connection_preface,
    frame,
    goaway,
    rst_stream,
)
from bench.serving.http2.hpack import Header


@dataclass(slots=True)
class Opened:
    """A request has begun.

    Args:
        stream: the stream's number.
        headers: in their order.
    """

    stream: int
    headers: list[Header]


@dataclass(slots=True)
class Completed:
    """A request is complete."""

    stream: int
    body: bytes


@dataclass(slots=True)
class Reset:
    """The client has cancelled a request."""

    stream: int


Event = Opened | Completed | Reset


@dataclass(slots=True)
class _Stream:
    body: bytearray = field(default_factory=bytearray)
    received_all: bool = False


class ServerConnection(Connection):
    """One connection of a client."""

    def __init__(self) -> None:
        super().__init__(connection_preface())
        self._preface_received = False
        self._streams: dict[int, _Stream] = {}
        self._events: list[Event] = []

    @property
    def open_streams(self) -> int:
        """The number of requests without a complete answer."""
        return len(self._streams)

    def receive(self, data: bytes) -> list[Event]:
        """Takes bytes from the client.

        Raises:
            H2Error: they violate the protocol.
        """
        self._reader.feed(data)
        if not self._preface_received:
            matches = self._reader.starts_with(PREFACE)
            if matches is None:
                return []
            if not matches:
                raise H2Error(PROTOCOL_ERROR, "no HTTP/2 preface")
            self._preface_received = True
        for kind, flags, stream, payload in self._reader.frames():
            self._handle(kind, flags, stream, payload)
        events, self._events = self._events, []
        return events

    def respond(self, stream: int, headers: bytes, body: bytes, trailers: bytes) -> None:
        """Answers a request; nothing happens if the client has cancelled it.

        Args:
            stream: the request's stream.
            headers: header block; empty for an answer of trailers only, or if `begin` has sent it.
            body: the body.
            trailers: header block that ends the answer.
        """
        if stream not in self._streams:
            return
        if headers:
            self.out += frame(HEADERS, END_HEADERS, stream, self._table.before(headers))
        self._sender.send(stream, body, then=lambda: self._ending(stream, trailers))

    def begin(self, stream: int, headers: bytes, body: bytes) -> None:
        """Sends the first part of an answer that continues."""
        if stream in self._streams:
            self.out += frame(HEADERS, END_HEADERS, stream, self._table.before(headers))
            self._sender.send(stream, body)

    def go_away(self) -> None:
        """Announces the end of the connection; requests in transit are still accepted."""
        self.out += goaway(LARGEST_STREAM, NO_ERROR)

    def abort(self, code: int) -> None:
        """Announces that the connection ends with an error."""
        self.out += goaway(max(self._last_stream, 0), code)

    def _ending(self, stream: int, trailers: bytes) -> bytes:
        """The end of an answer, which also stops a client that is still sending its request."""
        received_all = self._streams.pop(stream).received_all
        end = frame(HEADERS, END_HEADERS | END_STREAM, stream, self._table.before(trailers))
        return end if received_all else end + rst_stream(stream, NO_ERROR)

    def _on_block(self, block: Block) -> None:
        """The headers of a new request, or the trailers of one."""
        stream, found = block.stream, self._streams.get(block.stream)
        if found is None:
            if not stream % 2 or stream <= self._last_stream:
                raise H2Error(PROTOCOL_ERROR, f"headers on stream {stream}")
            self._last_stream = stream
            found = self._streams[stream] = _Stream()
            self._sender.open(stream)
            self._events.append(Opened(stream, block.headers))
        if block.ends:
            self._complete(stream, found)

    def _on_data(self, stream: int, data: bytes, ends: bool) -> None:
        found = self._streams.get(stream)
        # None if the request is answered or cancelled already.
        if found is not None:
            found.body += data
            if ends:
                self._complete(stream, found)

    def _on_reset(self, stream: int, code: int) -> None:
        self._sender.close(stream)
        if self._streams.pop(stream, None):
            self._events.append(Reset(stream))

    def _complete(self, stream: int, request: _Stream) -> None:
        request.received_all = True
        self._events.append(Completed(stream, bytes(request.body)))
        request.body.clear()
