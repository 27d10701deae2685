"""`bertbench config`: the settings outside the command line, where each comes from, and what is wrong with them."""

import argparse
import json
import os
from collections.abc import Sequence
from typing import Annotated, Literal, TextIO

import msgspec
from msgspec import Meta

from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.config.check import find_faults
from bench.config.names import known_names, unknown_variables
from bench.config.resolution import Command, every_command
from bench.config.show import Origin, ShownOption, shown_options
from bench.config.sources import Settings, read_settings
from bench.core.errors import ExitCode, UsageError, did_you_mean, printable
from bench.core.redaction import redacted_words
from bench.core.units import pluralize
from bench.serving.target import masked_address


class OptionValue(msgspec.Struct, frozen=True, kw_only=True):
    """An option of a command."""

    command: Annotated[str, Meta(description="the command and its action, such as `gate calibrate`")]
    option: Annotated[str, Meta(description="its name, without the leading dashes")]
    value: Annotated[
        str | list[str] | bool | None,
        Meta(description="a text, those of a repeatable option, whether a switch is on, or null without a value"),
    ]
    origin: Literal["variable", "file", "default"]
    source: Annotated[str, Meta(description="the variable, or the key with its table and file; empty for a default")]


class ShowDocument(Document, frozen=True, kw_only=True):
    """The values of options outside the command line; those of headers are redacted."""

    command: str = "config show"
    file: Annotated[str | None, Meta(description="the file that was read")]
    options: list[OptionValue]


class CheckDocument(Document, frozen=True, kw_only=True):
    """What is wrong with the settings."""

    command: str = "config check"
    file: Annotated[str | None, Meta(description="the file that was read")]
    faults: Annotated[list[str], Meta(description="a line each")]
    other_variables: Annotated[
        list[str], Meta(description="variables that start with BERTBENCH_ and belong to no option")
    ]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Shows or checks the settings.

    Returns:
        0; 2 if `check` found faults.

    Raises:
        UsageError: the file cannot be read; a command that does not exist; settings that `show` cannot resolve.
    """
    from bench.cli.dispatch import full_parser

    top = full_parser()
    settings = read_settings(os.environ, getattr(args, "file", None) or getattr(args, "config", None))
    if args.action == "check":
        return _check(top, settings, out, err)
    commands = _chosen(list(every_command(top)), args.words)
    shown = [option for command in commands for option in shown_options(command, settings, _redacted)]
    if not args.words:
        shown = [option for option in shown if option.origin is not Origin.DEFAULT]
    values = [
        OptionValue(
            command=option.command,
            option=option.option,
            value=option.value,
            origin=option.origin.value,
            source=option.source,
        )
        for option in shown
    ]
    out.result(ShowDocument(file=_file_name(settings), options=values), _table(shown) or _nothing(settings))
    return ExitCode.OK


def _check(top: argparse.ArgumentParser, settings: Settings, out: CommandOutput, err: TextIO) -> int:
    names = known_names()
    faults = find_faults(top, settings, names)
    other = unknown_variables(settings.variables, names)
    for fault in faults:
        print(f"bertbench: {fault}", file=err)
    code = ExitCode.USAGE if faults else ExitCode.OK
    if other:
        out.part(f"not options: {', '.join(other)}")
    document = CheckDocument(
        exit_code=code,
        message="; ".join(faults) or None,
        file=_file_name(settings),
        faults=faults,
        other_variables=other,
    )
    used = pluralize(len(settings.variables) - len(other), "variable")
    out.result(document, "" if faults else f"{_file_name(settings) or 'no file'}, {used}: no faults")
    return code


def _file_name(settings: Settings) -> str | None:
    return settings.file.name if settings.file else None


def _nothing(settings: Settings) -> str:
    return f"{_file_name(settings) or 'no file'}, no variable: nothing is set"


def _chosen(commands: Sequence[Command], words: Sequence[str]) -> list[Command]:
    """The command with these words, or all commands that do something themselves.

    Raises:
        UsageError: there is no such command.
    """
    if not words:
        return [command for command in commands if not _only_groups(command)]
    found = [command for command in commands if command.scope == tuple(words)]
    if not found:
        names = [" ".join(command.scope) for command in commands]
        text = " ".join(words)
        raise UsageError(f"unknown command {text!r}{did_you_mean(text, names) or '; see bertbench --help'}")
    return found


def _only_groups(command: Command) -> bool:
    """Whether a command does nothing without one of its sub-commands."""
    return any(isinstance(action, argparse._SubParsersAction) and action.required for action in command.parser._actions)


def _table(options: Sequence[ShownOption]) -> str:
    """The options under their commands, in aligned columns."""
    rows = [(option.option, _text(option.value), option.source or option.origin) for option in options]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    lines, command = [], None
    for option, (name, value, source) in zip(options, rows, strict=True):
        if option.command != command:
            command = option.command
            lines.append(f"bertbench {command}")
        lines.append(f"  {name:{widths[0]}}  {value:{widths[1]}}  {source}")
    return "\n".join(lines)


def _redacted(option: str, text: str) -> str:
    """A value without that of a header and without what an address should not hold."""
    (word,) = redacted_words((f"--{option}={text}",))
    shown = word.partition("=")[2]
    return masked_address(shown) if "://" in shown else shown


def _text(value: str | list[str] | bool | None) -> str:
    """A value as one cell; several texts of a repeatable option as a list."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(shown, 80)
