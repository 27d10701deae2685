"""The command line: `bertbench COMMAND`, one file a command.

Each command's module has `add_arguments(parser)` and `run(args, out, err) -> exit code`. The table below is all that
`bertbench --help` needs, so that neither TensorFlow nor locust is loaded for it.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from bench import __version__
from bench.cli.parser import Parser
from bench.errors import BenchError, ExitCode

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


def main(argv: Sequence[str] | None = None, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after the program's name; None takes the process's.
        out: where results go; None is standard output.
        err: where the one line on a failure goes; None is standard error.

    Returns:
        The exit code, see `bench.errors.ExitCode`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    out, err = out or sys.stdout, err or sys.stderr
    try:
        args = _parser(words).parse_args(words)
        command = importlib.import_module(f"bench.cli.{args.command}")
        return int(command.run(args, out, err))
    except BenchError as error:
        print(f"bertbench: {error}", file=err)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("bertbench: interrupted", file=err)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); there is nobody left to tell.
        sys.stderr.close()
        return int(ExitCode.GOOD)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"bertbench: {where}{error.strerror or error}", file=err)
        return int(ExitCode.USAGE)


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
