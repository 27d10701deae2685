"""The arguments of `bertbench completion`."""

import argparse
from typing import Final

SHELLS: Final = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("shell", choices=SHELLS, help="print the script of this shell")
