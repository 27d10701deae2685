"""Header compression of HTTP/2 (RFC 7541) by the hpack package, with a cache of decoded blocks on top."""

import logging
from collections.abc import Iterable
from typing import Final

import hpack

Header = tuple[bytes, bytes]

DEFAULT_TABLE_SIZE: Final = 4096
_MAX_CACHED_BLOCKS: Final = 64
# Bytes of names and values, and 32 a header, that one block may stand for: a few bytes can repeat a long header.
_MAX_HEADER_LIST: Final = 1 << 16

# Its debug log has every header in it, also those with credentials.
logging.getLogger("hpack").setLevel(logging.WARNING)


class HpackError(Exception):
    """A header block that does not decode; the connection cannot go on."""


class Decoder:
    """The receiving end of one connection's headers."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(_MAX_HEADER_LIST)
        # Blocks decoded since the dynamic table last changed: most calls repeat one.
        self._cached: dict[bytes, list[Header]] = {}

    def decode(self, block: bytes) -> list[Header]:
        """The headers in a block.

        Raises:
            HpackError: it does not decode.
        """
        cached = self._cached.get(block)
        if cached is not None:
            return cached
        table = self._table()
        try:
            headers = [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except hpack.HPACKError as error:
            raise HpackError(str(error)) from None
        changed = self._table() != table
        if changed or len(self._cached) >= _MAX_CACHED_BLOCKS:
            self._cached.clear()
        if not changed:
            self._cached[block] = headers
        return headers

    def _table(self) -> tuple[int, list[Header]]:
        """The state that the meaning of a block depends on: the dynamic table's size limit and its entries."""
        table = self._decoder.header_table
        return table.maxsize, list(table.dynamic_entries)


class TableNotice:
    """What has to stand before the next header block once the other side has made its table smaller (section 4.2)."""

    def __init__(self) -> None:
        self._notice = b""

    def limit(self, size: int) -> None:
        """The other side's limit. Nothing is ever put into the table, so that 0 suits every limit."""
        if size < DEFAULT_TABLE_SIZE:
            self._notice = b"\x20"

    def before(self, block: bytes) -> bytes:
        """The block as it has to be sent."""
        notice, self._notice = self._notice, b""
        return notice + block


_ENCODER: Final = hpack.Encoder()


def encode(headers: Iterable[Header]) -> bytes:
    """A header block that leaves the receiver's table alone, so that it means the same on every connection."""
    return _ENCODER.encode([hpack.NeverIndexedHeaderTuple(name, value) for name, value in headers], huffman=False)
