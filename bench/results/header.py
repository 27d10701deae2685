"""`run.json`, the header of a run folder: what was asked, where, and whether the run came to its end.

The format number covers the whole folder: this file, the columns of `requests.parquet`, `timeseries.csv`,
`server-metrics.csv` and `client-metrics.csv`, the tags of `histogram.hlog`.

Format history:
    1: first.
    2: a workload's transport names the gRPC client too, which was always grpcio before.
    3: `client-metrics.csv` has a last column `users`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import orjson

from bench.errors import UsageError
from bench.output import to_json
from bench.results.arrivals import Arrivals, OpenLoop, TraceArrivals, parse_arrivals
from bench.results.environment import Environment
from bench.results.workload import Workload

FORMAT: Final = 3
FILE_NAME: Final = "run.json"


def update_to_2(raw: dict[str, Any]) -> dict[str, Any]:
    """Names the gRPC client."""
    workload = dict(raw["workload"])
    if workload["protocol"] == "grpc":
        workload["transport"] = "grpcio"
    elif workload["protocol"] == "both":
        workload["transport"] += "+grpcio"
    return raw | {"workload": workload}


def update_to_3(raw: dict[str, Any]) -> dict[str, Any]:
    """Changes nothing: `read_samples` reads client metrics without the column `users`."""
    return raw


_UPDATES: Final[dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {2: update_to_2, 3: update_to_3}
"""By format N: the step `update_to_N`, which takes the parsed file of format N - 1 and gives that of N."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """What is known when a run begins; `describe` makes one.

    Args:
        workload: what is sent.
        arrivals: canonical text of when (a trace's file may be gone when the run is read, so it stays text).
        arrivals_digest: digest of a trace's due times, None for other arrivals.
        open_loop: whether the arrivals are a schedule.
        requested_rate: mean requests a second of the measured schedule; None in closed loop.
        scheduled: due times drawn, warm-up included; None in closed loop, where nothing is due before an answer.
        target: what is driven, as given to `--target`.
        server: what is known of the server: backend, flags, version, warm-up...; plain values.
        environment: where the load is generated.
        workers: load-generating processes.
        started: when the run's clock was 0, UTC, `2026-01-31T12:00:00.000000Z`.
        group: the same for all repeats of one command; "" for a run of its own.
        repeat: index of the repeat, from 0.
        command: the command line.
        ceiling: requests a second that this load generator reaches on the null server, if calibrated.
        warnings: what a reader must know, each one line.
    """

    workload: Workload
    arrivals: str
    open_loop: bool
    target: str
    environment: Environment
    workers: int
    started: str
    arrivals_digest: str | None = None
    requested_rate: float | None = None
    scheduled: int | None = None
    server: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    repeat: int = 0
    command: tuple[str, ...] = ()
    ceiling: float | None = None
    warnings: tuple[str, ...] = ()

    def parsed_arrivals(self) -> Arrivals:
        """The arrivals.

        Raises:
            UsageError: a trace whose file is gone or was changed.
        """
        arrivals = parse_arrivals(self.arrivals)
        if isinstance(arrivals, TraceArrivals) and arrivals.digest != self.arrivals_digest:
            raise UsageError(f"the trace of {self.arrivals} was changed since the run; give the file that was run")
        return arrivals

    def to_json(self) -> dict[str, Any]:
        """Plain values for `run.json`."""
        raw = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return raw | {"workload": self.workload.to_json(), "environment": self.environment.to_json()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "RunHeader":
        """The header in `raw`.

        Raises:
            UsageError: keys or values that make no header.
        """
        try:
            return cls(
                **{
                    **raw,
                    "workload": Workload.from_json(raw["workload"]),
                    "environment": Environment.from_json(raw["environment"]),
                    "command": tuple(raw["command"]),
                    "warnings": tuple(raw["warnings"]),
                }
            )
        except (TypeError, KeyError) as error:
            raise UsageError(f"no header of this version's ({error}); was {FILE_NAME} edited?") from error


def describe(
    workload: Workload,
    arrivals: Arrivals,
    *,
    target: str,
    environment: Environment,
    workers: int,
    started: str,
    scheduled: int | None = None,
    server: Mapping[str, Any] | None = None,
    group: str = "",
    repeat: int = 0,
    command: tuple[str, ...] = (),
    ceiling: float | None = None,
    warnings: tuple[str, ...] = (),
) -> RunHeader:
    """The header of a run that begins now; see `RunHeader` for the arguments.

    `scheduled` is the size of `run_schedule(...).due`; needed exactly in open loop.

    Raises:
        ValueError: open loop without `scheduled`, or closed loop with it.
    """
    is_open = isinstance(arrivals, OpenLoop)
    if is_open != (scheduled is not None):
        raise ValueError("open loop, and only that, has a schedule of a known size")
    return RunHeader(
        workload=workload,
        arrivals=str(arrivals),
        arrivals_digest=arrivals.digest if isinstance(arrivals, TraceArrivals) else None,
        open_loop=is_open,
        requested_rate=arrivals.expected_requests(workload.duration) / workload.duration
        if isinstance(arrivals, OpenLoop)
        else None,
        scheduled=scheduled,
        target=target,
        server=dict(server or {}),
        environment=environment,
        workers=workers,
        started=started,
        group=group,
        repeat=repeat,
        command=command,
        ceiling=ceiling,
        warnings=warnings + arrivals.notes(workload.duration),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """The whole of `run.json`.

    Args:
        header: what was known at the start, and warnings added since.
        finished: whether the run came to its end and all files are whole.
        elapsed: seconds from start to end, None if unfinished.
        counts: requests by outcome, warm-up included; {} if unfinished.
        interrupted: whether it was stopped before its time.
        checksums: `sha256:` digests by file name; {} if unfinished.
    """

    header: RunHeader
    finished: bool = False
    elapsed: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    interrupted: bool = False
    checksums: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The file's bytes."""
        body: dict[str, Any] = {"format": FORMAT}
        body |= {"finished": self.finished, "interrupted": self.interrupted, "elapsed": self.elapsed}
        body |= {"counts": dict(self.counts), "checksums": dict(self.checksums)} | self.header.to_json()
        return to_json(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_run_file(path: Path) -> RunFile:
    """Reads a `run.json` of any format up to this version's.

    Raises:
        UsageError: it cannot be read, is no such file, or is of a newer format.
    """
    try:
        raw = orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give a run folder") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path} is not JSON ({error}); was it edited?") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("format"), int) or raw["format"] < 1:
        raise UsageError(f"{path} is not the header of a run; give a run folder")
    if raw["format"] > FORMAT:
        raise UsageError(f"{path} has run format {raw['format']}, this version reads up to {FORMAT}; update bertbench")
    own = {"finished", "interrupted", "elapsed", "counts", "checksums"}
    if not own | {"workload"} <= raw.keys():
        raise UsageError(f"{path} lacks {', '.join(sorted((own | {'workload'}) - raw.keys()))}; was it edited?")
    try:
        for version in range(raw["format"] + 1, FORMAT + 1):
            raw = _UPDATES[version](raw)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path} is not the header of a run ({error!r}); was it edited?") from error
    header = RunHeader.from_json({key: value for key, value in raw.items() if key not in own | {"format"}})
    return RunFile(header=header, **{name: raw[name] for name in own})
