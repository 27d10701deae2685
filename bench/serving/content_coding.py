"""Decodes the content codings of HTTP answers (RFC 9110, section 8.4.1) in small parts."""

import zlib
from collections.abc import Callable, Iterator
from typing import Final

from bench.core.errors import printable
from bench.core.units import format_bytes
from bench.serving.errors import InvalidResponse

_STEP: Final = 1 << 16
_GZIP: Final = 16 + zlib.MAX_WBITS
# Many servers send `deflate` without the zlib header that the standard asks for.
_WINDOWS: Final = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS)}
# A server that needs more is none; each is a generator in another.
_MOST_CODINGS: Final = 8


def check_size(size: int, most: int) -> None:
    """Checks the size of a body, before or after decoding.

    Raises:
        InvalidResponse: it is larger than `most` bytes.
    """
    if size > most:
        raise InvalidResponse(
            f"the response has more than {format_bytes(most)}; send fewer sentences or raise the limit"
        )


def plain_body(body: bytes, coding: str, most: int, pause: Callable[[], object], *, good: bool) -> bytes:
    """The decoded body of an answer.

    Args:
        body: as received.
        coding: the value of `Content-Encoding`.
        most: its largest size, bytes.
        pause: called after each part; may raise.
        good: whether the answer is no error; of an error whose body cannot be decoded it is b"".

    Raises:
        InvalidResponse: the coding is not supported, the body is not valid in it, or too large.
    """
    plain = bytearray()
    try:
        for part in decoded(body, coding):
            plain += part
            check_size(len(plain), most)
            pause()
    except InvalidResponse:
        if good:
            raise
        return b""
    return bytes(plain)


def decoded(body: bytes, coding: str) -> Iterator[bytes]:
    """The parts of a decoded body, each of at most 64 KiB.

    Args:
        body: as received.
        coding: the value of `Content-Encoding`; several codings are decoded from the last to the first.

    Raises:
        InvalidResponse: a coding is not supported, there are too many, or the body is not valid in one.
    """
    names = _names(coding)
    if len(names) > _MOST_CODINGS:
        raise InvalidResponse(f"the response has {len(names):,} content codings, more than {_MOST_CODINGS}")
    if any(name not in _WINDOWS for name in names):
        supported = ", ".join(sorted(_WINDOWS))
        raise InvalidResponse.quoting(
            f"the response has the content coding {{}}; supported are {supported}", coding, _unknown
        )
    parts: Iterator[bytes] = iter((body,))
    for name in reversed(names):
        parts = _inflated(parts, name)
    return parts


def _names(coding: str) -> list[str]:
    names = (name.strip().lower() for name in coding.split(","))
    return [name for name in names if name not in ("", "identity", "chunked")]


def _unknown(coding: str) -> str:
    """The first coding that is not supported, for a message."""
    return repr(printable(next((name for name in _names(coding) if name not in _WINDOWS), coding)))


def _inflated(parts: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Decodes one coding. A gzip body may have several members (RFC 1952, section 2.2)."""
    windows = _WINDOWS[name]
    reader, begun, rest = zlib.decompressobj(windows[0]), False, b""
    for part in parts:
        rest += part
        while rest:
            try:
                out = reader.decompress(rest, _STEP)
            except zlib.error as error:
                if begun or len(windows) == 1:
                    raise InvalidResponse(f"the response is not valid {name} ({error}); check the server") from error
                windows = windows[1:]
                reader = zlib.decompressobj(windows[0])
                continue
            begun = True
            if out:
                yield out
            rest = reader.unused_data if reader.eof else reader.unconsumed_tail
            if reader.eof and rest:
                reader = zlib.decompressobj(windows[0])
    if not reader.eof:
        raise InvalidResponse(f"the response is not valid {name} (it is truncated); check the server")
