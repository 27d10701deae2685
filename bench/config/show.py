"""The value of each option of a command, and where it comes from."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from bench.config.actions import given_value, is_repeatable, options_of
from bench.config.resolution import Command, applicable
from bench.config.sources import Setting, Settings

Shown = str | list[str] | bool | None
"""A text, the texts of a repeatable option, whether a switch is on, or None without a value."""
Redact = Callable[[str, str], str]
"""Takes the name of an option and a text of it; gives the text without credentials."""


class Origin(StrEnum):
    """Where a value comes from."""

    VARIABLE = "variable"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class ShownOption:
    """An option of a command.

    Args:
        command: the command's words.
        option: its name, without the leading dashes.
        value: as it is given, without credentials.
        origin: where the value comes from.
        source: the place itself: `BERTBENCH_USERS`, `users in [run] of bertbench.toml`, or "".
    """

    command: str
    option: str
    value: Shown
    origin: Origin
    source: str


def shown_options(command: Command, settings: Settings, redact: Redact) -> Iterator[ShownOption]:
    """The options of a command, in the order of its `--help`; the texts of settings are not read.

    Args:
        command: the command.
        settings: those outside the command line.
        redact: applied to each text.

    Raises:
        UsageError: a value is of another kind than the option's, or settings exclude each other.
    """
    used = applicable(command, settings, set())
    for name, action in options_of(command.parser):
        setting = used.get(name)
        value = _default(action) if setting is None else _given(action, setting)
        origin = Origin.DEFAULT if setting is None else Origin.VARIABLE if setting.variable else Origin.FILE
        source = setting.source if setting else ""
        yield ShownOption(" ".join(command.scope), name, _redacted(name, value, redact), origin, source)


def _given(action: argparse.Action, setting: Setting) -> Shown:
    value = given_value(action, setting)
    if isinstance(value, list):
        return value if is_repeatable(action) else value[0]
    return value if isinstance(value, bool) else str(value)


def _default(action: argparse.Action) -> Shown:
    default: Any = action.default
    if action.nargs == 0:
        return default is True
    if isinstance(default, list | tuple):
        return [str(entry) for entry in default]
    # What else there is are values without a notation of the command line.
    plain = isinstance(default, str | int | float | Path) and default is not argparse.SUPPRESS
    return str(default) if plain else None


def _redacted(name: str, value: Shown, redact: Redact) -> Shown:
    if isinstance(value, list):
        return [redact(name, text) for text in value]
    return redact(name, value) if isinstance(value, str) else value
