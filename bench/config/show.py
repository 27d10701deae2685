"""The value of each option of a command, and where it comes from."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bench.config.actions import options_of, words_for
from bench.config.resolution import Command, applicable
from bench.config.sources import Setting, Settings
from bench.core.redaction import redacted_option

# Options whose values are headers, which may hold credentials.
_SECRET: Final = frozenset({"header", "headers", "baseline-header", "candidate-header"})


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
        value: a text, the texts of a repeatable option, whether a switch is on, or None without a value; credentials
            are redacted.
        origin: where the value comes from.
        source: the place itself: `BERTBENCH_USERS`, `users in [run] of bertbench.toml`, or "".
    """

    command: str
    option: str
    value: str | list[str] | bool | None
    origin: Origin
    source: str


def shown_options(command: Command, settings: Settings) -> Iterator[ShownOption]:
    """The options of a command, in the order of its `--help`.

    Raises:
        UsageError: a value is refused, or settings exclude each other.
    """
    used = applicable(command, settings, set())
    for name, action in options_of(command.parser):
        setting = used.get(name)
        value = _default(action) if setting is None else _given(command.parser, action, setting)
        origin = Origin.DEFAULT if setting is None else Origin.VARIABLE if setting.variable else Origin.FILE
        yield ShownOption(
            " ".join(command.scope),
            name,
            _redacted(name, value) if name in _SECRET else value,
            origin,
            setting.source if setting else "",
        )


def _given(parser: argparse.ArgumentParser, action: argparse.Action, setting: Setting) -> str | list[str] | bool:
    words = words_for(parser, action, setting)
    values = [word.partition("=")[2] for word in words if "=" in word]
    if isinstance(action, argparse._AppendAction):
        return values
    return values[0] if values else bool(words) and not words[0].startswith("--no-")


def _default(action: argparse.Action) -> str | list[str] | bool | None:
    default: Any = action.default
    if action.nargs == 0:
        return False
    if default is None or default is argparse.SUPPRESS:
        return None
    return [str(entry) for entry in default] if isinstance(default, list | tuple) else str(default)


def _redacted(name: str, value: str | list[str] | bool | None) -> str | list[str] | bool | None:
    """The value without the values of headers; those that name a variable or a file are no credentials."""
    if isinstance(value, list):
        return [redacted_option(f"--{name}", text) for text in value]
    return redacted_option(f"--{name}", value) if isinstance(value, str) else value
