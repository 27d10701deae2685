"""The command line: `bertbench COMMAND`, one module per command.

A command is two modules. That of its name has `run(args, out, err) -> exit code`; `out` is a
`bench.cli.common.command_output.CommandOutput`. The one of the same name in `arguments/` beside it has
`add_arguments(parser)`, and `check(args)` where the options alone show what must be refused. It loads nothing heavy, so
that help and refusals come at once; the command's own is loaded after them. The table below is all that `bertbench
--help` needs.
"""

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn, TextIO

from bench.core import interrupts

COMMANDS: Final = {
    "train": "train a masked language model with the Estimator",
    "export": "Estimator to SavedModel, with warm-up requests and golden answers",
    "score": "word-level probabilities of each line of a file",
    "serve": "serve a model until Ctrl-C",
    "run": "run a load scenario against a target and record every request",
    "scenario": "list the scenarios, or copy one as a locustfile to edit",
    "verify": "compare served probabilities with the Estimator's",
    "report": "plots, report.md and CSV of runs",
    "compare": "differences between two runs, with intervals",
    "gate": "CI verdict: is the candidate slower, or wrong? also: gate calibrate, gate history",
    "baseline": "store, list and promote baselines",
    "capacity": "the rate that a server sustains within an objective, and the servers that a rate needs",
    "calibrate": "ceiling and floor of the load generator on this machine",
    "plan-load": "the workers, cores and machines that a rate needs of the load generator",
    "demo": "all steps once, small, on the embedded server",
    "config": "the settings from variables and a file: where each comes from, and what is wrong with them",
    "completion": "the script by which a shell completes the command line",
}

# Commands whose modules belong to a feature; the others are `bench.cli.COMMAND`.
_ELSEWHERE: Final = {
    "gate": "bench.gate.cli.gate",
    "baseline": "bench.gate.cli.baseline",
    "capacity": "bench.capacity.cli.capacity",
    "plan-load": "bench.cli.plan_load",
}

# Exit codes above it are those of signals.
_LEAST_SIGNAL: Final = 128


def command_module(command: str) -> str:
    """The name of the module of one of `COMMANDS`."""
    return _ELSEWHERE.get(command, f"bench.cli.{command}")


def arguments_module(command: str) -> str:
    """The name of the module with the arguments of one of `COMMANDS`."""
    folder, _, name = command_module(command).rpartition(".")
    return f"{folder}.arguments.{name}"


def main(argv: Sequence[str] | None = None, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments; None takes those of the process, and ends it afterwards.
        out: gets results; None is standard output.
        err: gets the line about an error; None is standard error.

    Returns:
        The exit code, see `bench.core.errors.ExitCode`; 128 and the signal's number after a signal.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    with interrupts.watched(to_the_end=argv is None):
        try:
            # Imported here, where signals are handled; extension modules that are interrupted while they load can
            # crash the process later.
            with interrupts.held():
                from bench.cli.dispatch import dispatch

            code = dispatch(words, out, err, usage_ends=argv is not None)
            interrupts.over()
        except KeyboardInterrupt as error:
            code = _interrupted(error, err or sys.stderr)
        if argv is None:
            _leave(code)
    return code


def _interrupted(error: KeyboardInterrupt, err: TextIO | None) -> int:
    """Prints the line about an interrupt, with its notes, and returns the exit code."""
    interrupts.accept()
    line = interrupts.line_of(error)
    with contextlib.suppress(OSError, ValueError):
        print(line, file=err, flush=True)
    return interrupts.exit_code(interrupts.signal_of(error))


def _leave(code: int) -> NoReturn:
    """Ends the process, after an interrupt without waiting for threads that are still in a call."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            # Discards the rest; Python would print an error at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if code > _LEAST_SIGNAL:
        os._exit(code)
    # The result is final: a signal only ends the wait for threads.
    for number in interrupts.SIGNALS:
        signal.signal(number, lambda *_: os._exit(code))
        atexit.register(signal.signal, number, signal.SIG_IGN)
    sys.exit(code)
