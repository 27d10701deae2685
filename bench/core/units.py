"""Text to base units (seconds, bytes, fractions) and back. Inside the project only base units are used.

Every value for people is formatted by the functions of this module, the only notation of absent values, percentages and
intervals."""

import math
import re
from collections.abc import Callable
from typing import Final

from bench.core.errors import UsageError

_SECONDS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
ABSENT: Final = "—"
"""An absent value, and an open end of an interval."""

_SMALLEST: Final = 1e-6
_ROUNDING: Final = 1e-7
"""A change of percent that rounding can make."""
_EXACT: Final = 15
_LARGEST: Final = 1e15
_SMALLEST_PERCENT: Final = 0.0001
_MINUTES_FROM: Final = 120
_HOURS_FROM: Final = 120
_BYTES: Final = ("B", "kB", "MB", "GB", "TB", "PB")
# A number and its one unit, which `3 m 20 s` has not.
_FIGURE: Final = re.compile(r"([-+]?\d[\d.,]*)( ?[^\d\s]+)?")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)(ms|s|m|h)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt])(i?)b")
_WHOLE = re.compile(r"[+-]?[0-9]{1,300}")
LONGEST: Final = 366 * 86400.0
"""Seconds; a longer duration is refused as a typing error."""
HIGHEST: Final = 1e9
"""Events per second; a higher rate is refused as a typing error."""


def parse_duration(text: str) -> float:
    """Seconds in `text`: `250ms`, `30s`, `5m`, `1m30s`, `1h`.

    Raises:
        UsageError: `text` is not a duration, has no unit, is not above zero, or is longer than a year.
    """
    stripped = text.strip().lower()
    parts = _DURATION_PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        if _NUMBER.fullmatch(stripped):
            _refuse_bare(stripped, text)
        raise UsageError(f"{text!r} is not a duration; write it like 250ms, 30s, 5m or 1m30s")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not seconds > 0:
        raise UsageError(f"a duration must be above zero, not {text!r}; write it like 250ms or 30s")
    if seconds > LONGEST:
        raise UsageError(f"a duration of {text!r} is longer than a year; write it like 250ms or 30s")
    return seconds


def _refuse_bare(number: str, text: str) -> None:
    """Refuses a number without a unit: seconds and milliseconds are equally likely."""
    if not float(number) > 0:
        raise UsageError(f"a duration must be above zero, not {text!r}; write it like 250ms or 30s")
    raise UsageError(f"{text!r} is a duration without a unit; write {number}ms or {number}s (also m, h)")


def parse_duration_or_zero(text: str) -> float:
    """Seconds in `text` as `parse_duration` reads them; `0`, with or without a unit, is none at all.

    Raises:
        UsageError: as for `parse_duration`.
    """
    if re.fullmatch(r"\s*0+(\.0*)?(ms|s|m|h)?\s*", text, re.IGNORECASE):
        return 0.0
    return parse_duration(text)


def parse_rate(text: str) -> float:
    """Events per second in `text`: `50`, `50/s`, `600/m`.

    Raises:
        UsageError: `text` is not a rate, not above zero, or higher than any machine's.
    """
    stripped = text.strip().lower()
    number, slash, unit = stripped.partition("/")
    if not _NUMBER.fullmatch(number) or (slash and unit not in _SECONDS):
        raise UsageError(f"{text!r} is not a rate; write it like 50, 50/s or 600/m")
    rate = float(number) / (_SECONDS[unit] if slash else 1.0)
    if not 0 < rate <= HIGHEST:
        raise UsageError(f"a rate must be above zero, at most {HIGHEST:,.0f}/s, not {text!r}; write it like 50 or 50/s")
    return rate


def parse_fraction(text: str) -> float:
    """The fraction in `text`: `2%` is 0.02, and so is `0.02`.

    Raises:
        UsageError: `text` is not a number or lies outside 0 to 1.
    """
    stripped = text.strip().lower()
    number = stripped.removesuffix("%").rstrip()
    if not _NUMBER.fullmatch(number):
        raise UsageError(f"{text!r} is not a fraction; write it like 2% or 0.02")
    value = float(number) / (100 if stripped.endswith("%") else 1)
    if not 0 <= value <= 1:
        percent = not stripped.endswith("%") and 1 < value <= 100
        cure = f"did you mean {number}%?" if percent else "write it like 2% or 0.02"
        raise UsageError(f"a fraction lies between 0 and 100%, not {text!r}; {cure}")
    return value


