"""Runs a command line: the command's exit code, or one line about an error."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import TextIO

from bench import __version__
from bench.cli import COMMANDS, command_module
from bench.cli.parser import Parser
from bench.core import interrupts
from bench.core.errors import BenchError, exit_code_of, one_line
from bench.core.extras import missing_extra
from bench.core.output import accept_all, discard_rest, reader_left


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
    try:
        return _run(words, out or sys.stdout or _nowhere(), err or sys.stderr or _nowhere())
    except KeyboardInterrupt:
        raise
    except SystemExit as ended:
        if usage_ends:
            raise
        return int(ended.code or 0)
    except BaseException as error:
        if (number := interrupts.received()) is not None:
            raise interrupts.Interrupted(number) from error
        return _failed(error, out or sys.stdout, err or sys.stderr)


def _run(words: Sequence[str], out: TextIO, err: TextIO) -> int:
    args = make_parser(words).parse_args(words)
    command = importlib.import_module(command_module(args.command))
    code = int(command.run(args, out, err))
    out.flush()
    return code


def _failed(error: BaseException, out: TextIO | None, err: TextIO | None) -> int:
    """Prints one line about an error and returns the exit code; unknown exceptions are raised again."""
    if isinstance(error, BrokenPipeError) and (reader_left(out) or reader_left(err)):
        # The reader of the output has closed it (`| head`), which ends commands by SIGPIPE.
        discard_rest(out)
        return interrupts.exit_code(signal.SIGPIPE)
    if isinstance(error, ModuleNotFoundError):
        error = missing_extra(error) or error
    if isinstance(error, BenchError | OSError):
        try:
            print(f"bertbench: {one_line(error)}", file=err or _nowhere(), flush=True)
        except (OSError, ValueError):
            discard_rest(err)
        return int(exit_code_of(error))
    raise error


def _nowhere() -> TextIO:
    """A stream for a process that was started without one (`>&-`)."""
    return open(os.devnull, "w")


def make_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the module of the command in `words` is loaded to add its arguments."""
    parser = Parser(
        prog="bertbench", description="Load tests and latency benchmarks of BERT behind TensorFlow Serving."
    )
    parser.add_argument("--version", action="version", version=f"bertbench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == chosen:
            importlib.import_module(command_module(name)).add_arguments(command)
    return parser
