"""The command line: `bertbench COMMAND`, one file a command.

Each command's module has `add_arguments(parser)` and `run(args, out, err) -> exit code`. The table below is all that
`bertbench --help` needs, so that neither TensorFlow nor locust is loaded for it.
"""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn, TextIO

from bench import __version__, interrupts
from bench.cli.parser import Parser
from bench.errors import BenchError, exit_code_of, one_line
from bench.output import accept_all, discard_rest, reader_left

COMMANDS: Final = {
    "train": "train a masked language model with the Estimator",
    "export": "Estimator to SavedModel, with warm-up requests and golden answers",
    "score": "word-level probabilities of each line of a file",
    "serve": "serve a model until Ctrl-C",
    "run": "drive a target with a scenario and record every request",
    "verify": "compare served probabilities with the Estimator's",
    "report": "plots, report.md and CSV of runs",
    "compare": "what differs between two runs, with intervals",
    "gate": "CI verdict: is the candidate slower, or wrong? also: gate calibrate, gate history",
    "baseline": "keep, list and promote baselines",
    "capacity": "what rate a server holds within an objective, and how many a rate needs",
    "calibrate": "this machine's ceiling and floor of the load generator",
    "demo": "the whole job once, small, on the embedded server",
}

# Exit codes above it are those of signals.
_LEAST_SIGNAL: Final = 128


def main(argv: Sequence[str] | None = None, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after the program's name; None takes the process's, and ends it afterwards.
        out: where results go; None is standard output.
        err: where the one line on a failure goes; None is standard error.

    Returns:
        The exit code, see `bench.errors.ExitCode`; 128 and the signal's number after a signal.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    with interrupts.watched():
        try:
            for stream in (sys.stdout, sys.stderr):
                accept_all(stream)
            code = _run(words, out or sys.stdout or _nowhere(), err or sys.stderr or _nowhere())
        except SystemExit as ended:
            # Help, the version, or a usage error, which has been said.
            if argv is not None:
                raise
            code = int(ended.code or 0)
        except BaseException as error:  # noqa: BLE001 - whatever a signal tore apart is an interrupt
            code = _failed(error, out or sys.stdout, err or sys.stderr)
        if argv is None:
            _leave(code)
    return code


def _run(words: Sequence[str], out: TextIO, err: TextIO) -> int:
    args = _parser(words).parse_args(words)
    command = importlib.import_module(f"bench.cli.{args.command}")
    code = int(command.run(args, out, err))
    out.flush()
    return code


def _failed(error: BaseException, out: TextIO | None, err: TextIO | None) -> int:
    """Says what went wrong, in one line, and gives the exit code; what is no failure of ours is raised again."""
    number = interrupts.received()
    if isinstance(error, KeyboardInterrupt) or number is not None:
        return _interrupted(error, number, err)
    if isinstance(error, BrokenPipeError) and (reader_left(out) or reader_left(err)):
        # The reader of our output has gone (`| head`), which ends the command as it ends others.
        discard_rest(out)
        return interrupts.exit_code(signal.SIGPIPE)
    if isinstance(error, BenchError | OSError):
        _say(err, one_line(error))
        return int(exit_code_of(error))
    raise error


def _interrupted(error: BaseException, number: int | None, err: TextIO | None) -> int:
    if number is None:
        number = error.number if isinstance(error, interrupts.Interrupted) else signal.SIGINT
    notes = getattr(error, "__notes__", ())
    _say(err, "; ".join([f"interrupted by {interrupts.name_of(number)}", *notes]))
    return interrupts.exit_code(number)


def _say(err: TextIO | None, line: str) -> None:
    try:
        print(f"bertbench: {line}", file=err or _nowhere(), flush=True)
    except (OSError, ValueError):
        discard_rest(err)


def _nowhere() -> TextIO:
    """For a process that was started without the stream (`>&-`)."""
    return open(os.devnull, "w")


def _leave(code: int) -> NoReturn:
    """Ends the process; one that was interrupted does not wait for threads that are still in a call."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            discard_rest(stream)
    if code > _LEAST_SIGNAL:
        os._exit(code)
    sys.exit(code)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
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
            importlib.import_module(f"bench.cli.{name}").add_arguments(command)
    return parser