def parse_whole(text: str, least: int, most: int) -> int:
    """The whole number in `text`, in decimal digits.

    Raises:
        UsageError: not a whole number, or one outside `least` to `most`.
    """
    stripped = text.strip()
    if not _WHOLE.fullmatch(stripped):
        raise UsageError(f"{text!r} is not a whole number; give one from {least} to {most}")
    if not least <= (value := int(stripped)) <= most:
        raise UsageError(f"{text} is out of range; give a whole number from {least} to {most}")
    return value


def parse_number(text: str, least: float, most: float, *, open_least: bool = False) -> float:
    """The number in `text`, in decimal notation.

    Args:
        text: what the user wrote.
        least: the smallest that is taken.
        most: the largest that is taken.
        open_least: whether it must be above `least`.

    Raises:
        UsageError: not a finite number, or one outside these.
    """
    stripped = text.strip().lower()
    ends = format_number(least, _EXACT), format_number(most, _EXACT)
    wanted = f"a number {'above' if open_least else 'from'} {ends[0]} {'and up to' if open_least else 'to'} {ends[1]}"
    if not _NUMBER.fullmatch(stripped):
        raise UsageError(f"{text!r} is not a number; give {wanted}")
    value = float(stripped)
    if not least <= value <= most or (open_least and value == least):
        raise UsageError(f"{text} is out of range; give {wanted}")
    return value


def check_range(name: str, value: float, least: float, most: float, unit: str = "") -> None:
    """Refuses a value outside `least` to `most`, and NaN.

    Args:
        name: of the value, for the message.
        value: what was given.
        least: the smallest that is taken.
        most: the largest that is taken.
        unit: of all three, for the message.

    Raises:
        UsageError: it is outside.
    """
    if not least <= value <= most:
        ends = format_number(least, _EXACT), format_number(most, _EXACT)
        raise UsageError(f"{name} is {value}{unit and ' ' + unit}; it must be {ends[0]} to {ends[1]} {unit}".rstrip())


def parse_bytes(text: str) -> int:
    """Bytes in `text`: `500kB`, `8MB`, `1GB` (powers of 1000), `8MiB` (of 1024).

    Raises:
        UsageError: not a size with its unit, or not from 1 kB to 1 TB.
    """
    found = _SIZE.fullmatch(text.strip().lower())
    if not found:
        raise UsageError(f"{text!r} is not a size; write it like 500kB, 8MB or 1GB")
    size = float(found[1]) * float((1024 if found[3] else 1000) ** " kmgt".index(found[2]))
    if not 1e3 <= size <= 1e12:
        raise UsageError(f"a size of {text!r} is out of range; give one from 1kB to 1TB")
    return round(size)


