"""JSON written as Serving writes it in errors: what a client sent, by RapidJSON's PrettyWriter.

Text is bytes: what a client sent may be in no encoding at all and is repeated as it came.
"""

import math
import re
from typing import Any, Final

import numpy as np

from bench.server.embedded.rest.json_decimals import decimal
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
LONGEST_ECHO: Final = 1 << 20


def quoted(text: bytes) -> bytes:
    """A JSON string; only the quote, the backslash and control characters are escaped."""
    return b'"' + _ESCAPED.sub(_escape, text) + b'"'


def _escape(found: "re.Match[bytes]") -> bytes:
    return _SHORT_ESCAPES.get(found[0]) or b"\\u%04X" % found[0][0]


def echo(value: Any) -> bytes:
    """A parsed value as errors repeat it (JsonValueToString)."""
    if type(value) is float:
        if abs(value) <= _FLOAT_MAX:
            return decimal(float(np.float32(value)))
        return decimal(value, double=True)
    text = bytearray()
    # The writer gives up at a NaN or an infinity inside; what is written until there is used all the same.
    _write(value, text)
    return bytes(text[:LONGEST_ECHO])


def _write(root: Any, text: bytearray) -> None:
    """Appends a value, four blanks a level. Open containers are on a stack: depth costs no recursion."""
    stack: list[tuple[bool, Any]] = []
    value: Any = root
    name: Any
    while len(text) < LONGEST_ECHO:
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
