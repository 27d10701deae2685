"""Header compression of HTTP/2 (RFC 7541) by the hpack package, with a cache of decoded blocks on top."""

import logging
from collections.abc import Iterable
from typing import Final

import hpack

Header = tuple[bytes, bytes]

DEFAULT_TABLE_SIZE: Final = 4096
# Bytes of one cached block with its headers, and of all of a connection.
_MAX_CACHED_BLOCK: Final = 1 << 12
_MAX_CACHED: Final = 1 << 16
# Bytes of names and values, plus 32 per header, in one decoded block: a few bytes can repeat a long header.
_MAX_HEADER_LIST: Final = 1 << 16
_HEADER_COST: Final = 128

# The debug log of hpack contains all headers, also those with credentials.
logging.getLogger("hpack").setLevel(logging.WARNING)


class HpackError(Exception):
    """A header block cannot be decoded; the connection must end."""


class Decoder:
    """Decodes the headers of one connection."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(_MAX_HEADER_LIST)
        # Blocks decoded since the last change of the dynamic table: most calls repeat one.
        self._cached: dict[bytes, list[Header]] = {}
        self._cached_bytes = 0

    def decode(self, block: bytes) -> list[Header]:
        """The headers in a block.

        Raises:
            HpackError: it cannot be decoded.
        """
        cached = self._cached.get(block)
        if cached is not None:
            return cached
        table = self._table()
        try:
            headers = [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except hpack.HPACKError as error:
            raise HpackError(str(error)) from None
        if self._table() != table:
            self._clear()
        else:
            self._cache(block, headers)
        return headers

    def _cache(self, block: bytes, headers: list[Header]) -> None:
        size = len(block) + sum([len(name) + len(value) + _HEADER_COST for name, value in headers])
        if size > _MAX_CACHED_BLOCK:
            return
        if self._cached_bytes + size > _MAX_CACHED:
            self._clear()
        self._cached[block] = headers
        self._cached_bytes += size

    def _clear(self) -> None:
        self._cached.clear()
        self._cached_bytes = 0

    def _table(self) -> tuple[int, list[Header]]:
        """The state on which the meaning of a block depends: the dynamic table's size limit and entries."""
        table = self._decoder.header_table
        return table.maxsize, list(table.dynamic_entries)


class TableSizeUpdate:
    """The size update due before the next header block after the peer has reduced its dynamic table (section 4.2)."""

    def __init__(self) -> None:
        self._update = b""

    def limit(self, size: int) -> None:
        """Sets the peer's limit. The encoder never uses the dynamic table, so that size 0 meets any limit."""
        if size < DEFAULT_TABLE_SIZE:
            self._update = b"\x20"

    def before(self, block: bytes) -> bytes:
        """The block, preceded by the update if one is due."""
        update, self._update = self._update, b""
        return update + block


_ENCODER: Final = hpack.Encoder()


def encode(headers: Iterable[Header]) -> bytes:
    """A header block that does not use the dynamic table, so that it is valid on every connection."""
    return _ENCODER.encode([hpack.NeverIndexedHeaderTuple(name, value) for name, value in headers], huffman=False)
