"""The server's side of one HTTP/2 connection (RFC 9113), without input or output: bytes in, events and bytes out.

What gRPC needs and no more: no server push, no priorities. The windows offered are as wide as they can be, so that a
client never waits for leave to send.
"""

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bench.server.embedded.hpack import Decoder, Header, HpackError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_PUSH_PROMISE: Final = 5

_END_STREAM: Final = 0x1
_ACK: Final = 0x1
_END_HEADERS: Final = 0x4
_PADDED: Final = 0x8
_PRIORITY: Final = 0x20

_SETTINGS_INITIAL_WINDOW_SIZE: Final = 4
_SETTINGS_MAX_FRAME_SIZE: Final = 5

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
FLOW_CONTROL_ERROR: Final = 3
FRAME_SIZE_ERROR: Final = 6
COMPRESSION_ERROR: Final = 9

_HEAD: Final = struct.Struct(">BHBBI")
_DEFAULT_WINDOW: Final = 65535
_LARGEST_WINDOW: Final = (1 << 31) - 1
_LARGEST_STREAM: Final = (1 << 31) - 1
# What the connection's window may shrink by before it is opened again.
_WINDOW_STEP: Final = 1 << 24
_OUR_FRAME_SIZE: Final = 1 << 20


class H2Error(Exception):
    """A client that breaks the protocol; the connection ends with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


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
    window: int
    body: bytearray = field(default_factory=bytearray)
    received_all: bool = False
    # What waits for the client's window: bytes of DATA, then the block of the trailers.
    waiting: "deque[memoryview]" = field(default_factory=deque)
    trailers: bytes | None = None


def frame(kind: int, flags: int, stream: int, payload: "bytes | memoryview") -> bytes:
    """A frame as bytes."""
    size = len(payload)
    return b"".join((_HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream), payload))


class H2Connection:
    """One connection.

    Attributes:
        out: bytes to send; whoever sends them empties it.
    """

    def __init__(self) -> None:
        settings = struct.pack(
            ">HIHI", _SETTINGS_INITIAL_WINDOW_SIZE, _LARGEST_WINDOW, _SETTINGS_MAX_FRAME_SIZE, _OUR_FRAME_SIZE
        )
        self.out = bytearray(frame(_SETTINGS, 0, 0, settings))
        self.out += self._window_update(_LARGEST_WINDOW - _DEFAULT_WINDOW)
        self._in = bytearray()
        self._greeted = False
        self._decoder = Decoder()
        self._streams: dict[int, _Stream] = {}
        self._last_stream = 0
        self._block: tuple[int, bytearray, bool] | None = None
        self._received = 0
        self._window = _DEFAULT_WINDOW
        self._stream_window = _DEFAULT_WINDOW
        self._frame_size = 16384

    @property
    def open_streams(self) -> int:
        """Requests that are not answered in full."""
        return len(self._streams)

    def receive(self, data: bytes) -> list[Event]:
        """Takes bytes from the client.

        Raises:
            H2Error: the client breaks the protocol.
        """
        self._in += data
        if not self._greeted:
            if not PREFACE.startswith(self._in[: len(PREFACE)]):
                raise H2Error(PROTOCOL_ERROR, "no HTTP/2 preface")
            if len(self._in) < len(PREFACE):
                return []
            del self._in[: len(PREFACE)]
            self._greeted = True
        events: list[Event] = []
        for kind, flags, stream, payload in self._frames():
            events += self._handle(kind, flags, stream, payload)
        return events

    def respond(self, stream: int, headers: bytes, body: bytes, trailers: bytes) -> None:
        """Answers a request: blocks of headers and trailers, and a body between them.

        An empty block of headers means that the trailers are all there is. Nothing happens if the client has gone.
        """
        found = self._streams.get(stream)
        if found is None:
            return
        if headers:
            self.out += frame(_HEADERS, _END_HEADERS, stream, headers)
        if body:
            found.waiting.append(memoryview(body))
        found.trailers = trailers
        self._flush(stream, found)

    def begin(self, stream: int, headers: bytes, body: bytes) -> None:
        """The first part of an answer that goes on."""
        found = self._streams.get(stream)
        if found is not None:
            self.out += frame(_HEADERS, _END_HEADERS, stream, headers)
            found.waiting.append(memoryview(body))
            self._flush(stream, found)

    def go_away(self) -> None:
        """Says that no more requests are wanted; those that are on their way are still taken."""
        self.out += frame(_GOAWAY, 0, 0, struct.pack(">II", _LARGEST_STREAM, NO_ERROR))

    def abort(self, code: int) -> None:
        """Says that the connection ends with an error."""
        self.out += frame(_GOAWAY, 0, 0, struct.pack(">II", self._last_stream, code))

    def _frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        while len(self._in) >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(self._in)
            size = high << 16 | low
            if size > _OUR_FRAME_SIZE:
                raise H2Error(FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            end = _HEAD.size + size
            if len(self._in) < end:
                return
            payload = bytes(self._in[_HEAD.size : end])
            del self._in[:end]
            yield kind, flags, stream & 0x7FFFFFFF, payload

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> Iterable[Event]:
        if self._block is not None and (kind != _CONTINUATION or self._block[0] != stream):
            raise H2Error(PROTOCOL_ERROR, "a header block that is not continued")
        if kind == _DATA:
            return self._on_data(flags, stream, payload)
        if kind == _HEADERS:
            return self._on_headers(flags, stream, payload)
        if kind == _CONTINUATION:
            return self._on_continuation(flags, payload)
        if kind == _RST_STREAM:
            return [Reset(stream)] if self._streams.pop(stream, None) else []
        if kind == _SETTINGS and not flags & _ACK:
            self._on_settings(payload)
        elif kind == _PING and not flags & _ACK:
            self.out += frame(_PING, _ACK, 0, payload)
        elif kind == _WINDOW_UPDATE:
            self._on_window_update(stream, payload)
        elif kind == _PUSH_PROMISE:
            raise H2Error(PROTOCOL_ERROR, "a client cannot push")
        return []

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> Iterable[Event]:
        if not stream % 2 or (stream <= self._last_stream and stream not in self._streams):
            raise H2Error(PROTOCOL_ERROR, f"headers on stream {stream}")
        payload = _unpadded(flags, payload)
        if flags & _PRIORITY:
            payload = payload[5:]
        self._block = (stream, bytearray(payload), bool(flags & _END_STREAM))
        return self._on_block() if flags & _END_HEADERS else []

    def _on_continuation(self, flags: int, payload: bytes) -> Iterable[Event]:
        if self._block is None:
            raise H2Error(PROTOCOL_ERROR, "nothing to continue")
        self._block[1].extend(payload)
        return self._on_block() if flags & _END_HEADERS else []

    def _on_block(self) -> Iterable[Event]:
        """A header block is there as a whole: of a new request, or the trailers of one."""
        assert self._block is not None
        stream, block, ends = self._block
        self._block = None
        try:
            headers = self._decoder.decode(bytes(block))
        except HpackError as error:
            raise H2Error(COMPRESSION_ERROR, str(error)) from None
        events: list[Event] = []
        found = self._streams.get(stream)
        if found is None:
            self._last_stream = stream
            found = self._streams[stream] = _Stream(self._stream_window)
            events.append(Opened(stream, headers))
        if ends:
            found.received_all = True
            events.append(Completed(stream, bytes(found.body)))
        return events

    def _on_data(self, flags: int, stream: int, payload: bytes) -> Iterable[Event]:
        self._received += len(payload)
        if self._received >= _WINDOW_STEP:
            self.out += self._window_update(self._received)
            self._received = 0
        if not 0 < stream <= self._last_stream:
            raise H2Error(PROTOCOL_ERROR, f"data on stream {stream}")
        found = self._streams.get(stream)
        if found is None:
            # Answered or given up already; the client did not know yet.
            return []
        found.body += _unpadded(flags, payload)
        if not flags & _END_STREAM:
            return []
        found.received_all = True
        body = bytes(found.body)
        found.body.clear()
        return [Completed(stream, body)]

    def _on_settings(self, payload: bytes) -> None:
        if len(payload) % 6:
            raise H2Error(FRAME_SIZE_ERROR, "settings that are cut")
        for setting, value in struct.iter_unpack(">HI", payload):
            if setting == _SETTINGS_INITIAL_WINDOW_SIZE:
                if value > _LARGEST_WINDOW:
                    raise H2Error(FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                for found in self._streams.values():
                    found.window += value - self._stream_window
                self._stream_window = value
            elif setting == _SETTINGS_MAX_FRAME_SIZE:
                self._frame_size = value
        self.out += frame(_SETTINGS, _ACK, 0, b"")
        self._flush_all()

    def _on_window_update(self, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise H2Error(FRAME_SIZE_ERROR, "a window update that is cut")
        step = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not stream:
            self._window += step
            self._flush_all()
        elif (found := self._streams.get(stream)) is not None:
            found.window += step
            self._flush(stream, found)

    def _flush_all(self) -> None:
        for stream, found in list(self._streams.items()):
            self._flush(stream, found)

    def _flush(self, stream: int, found: _Stream) -> None:
        """Sends what waits on a stream as far as both windows let it."""
        while found.waiting:
            size = min(len(found.waiting[0]), self._window, found.window, self._frame_size)
            if size <= 0:
                return
            part = found.waiting.popleft()
            if size < len(part):
                found.waiting.appendleft(part[size:])
                part = part[:size]
            self._window -= size
            found.window -= size
            self.out += frame(_DATA, 0, stream, part)
        if found.trailers is not None:
            self.out += frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, found.trailers)
            del self._streams[stream]
            if not found.received_all:
                # The client may stop sending: its request is answered.
                self.out += frame(_RST_STREAM, 0, stream, struct.pack(">I", NO_ERROR))

    def _window_update(self, step: int) -> bytes:
        return frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", step))


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise H2Error(PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]
