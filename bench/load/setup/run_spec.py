"""One run as typed, validated values. Options are parsed into it once; its JSON is passed between processes.

Format history of the JSON:
    1: first; targets are texts.
    2: targets are objects.
    3: a target holds how to reach it; headers and tls are gone.
"""

import json
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from bench.bert.contract.golden import GoldenFile
from bench.core import interrupts
from bench.core.errors import UsageError
from bench.core.types import checked_call, checked_fields
from bench.core.units import check_range, format_bytes
from bench.core.versioned_json import shallow
from bench.load.live.export_addresses import ListenAddress, parse_collector_url
from bench.load.setup.catalog import SampleRule
from bench.load.setup.run_context import VARIABLE, option_name
from bench.objectives.grammar import Objective
from bench.objectives.until import Until
from bench.results.blocks import NO_BYTES
from bench.server.running import RunningServer
from bench.serving.headers import Headers
from bench.serving.target import Target, TargetKind, rest_address
from bench.serving.types import DEFAULT_MODEL_NAME
from bench.workload.arrivals import Arrivals, ClosedLoop, Poisson, parse_arrivals
from bench.workload.balancing import POLICIES
from bench.workload.trace_context import HEADER
from bench.workload.workload import MOST_REPEATS, Workload

FORMAT: Final = 3
_EMBEDDED: Final = Target(TargetKind.EMBEDDED)


