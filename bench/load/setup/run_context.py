"""What a process knows of the command that started it: whether it was `bertbench`, and what that calls an option."""

import os
from collections.abc import Mapping, Sequence
from typing import Final

VARIABLE: Final = "BERTBENCH_RUN"
"""Environment variable of the Locust process that `bertbench run` starts; holds the run's `RunSpec` as JSON."""

# How a command that starts this process calls what is Locust's option here.
_OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "run": {"--host": "--target", "--results": "--out", "-t": "--duration"},
    "capacity": {"--host": "--target", "--results": "--out", "-t": "--step-time", "--users": "--max-users"},
}


def option_name(name: str, command: Sequence[str]) -> str:
    """What the user's own command calls one of Locust's options, for messages.

    Args:
        name: as Locust has it, such as `--host`.
        command: the command line of the `bertbench` that asks for the run; empty where Locust was started by a user.
    """
    if not command:
        return name
    word = next((word for word in command[1:] if not word.startswith("-")), "run")
    return _OPTIONS.get(word, _OPTIONS["run"]).get(name, name)


def started_by_bertbench() -> bool:
    """Whether `bertbench run` started this process, and says itself how it ended."""
    return bool(os.environ.get(VARIABLE))
