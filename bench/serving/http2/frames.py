"""HTTP/2 frames (RFC 9113, sections 4 and 6): from bytes to frames and back, and the protocol's numbers."""

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11
INADEQUATE_SECURITY: Final = 12
HTTP_1_1_REQUIRED: Final = 13

DEFAULT_WINDOW: Final = 65535
DEFAULT_FRAME_SIZE: Final = 16384
LARGEST_FRAME_SIZE: Final = (1 << 24) - 1
LARGEST_WINDOW: Final = (1 << 31) - 1
LARGEST_STREAM: Final = (1 << 31) - 1
# The largest frame that this side accepts.
OUR_FRAME_SIZE: Final = 1 << 20
# Settings in one frame; six are defined.
_MOST_SETTINGS: Final = 128
_PING_SIZE: Final = 8
_WINDOW_STEP: Final = 1 << 24

_HEAD: Final = struct.Struct(">BHBBI")
_NUMBER: Final = struct.Struct(">I")
_SETTING: Final = struct.Struct(">HI")


Frame = tuple[int, int, int, bytes]
"""Kind, flags, stream and payload."""


class H2Error(Exception):
    """The peer violates the protocol; the connection ends with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview) -> bytes:
    """A frame as bytes."""
    size = len(payload)
    return b"".join((_HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream), payload))


def window_update(step: int, stream: int = 0) -> bytes:
    """A frame that opens a window by `step` bytes; stream 0 is the connection's."""
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(step))


def rst_stream(stream: int, code: int) -> bytes:
    """A frame that ends a stream."""
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(last_stream: int, code: int) -> bytes:
    """A frame that announces that streams after `last_stream` are not processed."""
    return frame(GOAWAY, 0, 0, struct.pack(">II", last_stream, code))


def connection_preface(*settings: tuple[int, int]) -> bytes:
    """A side's first frames: its settings, and the largest windows, so that the peer never waits for one."""
    wide = ((INITIAL_WINDOW_SIZE, LARGEST_WINDOW), (MAX_FRAME_SIZE, OUR_FRAME_SIZE), *settings)
    payload = b"".join(_SETTING.pack(*entry) for entry in wide)
    return frame(SETTINGS, 0, 0, payload) + window_update(LARGEST_WINDOW - DEFAULT_WINDOW)


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings in a SETTINGS frame.

    Raises:
        H2Error: the payload is truncated, a value is not allowed, or there are too many settings.
    """
    if len(payload) % _SETTING.size:
        raise H2Error(FRAME_SIZE_ERROR, "truncated settings")
    if len(payload) > _MOST_SETTINGS * _SETTING.size:
        raise H2Error(ENHANCE_YOUR_CALM, f"{len(payload) // _SETTING.size} settings in one frame")
    found = list(_SETTING.iter_unpack(payload))
    for setting, value in found:
        if setting == INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise H2Error(FLOW_CONTROL_ERROR, f"a window of {value} bytes")
        if setting == MAX_FRAME_SIZE and not DEFAULT_FRAME_SIZE <= value <= LARGEST_FRAME_SIZE:
            raise H2Error(PROTOCOL_ERROR, f"frames of {value} bytes")
    return found


def read_number(payload: bytes, what: str) -> int:
    """The 31-bit number that is a frame's payload.

    Raises:
        H2Error: the payload has another size.
    """
    if len(payload) != _NUMBER.size:
        raise H2Error(FRAME_SIZE_ERROR, f"{what} of {len(payload)} bytes")
    return int.from_bytes(payload, "big") & LARGEST_WINDOW


def pong(payload: bytes) -> bytes:
    """The answer to a PING.

    Raises:
        H2Error: the payload has another size.
    """
    if len(payload) != _PING_SIZE:
        raise H2Error(FRAME_SIZE_ERROR, f"a ping of {len(payload)} bytes")
    return frame(PING, ACK, 0, payload)


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of DATA or HEADERS without its padding.

    Raises:
        H2Error: the padding is longer than the payload.
    """
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise H2Error(PROTOCOL_ERROR, "padding longer than the payload")
    return payload[1 : len(payload) - payload[0]]


def header_block(flags: int, payload: bytes) -> bytes:
    """The part of a header block in a HEADERS frame."""
    payload = unpadded(flags, payload)
    return payload[5:] if flags & PRIORITY else payload


class FrameReader:
    """Splits received bytes into frames."""

    def __init__(self) -> None:
        self._in = bytearray()

    @property
    def held(self) -> int:
        """Bytes of a frame that is not complete."""
        return len(self._in)

    def feed(self, data: bytes) -> None:
        """Takes bytes."""
        self._in += data

    def starts_with(self, prefix: bytes) -> bool | None:
        """Whether the received bytes start with `prefix`, which is then removed; None while bytes are missing."""
        if not prefix.startswith(self._in[: len(prefix)]):
            return False
        if len(self._in) < len(prefix):
            return None
        del self._in[: len(prefix)]
        return True

    def frames(self) -> list[Frame]:
        """The complete frames received.

        Raises:
            H2Error: a frame is larger than allowed.
        """
        data = self._in
        found: list[Frame] = []
        at = 0
        while len(data) - at >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            size = high << 16 | low
            if size > OUR_FRAME_SIZE:
                raise H2Error(FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            end = at + _HEAD.size + size
            if len(data) < end:
                break
            found.append((kind, flags, stream & LARGEST_STREAM, bytes(data[at + _HEAD.size : end])))
            at = end
        del data[:at]
        return found


class ReceiveWindow:
    """Tracks the connection's receive window, and reopens it before it is used up."""

    def __init__(self) -> None:
        self._received = 0

    def take(self, size: int) -> bytes:
        """Counts `size` bytes of DATA; the window update that is due, or nothing."""
        self._received += size
        if self._received < _WINDOW_STEP:
            return b""
        update = window_update(self._received)
        self._received = 0
        return update
