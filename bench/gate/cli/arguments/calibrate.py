"""The arguments of `bertbench gate calibrate`."""

import argparse

from bench.cli.common.values import whole
from bench.gate.cli.arguments.options import add_load_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("--target", default="embedded", help="the server, compared with itself (default: embedded)")
    parser.add_argument("--gates", type=whole(1, 10_000), default=20, metavar="N", help="gates to run (default: 20)")
    add_load_options(parser)