@dataclass(frozen=True, slots=True, kw_only=True)
@checked_fields
class RunSpec:
    """One run: what is sent, when, to which server, and where its records are stored.

    Args:
        scenario: name of the scenario, for the run folder.
        protocol: `rest`, `grpc` or `both`.
        arrivals: when requests are due.
        users: size of the pool, the most requests in flight.
        duration: seconds measured, warm-up left out.
        warmup: seconds of load before it.
        find_warmup: whether more is left out where a steady load settles later.
        drain: seconds after the end for open requests.
        seed: random seed of all choices.
        target: the server under load, and how to reach it.
        grpc: the gRPC address given beside a REST target, reached in the same way; None if there is none.
        servers: servers that the caller started; for several, a client-side balancer chooses.
        policy: how the balancer chooses, one of `bench.workload.balancing.POLICIES`.
        server_cgroup: folder of the control group of a remote server on this machine; None if not named.
        server_flags: flags of a server started for the run, by this process or the caller.
        target_name: name of the target in the run's manifest; "" for the target itself.
        model_dir: the export whose golden sentences are sent and checked; None for the demo model.
        model_name: its name on the server.
        signature: the requested signature.
        sentences: sentences per request.
        preflight: whether a remote server is asked for a few golden sentences before the run.
        stop_overload: whether an open loop is stopped that asks for more than the server carries.
        padded: whether requests are padded to the article's shape.
        check_share: share of answers that are checked.
        timeout: seconds that a request may take.
        transport: the client, see `bench.workload.workload.Workload`.
        channels: gRPC connections per process.
        compressed: whether REST bodies are gzipped.
        max_response: largest response that is read, bytes; None for that of
            `bench.load.engine.payloads.largest_response`.
        trace_share: share of the requests that have a `traceparent` header.
        results: folder of runs.
        metrics_port: where the Prometheus page of the load generator listens; None for none.
        otlp_endpoint: base URL of the OpenTelemetry collector that gets its figures; None for none.
        live_fd: file descriptor that gets a line of `bench.load.live.snapshot.Snapshot` each second; None for none.
        rule: the sample size that the scenario requires.
        users_named: whether the arrivals name the number of users.
        group: the same for all repeats of one command; "" for a run of its own.
        repeat: index of the repeat.
        command: the command line of the `bertbench` that starts the run; () if a user started Locust.
        objectives: what the run is held to.
        until: when it may stop by itself, before `duration`; None if it does not.

    Raises:
        UsageError: a value is out of range, or values contradict each other.
    """

    scenario: str
    protocol: str
    arrivals: Arrivals
    users: int
    duration: float
    warmup: float = 0.0
    find_warmup: bool = False
    drain: float = 10.0
    seed: int = 0
    target: Target = _EMBEDDED
    grpc: Target | None = None
    servers: tuple[RunningServer, ...] = ()
    policy: str = "round-robin"
    server_cgroup: Path | None = None
    server_flags: tuple[str, ...] = ()
    target_name: str = ""
    model_dir: Path | None = None
    model_name: str = DEFAULT_MODEL_NAME
    signature: str = "score"
    sentences: int = 1
    preflight: bool = True
    stop_overload: bool = False
    padded: bool = False
    check_share: float = 1.0
    timeout: float = 30.0
    transport: str = "fast"
    channels: int = 1
    compressed: bool = False
    max_response: int | None = None
    trace_share: float = 0.0
    results: Path = Path("results")
    metrics_port: ListenAddress | None = None
    otlp_endpoint: str | None = None
    live_fd: int | None = None
    rule: SampleRule | None = None
    users_named: bool = False
    group: str = ""
    repeat: int = 0
    command: tuple[str, ...] = ()
    objectives: tuple[Objective, ...] = ()
    until: Until | None = None

    def __post_init__(self) -> None:
        self._workload()
        self._check_until()
        if isinstance(self.arrivals, ClosedLoop) and self.arrivals.users != self.users:
            option = option_name("--users", self.command)
            raise UsageError(
                f"{self.arrivals} and {option} {self.users} contradict each other; give {option} "
                f"{self.arrivals.users}, or just closed"
            )
        if self.trace_share and HEADER in {name.lower() for name in self.target.access.headers.names}:
            raise UsageError(f"the header {HEADER} is given, and --{HEADER} too; leave one of them out")
        if self.policy not in POLICIES:
            raise UsageError(f"the policy is one of {', '.join(POLICIES)}, not {self.policy!r}")
        check_range("trace_share", self.trace_share, 0, 1)
        check_range("repeat", self.repeat, 0, MOST_REPEATS)
        if self.protocol == "grpc" and self.compressed:
            raise UsageError("--compressed has no effect on a scenario over gRPC; leave it out")
        if self.protocol == "rest" and self.channels != 1:
            raise UsageError(f"--channels {self.channels} has no effect on a scenario over REST; leave it out")
        if self.otlp_endpoint is not None:
            parse_collector_url(self.otlp_endpoint)
        if self.protocol != "rest":
            # Refuses headers that gRPC does not allow.
            self.target.access.headers.metadata()
        if self.server_cgroup is not None and not self.target.remote:
            raise UsageError(f"--server-cgroup has no effect on {self.target}, whose process is known; leave it out")
        if self.max_response is not None and not 1 <= self.max_response < NO_BYTES:
            raise UsageError(
                f"the largest response must be 1 byte or more and less than {format_bytes(NO_BYTES)}, not "
                f"{format_bytes(self.max_response)}"
            )

    def _check_until(self) -> None:
        if self.until is None:
            return
        if not isinstance(self.arrivals, ClosedLoop | Poisson):
            raise UsageError(
                f"--until {self.until} needs a steady load, and {self.arrivals} is not; give closed, poisson or "
                "constant arrivals"
            )
        if self.until.decided and all(objective.counted for objective in self.objectives):
            raise UsageError(
                f"--until {self.until} has nothing to decide before the end; give an objective with an interval, like "
                "--slo 'p99<=250ms'"
            )

    @property
    def run_time(self) -> float:
        """Seconds of load, warm-up included; the most, if it may stop by itself."""
        return self.warmup + self.duration

    def workload(self, file: GoldenFile) -> Workload:
        """What is sent, with the sentences of a golden file."""
        golden = file.golden
        return self._workload(
            model_digest=golden.checkpoint_digest,
            sentences_digest=file.digest,
            precision=golden.precision,
            padded=self.padded or golden.fixed is not None,
        )

    def _workload(self, **of_model: Any) -> Workload:
        common = {name: getattr(self, name) for name in _SHARED}
        return Workload(**{**common, "tls": self.target.secure, **of_model})

    def to_json(self) -> bytes:
        """The spec as one line of JSON, with the values of headers: for a child's environment or input, not a file."""
        # Neither orjson nor msgspec encodes names of files that the locale cannot decode.
        return json.dumps({"format": FORMAT} | shallow(self), default=_encoded).encode()

    def child_environment(self) -> dict[str, str]:
        """The environment of a Locust process for this run, without the user's own settings of Locust."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("LOCUST_")}
        return {**inherited, VARIABLE: self.to_json().decode()}

    @classmethod
    @checked_call
    def from_json(cls, data: bytes | str) -> Self:
        """The spec in the output of `to_json`.

        Raises:
            UsageError: it is not a run spec, or one of another version.
        """
        try:
            raw = msgspec.convert(json.loads(data), dict[str, Any])
            if (found := raw.get("format")) != FORMAT:
                raise UsageError(f"run spec format {found!r} is not supported, this version reads {FORMAT}")
            with interrupts.held():
                return msgspec.convert(raw, cls, dec_hook=_decoded)
        except (json.JSONDecodeError, msgspec.ValidationError) as error:
            raise UsageError(f"not a run spec ({error})") from error


# Fields that a workload and a spec share; the workload checks their ranges.
_SHARED: Final = tuple({entry.name for entry in fields(RunSpec)} & {entry.name for entry in fields(Workload)})


def given_spec() -> RunSpec | None:
    """The run that this process was started for; None if a user started it.

    Raises:
        UsageError: the variable has another content.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        return RunSpec.from_json(text)
    except UsageError as error:
        raise UsageError(f"cannot read the environment variable {VARIABLE} ({error}); unset it") from error


def address_of(server: RunningServer, protocol: str) -> Target:
    """The address of a running server for a protocol, and how to reach it.

    Args:
        server: the server.
        protocol: `rest`, `grpc` or `both`.
    """
    if server.rest is not None and (protocol != "grpc" or server.grpc is None):
        return replace(rest_address(server.rest), access=server.access)
    return Target(TargetKind.GRPC, server.grpc or "", server.secure, access=server.access)


def _encoded(value: Any) -> Any:
    """Encodes what JSON has no type for."""
    if isinstance(value, Headers):
        return value.revealed()
    return str(value) if isinstance(value, Arrivals | Path) else shallow(value)


def _decoded(kind: type, value: Any) -> Any:
    """Decodes what msgspec has no type for."""
    return parse_arrivals(value) if kind is Arrivals else kind(value)
