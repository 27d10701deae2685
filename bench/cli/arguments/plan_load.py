"""The arguments of `bertbench plan-load`."""

import argparse
from typing import Final

from bench.analysis.metrics import CEILING_FRACTION
from bench.cli.common.values import Value, whole
from bench.core.errors import UsageError
from bench.core.units import parse_fraction, parse_rate

_LARGEST: Final = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument(
        "--rate", type=Value(parse_rate), required=True, metavar="RATE", help="requests, such as 50000/s"
    )
    parser.add_argument("--client", metavar="NAME", help="one of calibrate's clients (default: all that were measured)")
    parser.add_argument(
        "--cores",
        type=whole(1, _LARGEST),
        metavar="N",
        help="cores of each machine (default: those that it may use here)",
    )
    parser.add_argument(
        "--share",
        type=Value(_share),
        default=CEILING_FRACTION,
        metavar="SHARE",
        help=f"share of its ceiling that a worker is used to (default: {CEILING_FRACTION:.0%})".replace("%", "%%"),
    )


def _share(text: str) -> float:
    """A fraction above 0.

    Raises:
        UsageError: it is not.
    """
    share = parse_fraction(text)
    if not share:
        raise UsageError("a worker must be used to more than 0 %; give a share like 80%")
    return share
