"""Runs a command line: the command's exit code, or one line about an error."""

import argparse
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from bench import __version__
from bench.cli import COMMANDS, arguments_module, command_module
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.output_options import OutputOptions, asks_for_json
from bench.cli.parser import Parser, UsageExit
from bench.cli.schemas import DOCUMENTS
from bench.config.command_line import chosen_command, read_command_line, without_options
from bench.core import interrupts
from bench.core.errors import BenchError, ExitCode, UsageError, exit_code_of, line_of_error
from bench.core.extras import missing_extra
from bench.core.logs import logging_to
from bench.core.operating_system import require_supported_system
from bench.core.output import LegibleStream, accept_all, discard_rest, reader_left


def dispatch(words: Sequence[str], out: TextIO | None, err: TextIO | None, usage_ends: bool) -> int:
    """Runs the command in `words`; see `bench.cli.main`.

    Args:
        words: the command line.
        out: as there.
        err: as there.
        usage_ends: whether help and usage errors end in SystemExit, as argparse's.

    Raises:
        SystemExit: after help or a usage error.
        KeyboardInterrupt: a signal ended it.
    """
    for stream in (sys.stdout, sys.stderr):
        accept_all(stream)
    run = _Run(words, out or sys.stdout or _nowhere(), err or sys.stderr or _nowhere())
    try:
        return run.code()
    except KeyboardInterrupt as error:
        code, line = interrupts.ending(error)
        run.report(line, code)
        raise
    except SystemExit as ended:
        if isinstance(ended, UsageExit):
            run.report(ended.message, ExitCode.USAGE)
        if usage_ends:
            raise
        return int(ended.code or 0)
    except BaseException as error:
        if (number := interrupts.received()) is not None:
            interrupted = interrupts.Interrupted(number)
            run.report(interrupts.line_of(interrupted), interrupts.exit_code(number))
            raise interrupted from error
        return run.failed(error)


class _Run:
    """The run of a command line.

    Args:
        words: the command line.
        out: receives results.
        err: receives the line about an error.
    """

    def __init__(self, words: Sequence[str], out: TextIO, err: TextIO) -> None:
        self._words = words
        self._out = out
        self._err = err
        # What can be told before the words are parsed.
        self._output = CommandOutput(out, err, OutputOptions(json=asks_for_json(words)), _command(words) or "")

    def code(self) -> int:
        """Runs the command and returns its exit code."""
        require_supported_system()
        parser = make_parser(self._words)
        line = read_command_line(parser, self._words, os.environ)
        args = parser.parse_args(line.words)
        args.given = line.given
        name = " ".join(filter(None, (args.command, getattr(args, "action", None))))
        options = OutputOptions.of(args)
        self._output = CommandOutput(self._out, self._err, options, name)
        if options.json and name not in DOCUMENTS:
            raise UsageError(f"{name} prints no JSON; leave out --json")
        # `config` reads them, and starts no other process.
        apart = contextlib.nullcontext() if args.command == "config" else without_options(os.environ)
        with logging_to(self._err, options.level), line.naming_sources(), apart:
            getattr(_load(arguments_module(args.command)), "check", _accept)(args)
            code = int(_load(command_module(args.command)).run(args, self._output, LegibleStream(self._err)))
        self._out.flush()
        return code

    def failed(self, error: BaseException) -> int:
        """Prints one line about an error and returns the exit code; unknown exceptions are raised again."""
        if isinstance(error, BrokenPipeError) and (reader_left(self._out) or reader_left(self._err)):
            # The reader of the output has closed it (`| head`), which ends commands by SIGPIPE.
            discard_rest(self._out)
            return interrupts.exit_code(signal.SIGPIPE)
        if isinstance(error, ModuleNotFoundError):
            error = missing_extra(error) or error
        if not isinstance(error, BenchError | OSError):
            raise error
        line = line_of_error(error)
        try:
            print(line, file=self._err, flush=True)
        except (OSError, ValueError):
            discard_rest(self._err)
        self.report(line, exit_code_of(error))
        return int(exit_code_of(error))

    def report(self, line: str, exit_code: int) -> None:
        """Prints the document of an error, if JSON is asked for."""
        try:
            self._output.error(line, exit_code)
        except (OSError, ValueError):
            discard_rest(self._out)


def _nowhere() -> TextIO:
    """A stream for a process that was started without one (`>&-`)."""
    return open(os.devnull, "w")


def _accept(args: argparse.Namespace) -> None:
    """The check of a command that refuses nothing before it is loaded."""


def make_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser with the arguments of the command in `words`."""
    parser, commands = _empty_parser()
    chosen = chosen_command(parser, words)
    for name in COMMANDS:
        _add_command(commands, name, name == chosen)
    return parser


def full_parser() -> argparse.ArgumentParser:
    """The parser with the arguments of all commands."""
    parser, commands = _empty_parser()
    for name in COMMANDS:
        _add_command(commands, name, True)
    return parser


def _empty_parser() -> tuple[Parser, Any]:
    parser = Parser(
        prog="bertbench", description="Load tests and latency benchmarks of BERT behind TensorFlow Serving."
    )
    parser.add_argument("--version", action="version", version=f"bertbench {__version__}")
    return parser, parser.add_subparsers(dest="command", metavar="COMMAND", required=True)


def _add_command(commands: Any, name: str, with_arguments: bool) -> None:
    summary = COMMANDS[name]
    command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    if with_arguments:
        _load(arguments_module(name)).add_arguments(command)


def _command(words: Sequence[str]) -> str | None:
    """The command in a command line; None if there is none."""
    return next((word for word in words if word in COMMANDS), None)


def _load(module: str) -> Any:
    """A module; signals wait until it is loaded."""
    with interrupts.held():
        return importlib.import_module(module)
