"""The command that started a process: whether it was `bertbench`, and its names of Locust's options."""

import os
from collections.abc import Mapping, Sequence
from typing import Final

VARIABLE: Final = "BERTBENCH_RUN"
"""Environment variable of the Locust process that `bertbench run` starts; holds the run's `RunSpec` as JSON."""

# Names of Locust's options in the commands that start this process.
_OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "run": {"--host": "--target", "--results": "--out", "-t": "--duration"},
    "capacity": {"--host": "--target", "--results": "--out", "-t": "--step-time", "--users": "--max-users"},
}


def option_name(name: str, command: Sequence[str]) -> str:
    """The name of one of Locust's options in the user's own command, for messages.

    Args:
        name: as Locust has it, such as `--host`.
        command: the command line of the `bertbench` that starts the run; empty if a user started Locust.
    """
    if not command:
        return name
    word = next((word for word in command[1:] if not word.startswith("-")), "run")
    return _OPTIONS.get(word, _OPTIONS["run"]).get(name, name)


def started_by_bertbench() -> bool:
    """Whether `bertbench run` started this process, and reports its end itself."""
    return bool(os.environ.get(VARIABLE))
