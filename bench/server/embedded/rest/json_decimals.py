"""Floating-point numbers as Serving writes them (WriteDecimal in json_tensor.cc).

A number has six significant digits if these give it back, else nine (17 for a double), an exponent where C's `%g` has
one, and `.0` where it is whole. Many float32 numbers are rounded together, to the nearest double of so many digits: its
shortest text, which orjson writes, has exactly these digits.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

# From so many numbers on it takes less time to write them together.
MANY: Final = 48

_TOKENS: Final = {b"nan": b"NaN", b"-nan": b"NaN", b"inf": b"Infinity", b"-inf": b"-Infinity"}
# Powers of ten of the first digit of numbers that are written together. Every power of ten that one is multiplied with
# or divided by is an exact double.
_POWERS: Final = range(-13, 6)
_LAST_DIGIT: Final = 8
# orjson writes 0.00001 and 1e-6 where C writes 1e-05 and 1e-06. Numbers with these powers are made 1e+25 and 1e+26, the
# others up to 1e+29, and the exponents are replaced in the text.
_SHIFTED: Final = range(-9, -4)
_SHIFT: Final = 20
# Half a unit of the ninth digit, less the error of the product that it is rounded from.
_CERTAIN: Final = 0.499999
_NULL: Final = b"null"
_FRACTION_BITS: Final = np.uint32(23)


def decimal(value: float, double: bool = False) -> bytes:
    """The text of one number.

    Args:
        value: the number; a float32 as Python float.
        double: whether it is a float64.
    """
    return _one_by_one([value], double)[0]


def decimals(values: NDArray[Any]) -> list[bytes]:
    """The text of each number of a one-dimensional float32 or float64 array."""
    if values.dtype == np.float32 and len(values) >= MANY:
        ((line,),) = rows([(values, len(values))])
        return line.split(b",")
    return _one_by_one(values.tolist(), values.dtype != np.float32)


def rows(arrays: Sequence[tuple[NDArray[np.float32], int]]) -> list[list[bytes]]:
    """The texts of many numbers, those of a row joined by commas.

    Args:
        arrays: numbers `[N]` and how many of them make a row, a divisor of N; neither is 0.

    Returns:
        For each array its rows.
    """
    doubles, others = _doubles(np.concatenate([values for values, _ in arrays]) if len(arrays) > 1 else arrays[0][0])
    texts, found, start = iter(others), [], 0
    for values, width in arrays:
        end = start + len(values)
        text = orjson.dumps(doubles[start:end].reshape(-1, width), option=orjson.OPT_SERIALIZE_NUMPY)
        start = end
        if b"+" in text:
            text = _with_negative_exponents(text)
        if others:
            text = _without_nulls(text, texts)
        # Two brackets, or a comma and a bracket, precede each row.
        found.append([line[2:] for line in text.split(b"]")[:-2]])
    return found


def _with_negative_exponents(text: bytes) -> bytes:
    """The text with `e-05` for `e+25`, up to `e-09`."""
    characters = np.frombuffer(bytearray(text), np.uint8)
    (signs,) = (characters == ord("+")).nonzero()
    characters[signs] = ord("-")
    characters[signs + 1] = ord("0")
    return characters.tobytes()


def _without_nulls(text: bytes, texts: Iterator[bytes]) -> bytes:
    """The text with each `null` replaced by the next of others."""
    first, *parts = text.split(_NULL[:1])
    pieces = [first]
    for part in parts:
        pieces += next(texts), part[len(_NULL) - 1 :]
    return b"".join(pieces)


def _doubles(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], list[bytes]]:
    """Doubles whose shortest texts are those of the numbers; NaN for others, and the texts of these."""
    with np.errstate(invalid="ignore"):
        # The binary exponent gives the kind, up to the number at which the next kind begins.
        bits = np.abs(values).view(np.uint32)
        kind = _KIND.take(bits >> _FRACTION_BITS, mode="clip")
        kind += bits >= _NEXT_KIND.take(kind, mode="clip")
        scale = _SCALE.take(kind, mode="clip")
        scaled = values * scale
        digits = np.rint(scaled)
        certain = np.abs(scaled - digits) < _CERTAIN
        six = np.rint(np.divide(scaled, 1e3, out=scaled), out=scaled)
        six *= 1e3
        np.copyto(digits, six, where=np.divide(six, scale, out=scale).astype(np.float32) == values)
        digits *= _MULTIPLIER.take(kind, mode="clip")
        digits /= _DIVISOR.take(kind, mode="clip")
    if b"\0" not in certain.tobytes():
        return digits, []
    digits[~certain] = np.nan
    return digits, _one_by_one(values[~certain].tolist(), double=False)


def _one_by_one(values: list[float], double: bool) -> list[bytes]:
    count, numbers = len(values), tuple(values)
    few = (b"%g " * count % numbers).split()
    many = ((b"%.17g " if double else b"%.9g ") * count % numbers).split()
    given_back = array("d" if double else "f", map(float, few))
    texts = [
        short if back == value else long for short, long, back, value in zip(few, many, given_back, values, strict=True)
    ]
    return [text if b"." in text or b"e" in text else _TOKENS.get(text) or text + b".0" for text in texts]


# Kinds of numbers by size: zero, too small, one for each power of ten, too large (infinities and NaN among them). The
# float32 next to a power of ten has the digit 1 even where it is below it.
_LIMITS: Final = [
    1,
    *np.array([f"1e{power}" for power in (*_POWERS, _POWERS.stop)], np.float32).view(np.uint32).tolist(),
]
_NEXT_KIND: Final = np.array([*_LIMITS, 1 << 31], np.uint32)
_KIND: Final = np.searchsorted(_LIMITS, np.arange(256) << _FRACTION_BITS, side="right")


def _by_kind(zeros: dict[int, int]) -> NDArray[np.float64]:
    """Powers of ten by kind, given for powers that do not have 10^0."""
    return np.array([1.0, np.nan, *(float(f"1e{zeros.get(power, 0)}") for power in _POWERS), np.nan])


_SCALE: Final = _by_kind({power: _LAST_DIGIT - power for power in _POWERS})
_MULTIPLIER: Final = _by_kind({power: _SHIFT - power - _LAST_DIGIT for power in _SHIFTED})
_DIVISOR: Final = _by_kind({power: _LAST_DIGIT - power for power in _POWERS if power not in _SHIFTED})
