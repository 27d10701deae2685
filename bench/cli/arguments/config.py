"""The arguments of `bertbench config`."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="the value of each option and where it comes from")
    show.add_argument(
        "words", nargs="*", metavar="COMMAND", help="a command, like run or gate calibrate (default: all that is set)"
    )
    check = actions.add_parser("check", help="refuse unknown names and values that an option does not take")
    check.add_argument("file", nargs="?", type=Path, metavar="FILE", help="(default: that which commands read)")
