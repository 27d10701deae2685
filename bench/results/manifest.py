"""`run.json`, the manifest of a run folder: workload, target, environment, and whether the run finished.

The format number covers the whole folder: this file, the columns of `requests.parquet`, `timeseries.csv`,
`server-metrics.csv` and `client-metrics.csv`, the tags of `histogram.hlog`.

Format history:
    1: first.
    2: a workload's transport names the gRPC client too, which was always grpcio before.
    3: `client-metrics.csv` has a last column `users`.
    4: the names of the request headers.
    5: `objectives` and `until`, what was asked for; `stopping` and `verdicts`, what became of it. The duration and the
       scheduled requests of a run that stopped by itself are those until it stopped.
    6: `server-metrics.csv` has two last columns, `gpu_power` and `gpu_energy`.
    7: `overload` of a run that was stopped for it; `warmup`, that which was found, which the columns `warmup` follow;
       `traces`, by which the trace ids of requests are found; `lacks`, where the load generator lacked something;
       `failures`, what failed requests said; the names of all GPUs, which were that of the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.core.errors import UsageError, in_words
from bench.core.versioned_json import VersionedJson, shallow
from bench.objectives.grammar import Objective
from bench.objectives.until import Until
from bench.objectives.verdicts import ObjectiveResult, ObjectivesResult
from bench.results.environment import MORE_GPUS, Environment
from bench.results.failures import FailureText
from bench.results.overload import Overload
from bench.results.warmup_end import FoundWarmup
from bench.serving.errors import Lack
from bench.workload.arrivals import Arrivals, ClosedLoop, OpenLoop, TraceArrivals, parse_arrivals
from bench.workload.trace_context import TraceContexts
from bench.workload.workload import MOST_SECONDS, Workload


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


def update_to_4(raw: dict[str, Any]) -> dict[str, Any]:
    """Changes nothing: which headers a run had was not stored, but in its command line."""
    return raw


def update_to_5(raw: dict[str, Any]) -> dict[str, Any]:
    """Adds what a run without objectives has."""
    return raw | {"objectives": [], "until": None, "stopping": None, "verdicts": None}


def update_to_6(raw: dict[str, Any]) -> dict[str, Any]:
    """Changes nothing: `read_samples` reads server metrics without the last columns."""
    return raw


def update_to_7(raw: dict[str, Any]) -> dict[str, Any]:
    """Adds that a run was not stopped for its overload, no warm-up looked for, no request traced and nothing lacked.

    There may be more GPUs than the one that it names.
    """
    environment = dict(raw["environment"])
    if gpus := environment.get("gpus"):
        environment["gpus"] = [*gpus, MORE_GPUS]
    return raw | {"overload": None, "warmup": None, "traces": None, "lacks": {}, "environment": environment}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """The looks at a run that may stop by itself.

    Args:
        planned: the longest measured time, seconds.
        looks: number of looks.
        reason: why it stopped, one line; "" if it ran to the planned end.
        decided: the verdicts that were given at looks.
        confidence: of the intervals that decide the rest at the end.
    """

    planned: float
    looks: int = 0
    reason: str = ""
    decided: tuple[ObjectiveResult, ...] = ()
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest:
    """What is known at the start of a run; `describe` returns one.

    Args:
        workload: the requests.
        arrivals: canonical text of the schedule (text, because a trace's file may be gone when the run is read).
        arrivals_digest: digest of a trace's due times, None for other arrivals.
        open_loop: whether the arrivals are a schedule.
        requested_rate: mean requests a second of the measured schedule; None in closed loop.
        scheduled: due times drawn, warm-up included; None in closed loop, where nothing is due before an answer.
        target: what is driven, as given to `--target`.
        server: what is known of the server: backend, flags, version, warm-up...; plain values.
        environment: of the load generator.
        workers: load-generating processes.
        started: when the run's clock was 0, UTC, `2026-01-31T12:00:00.000000Z`.
        group: the same for all repeats of one command; "" for a run of its own.
        repeat: index of the repeat, from 0.
        headers: names of the request headers that were given; their values are not stored.
        command: the command line, without the values of headers.
        ceiling: requests/s of this load generator on the null server, if calibrated.
        warnings: one line each.
        objectives: what it is held to.
        until: when it may stop by itself; None if it does not.
        traces: the trace contexts of its requests; None without.
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
    headers: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    ceiling: float | None = None
    warnings: tuple[str, ...] = ()
    objectives: tuple[Objective, ...] = ()
    until: Until | None = None
    traces: TraceContexts | None = None

    @property
    def stored_arrivals(self) -> Arrivals | None:
        """The arrivals; None for a trace, whose file is not read: a run folder may come from others.

        Raises:
            UsageError: the text does not describe arrivals.
        """
        kind = self.arrivals.partition(":")[0].strip().lower()
        return None if kind == "trace" else parse_arrivals(self.arrivals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The fields of `RunManifest` of the same names: all but those of workload and arrivals."""

    target: str
    environment: Environment
    workers: int
    started: str
    server: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    repeat: int = 0
    headers: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    ceiling: float | None = None
    warnings: tuple[str, ...] = ()
    objectives: tuple[Objective, ...] = ()
    until: Until | None = None
    traces: TraceContexts | None = None


def describe(workload: Workload, arrivals: Arrivals, origin: Origin, scheduled: int | None = None) -> RunManifest:
    """The manifest of a new run.

    Args:
        workload: the requests.
        arrivals: their schedule.
        origin: all other fields.
        scheduled: the size of `run_schedule(...).due`; needed exactly in open loop.

    Raises:
        ValueError: open loop without `scheduled`, or closed loop with it.
    """
    is_open = isinstance(arrivals, OpenLoop)
    if is_open != (scheduled is not None):
        raise ValueError("scheduled must be given exactly in open loop")
    duration = workload.duration
    given = {entry.name: getattr(origin, entry.name) for entry in fields(origin)}
    given |= {"warnings": origin.warnings + arrivals.notes(duration)}
    return RunManifest(
        workload=workload,
        arrivals=str(arrivals),
        arrivals_digest=arrivals.digest if isinstance(arrivals, TraceArrivals) else None,
        open_loop=is_open,
        requested_rate=arrivals.expected_requests(duration) / duration if isinstance(arrivals, OpenLoop) else None,
        scheduled=scheduled,
        **given,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """The whole of `run.json`.

    Args:
        manifest: with warnings added since the start.
        finished: whether the run finished and all files are complete.
        elapsed: seconds from start to end, or to the moment when it was stopped early; None if unfinished.
        counts: requests by outcome, warm-up included; {} if unfinished.
        interrupted: whether it was stopped early.
        checksums: `sha256:` digests by file name; {} if unfinished.
        stopping: the looks at it; None if it could not stop by itself, or is unfinished.
        verdicts: on its objectives; None if it has none, or before they are given.
        overload: why it was stopped early, if it was for asking more than the server carries.
        warmup: the warm-up that it was found to have; None if it was not looked for.
        lacks: requests that failed because the load generator lacked something, by what: not the server's failures.
        failures: the texts of the errors of failed requests, the most frequent first.
    """

    manifest: RunManifest
    finished: bool = False
    elapsed: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    interrupted: bool = False
    checksums: Mapping[str, str] = field(default_factory=dict)
    stopping: Stopping | None = None
    verdicts: ObjectivesResult | None = None
    overload: Overload | None = None
    warmup: FoundWarmup | None = None
    lacks: Mapping[Lack, int] = field(default_factory=dict)
    failures: tuple[FailureText, ...] = ()

    def to_bytes(self) -> bytes:
        """The file's bytes."""
        own = {name: value for name, value in shallow(self).items() if name != "manifest"}
        return _FILE.encode(_Stored(**own, **shallow(self.manifest)))


@dataclass(frozen=True, kw_only=True)
class _State:
    """The fields of `RunFile` beside the manifest, in the order of the file."""

    finished: bool
    interrupted: bool
    elapsed: float | None
    counts: Mapping[str, int]
    checksums: Mapping[str, str]
    stopping: Stopping | None
    verdicts: ObjectivesResult | None
    overload: Overload | None
    warmup: FoundWarmup | None
    # Defaults, since earlier files of this format are without them.
    lacks: Mapping[Lack, int] = field(default_factory=dict)
    failures: tuple[FailureText, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Stored(RunManifest, _State):
    """The file: the fields of `_State`, then those of `RunManifest`."""


_FILE: Final = VersionedJson(
    _Stored,
    7,
    name="run manifest",
    cure="restore it, or give another run folder",
    updates={2: update_to_2, 3: update_to_3, 4: update_to_4, 5: update_to_5, 6: update_to_6, 7: update_to_7},
)
"""`run.json`; `update_to_N` converts the parsed file of format N - 1 to format N."""


def read_run_file(path: Path) -> RunFile:
    """Reads a `run.json` of any format up to this version's.

    Raises:
        UsageError: it cannot be read, is not a run manifest, or has a newer format.
    """
    try:
        found = shallow(_FILE.read(path))
    except FileNotFoundError as error:
        raise UsageError(f"{path} cannot be read ({in_words(error)}); {_FILE.cure}") from error
    state = {entry.name: found.pop(entry.name) for entry in fields(_State)}
    file = RunFile(manifest=RunManifest(**found), **state)
    if fault := _fault_of(file):
        raise UsageError(f"{path} is not a valid {_FILE.name} ({fault}); {_FILE.cure}")
    return file


def _fault_of(file: RunFile) -> str:
    """What in a file contradicts the rest of it; "" for nothing."""
    manifest = file.manifest
    try:
        arrivals = manifest.stored_arrivals
        datetime.fromisoformat(manifest.started)
    except (UsageError, ValueError) as error:
        return in_words(error)
    if manifest.open_loop == isinstance(arrivals, ClosedLoop):
        return f"open_loop is {str(manifest.open_loop).lower()} and arrivals are {manifest.arrivals}"
    seconds = {"elapsed": file.elapsed, "ceiling": manifest.ceiling, "requested_rate": manifest.requested_rate}
    if file.warmup is not None:
        seconds |= {"warmup.begins": file.warmup.begins, "warmup.planned": file.warmup.planned}
    for name, value in seconds.items():
        if value is not None and not 0 <= value <= MOST_SECONDS:
            return f"{name} is {value}"
    if manifest.ceiling == 0:
        return "ceiling is 0"
    counts = (*file.counts.values(), *file.lacks.values(), *(entry.count for entry in file.failures))
    if any(count < 0 for count in counts):
        return "a count is below 0"
    return ""
