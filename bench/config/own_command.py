"""A command of `bertbench` that the program runs for itself, as if the user had set nothing."""

import os
import sys
from collections.abc import Sequence

from bench.config.sources import PREFIX


def own_command(words: Sequence[str]) -> list[str]:
    """The command line of a process that runs the command in `words`, and reads no file of settings."""
    return [sys.executable, "-m", "bench", *words, "--config", os.devnull]


def own_environment() -> dict[str, str]:
    """The environment of that process: this one's without variables of settings."""
    return {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