def pluralize(count: int, noun: str, plural: str = "") -> str:
    """`1 pair`, `2 pairs`, `1,250 pairs`; `plural` is for nouns that take more than an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def were(count: int) -> str:
    """The verb for a count: `1 request was`, `2 requests were`."""
    return "was" if count == 1 else "were"


def format_number(value: float, digits: int = 3) -> str:
    """`value` in full with `digits` significant digits: `1,520`, `48.2`, `0.0123`, `0`; whole numbers lose none.

    What is not a number is `—`. Above 10^15 it has an exponent; below a millionth it is `<0.000001`.
    """
    if math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    # Sums of floats end in 21.749999999999996, where another sum of the same values gives 21.75.
    value = float(f"{value:.12g}")
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0:
        return "0"
    size = abs(rounded)
    if size < _SMALLEST:
        return f"<{_SMALLEST:.6f}" if value > 0 else f">-{_SMALLEST:.6f}"
    if size >= _LARGEST:
        return f"{value:.{max(digits - 1, 0)}e}"
    decimals = digits - 1 - math.floor(math.log10(size))
    return _without_zeros(f"{value:,.{max(decimals, 0)}f}")


def format_change(value: float, least: float = 0.0) -> str:
    """A signed change, of percent or of points: `+5.2`, `-10.0`, `+0.025`, and `0.0` without a sign.

    The one rule for its digits: one decimal, or as many as show two digits of it.

    Args:
        value: the change.
        least: changes up to this size are not told from none, and have one decimal; infinite for one decimal always.
    """
    text = f"{value:+,.{change_places(value, least)}f}"
    return text if text.strip("+-0.,") else text[1:]


def change_places(value: float, least: float = 0.0) -> int:
    """The decimals of `format_change`."""
    if abs(value) <= max(least, _ROUNDING):
        return 1
    # With the two digits that it is rounded to: 0.0999 is 0.10.
    return max(1 - int(f"{abs(value):.1e}".partition("e")[2]), 1)


def format_percent(fraction: float, digits: int = 3) -> str:
    """A fraction as percent: `0.213 %`; only 1 is `100 %` and only 0 is `0 %`, without rounding to them: `99.996 %`."""
    percent = 100 * fraction
    if not math.isfinite(percent) or percent in (0, 100) or not 0 < percent < 100:
        return f"{format_number(percent, digits)} %" if not math.isnan(percent) else ABSENT
    if percent < _SMALLEST_PERCENT:
        return f"<{_SMALLEST_PERCENT} %"
    if 100 - percent < _SMALLEST_PERCENT:
        return f">{100 - _SMALLEST_PERCENT} %"
    # Enough places to distinguish it from 100.
    places = max(digits - 1 - math.floor(math.log10(percent)), -math.floor(math.log10(100 - percent)), 0)
    return f"{_without_zeros(f'{percent:.{places}f}')} %"


def format_rate(rate: float, digits: int = 3) -> str:
    """Events per second: `48.2/s`, `1,520/s`."""
    text = format_number(rate, digits)
    return text if text == ABSENT else f"{text}/s"


def format_seconds(seconds: float, digits: int = 3) -> str:
    """`seconds` for people, three significant digits: `0 s`, `870 µs`, `12.3 ms`, `4.56 s`, `3 m 20 s`, `2 h 03 m`."""
    if not math.isfinite(seconds):
        return ABSENT if math.isnan(seconds) else f"{format_number(seconds)} s"
    if seconds < 0:
        return "-" + format_seconds(-seconds, digits)
    # The unit is chosen by what will be shown: 999.9 µs is 1 ms.
    shown = float(f"{seconds:.{digits}g}")
    if shown == 0:
        return "0 s"
    for factor, unit in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms")):
        if shown * factor < 1000 * (1 - 1e-12):
            return f"{format_number(seconds * factor, digits)} {unit}"
    if shown < _MINUTES_FROM:
        return f"{format_number(seconds, digits)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < _HOURS_FROM:
        return f"{minutes} m {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02d} m"


def format_bytes(count: float, digits: int = 3) -> str:
    """`count` bytes for people with so many significant digits: `812 B`, `4.1 kB`, `12.3 MB` (powers of 1000)."""
    if not math.isfinite(count):
        return ABSENT if math.isnan(count) else f"{format_number(count)} B"
    for unit in _BYTES:
        if abs(float(f"{count:.{digits}g}")) < 1000:
            return f"{format_number(count, digits)} {unit}"
        count /= 1000
    return f"{format_number(count, digits)} EB"


def format_interval(lo: float | None, hi: float | None, figure: Callable[[float], str]) -> str:
    """The one notation of an interval: `[7.09 … 8.22 ms]`; an open end is `—`; "" where both are open.

    Args:
        lo: lower end, None if it is open.
        hi: upper end.
        figure: formats a value with its unit, which appears once if both ends have the same.
    """
    if lo is None and hi is None:
        return ""
    low, high = (ABSENT if end is None else figure(end) for end in (lo, hi))
    ends = [_FIGURE.fullmatch(text) for text in (low, high)]
    if ends[0] and ends[1] and ends[0][2] == ends[1][2]:
        low = ends[0][1]
    return f"[{low} … {high}]"


def format_estimate(center: float | None, lo: float | None, hi: float | None, figure: Callable[[float], str]) -> str:
    """An estimate with its interval: `7.67 ms [7.09 … 8.22 ms]`, `182/s [171 … —]`, `0.92`, `—` for an absent one."""
    if center is None:
        return ABSENT
    return f"{figure(center)} {format_interval(lo, hi, figure)}".rstrip()


def format_apart(value: float, limit: float, figure: Callable[[float, int], str]) -> tuple[str, str]:
    """A value and its limit, with as many digits (three to nine) as distinguish them.

    Args:
        value: the value.
        limit: of the value; the same text only if equal.
        figure: formats a value with so many significant digits.
    """
    for digits in range(3, 10):
        texts = figure(value, digits), figure(limit, digits)
        if value == limit or texts[0] != texts[1]:
            return texts
    return texts


def times_as_long(factor: float) -> str:
    """How much longer to run, rounded up so that it is enough: `1.1 times as long`, `13 times as long`.

    Args:
        factor: above 1.
    """
    # The tolerance keeps 1.2 at 1.2 where it is 1.2000000000000002.
    rounded = math.ceil(factor * 10 - 1e-9) / 10 if factor < 10 else math.ceil(factor - 1e-9)
    return f"{format_number(max(rounded, 1.1), 15)} times as long"


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
