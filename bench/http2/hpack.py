"""Header compression of HTTP/2 (RFC 7541): a decoder, and an encoder that remembers nothing."""

from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

Header = tuple[bytes, bytes]

# Appendix A, from index 1.
_STATIC: Final[list[Header]] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    *((b":status", status) for status in (b"200", b"204", b"206", b"304", b"400", b"404", b"500")),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    *(
        (name, b"")
        for name in (
            b"accept-language accept-ranges accept access-control-allow-origin age allow authorization "
            b"cache-control content-disposition content-encoding content-language content-length "
            b"content-location content-range content-type cookie date etag expect expires from host if-match "
            b"if-modified-since if-none-match if-range if-unmodified-since last-modified link location "
            b"max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server "
            b"set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate"
        ).split()
    ),
]
_ENTRY_OVERHEAD: Final = 32
DEFAULT_TABLE_SIZE: Final = 4096
_KNOWN_BLOCKS: Final = 64
# Headers in a block, which may be of one byte each and stand for thousands.
_MOST_HEADERS: Final = 1000

# Appendix B: the length in bits of each symbol's code, the end of string last. The codes are canonical: the shorter
# first, symbols of one length in their order.
_CODE_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b080606060505"
    "050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e060f050605"
    "06050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817181816171817"
    "1717171516171617171816151416161717151716161815161717151516151716171714161616171616171a1a141316171619"
    "1a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c"
    "1b1b1b1b1b1a1e"
)


class HpackError(Exception):
    """A header block that does not decode; the connection cannot go on."""


def _codes() -> dict[tuple[int, int], int]:
    """Symbol by length and code."""
    codes, code, length = {}, 0, 0
    for symbol in sorted(range(257), key=lambda symbol: (_CODE_LENGTHS[symbol], symbol)):
        code <<= _CODE_LENGTHS[symbol] - length
        length = _CODE_LENGTHS[symbol]
        codes[length, code] = symbol
        code += 1
    return codes


_SYMBOLS: Final = _codes()
_END: Final = 256


class Decoder:
    """The receiving end of one connection's headers."""

    def __init__(self) -> None:
        self._dynamic: deque[Header] = deque()
        self._size = 0
        self._limit = DEFAULT_TABLE_SIZE
        # Blocks that came before, for as long as the table is what it was then: most calls repeat one.
        self._known: dict[bytes, list[Header]] = {}

    def decode(self, block: bytes) -> list[Header]:
        """The headers in a block.

        Raises:
            HpackError: it does not decode.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        headers, changed = self._decode(block)
        if changed or len(self._known) >= _KNOWN_BLOCKS:
            self._known.clear()
        if not changed:
            self._known[block] = headers
        return headers

    def _decode(self, block: bytes) -> tuple[list[Header], bool]:
        """The headers in a block, and whether it changed the table."""
        headers: list[Header] = []
        at, changed = 0, False
        try:
            while at < len(block):
                if len(headers) >= _MOST_HEADERS:
                    raise HpackError(f"more than {_MOST_HEADERS} headers")
                first = block[at]
                if first & 0x80:
                    index, at = _integer(block, at, 7)
                    headers.append(self._entry(index))
                elif first & 0xE0 == 0x20:
                    limit, at = _integer(block, at, 5)
                    self._resize(limit)
                    changed = True
                else:
                    header, at = self._literal(block, at, 6 if first & 0x40 else 4)
                    headers.append(header)
                    if first & 0x40:
                        self._add(header)
                        changed = True
        except IndexError:
            raise HpackError("a header block that is cut") from None
        return headers, changed

    def _literal(self, block: bytes, at: int, bits: int) -> tuple[Header, int]:
        index, at = _integer(block, at, bits)
        if index:
            name = self._entry(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        return (name, value), at

    def _entry(self, index: int) -> Header:
        if 1 <= index <= len(_STATIC):
            return _STATIC[index - 1]
        place = index - len(_STATIC) - 1
        if not 0 <= place < len(self._dynamic):
            raise HpackError(f"no header at index {index}")
        return self._dynamic[place]

    def _add(self, header: Header) -> None:
        self._dynamic.appendleft(header)
        self._size += _cost(header)
        self._evict()

    def _resize(self, limit: int) -> None:
        if limit > DEFAULT_TABLE_SIZE:
            raise HpackError(f"a table of {limit} bytes was not offered")
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            self._size -= _cost(self._dynamic.pop())


def _cost(header: Header) -> int:
    return len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """A whole number whose first `bits` bits are the low ones of the byte at `at`."""
    largest = (1 << bits) - 1
    value = block[at] & largest
    at += 1
    if value < largest:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
        if shift > 35:
            raise HpackError("a number that is too large")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    coded = block[at] & 0x80
    length, at = _integer(block, at, 7)
    end = at + length
    if end > len(block):
        raise IndexError
    return (huffman_decode(block[at:end]) if coded else block[at:end]), end


@lru_cache(maxsize=512)
def huffman_decode(data: bytes) -> bytes:
    """The text of a Huffman code.

    Raises:
        HpackError: no code, or one that does not end in the padding it should.
    """
    text = bytearray()
    code = length = 0
    for byte in data:
        for bit in range(7, -1, -1):
            code = code << 1 | (byte >> bit & 1)
            length += 1
            symbol = _SYMBOLS.get((length, code))
            if symbol is not None:
                if symbol == _END:
                    raise HpackError("the end of a string inside it")
                text.append(symbol)
                code = length = 0
    if length > 7 or code != (1 << length) - 1:
        raise HpackError("a string with bad padding")
    return bytes(text)


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


def encode(headers: Iterable[Header]) -> bytes:
    """A header block of literals that leave the receiver's table alone; `:status` 200 by its index."""
    parts = []
    for name, value in headers:
        if (name, value) == (b":status", b"200"):
            parts.append(b"\x88")
        else:
            parts += [b"\x00", _length(name), name, _length(value), value]
    return b"".join(parts)


def _length(text: bytes) -> bytes:
    size = len(text)
    if size < 0x7F:
        return bytes([size])
    rest = bytearray()
    size -= 0x7F
    while size > 0x7F:
        rest.append(size & 0x7F | 0x80)
        size >>= 7
    return b"\x7f" + bytes(rest) + bytes([size])
