"""A gRPC server that computes nothing, as fast as Python goes: just enough of HTTP/2 (RFC 9113) for unary calls.

It reads no header: a call is known by the bytes of its message, and answered with bytes made before. Headers it sends
are literals without indexing (RFC 7541, section 6.2.2), so that neither side needs a table.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Mapping
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 0x1, 0x1, 0x4, 0x8
_FRAME_MOST: Final = 16_384
_WINDOW: Final = 65_535
_BIG_WINDOW: Final = (1 << 31) - 1
_INITIAL_WINDOW_SIZE: Final = 4
_HEAD: Final = struct.Struct(">HBBBI")


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\x00%c%b%c%b" % (len(name), name, len(value), value)


# 0x88 is `:status: 200` of the static table.
_RESPONSE: Final = b"\x88" + _literal(b"content-type", b"application/grpc")
_TRAILERS: Final = _literal(b"grpc-status", b"0")
_REFUSAL: Final = _literal(b"grpc-status", b"3") + _literal(
    b"grpc-message", b"the null server does not know this request"
)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


class NullGrpc(asyncio.Protocol):
    """One connection.

    Args:
        answers: serialised answers by serialised request, whatever the method.
    """

    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        self._answers = answers
        self._buffer = b""
        self._prefaced = False
        self._bodies: dict[int, bytearray] = {}
        self._transport: asyncio.Transport | None = None
        self._window = _WINDOW
        self._stream_window = _WINDOW
        self._windows: dict[int, int] = {}
        self._pending: deque[tuple[int, bytes]] = deque()
        self._received = 0
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _BIG_WINDOW)
        grow = struct.pack(">I", _BIG_WINDOW - _WINDOW)
        transport.write(_frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, grow))

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        position = 0
        if not self._prefaced:
            if len(data) < len(_PREFACE):
                self._buffer = data
                return
            self._prefaced = True
            position = len(_PREFACE)
        while len(data) - position >= 9:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, position)
            end = position + 9 + (high << 8 | low)
            if end > len(data):
                break
            self._handle(kind, flags, stream & _BIG_WINDOW, data[position + 9 : end])
            position = end
        self._buffer = data[position:]
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._take(flags, stream, payload)
        elif kind == _HEADERS:
            self._bodies[stream] = bytearray()
        elif kind == _WINDOW_UPDATE:
            self._grow(stream, int.from_bytes(payload, "big"))
        elif kind == _SETTINGS and not flags & _ACK:
            self._set(payload)
            self._out.append(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._out.append(_frame(_PING, _ACK, 0, payload))
        elif kind == _RST:
            self._bodies.pop(stream, None)
            self._windows.pop(stream, None)

    def _take(self, flags: int, stream: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received > _BIG_WINDOW // 2:
            self._out.append(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received)))
            self._received = 0
        if flags & _PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        body = self._bodies.get(stream)
        if body is None:
            return
        body += payload
        if flags & _END_STREAM:
            del self._bodies[stream]
            self._answer(stream, bytes(body[5:]))

    def _answer(self, stream: int, request: bytes) -> None:
        message = self._answers.get(request)
        if message is None:
            self._out.append(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _RESPONSE + _REFUSAL))
            return
        self._out.append(_frame(_HEADERS, _END_HEADERS, stream, _RESPONSE))
        self._windows.setdefault(stream, self._stream_window)
        self._pending.append((stream, b"\x00" + struct.pack(">I", len(message)) + message))
        self._flush()

    def _flush(self) -> None:
        """Sends what the client's windows let go, whole answers in order."""
        for _ in range(len(self._pending)):
            stream, body = self._pending.popleft()
            while body:
                size = min(len(body), _FRAME_MOST, self._window, self._windows.get(stream, 0))
                if size <= 0:
                    break
                self._out.append(_frame(_DATA, 0, stream, body[:size]))
                body = body[size:]
                self._window -= size
                self._windows[stream] -= size
            if body:
                self._pending.append((stream, body))
            else:
                self._windows.pop(stream, None)
                self._out.append(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _TRAILERS))

    def _grow(self, stream: int, size: int) -> None:
        if stream == 0:
            self._window += size
        elif stream in self._windows:
            self._windows[stream] += size
        if self._pending:
            self._flush()

    def _set(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW_SIZE:
                for stream in self._windows:
                    self._windows[stream] += value - self._stream_window
                self._stream_window = value
