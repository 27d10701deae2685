"""The arguments of `bertbench gate history`."""

import argparse
from pathlib import Path

from bench.cli.common.values import PNG, number
from bench.gate.types import P_VALUE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument(
        "dir", type=Path, metavar="DIR", help="a folder of runs, of stored gates, or a store of baselines"
    )
    parser.add_argument(
        "--p-value", type=number(0, 0.5, open_least=True), default=P_VALUE, help=f"of one split (default: {P_VALUE})"
    )
    parser.add_argument("--plot", type=PNG, help="PNG file (default: history.png in DIR)")
