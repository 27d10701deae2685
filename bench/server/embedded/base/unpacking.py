"""Bytes that come compressed: a few of them can stand for gigabytes."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

GZIP_BITS: Final = zlib.MAX_WBITS | 16
DEFLATE_BITS: Final = zlib.MAX_WBITS

# Bytes that are unpacked at a time.
_PIECE: Final = 1 << 16


class NotPackedError(Exception):
    """The bytes are damaged, or end too early."""


class UnpackedTooLargeError(Exception):
    """The bytes stand for too many."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What compressed bytes stand for.

    Args:
        data: the bytes.
        whole: whether nothing follows the compressed bytes.
    """

    data: bytes
    whole: bool


def unpack(packed: bytes, bits: int, most: int) -> Unpacked:
    """Unpacks bytes, once their number is known: what is too large never takes its place in memory.

    Args:
        packed: the compressed bytes.
        bits: GZIP_BITS or DEFLATE_BITS.
        most: bytes that they may stand for.

    Raises:
        NotPackedError: they are damaged, or end too early.
        UnpackedTooLargeError: they stand for more.
    """
    size = 0
    unpacker = zlib.decompressobj(bits)
    for piece in _pieces(unpacker, packed):
        size += len(piece)
        if size > most:
            raise UnpackedTooLargeError
    if not unpacker.eof:
        raise NotPackedError
    unpacker = zlib.decompressobj(bits)
    return Unpacked(unpacker.decompress(packed), not unpacker.unused_data)


def _pieces(unpacker: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    """What the bytes stand for, up to the end of the compressed ones, piece by piece."""
    view = memoryview(packed)
    try:
        for begin in range(0, len(view), _PIECE):
            rest: bytes | memoryview = view[begin : begin + _PIECE]
            while rest and not unpacker.eof:
                yield unpacker.decompress(rest, _PIECE)
                rest = unpacker.unconsumed_tail
            if unpacker.eof:
                return
        # All is read, but the last piece may have been full.
        yield unpacker.flush(_PIECE)
    except zlib.error:
        raise NotPackedError from None
