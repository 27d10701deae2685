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
