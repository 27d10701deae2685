"""The arguments of `bertbench scenario`."""

import argparse
from pathlib import Path

from bench.load.setup.catalog import SCENARIOS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of both sub-commands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the scenarios, with their defaults")
    copy = actions.add_parser("copy", help="write a scenario as a locustfile to edit")
    copy.add_argument("name", choices=SCENARIOS, help="which one, see bertbench scenario list")
    copy.add_argument(
        "dir", type=Path, nargs="?", default=Path(), metavar="DIR", help="folder of the file (default: this one)"
    )
    copy.add_argument("--force", action="store_true", help="replace a file that is there")
