"""The options that every command has, before or after its word: `--json`, `-q`, `-v`, `--log-level`."""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.core.errors import UsageError

LEVELS: Final = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What a command prints.

    Args:
        json: JSON documents on standard output instead of text.
        quiet: only errors, and the last line of the result.
        level: least level of what is logged to standard error, as in `logging`.
    """

    json: bool = False
    quiet: bool = False
    level: int = logging.WARNING

    @classmethod
    def of(cls, args: argparse.Namespace) -> "OutputOptions":
        """The options among the parsed ones.

        Raises:
            UsageError: `--quiet` and `--verbose` together.
        """
        quiet, verbose = (bool(getattr(args, name, False)) for name in ("quiet", "verbose"))
        if quiet and verbose:
            raise UsageError("--quiet and --verbose contradict each other; give one of them")
        default = "error" if quiet else "info" if verbose else "warning"
        level = getattr(args, "log_level", None) or default
        return cls(bool(getattr(args, "json", False)), quiet, logging.getLevelNamesMapping()[level.upper()])


class JsonAction(argparse.Action):
    """`--json`; where a command lets it take a file, that is `json_file`, and standard output has text."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Notes the file, or that standard output is JSON."""
        if isinstance(values, Path):
            namespace.json_file = values
        else:
            namespace.json = True


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """The options of `OutputOptions`; those of a sub-command do not overwrite those before its word."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json",
        action=JsonAction,
        nargs=0,
        default=argparse.SUPPRESS,
        help="print the result as JSON, and nothing else",
    )
    quiet = group.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print only errors, and the last line of the result",
    )
    verbose = group.add_argument(
        "-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help="print more: --log-level info"
    )
    # Not a group of argparse, which would not see one of them before the command's word.
    quiet.excludes, verbose.excludes = ("verbose",), ("quiet",)  # type: ignore[attr-defined]
    group.add_argument(
        "--log-level",
        type=str.lower,
        choices=LEVELS,
        default=argparse.SUPPRESS,
        help="least level of the log on standard error (default: warning)",
    )


def let_json_take_file(parser: argparse.ArgumentParser, parse: Callable[[str], Path]) -> None:
    """Lets `--json` of a command take a file; `args.json_file` is None without one.

    Args:
        parser: the command's.
        parse: checks the file.
    """
    action = next(action for action in parser._actions if isinstance(action, JsonAction))
    action.nargs, action.type, action.metavar = "?", parse, "FILE"
    action.help = "print the result as JSON, and nothing else; with FILE, write it there as well as the text"
    parser.set_defaults(json_file=None)


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, as far as can be told before it is parsed."""
    return "--json" in words and "--" not in words[: words.index("--json")]
