"""One run as typed, checked values. Options are parsed into it once; its JSON is all that crosses process borders.

Format history of the JSON:
    1: first; targets are texts.
    2: targets are objects.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from bench.bert.contract.golden import GoldenFile
from bench.core.errors import UsageError
from bench.core.versioned_json import shallow
from bench.load.setup.catalog import SampleRule
from bench.load.setup.run_context import VARIABLE, option_name
from bench.server.running import RunningServer
from bench.serving.target import Target, TargetKind, rest_address
from bench.serving.tls import TlsOptions
from bench.serving.types import DEFAULT_MODEL_NAME
from bench.workload.arrivals import Arrivals, ClosedLoop, parse_arrivals
from bench.workload.policies import POLICIES
from bench.workload.workload import Workload

FORMAT: Final = 2
_EMBEDDED: Final = Target(TargetKind.EMBEDDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One run: what is sent, when, to what, and where its records go.

    Args:
        scenario: name of the scenario, for the run folder.
        protocol: `rest`, `grpc` or `both`.
        arrivals: when requests are due.
        users: size of the pool, the most requests in flight.
        duration: seconds measured, warm-up left out.
        warmup: seconds of load before it.
        drain: seconds after the end for what is open.
        seed: of all random choices.
        target: what is driven.
        grpc: the gRPC address given beside a REST target; None if there is none.
        servers: the servers, where the caller opened them; more than one are behind a client-side balancer.
        policy: how the balancer chooses, one of `bench.workload.policies.POLICIES`.
        server_flags: flags that the server is started with, or was by the caller.
        target_name: what the run's manifest calls the target; "" is the target itself.
        model_dir: the export whose golden answers are sent and checked; None for the demo model.
        model_name: its name on the server.
        signature: signature asked.
        sentences: sentences a request.
        padded: whether requests are padded to the article's shape.
        check_share: share of answers that are checked.
        timeout: seconds a request may take.
        transport: the client, see `bench.workload.workload.Workload`.
        channels: gRPC connections a process.
        headers: sent with each request.
        tls: certificates, None for the system's.
        compressed: whether REST bodies are gzipped.
        max_response: largest response that is read, bytes; None for what
            `bench.load.engine.payloads.largest_response` says.
        results: folder of runs.
        rule: sample sizes that the scenario asks for.
        users_named: whether the arrivals themselves say how many users there are.
        group: the same for all repeats of one command; "" for a run of its own.
        repeat: index of the repeat.
        command: the command line of the `bertbench` that asks for the run; () where Locust was started by a user.

    Raises:
        UsageError: a value that is out of range, or values that contradict each other.
    """

    scenario: str
    protocol: str
    arrivals: Arrivals
    users: int
    duration: float
    warmup: float = 0.0
    drain: float = 10.0
    seed: int = 0
    target: Target = _EMBEDDED
    grpc: Target | None = None
    servers: tuple[RunningServer, ...] = ()
    policy: str = "round-robin"
    server_flags: tuple[str, ...] = ()
    target_name: str = ""
    model_dir: Path | None = None
    model_name: str = DEFAULT_MODEL_NAME
    signature: str = "score"
    sentences: int = 1
    padded: bool = False
    check_share: float = 1.0
    timeout: float = 30.0
    transport: str = "fast"
    channels: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: TlsOptions | None = None
    compressed: bool = False
    max_response: int | None = None
    results: Path = Path("results")
    rule: SampleRule | None = None
    users_named: bool = False
    group: str = ""
    repeat: int = 0
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._workload()
        if isinstance(self.arrivals, ClosedLoop) and self.arrivals.users != self.users:
            option = option_name("--users", self.command)
            raise UsageError(
                f"{self.arrivals} and {option} {self.users} contradict each other; give {option} "
                f"{self.arrivals.users}, or just closed"
            )
        if self.policy not in POLICIES:
            raise UsageError(f"the policy is one of {', '.join(POLICIES)}, not {self.policy!r}")
        if self.max_response is not None and self.max_response < 1:
            raise UsageError(f"the largest response must be 1 byte or more, not {self.max_response}")

    @property
    def run_time(self) -> float:
        """Seconds of load, warm-up included."""
        return self.warmup + self.duration

    @property
    def secure_grpc(self) -> bool:
        """Whether gRPC is encrypted."""
        return (self.grpc or self.target).secure

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
        """The spec as one line of JSON."""
        # Neither orjson nor msgspec encodes names of files that the locale cannot decode.
        return json.dumps({"format": FORMAT} | shallow(self), default=_encoded).encode()

    def child_environment(self) -> dict[str, str]:
        """The environment of a Locust process that is to do this run; without the settings of the user's own Locust."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("LOCUST_")}
        return {**kept, VARIABLE: self.to_json().decode()}

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """The spec in what `to_json` gave.

        Raises:
            UsageError: not the spec of a run, or one of another version.
        """
        try:
            raw = msgspec.convert(json.loads(data), dict[str, Any])
            if (found := raw.get("format")) != FORMAT:
                raise UsageError(f"a run of format {found!r}, this version takes {FORMAT}")
            return msgspec.convert(raw, cls, dec_hook=_decoded)
        except (json.JSONDecodeError, msgspec.ValidationError) as error:
            raise UsageError(f"not the description of a run ({error})") from error


# Fields of a workload that a spec has by the same name; the workload checks their ranges.
_SHARED: Final = tuple({entry.name for entry in fields(RunSpec)} & {entry.name for entry in fields(Workload)})


def given_spec() -> RunSpec | None:
    """The run that this process was started for; None if a user started it.

    Raises:
        UsageError: the environment holds something else.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        return RunSpec.from_json(text)
    except UsageError as error:
        raise UsageError(f"{VARIABLE} in the environment is not bertbench's ({error}); unset it") from error


def address_of(server: RunningServer, protocol: str) -> Target:
    """The address by which a running server is driven.

    Args:
        server: the server.
        protocol: `rest`, `grpc` or `both`.
    """
    if server.rest is not None and (protocol != "grpc" or server.grpc is None):
        return rest_address(server.rest)
    return Target(TargetKind.GRPC, server.grpc or "", server.secure)


def _encoded(value: Any) -> Any:
    """What JSON has no type for."""
    return str(value) if isinstance(value, Arrivals | Path) else shallow(value)


def _decoded(kind: type, value: Any) -> Any:
    """The reverse, for what msgspec has no type for."""
    return parse_arrivals(value) if kind is Arrivals else kind(value)
