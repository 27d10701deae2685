"""Doubles as RapidJSON 1.1.0 writes them (internal/dtoa.h): digits by Grisu2, then its layout.

Grisu2 (Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers", 2010) gives digits that
read back as the number. They are not always the nearest of that length: this release does not round them after the
eighth digit behind the point of the scaled number, so that 2^64 is `18446744073709553000.0`.
"""

import math
from functools import cache
from typing import Final

_SIGNIFICAND: Final = 52
_LOWEST_EXPONENT: Final = -1074
_LEAST: Final = 5e-324
# What is scaled has a binary exponent of -60 to -32; the table of powers goes in steps of eight.
_LOG10_2: Final = 0.30102999566398114
_FIRST_POWER, _POWER_STEP = -348, 8
_ROUNDED_DIGITS: Final = 8

# A number f * 2^e with a whole f of up to 64 bits.
_Scaled = tuple[int, int]


def double_text(value: float) -> str:
    """A finite double: plain up to 21 digits before the point and six zeros after it, else `1.5e33`."""
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return sign + "0.0"
    digits, power = _digits(abs(value))
    length, point = len(digits), len(digits) + power
    if length <= point <= 21:
        return f"{sign}{digits}{'0' * (point - length)}.0"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[0]}{'.' if length > 1 else ''}{digits[1:]}e{point - 1}"


def _digits(value: float) -> tuple[str, int]:
    """Digits, and the power of ten of the last."""
    exponent = max(math.frexp(value)[1] - _SIGNIFICAND - 1, _LOWEST_EXPONENT)
    whole = int(math.ldexp(value, -exponent)) if exponent > _LOWEST_EXPONENT else int(value / _LEAST)
    above = _normalized(2 * whole + 1, exponent - 1)
    # Just above a power of two the number below is half as far away.
    nearer = whole == 1 << _SIGNIFICAND
    below = (4 * whole - 1, exponent - 2) if nearer else (2 * whole - 1, exponent - 1)
    below = (below[0] << below[1] - above[1], above[1])
    steps = (-61 - above[1]) * _LOG10_2 - _FIRST_POWER - 1
    power = _FIRST_POWER + ((math.ceil(steps) >> 3) + 1) * _POWER_STEP
    scale = _power_of_ten(power)
    middle, high, low = (_product(each, scale) for each in (_normalized(whole, exponent), above, below))
    digits, last = _generate(middle[0], high[0] - 1, low[0] + 1, -high[1])
    return digits, last - power


def _generate(middle: int, high: int, low: int, bits: int) -> tuple[str, int]:
    """The shortest digits between `low` and `high`, which have `bits` after the point (DigitGen)."""
    width, distance, one = high - low, high - middle, 1 << bits
    whole, rest = high >> bits, high & (one - 1)
    text = str(whole)
    for place in range(1, len(text) + 1):
        left = len(text) - place
        unit = 10**left << bits
        remainder = (whole % 10**left << bits) + rest
        if remainder <= width:
            return _rounded(int(text[:place]), width, remainder, unit, distance), left
    value, places = whole, 0
    while True:
        rest, width, places = rest * 10, width * 10, places + 1
        value, rest = value * 10 + (rest >> bits), rest & (one - 1)
        if rest < width:
            distance = distance * 10**places if places <= _ROUNDED_DIGITS else 0
            return _rounded(value, width, rest, one, distance), -places


def _rounded(value: int, width: int, rest: int, unit: int, distance: int) -> str:
    """The digits moved towards the number as far as that is nearer and inside (GrisuRound)."""
    while (
        rest < distance
        and width - rest >= unit
        and (rest + unit < distance or distance - rest > rest + unit - distance)
    ):
        value, rest = value - 1, rest + unit
    return str(value)


def _normalized(whole: int, exponent: int) -> _Scaled:
    shift = 64 - whole.bit_length()
    return whole << shift, exponent - shift


def _product(one: _Scaled, other: _Scaled) -> _Scaled:
    """The upper 64 bits of a product, rounded."""
    product = one[0] * other[0]
    return (product >> 64) + (product >> 63 & 1), one[1] + other[1] + 64


@cache
def _power_of_ten(power: int) -> _Scaled:
    """A power of ten to 64 bits."""
    top, bottom = (10**power, 1) if power >= 0 else (1, 10**-power)
    exponent = top.bit_length() - bottom.bit_length() - 64
    for shift in (exponent, exponent + 1):
        whole, part = (top << -shift, bottom) if shift < 0 else (top, bottom << shift)
        rounded = (2 * whole + part) // (2 * part)
        if rounded.bit_length() == 64:
            return rounded, shift
    raise AssertionError("a power of ten has 64 bits at one of two exponents")
