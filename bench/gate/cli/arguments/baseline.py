"""The arguments of `bertbench baseline`."""

import argparse
from pathlib import Path

from bench.cli.common.values import LABEL
from bench.results.run_paths import run_paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="copy runs into the store, without INVALID ones where enough remain")
    add.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run, or a folder of runs")
    add.add_argument("--label", type=LABEL, default="", help="what it is, for example a commit")
    add.add_argument("--promote", action="store_true", help="make it the baseline, if it is good")
    listing = actions.add_parser("list", help="all entries")
    show = actions.add_parser("show", help="one entry and its metrics")
    show.add_argument("entry", nargs="?", default="promoted", help="id, label, latest or promoted (default: promoted)")
    chosen = actions.add_parser("promote", help="make an entry the baseline")
    chosen.add_argument("entry", help="id, label or latest")
    for action in (add, listing, show, chosen):
        action.add_argument("--store", type=Path, default=Path("baselines"), help="the folder (default: baselines)")


def check(args: argparse.Namespace) -> None:
    """Refuses runs that are not there.

    Raises:
        UsageError: the first one.
    """
    if args.action == "add":
        run_paths(args.runs)
