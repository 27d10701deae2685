"""The server's side of one HTTP/2 connection (RFC 9113), without input or output: bytes in, events and bytes out.

What gRPC needs and no more: no server push, no priorities. The windows offered are as wide as they can be, so that a
client never waits for leave to send.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.serving.http2.blocks import BlockReader
from bench.serving.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADER_TABLE_SIZE,
    HEADERS,
    LARGEST_STREAM,
    NO_ERROR,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameReader,
    H2Error,
    ReceiveWindow,
    connection_preface,
    frame,
    goaway,
    pong,
    read_number,
    read_settings,
    rst_stream,
    unpadded,
)
from bench.serving.http2.hpack import DEFAULT_TABLE_SIZE, Header, TableNotice
from bench.serving.http2.sender import Sender


@dataclass(slots=True)
class Opened:
    """A client's request has begun.

    Args:
        stream: the stream's number.
        headers: in their order.
    """

    stream: int
    headers: list[Header]


@dataclass(slots=True)
class Completed:
    """A client's request is there as a whole."""

    stream: int
    body: bytes


@dataclass(slots=True)
class Reset:
    """A client does not want the answer any more."""

    stream: int


Event = Opened | Completed | Reset


@dataclass(slots=True)
class _Stream:
    body: bytearray = field(default_factory=bytearray)
    received_all: bool = False


class H2Connection:
    """One connection.

    Attributes:
        out: bytes to send; whoever sends them empties it.
    """

    def __init__(self) -> None:
        self._sender = Sender(connection_preface())
        self.out = self._sender.out
        self._reader = FrameReader()
        self._preface_received = False
        self._blocks = BlockReader()
        self._streams: dict[int, _Stream] = {}
        self._last_stream = 0
        self._receive_window = ReceiveWindow()
        self._table = TableNotice()

    @property
    def open_streams(self) -> int:
        """Requests that are not answered in full."""
        return len(self._streams)

    def receive(self, data: bytes) -> list[Event]:
        """Takes bytes from the client.

        Raises:
            H2Error: the client breaks the protocol.
        """
        self._reader.feed(data)
        if not self._preface_received:
            matches = self._reader.starts_with(PREFACE)
            if matches is None:
                return []
            if not matches:
                raise H2Error(PROTOCOL_ERROR, "no HTTP/2 preface")
            self._preface_received = True
        events: list[Event] = []
        for kind, flags, stream, payload in self._reader.frames():
            events += self._handle(kind, flags, stream, payload)
        return events

    def respond(self, stream: int, headers: bytes, body: bytes, trailers: bytes) -> None:
        """Answers a request: blocks of headers and trailers, and a body between them.

        An empty block of headers means that the trailers are all there is. Nothing happens if the client has gone.
        """
        if stream not in self._streams:
            return
        if headers:
            self.out += frame(HEADERS, END_HEADERS, stream, self._table.before(headers))
        self._sender.send(stream, body, then=lambda: self._ending(stream, trailers))

    def begin(self, stream: int, headers: bytes, body: bytes) -> None:
        """The first part of an answer that goes on."""
        if stream in self._streams:
            self.out += frame(HEADERS, END_HEADERS, stream, self._table.before(headers))
            self._sender.send(stream, body)

    def go_away(self) -> None:
        """Says that no more requests are wanted; those that are on their way are still taken."""
        self.out += goaway(LARGEST_STREAM, NO_ERROR)

    def abort(self, code: int) -> None:
        """Says that the connection ends with an error."""
        self.out += goaway(self._last_stream, code)

    def _ending(self, stream: int, trailers: bytes) -> bytes:
        """The end of an answer. The client may stop sending if it has not yet: its request is answered."""
        received_all = self._streams.pop(stream).received_all
        end = frame(HEADERS, END_HEADERS | END_STREAM, stream, self._table.before(trailers))
        return end if received_all else end + rst_stream(stream, NO_ERROR)

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> Iterable[Event]:
        self._blocks.check(kind, stream)
        if kind == DATA:
            return self._on_data(flags, stream, payload)
        if kind in (HEADERS, CONTINUATION):
            return self._on_headers(kind, flags, stream, payload)
        if kind == RST_STREAM:
            self._sender.close(stream)
            return [Reset(stream)] if self._streams.pop(stream, None) else []
        if kind == SETTINGS and not flags & ACK:
            settings = read_settings(payload)
            self.out += frame(SETTINGS, ACK, 0, b"")
            self._table.limit(dict(settings).get(HEADER_TABLE_SIZE, DEFAULT_TABLE_SIZE))
            self._sender.set(settings)
        elif kind == PING and not flags & ACK:
            self.out += pong(payload)
        elif kind == WINDOW_UPDATE:
            self._sender.grow(stream, read_number(payload, "a window update"))
        elif kind == PUSH_PROMISE:
            raise H2Error(PROTOCOL_ERROR, "a client cannot push")
        return []

    def _on_headers(self, kind: int, flags: int, stream: int, payload: bytes) -> Iterable[Event]:
        """Headers of a new request, or the trailers of one."""
        if kind == HEADERS and (not stream % 2 or (stream <= self._last_stream and stream not in self._streams)):
            raise H2Error(PROTOCOL_ERROR, f"headers on stream {stream}")
        block = self._blocks.take(kind, flags, stream, payload)
        if block is None:
            return []
        events: list[Event] = []
        found = self._streams.get(stream)
        if found is None:
            self._last_stream = stream
            found = self._streams[stream] = _Stream()
            self._sender.open(stream)
            events.append(Opened(stream, block.headers))
        if block.ends:
            found.received_all = True
            events.append(Completed(stream, bytes(found.body)))
        return events

    def _on_data(self, flags: int, stream: int, payload: bytes) -> Iterable[Event]:
        self.out += self._receive_window.take(len(payload))
        if not 0 < stream <= self._last_stream:
            raise H2Error(PROTOCOL_ERROR, f"data on stream {stream}")
        found = self._streams.get(stream)
        if found is None:
            # Answered or given up already; the client did not know yet.
            return []
        found.body += unpadded(flags, payload)
        if not flags & END_STREAM:
            return []
        found.received_all = True
        body = bytes(found.body)
        found.body.clear()
        return [Completed(stream, body)]
