"""A JSON parser with the results, errors and offsets of Serving's (RapidJSON 1.1.0 with kParseNanAndInfFlag).

It differs from Python's: NaN, Inf and Infinity are numbers, strings are bytes of any encoding, a NUL byte ends the
document, and decimal numbers are computed digit by digit. Clients see its error texts.
"""

import re
from typing import Any, Final

# GetParseError_En (rapidjson/error/en.h).
DOCUMENT_EMPTY: Final = "The document is empty."
ROOT_NOT_SINGULAR: Final = "The document root must not be followed by other values."
VALUE_INVALID: Final = "Invalid value."
MISSING_NAME: Final = "Missing a name for object member."
MISSING_COLON: Final = "Missing a colon after a name of object member."
MISSING_COMMA_OR_CURLY: Final = "Missing a comma or '}' after an object member."
MISSING_COMMA_OR_SQUARE: Final = "Missing a comma or ']' after an array element."
HEX_INVALID: Final = "Incorrect hex digit after \\u escape in string."
SURROGATE_INVALID: Final = "The surrogate pair in string is invalid."
ESCAPE_INVALID: Final = "Invalid escape character in string."
MISSING_QUOTE: Final = "Missing a closing quotation mark in string."
NUMBER_TOO_BIG: Final = "Number too big to be stored in double."
MISSING_FRACTION: Final = "Miss fraction part in number."
MISSING_EXPONENT: Final = "Miss exponent in number."


class JsonError(Exception):
    """A parse error, with its offset in bytes."""

    def __init__(self, text: str, offset: int) -> None:
        super().__init__(f"{text} at offset: {offset}")


class JsonObject:
    """An object's members in their order; of a repeated name the first counts."""

    __slots__ = ("names", "values")

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.values: list[Any] = []

    def __contains__(self, name: bytes) -> bool:
        return name in self.names

    def __getitem__(self, name: bytes) -> Any:
        return self.values[self.names.index(name)]

    def __len__(self) -> int:
        return len(self.names)


_SPACE: Final = re.compile(rb"[ \n\r\t]*")
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS: Final = re.compile(rb"[0-9]*")
_HEX4: Final = re.compile(rb"[0-9A-Fa-f]{4}")
_ESCAPES: Final = dict(zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True))
_LITERALS: Final[dict[int, tuple[bytes, Any]]] = {
    ord("n"): (b"null", None),
    ord("t"): (b"true", True),
    ord("f"): (b"false", False),
}
_POWERS: Final = [float(f"1e{exponent}") for exponent in range(309)]
_LARGEST_TENTH: Final = 1.7976931348623157e307


def parse(body: bytes) -> Any:
    """Parses a document.

    Returns:
        None, bool, int (where it fits 64 bits), float, bytes, list or JsonObject.

    Raises:
        JsonError: with RapidJSON's text and offset.
    """
    data = body + b"\0"
    at = 0
    for mark in b"\xef\xbb\xbf":
        at += data[at] == mark
    at = _space(data, at)
    if not data[at]:
        raise JsonError(DOCUMENT_EMPTY, at)
    value, at = _value(data, at)
    at = _space(data, at)
    if data[at]:
        raise JsonError(ROOT_NOT_SINGULAR, at)
    return value


def _space(data: bytes, at: int) -> int:
    return _SPACE.match(data, at).end()  # type: ignore[union-attr]  # an empty match is one


def _value(data: bytes, at: int) -> tuple[Any, int]:
    """The value at `at` and its end. Open lists and objects are on a stack, so that nesting needs no recursion."""
    stack: list[Any] = []
    value: Any
    while True:
        first = data[at]
        if first == 0x7B:
            value, at = JsonObject(), _space(data, at + 1)
            if data[at] != 0x7D:
                stack.append(value)
                at = _name(data, at, value)
                continue
            at += 1
        elif first == 0x5B:
            value, at = [], _space(data, at + 1)
            if data[at] != 0x5D:
                stack.append(value)
                continue
            at += 1
        else:
            value, at = _scalar(data, at, first)
        while stack:
            at, again = _after(data, _space(data, at), stack[-1], value)
            if again:
                break
            value = stack.pop()
        else:
            return value, at


