"""The server's side of an HTTP/2 connection (RFC 9113), without I/O: bytes in, events and bytes out.

It has what gRPC needs: no server push, no priorities. It offers the largest possible windows, so that a client never
waits for one.
"""

from dataclasses import dataclass, field
from typing import Final

from bench.serving.http2.blocks import Block
from bench.serving.http2.connection import Connection
from bench.serving.http2.frames import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    LARGEST_STREAM,
    MAX_CONCURRENT_STREAMS,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    H2Error,
    connection_preface,
    frame,
    goaway,
    rst_stream,
)
from bench.serving.http2.hpack import Header
from bench.serving.http2.limits import FrameBudget, ServerLimits


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


@dataclass(slots=True)
class TooLarge:
    """A request is larger than the connection has room for; its body is dropped."""

    stream: int
    size: int


Event = Opened | Completed | Reset | TooLarge

_DEFAULT_LIMITS: Final = ServerLimits()
# Bytes of a piece of a body below which it is joined with the one before, and above which nothing is joined to it.
_SMALL_PIECE: Final = 4096
_LARGE_PIECE: Final = 1 << 16


class _Body:
    """The bytes of a body, in pieces.

    One that grows in place is copied again and again, and leaves holes in memory beside others that grow with it.
    """

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray] = []
        self.size = 0

    def append(self, data: bytes) -> None:
        """Takes the next bytes."""
        self.size += len(data)
        if not self._pieces or len(data) >= _SMALL_PIECE:
            self._pieces.append(data)
            return
        last = self._pieces[-1]
        if isinstance(last, bytearray) and len(last) < _LARGE_PIECE:
            last += data
        else:
            self._pieces.append(bytearray(data))

    def take(self) -> bytes:
        """All bytes, which it no longer has."""
        whole = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        return whole


@dataclass(slots=True)
class _Stream:
    body: _Body = field(default_factory=_Body)
    received_all: bool = False
    dropped: bool = False


class ServerConnection(Connection):
    """One connection of a client.

    Args:
        limits: what the client may take up.

    Attributes:
        held: bytes of the bodies of incomplete requests, and of complete ones until `release`.
        taken: bytes of bodies so far, without those that were dropped at once.
        complete: bytes of complete bodies so far.
        abandoned: requests that the client has reset and that still run; kept by the owner.
    """

    def __init__(self, limits: ServerLimits = _DEFAULT_LIMITS) -> None:
        super().__init__(connection_preface((MAX_CONCURRENT_STREAMS, limits.streams)))
        self.held = self.taken = self.complete = 0
        self.abandoned = 0
        self._limits = limits
        self._budget = FrameBudget()
        self._preface_received = False
        self._streams: dict[int, _Stream] = {}
        self._events: list[Event] = []

    @property
    def open_streams(self) -> int:
        """The number of requests without a complete answer."""
        return len(self._streams)

    @property
    def held_frame(self) -> int:
        """Bytes of a frame that is not complete."""
        return self._reader.held

    @property
    def unsent(self) -> int:
        """Bytes of answers that wait for the client's windows."""
        return self._sender.unsent

    @property
    def frames_sent(self) -> int:
        """Frames of data sent so far."""
        return self._sender.frames_sent

    def release(self, size: int) -> None:
        """Ends the holding of a complete body of `size` bytes."""
        self.held -= size

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
        self._budget.sent(self._sender.frames_sent)
        for kind, flags, stream, payload in self._reader.frames():
            self._budget.spend(kind, flags, len(payload))
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
        """Announces that the connection ends with an error; requests that are not complete never will be."""
        for request in self._streams.values():
            self._drop(request)
        self.out += goaway(max(self._last_stream, 0), code)

    def close(self) -> None:
        """Drops all requests and answers: the connection is gone."""
        for stream, request in self._streams.items():
            self._drop(request)
            self._sender.close(stream)
        self._streams.clear()

    def _ending(self, stream: int, trailers: bytes) -> bytes:
        """The end of an answer, which also stops a client that is still sending its request."""
        found = self._streams.pop(stream)
        received_all = found.received_all
        self._drop(found)
        end = frame(HEADERS, END_HEADERS | END_STREAM, stream, self._table.before(trailers))
        return end if received_all else end + rst_stream(stream, NO_ERROR)

    def _on_block(self, block: Block) -> None:
        """The headers of a new request, or the trailers of one."""
        stream, found = block.stream, self._streams.get(block.stream)
        self._budget.decoded(len(block.headers))
        if found is not None:
            if found.received_all:
                raise H2Error(STREAM_CLOSED, f"headers after the end of stream {stream}")
            if not block.ends:
                raise H2Error(PROTOCOL_ERROR, f"headers in the middle of stream {stream}")
            self._complete(stream, found)
            return
        if not stream % 2 or stream <= self._last_stream:
            raise H2Error(PROTOCOL_ERROR, f"headers on stream {stream}")
        self._last_stream = stream
        if len(self._streams) + self.abandoned >= self._limits.streams:
            self._budget.refused()
            self.out += rst_stream(stream, REFUSED_STREAM)
            return
        found = self._streams[stream] = _Stream()
        self._sender.open(stream)
        self._events.append(Opened(stream, block.headers))
        if block.ends:
            self._complete(stream, found)

    def _on_data(self, stream: int, data: bytes, ends: bool) -> None:
        found = self._streams.get(stream)
        if found is not None and found.received_all:
            raise H2Error(STREAM_CLOSED, f"data after the end of stream {stream}")
        if found is None or found.dropped:
            # The request is answered, cancelled or refused already.
            self._budget.ignored(len(data))
            return
        found.body.append(data)
        self.held += len(data)
        if self.held > self._limits.held_bytes:
            self._events.append(TooLarge(stream, found.body.size))
            self._drop(found)
            return
        self.taken += len(data)
        if ends:
            self._complete(stream, found)

    def _on_reset(self, stream: int, code: int) -> None:
        self._sender.close(stream)
        found = self._streams.pop(stream, None)
        if found is not None:
            self._drop(found)
            self._events.append(Reset(stream))

    def _drop(self, request: _Stream) -> None:
        self.held -= request.body.size
        request.body, request.dropped = _Body(), True

    def _complete(self, stream: int, request: _Stream) -> None:
        request.received_all = True
        self._budget.completed()
        if not request.dropped:
            self.complete += request.body.size
            self._events.append(Completed(stream, request.body.take()))
