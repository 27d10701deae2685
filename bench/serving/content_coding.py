"""Decodes the content codings of HTTP answers (RFC 9110, section 8.4.1) in small parts."""

import zlib
from collections.abc import Collection, Iterator
from typing import Final

from bench.serving.errors import InvalidResponse

_STEP: Final = 1 << 16
_GZIP: Final = 16 + zlib.MAX_WBITS
# Many servers send `deflate` without the zlib header that the standard asks for.
_WINDOWS: Final = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS)}


def check_coding(coding: str, known: Collection[str] = frozenset(_WINDOWS)) -> None:
    """Checks that an answer's `Content-Encoding` (or `Transfer-Encoding`) is supported.

    Args:
        coding: the header's value.
        known: names of the supported codings; by default those of `decoded`.

    Raises:
        InvalidResponse: a coding is not supported.
    """
    for name in _names(coding):
        if name not in known:
            raise InvalidResponse(
                f"the response has the content coding {name!r}; supported are {', '.join(sorted(known))}"
            )


def decoded(body: bytes, coding: str) -> Iterator[bytes]:
    """The parts of a decoded body, each of at most 64 KiB.

    Args:
        body: as received.
        coding: the value of `Content-Encoding`; several codings are decoded from the last to the first.

    Raises:
        InvalidResponse: a coding is not supported, or the body is not valid in it.
    """
    check_coding(coding)
    parts: Iterator[bytes] = iter((body,))
    for name in reversed(_names(coding)):
        parts = _inflated(parts, name)
    return parts


def _names(coding: str) -> list[str]:
    names = (name.strip().lower() for name in coding.split(","))
    return [name for name in names if name not in ("", "identity", "chunked")]


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
