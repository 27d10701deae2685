"""Locust's options that are spans of time, held to a year: it ends with a traceback for what Python cannot hold."""

import functools
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any, Final

from bench.core.errors import UsageError, printable
from bench.core.units import LONGEST

_OPTIONS: Final = ("run_time", "stop_timeout")
_SPAN: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_SHOWN: Final = 40


def bound_timespans(parser: Any) -> None:
    """Makes Locust's parser refuse spans of more than a year, as the scenarios' own options do."""
    for action in parser._actions:
        if action.dest in _OPTIONS:
            action.type = _bounded(action.type)


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


def _bounded(read: Callable[[str], int]) -> Callable[[str], int]:
    @functools.wraps(read)
    def reader(text: str) -> int:
        try:
            check_timespan(text)
        except UsageError as error:
            raise ArgumentTypeError(str(error)) from error
        return read(text)

    return reader
