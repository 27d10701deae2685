"""`bertbench compare`: the differences between two runs, or two folders of repeats, with intervals."""

import argparse
from pathlib import Path
from typing import TextIO

from bench.analysis.compare import compare
from bench.analysis.run import analyse
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.core.errors import ExitCode
from bench.report.comparison import comparison_line, comparison_text
from bench.report.json_values import ComparisonValue, comparison_value
from bench.results.run_reader import find_runs


class CompareDocument(Document, frozen=True, kw_only=True):
    """The differences between two sides."""

    command: str = "compare"
    comparison: ComparisonValue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("before", type=Path, metavar="RUN_A", help="a run, or a folder with repeats of one run")
    parser.add_argument("after", type=Path, metavar="RUN_B", help="the same, compared with RUN_A")
    parser.add_argument("--anyway", action="store_true", help="compare runs under different loads too")


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Prints the differences of the manifests, then each metric with its change.

    Raises:
        UsageError: no such run, or runs of one side that are not repeats of each other.
        InconclusiveError: the sides were under different loads, and not `--anyway`.
    """
    before, after = ([analyse(run) for run in find_runs([side])] for side in (args.before, args.after))
    found = compare(before, after, anyway=args.anyway)
    out.result(CompareDocument(comparison=comparison_value(found)), comparison_text(found), comparison_line(found))
    return ExitCode.OK
