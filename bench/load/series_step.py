"""What the process of a series is told of each run, and what it says of it: one JSON line each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from bench.load.told import Told
from bench.server.running import RunningServer


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesStep:
    """One run of a series.

    Args:
        protocol: `rest` or `grpc`.
        name: the scenario's name, for the run folder.
        arrivals: text of when requests are due.
        users: size of the pool, the most requests in flight.
        seconds: measured time.
        warmup: seconds of load before it.
        seed: of everything that is drawn.
        results: folder that the run folder is made in.
        model_dir: the export that the servers serve.
        servers: the servers, more than one behind a balancer.
        policy: how the balancer chooses, one of `bench.load.policies.POLICIES`.
        options: texts of other options, by the names in `bench.load.options.OPTIONS`, and of switches (any text: on).
        target: the target as the user gave it.
        flags: flags that the servers were started with.
        group: the same for all repeats.
        repeat: index of the repeat.
        command: the command line.
    """

    protocol: str
    name: str
    arrivals: str
    users: int
    seconds: float
    warmup: float
    seed: int
    results: Path
    model_dir: Path
    servers: tuple[RunningServer, ...]
    policy: str = "round-robin"
    options: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    flags: tuple[str, ...] = ()
    group: str = ""
    repeat: int = 0
    command: tuple[str, ...] = ()

    def told(self) -> Told:
        """What `bertbench run` would tell Locust's process."""
        return Told(self.target, self.servers[0], self.flags, self.group, self.repeat, self.command)

    def to_line(self) -> bytes:
        """The line for the process's standard input."""
        return orjson.dumps(asdict(self), default=str, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The step in a line of `to_line`."""
        raw: dict[str, Any] = orjson.loads(line)
        return cls(
            **{
                **raw,
                "results": Path(raw["results"]),
                "model_dir": Path(raw["model_dir"]),
                "servers": tuple(RunningServer(**server) for server in raw["servers"]),
                "flags": tuple(raw["flags"]),
                "command": tuple(raw["command"]),
            }
        )


@dataclass(frozen=True, slots=True)
class SeriesReply:
    """What became of a step.

    Args:
        folder: the run folder; "" if there is none.
        error: one line; "" if the run came to its end.
        code: exit code of the error.
    """

    folder: str = ""
    error: str = ""
    code: int = 0

    def to_line(self) -> bytes:
        """The line for the process's standard output."""
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The reply in a line of `to_line`."""
        return cls(**orjson.loads(line))
