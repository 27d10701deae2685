"""The arguments of `bertbench report`."""

import argparse
from pathlib import Path

from bench.cli.common.values import FOLDER
from bench.cli.common.verdict_files import add_verdict_options
from bench.results.run_paths import SIDE_BY_SIDE, run_paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder of runs")
    parser.add_argument(
        "--out",
        type=FOLDER,
        metavar="DIR",
        help=f"folder of the report (default: the run's own; a comparison goes into {SIDE_BY_SIDE}/ beside the runs)",
    )
    add_verdict_options(parser)


def check(args: argparse.Namespace) -> None:
    """Refuses runs that are not there.

    Raises:
        UsageError: the first one.
    """
    run_paths(args.runs)
