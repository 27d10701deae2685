"""What a live gate compares, under which load, and for how long."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.bert.contract.masked_requests import COMPACT_SIGNATURE
from bench.core.errors import UsageError
from bench.core.types import checked_fields
from bench.core.units import check_range
from bench.gate.types import DEFAULT_EFFECT, Plan, make_plan
from bench.load.setup.run_spec import RunSpec
from bench.serving.target import Target
from bench.serving.types import DEFAULT_MODEL_NAME
from bench.workload.due_times import Arrivals, ClosedLoop
from bench.workload.workload import MOST_SECONDS

OPEN_LOOP_USERS: Final = 64
"""Most requests in flight to one arm in open loop."""


def draw_seed() -> int:
    """A random seed."""
    return secrets.randbits(31)


@dataclass(frozen=True, slots=True)
@checked_fields
class Variant:
    """What one arm of a live gate runs.

    Args:
        label: for people.
        target: the server.
        model_dir: what it serves if it is started here, and the golden answers that its answers are checked against.
        flags: flags for a server started here.
    """

    label: str
    target: Target
    model_dir: Path
    flags: tuple[str, ...] = ()

    def same_server(self, other: "Variant") -> bool:
        """Whether the other is the same server: at the same address, or of the same kind, model and flags."""
        same_model = self.target.remote or self.model_dir.resolve() == other.model_dir.resolve()
        return self.target == other.target and self.flags == other.flags and same_model


@dataclass(frozen=True, slots=True, kw_only=True)
@checked_fields
class GateSpec:
    """A live gate: two servers, the load that both get, what matters, and the time it may take.

    Args:
        baseline: the server to compare with.
        candidate: the server to decide about.
        protocol: `rest` or `grpc`; None takes that of the addresses, and gRPC for servers started here.
        signature: the model's signature.
        arrivals: closed or open loop.
        model_name: the model's name on both servers.
        timeout: seconds a request may take.
        preflight: whether remote servers are asked first whether they hold the model.
        seed: of sentences, schedules and the order of runs within pairs; drawn if it is not given.
        min_effect: smallest effect of the median that matters, a fraction; those of the other metrics follow from it.
        min_effects: smallest effects of single metrics, which then must be measured.
        metrics: evaluate only these, which then must be measured; () is all.
        max_time: seconds that the gate may take, starts of servers included.
        warmup: seconds of load on each arm before anything counts.
        run_time: seconds of one run of an arm; None chooses, see `bench.gate.interleaving.run_length`.
        out: folder that the gate's folder, with the runs of both arms and the verdict, is made in; None stores nothing.

    Raises:
        UsageError: a value that is out of range, or no such metric.
    """

    baseline: Variant
    candidate: Variant
    protocol: str | None = None
    signature: str = COMPACT_SIGNATURE
    arrivals: Arrivals = field(default_factory=lambda: ClosedLoop(1))
    model_name: str = DEFAULT_MODEL_NAME
    timeout: float = 10.0
    preflight: bool = True
    seed: int = field(default_factory=draw_seed)
    min_effect: float = DEFAULT_EFFECT
    min_effects: Mapping[str, float] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    max_time: float = 300.0
    warmup: float = 3.0
    run_time: float | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        for name in ("max_time", "run_time"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= MOST_SECONDS:
                raise UsageError(f"{name} is {value} s; give a time above 0, of at most {MOST_SECONDS} s")
        check_range("warmup", self.warmup, 0, MOST_SECONDS, "s")
        if self.protocol is None:
            object.__setattr__(self, "protocol", _protocol_of(self.variants))
        if self.protocol not in ("rest", "grpc"):
            raise UsageError(f"protocol is {self.protocol!r}; give rest or grpc")
        # Both check their values.
        _ = self.plan, self.load
        if self.protocol == "grpc":
            for variant in self.variants:
                # Refuses headers that gRPC does not allow.
                variant.target.access.headers.metadata()

    @property
    def variants(self) -> tuple[Variant, Variant]:
        """Baseline and candidate."""
        return self.baseline, self.candidate

    @property
    def plan(self) -> Plan:
        """What the gate looks for and how often it may err."""
        return make_plan(self.min_effect, self.min_effects, self.metrics)

    @property
    def load(self) -> RunSpec:
        """The load that both arms get."""
        return RunSpec(
            scenario="gate",
            protocol=self.protocol or "",
            signature=self.signature,
            arrivals=self.arrivals,
            users=self.arrivals.users if isinstance(self.arrivals, ClosedLoop) else OPEN_LOOP_USERS,
            # The stored runs state what was measured.
            duration=1.0,
            drain=self.timeout,
            timeout=self.timeout,
            preflight=self.preflight,
            model_name=self.model_name,
            seed=self.seed,
        )

    def __str__(self) -> str:
        """The load, for people: of headers the names."""
        names = dict.fromkeys(name for variant in self.variants for name in variant.target.access.headers.names)
        headers = f", headers {' '.join(names)}" if names else ""
        return f"{self.protocol}, {self.signature}, {self.arrivals}, seed {self.seed}{headers}"


def _protocol_of(variants: tuple[Variant, Variant]) -> str:
    """The protocol of the addresses; gRPC if both servers are started here."""
    found = sorted({variant.target.kind.value for variant in variants if variant.target.remote})
    if len(found) > 1:
        raise UsageError("one target is a REST address and the other a gRPC address; give --protocol rest or grpc")
    return found[0] if found else "grpc"
