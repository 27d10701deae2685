"""The arguments of `bertbench compare`."""

import argparse
from pathlib import Path

from bench.cli.common.values import FOLDER
from bench.results.run_paths import run_paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("before", type=Path, metavar="RUN_A", help="a run, or a folder with repeats of one run")
    parser.add_argument("after", type=Path, nargs="+", metavar="RUN_B", help="the same; each is compared with RUN_A")
    parser.add_argument("--anyway", action="store_true", help="compare runs under different loads too")
    parser.add_argument("--out", type=FOLDER, metavar="DIR", help="write report.html, report.md, plots and CSV there")


def check(args: argparse.Namespace) -> None:
    """Refuses runs that are not there.

    Raises:
        UsageError: the first one.
    """
    run_paths((args.before, *args.after))
