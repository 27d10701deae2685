"""The parser of all commands: a usage error is one line, with the nearest known word for a misspelt one."""

import argparse
import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bench.cli.common.output_options import add_output_options
from bench.core.errors import ExitCode, UsageError, did_you_mean, did_you_mean_option, naming


class UsageExit(SystemExit):
    """The end of a command line that cannot be parsed.

    Args:
        message: the line on standard error.
    """

    def __init__(self, message: str) -> None:
        super().__init__(int(ExitCode.USAGE))
        self.message = message


class Parser(argparse.ArgumentParser):
    """An argument parser for commands and their sub-commands, each with the options of output.

    Options cannot be abbreviated, so that each has one name on the command line, in variables and in a file.
    """

    _words: Sequence[str] = ()
    _refused: str | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})
        self.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            default=argparse.SUPPRESS,
            help="TOML file of settings (default: bertbench.toml, or [tool.bertbench] of pyproject.toml)",
        )
        add_output_options(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but refuses unknown arguments here, where the known options are available."""
        self._words = list(args or ())
        found, extras = super().parse_known_args(args, namespace)
        if extras:
            unknown = next((word for word in extras if word.startswith("-") and word != "--"), None)
            self.error(self._unknown(unknown) if unknown else f"unexpected argument {extras[0]!r}")
        return found, extras

    def error(self, message: str) -> NoReturn:
        """Ends with one line; an unknown option is reported before errors that follow from it."""
        unknown = self._unknown_option()
        text = self._unknown(unknown) if unknown else message
        line = f"{self.prog}: {text}{'' if text.endswith('?') else ';'} see {self.prog} --help"
        self._print_message(f"{line}\n", sys.stderr)
        raise UsageExit(line)

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse's, which passes over whatever the system refuses: help that was not written has not been given.

        Raises:
            OSError: standard output takes no more.
        """
        if file is sys.stdout and file is not None:
            with naming("the output"):
                file.write(message)
                file.flush()
        elif file is not None:
            super()._print_message(message, file)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """As argparse's, which makes an empty list of `--option=--` (fixed in Python 3.13)."""
        if action.option_strings and action.nargs is None and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, arg_strings)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """As argparse's; a UsageError of the option's own parser is raised with the option's name."""
        try:
            return super()._get_value(action, arg_string)
        except UsageError as error:
            raise UsageError(f"{'/'.join(action.option_strings) or action.metavar or action.dest}: {error}") from error

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse's, with the nearest choice."""
        if action.choices is None or value in action.choices:
            return
        self._refused = str(value)
        choices = [str(choice) for choice in action.choices]
        raise argparse.ArgumentError(
            action, f"{value!r} is not one of {', '.join(choices)}{did_you_mean(str(value), choices)}"
        )

    def _unknown(self, option: str) -> str:
        name = option.partition("=")[0]
        return f"unknown option {name}{did_you_mean_option(name, self._option_string_actions)}"

    def _unknown_option(self) -> str | None:
        """The first unknown option among the words; the words of a sub-command belong to its own parser."""
        commands = {name for action in self._actions for name in _commands(action)}
        ends = commands | ({self._refused} if self._refused is not None else set()) | {"--"}
        words = itertools.takewhile(lambda word: word not in ends, self._words)
        names = [word.partition("=")[0] for word in words if word.startswith("--")]
        return next((name for name in names if name not in self._option_string_actions), None)


def _commands(action: argparse.Action) -> Iterable[str]:
    """The names of an action's sub-commands."""
    return action.choices or () if isinstance(action, argparse._SubParsersAction) else ()
