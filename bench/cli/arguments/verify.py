"""The arguments of `bertbench verify`."""

import argparse

from bench.cli.common.options import add_target_options
from bench.cli.common.values import DURATION, number, whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    add_target_options(parser)
    parser.add_argument(
        "--tolerance", type=number(0, 100), help="largest |Δ log p| of a word (default: the golden file's)"
    )
    parser.add_argument(
        "--sentences", type=whole(), metavar="N", help="check the first N golden sentences (default: all)"
    )
    parser.add_argument("--timeout", type=DURATION, default="60s", help="for one request (default: 60s)")
