"""What `bertbench run` tells the Locust process that it starts, through one environment variable."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

from bench.errors import UsageError
from bench.server.running import RunningServer

VARIABLE: Final = "BERTBENCH_RUN"


@dataclass(frozen=True, slots=True)
class Told:
    """The part of a run that its own options do not tell.

    Args:
        target: the target as the user gave it.
        server: the server, where whoever started the process opened it; None for one at an address.
        flags: flags that it was started with.
        group: the same for all repeats.
        repeat: index of the repeat.
        command: the command line.
    """

    target: str
    server: RunningServer | None = None
    flags: tuple[str, ...] = ()
    group: str = ""
    repeat: int = 0
    command: tuple[str, ...] = field(default_factory=tuple)

    def environment(self) -> dict[str, str]:
        """This process's environment with the variable set."""
        return {**os.environ, VARIABLE: orjson.dumps(asdict(self)).decode()}


# How a command that starts this process calls what is Locust's option here.
_OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "run": {"--host": "--target", "--results": "--out", "-t": "--duration"},
    "capacity": {"--host": "--target", "--results": "--out", "-t": "--step-time", "--users": "--max-users"},
}


def option_name(name: str) -> str:
    """What the user's own command calls one of Locust's options, for messages.

    Args:
        name: as Locust has it, such as `--host`.
    """
    by_runner = told()
    if by_runner is None:
        return name
    command = next((word for word in by_runner.command[1:] if not word.startswith("-")), "run")
    return _OPTIONS.get(command, _OPTIONS["run"]).get(name, name)


def told() -> Told | None:
    """What this process was told; None if a user started it.

    Raises:
        UsageError: the variable holds something else.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        raw: Mapping[str, Any] = orjson.loads(text)
        return Told(
            raw["target"],
            RunningServer(**raw["server"]) if raw["server"] else None,
            tuple(raw["flags"]),
            raw["group"],
            raw["repeat"],
            tuple(raw["command"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"{VARIABLE} in the environment is not bertbench's ({error}); unset it") from error
