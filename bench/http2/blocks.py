"""Header blocks out of the frames that they come in (RFC 9113, section 4.3)."""

from typing import NamedTuple

from bench.http2.frames import (
    COMPRESSION_ERROR,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PROTOCOL_ERROR,
    H2Error,
    header_block,
)
from bench.http2.hpack import Decoder, Header, HpackError


class Block(NamedTuple):
    """Headers that came as a whole.

    Args:
        stream: whose.
        headers: in their order.
        ends: whether the other side sends nothing more on the stream.
    """

    stream: int
    headers: list[Header]
    ends: bool


class BlockReader:
    """One connection's incoming headers."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._open: tuple[int, bytearray, bool] | None = None

    def check(self, kind: int, stream: int) -> None:
        """Whether such a frame may come now.

        Raises:
            H2Error: a block is not there as a whole yet, and only that may go on.
        """
        if self._open is not None and (kind != CONTINUATION or self._open[0] != stream):
            raise H2Error(PROTOCOL_ERROR, "a header block that is not continued")

    def take(self, kind: int, flags: int, stream: int, payload: bytes) -> Block | None:
        """Takes a frame of HEADERS or CONTINUATION; the block, if it is there as a whole by that.

        Raises:
            H2Error: nothing to continue, or a block that does not decode.
        """
        if kind == HEADERS:
            self._open = (stream, bytearray(header_block(flags, payload)), bool(flags & END_STREAM))
        elif self._open is None:
            raise H2Error(PROTOCOL_ERROR, "nothing to continue")
        else:
            self._open[1].extend(payload)
        if not flags & END_HEADERS:
            return None
        stream, block, ends = self._open
        self._open = None
        try:
            # Also where nobody waits for it any more: what it says stays in the table.
            return Block(stream, self._decoder.decode(bytes(block)), ends)
        except HpackError as error:
            raise H2Error(COMPRESSION_ERROR, str(error)) from None
