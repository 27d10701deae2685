"""Assembles header blocks from frames (RFC 9113, section 4.3)."""

from typing import Final, NamedTuple

from bench.serving.http2.frames import (
    COMPRESSION_ERROR,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    PROTOCOL_ERROR,
    H2Error,
    header_block,
)
from bench.serving.http2.hpack import Decoder, Header, HpackError

# gRPC's own library accepts 16 KiB of metadata.
_MOST_BYTES: Final = 1 << 15
# Bytes that a frame counts beside its payload, so that empty frames are limited too.
_FRAME_COST: Final = 32


class Block(NamedTuple):
    """A complete header block.

    Args:
        stream: its stream.
        headers: in their order.
        ends: whether the peer sends nothing more on the stream.
    """

    stream: int
    headers: list[Header]
    ends: bool


class BlockReader:
    """The incoming headers of one connection."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._open: tuple[int, bytearray, bool] | None = None
        self._frames = 0

    def check(self, kind: int, stream: int) -> None:
        """Checks that a frame is allowed now.

        Raises:
            H2Error: a block is incomplete, and the frame does not continue it.
        """
        if self._open is not None and (kind != CONTINUATION or self._open[0] != stream):
            raise H2Error(PROTOCOL_ERROR, "a header block that is not continued")

    def take(self, kind: int, flags: int, stream: int, payload: bytes) -> Block | None:
        """Takes a HEADERS or CONTINUATION frame; the block that it completes.

        Raises:
            H2Error: there is no block to continue, or the block is too large or cannot be decoded.
        """
        if kind == HEADERS:
            self._open = (stream, bytearray(header_block(flags, payload)), bool(flags & END_STREAM))
            self._frames = 1
        elif self._open is None:
            raise H2Error(PROTOCOL_ERROR, "nothing to continue")
        else:
            self._open[1].extend(payload)
            self._frames += 1
        if len(self._open[1]) + _FRAME_COST * self._frames > _MOST_BYTES:
            raise H2Error(ENHANCE_YOUR_CALM, f"more than {_MOST_BYTES} bytes of headers")
        if not flags & END_HEADERS:
            return None
        stream, block, ends = self._open
        self._open = None
        try:
            # Also for cancelled streams: the block may change the dynamic table.
            return Block(stream, self._decoder.decode(bytes(block)), ends)
        except HpackError as error:
            raise H2Error(COMPRESSION_ERROR, str(error)) from None
