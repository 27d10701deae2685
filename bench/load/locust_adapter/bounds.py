"""Bounds of Locust's own numbers: it ends with a traceback, or waits for good, where Python cannot hold a result."""

import functools
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.core.errors import UsageError, printable
from bench.core.units import HIGHEST, LONGEST, parse_number

_SPAN: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_SHOWN: Final = 40
_SLOWEST: Final = 0.001
"""Users per second; a lower rate is refused as a typing error."""


def bound_options(parser: Any) -> None:
    """Makes Locust's parser refuse spans of more than a year, as the scenarios' own options do, and absurd rates."""
    for action in parser._actions:
        if action.dest in _CHECKS:
            action.type = _bounded(action.type, _CHECKS[action.dest])


def check_timespan(text: str) -> None:
    """Refuses a span of time that is too long; what is not one is left to Locust, which says so.

    Raises:
        UsageError: it is longer than a year.
    """
    found = _SPAN.fullmatch(text)
    if (
        found
        and sum(float(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True)) > LONGEST
    ):
        shown = printable(text, _SHOWN)
        raise UsageError(f"a duration of {shown!r} is longer than a year; write it like 30s, 20m or 1h30m")


def check_spawn_rate(text: str) -> None:
    """Refuses a number of users per second at which a test never begins.

    Raises:
        UsageError: it is no number, not finite, not above zero, or absurd.
    """
    parse_number(printable(text, _SHOWN), _SLOWEST, HIGHEST)


_CHECKS: Final[Mapping[str, Callable[[str], None]]] = {
    "run_time": check_timespan,
    "stop_timeout": check_timespan,
    "spawn_rate": check_spawn_rate,
}
"""By the name in Locust's options."""


def _bounded(read: Callable[[str], float], check: Callable[[str], None]) -> Callable[[str], float]:
    @functools.wraps(read)
    def reader(text: str) -> float:
        try:
            check(text)
        except UsageError as error:
            raise ArgumentTypeError(str(error)) from error
        return read(text)

    return reader
