"""The arguments of `bertbench demo`."""

import argparse
from pathlib import Path

from bench.cli.common.options import add_model_options
from bench.cli.common.values import FOLDER, number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    add_model_options(parser)
    parser.add_argument(
        "--out", type=FOLDER, default=Path("results"), metavar="DIR", help="folder of the runs (default: results)"
    )
    parser.add_argument("--seconds", type=number(1, 86400), default=20.0, help="length of each load run (default: 20)")
