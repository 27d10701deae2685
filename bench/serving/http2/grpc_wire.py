"""gRPC's encoding on HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md): messages, status texts and timeouts as bytes."""

import math
import re
from typing import Final

from bench.serving.http2.hpack import encode

HEADERS: Final = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
"""The header block of an answer with a message."""
OK_TRAILERS: Final = encode([(b"grpc-status", b"0")])
"""The trailers of an answer with status OK."""
PREFIX: Final = 5
"""Bytes before a message: the compressed flag and its length."""

_TIMEOUT: Final = re.compile(rb"(\d{1,8})([HMSmun])")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MOST_DIGITS: Final = 99_999_999
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def framed(message: bytes) -> bytes:
    """A message with its prefix, not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def failure(code: int, text: bytes) -> bytes:
    """The header block of an answer without a message (trailers-only)."""
    return HEADERS + encode([(b"grpc-status", b"%d" % code), (b"grpc-message", percent_encoded(text))])


def is_one_message(body: bytes | bytearray) -> bool:
    """Whether a body is exactly one message."""
    return len(body) >= PREFIX and len(body) - PREFIX == int.from_bytes(body[1:PREFIX], "big")


def timeout_header(seconds: float) -> bytes:
    """`grpc-timeout` in the finest unit that fits eight digits, rounded up."""
    # A billionth less, so that the rounding of a float does not add a unit.
    micros = max(math.ceil(seconds * 1e6 * (1 - 1e-9)), 1)
    for unit, size in ((b"u", 1), (b"m", 1000), (b"S", 1_000_000)):
        count = -(-micros // size)
        if count <= _MOST_DIGITS:
            return b"%d%b" % (count, unit)
    return b"%dS" % _MOST_DIGITS


def timeout_seconds(header: bytes | None) -> float | None:
    """Seconds of a `grpc-timeout`; None without a valid one."""
    found = _TIMEOUT.fullmatch(header) if header is not None else None
    return int(found[1]) * _UNITS[found[2]] if found else None


def percent_encoded(text: bytes) -> bytes:
    """A status text encoded for `grpc-message`."""
    return b"".join(bytes([byte]) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in text)


def percent_decoded(text: bytes) -> bytes:
    """The status text of a `grpc-message`; a percent sign without two hexadecimal digits remains."""
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), text)
