"""The arguments of `bertbench calibrate`."""

import argparse
from typing import Final

from bench.cli.common.options import add_model_options
from bench.cli.common.values import DURATION, Value, whole
from bench.core.errors import UsageError, did_you_mean
from bench.load.selftest.self_test import WAYS

CEILING_USERS: Final = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    add_model_options(parser)
    names = ",".join(WAYS)
    parser.add_argument("--ways", type=Value(_ways), default=names, help=f"what to measure (default: {names})")
    parser.add_argument(
        "--duration", type=DURATION, default="8s", metavar="TIME", help="time of each measurement (default: 8s)"
    )
    parser.add_argument(
        "--users",
        type=whole(1, 10_000),
        default=CEILING_USERS,
        help=f"number of users for the ceiling (default: {CEILING_USERS})",
    )


def _ways(text: str) -> list[str]:
    """Names of `WAYS`, separated by commas.

    Raises:
        UsageError: one is none of them.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in WAYS:
            raise UsageError(f"{name!r} is not one of {', '.join(WAYS)}{did_you_mean(name, WAYS)}")
    return names