def _after(data: bytes, at: int, container: Any, value: Any) -> tuple[int, bool]:
    """Adds `value` to the open container and reads the delimiter: its end, and whether another value follows."""
    if type(container) is list:
        container.append(value)
        if data[at] == 0x2C:
            return _space(data, at + 1), True
        if data[at] == 0x5D:
            return at + 1, False
        raise JsonError(MISSING_COMMA_OR_SQUARE, at)
    container.values.append(value)
    if data[at] == 0x2C:
        return _name(data, _space(data, at + 1), container), True
    if data[at] == 0x7D:
        return at + 1, False
    raise JsonError(MISSING_COMMA_OR_CURLY, at)


def _name(data: bytes, at: int, container: JsonObject) -> int:
    """Reads a member's name and its colon; returns the start of its value."""
    if data[at] != 0x22:
        raise JsonError(MISSING_NAME, at)
    name, at = _string(data, at + 1)
    container.names.append(name)
    at = _space(data, at)
    if data[at] != 0x3A:
        raise JsonError(MISSING_COLON, at)
    return _space(data, at + 1)


def _scalar(data: bytes, at: int, first: int) -> tuple[Any, int]:
    if first == 0x22:
        return _string(data, at + 1)
    literal = _LITERALS.get(first)
    if literal is None:
        return _number(data, at)
    for letter in literal[0]:
        if data[at] != letter:
            raise JsonError(VALUE_INVALID, at)
        at += 1
    return literal[1], at


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """The string whose first byte is at `at`, and its end."""
    parts = []
    while True:
        end = _PLAIN.match(data, at).end()  # type: ignore[union-attr]
        parts.append(data[at:end])
        stop = data[end]
        if stop == 0x22:
            return b"".join(parts), end + 1
        if stop != 0x5C:
            raise JsonError(ESCAPE_INVALID if stop else MISSING_QUOTE, end)
        if (plain := _ESCAPES.get(data[end + 1])) is not None:
            parts.append(bytes([plain]))
            at = end + 2
        elif data[end + 1] == 0x75:
            codepoint, at = _codepoint(data, end)
            parts.append(chr(codepoint).encode(errors="surrogatepass"))
        else:
            raise JsonError(ESCAPE_INVALID, end)


def _codepoint(data: bytes, escape: int) -> tuple[int, int]:
    r"""The character of the `\u` at `escape`, or of a surrogate pair; a single low surrogate is accepted."""
    high, at = _hex4(data, escape + 2, escape)
    if not 0xD800 <= high <= 0xDBFF:
        return high, at
    if data[at : at + 2] != b"\\u":
        raise JsonError(SURROGATE_INVALID, escape)
    low, at = _hex4(data, at + 2, escape)
    if not 0xDC00 <= low <= 0xDFFF:
        raise JsonError(SURROGATE_INVALID, escape)
    return ((high - 0xD800) << 10 | (low - 0xDC00)) + 0x10000, at


def _hex4(data: bytes, at: int, escape: int) -> tuple[int, int]:
    found = _HEX4.match(data, at)
    if not found:
        raise JsonError(HEX_INVALID, escape)
    return int(found[0], 16), at + 4


def _number(data: bytes, start: int) -> tuple[int | float, int]:
    """The number at `start` and its end, by the steps of GenericReader::ParseNumber."""
    minus = data[start] == 0x2D
    at = start + minus
    special: float | None = None
    if data[at] == 0x30:
        digits, at = b"0", at + 1
    elif 0x31 <= data[at] <= 0x39:
        digits = _DIGITS.match(data, at)[0]  # type: ignore[index]
        at += len(digits)
    else:
        special, at = _nan_or_infinity(data, at)
        digits = b"0"
    number = _Decimal(digits, (1 << 63) if minus else (1 << 64) - 1, start)
    if data[at] == 0x2E:
        at = number.add_fraction(data, at + 1)
    if data[at] in b"eE":
        at = number.add_exponent(data, at + 1)
    if number.double is not None:
        value = number.scaled()
        return (-value if minus else value), at
    if special is not None:
        return (-special if minus else special), at
    return (-number.whole if minus else number.whole), at


