"""JSON written as Serving writes it: RapidJSON's PrettyWriter for what it repeats in errors, its rule for decimals.

Text is bytes: what a client sent may be in no encoding at all and is repeated as it came.
"""

import math
import re
from typing import Any, Final

import numpy as np

from bench.server.embedded.json_reader import JsonObject

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


def quoted(text: bytes) -> bytes:
    """A JSON string; only the quote, the backslash and control characters are escaped."""
    return b'"' + _ESCAPED.sub(_escape, text) + b'"'


def _escape(found: "re.Match[bytes]") -> bytes:
    return _SHORT_ESCAPES.get(found[0]) or b"\\u%04X" % found[0][0]


def decimal(value: float, double: bool = False) -> str:
    """A decimal by Serving's rule (WriteDecimal in json_tensor.cc).

    Six digits if they give the value back, else nine (17 for a double); `.0` after whole numbers.

    Args:
        value: the number; a float32 as Python float.
        double: whether it is a float64.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "-Infinity" if value < 0 else "Infinity"
    text = f"{value:g}"
    back = float(text) if double else float(np.float32(text))
    if back != value:
        text = f"{value:.17g}" if double else f"{value:.9g}"
    return text if "." in text or "e" in text else text + ".0"


def echo(value: Any) -> bytes:
    """A parsed value as errors repeat it (JsonValueToString)."""
    if type(value) is float:
        if abs(value) <= _FLOAT_MAX:
            return decimal(float(np.float32(value))).encode()
        return decimal(value, double=True).encode()
    parts: list[bytes] = []
    # The writer gives up at a NaN or an infinity inside; what is written until there is used all the same.
    _write(value, parts)
    return b"".join(parts)


def _write(root: Any, parts: list[bytes]) -> None:
    """Appends a value, four blanks a level. Open containers are on a stack: depth costs no recursion."""
    stack: list[tuple[bool, Any]] = []
    value: Any = root
    name: Any
    while True:
        if type(value) is JsonObject and value.names:
            parts.append(b"{\n" + _indent(stack, 1))
            stack.append((True, iter(zip(value.names, value.values, strict=True))))
            name, value = next(stack[-1][1])
            parts.append(quoted(name) + b": ")
            continue
        if type(value) is list and value:
            parts.append(b"[\n" + _indent(stack, 1))
            stack.append((False, iter(value)))
            value = next(stack[-1][1])
            continue
        if type(value) is float and not math.isfinite(value):
            return
        parts.append(_plain(value))
        while stack:
            is_object, rest = stack[-1]
            following = next(rest, stack)
            if following is not stack:
                parts.append(b",\n" + _indent(stack))
                if is_object:
                    name, value = following
                    parts.append(quoted(name) + b": ")
                else:
                    value = following
                break
            stack.pop()
            parts.append(b"\n" + _indent(stack) + (b"}" if is_object else b"]"))
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
        return shortest(value).encode()
    return b"{}" if type(value) is JsonObject else b"[]"


def shortest(value: float) -> str:
    """A finite double in RapidJSON's layout (internal::dtoa): plain up to 21 digits before the point, else `1.5e33`."""
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    before, _, after = mantissa.partition(".")
    digits = (before + after).lstrip("0")
    point = len(before) + int(exponent or 0) - (len(before + after) - len(digits))
    digits = digits.rstrip("0")
    length = len(digits)
    if length <= point <= 21:
        return f"{sign}{digits}{'0' * (point - length)}.0"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[0]}{'.' if length > 1 else ''}{digits[1:]}e{point - 1}"
