"""JSON written as Serving writes it: RapidJSON's PrettyWriter for what it repeats in errors, its rule for decimals.

Text is bytes: what a client sent may be in no encoding at all and is repeated as it came.
"""

import math
import re
from array import array
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.server.embedded.rest.json_double import double_text
from bench.server.embedded.rest.json_reader import JsonObject

_ESCAPED: Final = re.compile(rb'["\\\x00-\x1f]')
_SHORT_ESCAPES: Final = {
    b'"': rb"\"",
    b"\\": rb"\\",
    b"\b": rb"\b",
    b"\f": rb"\f",
    b"\n": rb"\n",
    b"\r": rb"\r",
    b"\t": rb"\t",
}
_FLOAT_MAX: Final = 3.4028234e38
# Blanks before the lines of deep containers grow with the square of the depth: a body of 200 kB could ask for 40 GB.
_LONGEST_ECHO: Final = 256 << 20
_TOKENS: Final = {b"nan": b"NaN", b"-nan": b"NaN", b"inf": b"Infinity", b"-inf": b"-Infinity"}
# From so many numbers on it pays to treat them as an array.
_MANY: Final = 40
# Lower ends of decades. Below 1e-4 numbers are written with an exponent, from there up to 1e6 by either count of digits
# without. Every power of ten that is multiplied with here is exact.
_LOWEST, _PLAIN, _END = -14, -4, 6
_DECADES: Final = np.array([float(f"1e{power}") for power in range(_LOWEST, _END + 1)])
# By decade, the one below all and the one above all included, what makes whole numbers of six and of nine digits.
_SIX_DIGITS: Final = np.array([float(f"1e{5 - power}") for power in range(_LOWEST - 1, _END + 1)])
_NINE_DIGITS: Final = np.array([float(f"1e{8 - power}") for power in range(_LOWEST - 1, _END + 1)])
# To have an exponent written, a number is shifted to where orjson writes one, which is then replaced.
_SHIFT: Final = 31
_SHIFTED: Final = [(b"e+%d" % (power + _SHIFT), b"e-%02d" % -power) for power in range(_LOWEST, _PLAIN)]
_POWERS: Final = np.array([float(f"1e{power}") for power in range(23)])
# Units of the ninth digit that may be cut off or added: at a half the product's own rounding would decide.
_CERTAIN: Final = 0.4999


def quoted(text: bytes) -> bytes:
    """A JSON string; only the quote, the backslash and control characters are escaped."""
    return b'"' + _ESCAPED.sub(_escape, text) + b'"'


def _escape(found: "re.Match[bytes]") -> bytes:
    return _SHORT_ESCAPES.get(found[0]) or b"\\u%04X" % found[0][0]


def decimal(value: float, double: bool = False) -> bytes:
    """A decimal by Serving's rule (WriteDecimal in json_tensor.cc).

    Six digits if they give the value back, else nine (17 for a double); `.0` after whole numbers.

    Args:
        value: the number; a float32 as Python float.
        double: whether it is a float64.
    """
    return _by_rule([value], double)[0]


def decimals(values: "NDArray[Any]") -> list[bytes]:
    """`decimal` of each number of a one-dimensional float32 or float64 array."""
    if values.dtype != np.float32 or len(values) < _MANY:
        return _by_rule(values.tolist(), values.dtype != np.float32)
    with np.errstate(invalid="ignore"):
        texts, others = _shortened(values)
    for place, text in zip(others.tolist(), _by_rule(values[others].tolist(), False), strict=True):
        texts[place] = text
    return texts


def _shortened(values: "NDArray[Any]") -> "tuple[list[bytes], NDArray[np.intp]]":
    """The texts of float32 numbers, and the places of those that are too small, too large or too close to call.

    Cut to its digits a number is a double whose shortest text, which is what orjson writes, has just these digits.
    """
    size = np.abs(values, dtype=np.float64)
    decade = np.searchsorted(_DECADES, size, side="right")
    scaled = size * _NINE_DIGITS[decade]
    nine = np.rint(scaled)
    sure = (decade > 0) & (decade < len(_DECADES)) & (np.abs(scaled - nine) < _CERTAIN) | (size == 0)
    six = np.rint(size * _SIX_DIGITS[decade])
    short = (six / _SIX_DIGITS[decade]).astype(np.float32) == np.abs(values)
    digits = np.where(short, six / _SIX_DIGITS[decade], nine / _NINE_DIGITS[decade])
    small = (decade > 0) & (decade <= _PLAIN - _LOWEST)
    exponents = small.any()
    if exponents:
        shift = decade[small] + (_LOWEST - 1 + _SHIFT)
        digits[small] = np.where(short[small], six[small] * _POWERS[shift - 5], nine[small] * _POWERS[shift - 8])
    text = orjson.dumps(np.copysign(digits, values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    if exponents:
        for shifted, exponent in _SHIFTED:
            text = text.replace(shifted, exponent)
        # What is 1e-4 to six digits is the largest number below it.
        text = text.replace(b"1e+%d" % (_PLAIN + _SHIFT), b"0.0001")
    return text.split(b","), np.flatnonzero(~sure)


def _by_rule(values: list[float], double: bool) -> list[bytes]:
    count, numbers = len(values), tuple(values)
    few = (b"%g " * count % numbers).split()
    many = ((b"%.17g " if double else b"%.9g ") * count % numbers).split()
    given_back = array("d" if double else "f", map(float, few))
    texts = [
        short if back == value else long for short, long, back, value in zip(few, many, given_back, values, strict=True)
    ]
    return [text if b"." in text or b"e" in text else _TOKENS.get(text) or text + b".0" for text in texts]


def echo(value: Any) -> bytes:
    """A parsed value as errors repeat it (JsonValueToString)."""
    if type(value) is float:
        if abs(value) <= _FLOAT_MAX:
            return decimal(float(np.float32(value)))
        return decimal(value, double=True)
    text = bytearray()
    # The writer gives up at a NaN or an infinity inside; what is written until there is used all the same.
    _write(value, text)
    return bytes(text)


def _write(root: Any, text: bytearray) -> None:
    """Appends a value, four blanks a level. Open containers are on a stack: depth costs no recursion."""
    stack: list[tuple[bool, Any]] = []
    value: Any = root
    name: Any
    while len(text) < _LONGEST_ECHO:
        if type(value) is JsonObject and value.names:
            text += b"{\n" + _indent(stack, 1)
            stack.append((True, iter(zip(value.names, value.values, strict=True))))
            name, value = next(stack[-1][1])
            text += quoted(name) + b": "
            continue
        if type(value) is list and value:
            text += b"[\n" + _indent(stack, 1)
            stack.append((False, iter(value)))
            value = next(stack[-1][1])
            continue
        if type(value) is float and not math.isfinite(value):
            return
        text += _plain(value)
        while stack:
            is_object, rest = stack[-1]
            following = next(rest, stack)
            if following is not stack:
                text += b",\n" + _indent(stack)
                if is_object:
                    name, value = following
                    text += quoted(name) + b": "
                else:
                    value = following
                break
            stack.pop()
            text += b"\n" + _indent(stack) + (b"}" if is_object else b"]")
        else:
            return


def _indent(stack: list[Any], more: int = 0) -> bytes:
    return b"    " * (len(stack) + more)


def _plain(value: Any) -> bytes:
    if value is None:
        return b"null"
    if value is True:
        return b"true"
    if value is False:
        return b"false"
    if type(value) is bytes:
        return quoted(value)
    if type(value) is int:
        return b"%d" % value
    if type(value) is float:
        return double_text(value).encode()
    return b"{}" if type(value) is JsonObject else b"[]"
