"""Text to base units (seconds, bytes, fractions) and back. Inside the project only base units are used."""

import re
from typing import Final

from bench.errors import UsageError

_SECONDS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Seconds in `text`: `250ms`, `30s`, `5m`, `1m30s`, `1h`; a bare number is seconds.

    Raises:
        UsageError: `text` is not a duration, or not above zero.
    """
    stripped = text.strip().lower()
    try:
        seconds = float(stripped)
    except ValueError:
        parts = _DURATION_PART.findall(stripped)
        if not parts or "".join(number + unit for number, unit in parts) != stripped:
            raise UsageError(f"{text!r} is not a duration; write it like 250ms, 30s, 5m or 1m30s") from None
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not 0 < seconds < float("inf"):
        raise UsageError(f"a duration must be above zero, not {text!r}")
    return seconds


def parse_rate(text: str) -> float:
    """Events a second in `text`: `50`, `50/s`, `600/m`.

    Raises:
        UsageError: `text` is not a rate, or not above zero.
    """
    stripped = text.strip().lower()
    number, slash, unit = stripped.partition("/")
    try:
        rate = float(number) / (_SECONDS[unit] if slash else 1.0)
    except (ValueError, KeyError):
        raise UsageError(f"{text!r} is not a rate; write it like 50, 50/s or 600/m") from None
    if not 0 < rate < float("inf"):
        raise UsageError(f"a rate must be above zero, not {text!r}")
    return rate


def parse_fraction(text: str) -> float:
    """The fraction in `text`: `2%` is 0.02, and so is `0.02`.

    Raises:
        UsageError: `text` is not a number or lies outside 0 to 1.
    """
    stripped = text.strip()
    try:
        value = float(stripped[:-1]) / 100 if stripped.endswith("%") else float(stripped)
    except ValueError:
        raise UsageError(f"{text!r} is not a fraction; write it like 2% or 0.02") from None
    if not 0 <= value <= 1:
        raise UsageError(f"a fraction lies between 0 and 100%, not {text!r}")
    return value


def counted(count: int, noun: str) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_seconds(seconds: float) -> str:
    """`seconds` for people, three significant digits: `870 µs`, `12.3 ms`, `4.56 s`, `3 m 20 s`."""
    if seconds < 0:
        return "-" + format_seconds(-seconds)
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} m {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m"


def format_bytes(count: float) -> str:
    """`count` bytes for people: `812 B`, `4.1 kB`, `12.3 MB` (powers of 1000)."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:.3g} {unit}"
    return f"{count / 1000:.3g} GB"