def _nan_or_infinity(data: bytes, at: int) -> tuple[float, int]:
    """NaN, Inf or Infinity. As in RapidJSON, a failed attempt at NaN consumes its letters before Inf is tried."""
    if data[at] not in b"IN":
        raise JsonError(VALUE_INVALID, at)
    at, whole = _consume(data, at, b"NaN")
    if whole:
        return float("nan"), at
    at, whole = _consume(data, at, b"Inf")
    if not whole:
        raise JsonError(VALUE_INVALID, at)
    if data[at] == 0x69:
        at, whole = _consume(data, at, b"inity")
        if not whole:
            raise JsonError(VALUE_INVALID, at)
    return float("inf"), at


def _consume(data: bytes, at: int, letters: bytes) -> tuple[int, bool]:
    """Skips the common prefix with `letters`; its end, and whether all letters matched."""
    for letter in letters:
        if data[at] != letter:
            return at, False
        at += 1
    return at, True


class _Decimal:
    """A number being read: an integer at first, a double once it needs to be one."""

    def __init__(self, digits: bytes, limit: int, start: int) -> None:
        self.start = start
        # More than 20 digits exceed 64 bits; Python refuses to convert very long texts.
        self.whole = int(digits[:21])
        self.double: float | None = None
        self._exponent = 0
        self._fraction = 0
        self._significant = len(digits) - 1
        if self.whole > limit:
            self._overflow(digits, limit)

    def _overflow(self, digits: bytes, limit: int) -> None:
        """More than 64 bits: the leading digits that fit are exact, the others are added to a double."""
        fit = min(len(digits) - 1, 20)
        while int(digits[:fit]) > limit:
            fit -= 1
        self._significant = fit - 1
        double = float(int(digits[:fit]))
        for digit in digits[fit:]:
            if double >= _LARGEST_TENTH:
                raise JsonError(NUMBER_TOO_BIG, self.start)
            double = double * 10 + (digit - 0x30)
        self.double = double

    def add_fraction(self, data: bytes, at: int) -> int:
        """Reads the digits after the point; returns their end."""
        digits = _DIGITS.match(data, at)[0]  # type: ignore[index]
        if not digits:
            raise JsonError(MISSING_FRACTION, at)
        taken = 0
        if self.double is None:
            whole = self.whole
            while taken < len(digits) and whole <= (1 << 53) - 1:
                whole = whole * 10 + (digits[taken] - 0x30)
                taken += 1
                self._significant += whole != 0
            self._fraction = -taken
            self.double = float(whole)
        for digit in digits[taken:]:
            if self._significant >= 17:
                break
            self.double = self.double * 10.0 + (digit - 0x30)
            self._fraction -= 1
            self._significant += self.double > 0
        return at + len(digits)

    def add_exponent(self, data: bytes, at: int) -> int:
        """Reads the exponent after its `e`; returns its end."""
        if self.double is None:
            self.double = float(self.whole)
        negative = data[at] == 0x2D
        at += data[at] in b"+-"
        digits = _DIGITS.match(data, at)[0]  # type: ignore[index]
        if not digits:
            raise JsonError(MISSING_EXPONENT, at)
        # Ten digits exceed every limit.
        exponent = int(digits.lstrip(b"0")[:10] or b"0")
        if negative:
            self._exponent = -exponent
        elif len(digits) > 1 and exponent > 308 - self._fraction:
            raise JsonError(NUMBER_TOO_BIG, self.start)
        else:
            self._exponent = exponent
        return at + len(digits)

    def scaled(self) -> float:
        """The double times its power of ten (internal::StrtodNormalPrecision)."""
        assert self.double is not None
        power = self._exponent + self._fraction
        if power >= 0:
            return self.double * _POWERS[power]
        if power >= -308:
            return self.double / _POWERS[-power]
        power += 308
        return self.double / _POWERS[308] / _POWERS[-power] if power >= -308 else 0.0
