"""A sweep as typed, checked values, and the part of them that `sweep.json` records."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.bert.contract.golden import Golden
from bench.capacity.experiment.batching import read_batching, resolve_batching, rows_per_request
from bench.capacity.experiment.experiment_design import FULL, Scale
from bench.capacity.plan.fleet import MOST_REPLICAS
from bench.capacity.plan.planned import PlanRequest
from bench.capacity.plan.slo import Slo
from bench.capacity.queue.queue_model import MAX_SERVERS
from bench.core.errors import UsageError
from bench.core.types import checked_fields
from bench.core.units import check_range, pluralize
from bench.core.versioned_json import shallow
from bench.load.setup.run_spec import RunSpec
from bench.serving.target import Target

MOST_CORES: Final = 4096

REQUEST_DEFAULTS: Final[Mapping[str, Any]] = {
    "signature": "score",
    "sentences": 1,
    "padded": False,
    "check_share": 1.0,
    "timeout": 30.0,
    "channels": 1,
    "compressed": False,
    "max_response": None,
}
"""Fields of a `RunSpec` that change the requests, or how they are sent, and their defaults."""

ACCESS_DEFAULTS: Final[Mapping[str, Any]] = {"headers": [], "tls": {"ca": None, "cert": None, "key": None}}
"""The same of how its target is reached: names of headers, and certificate files."""


@dataclass(frozen=True, slots=True, kw_only=True)
@checked_fields
class SweepSpec:
    """One sweep: what is measured, how long, and what is planned with it.

    Args:
        load: what the runs have in common: target, protocol, model, requests, seed and balancing policy. The sweep sets
            scenario, arrivals, users, duration, warm-up and results of each run.
        slo: the objective.
        out: folder of the sweep, with the runs, the model and the report.
        scale: numbers and lengths of the runs.
        servers: requests that the server works on at once; None if it is unknown.
        batching: how the server makes batches: `auto` (from its flags), `off`, or like
            `largest=16,timeout=1ms,threads=2`.
        replicas: replicas behind a load balancer that are measured last; 1 measures none.
        replica_targets: addresses of the further replicas of a remote target.
        cores_per_replica: cores that each server started here is pinned to; None does not pin.
        label: name of the measured server in reports; "" for protocol, signature, precision and target.
        plan: the rates to plan for; None for no plan.
        resume: whether the sweep in `out` continues.

    Raises:
        UsageError: a value that is out of range or malformed.
    """

    load: RunSpec
    slo: Slo
    out: Path
    scale: Scale = FULL
    servers: int | None = None
    batching: str = "auto"
    replicas: int = 1
    replica_targets: tuple[Target, ...] = ()
    cores_per_replica: int | None = None
    label: str = ""
    plan: PlanRequest | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        for name, most in (("replicas", MOST_REPLICAS), ("servers", MAX_SERVERS), ("cores_per_replica", MOST_CORES)):
            if (value := getattr(self, name)) is not None:
                check_range(name, value, 1, most)
        if self.load.protocol not in ("rest", "grpc"):
            raise UsageError(f"the protocol of a sweep is {self.load.protocol!r}; it must be rest or grpc")
        if self.load.target.remote and len(self.replica_targets) < self.replicas - 1:
            missing = len(self.replica_targets) + 2
            raise UsageError(f"the address of replica {missing} is missing; give it with --replica-target")
        if self.replica_targets and not self.load.target.remote:
            raise UsageError(
                f"--replica-target has no effect with {self.load.target}, of which the sweep starts each replica; give "
                "the addresses of running servers only"
            )
        if len(self.replica_targets) > self.replicas - 1:
            count = len(self.replica_targets) + 1
            raise UsageError(
                f"--target and --replica-target are {pluralize(count, 'server')}, and {self.replicas:,} would be used; "
                f"give --replicas {count}"
            )
        if self.batching != "auto":
            read_batching(self.batching)

    def job(self, golden: Golden) -> Mapping[str, Any]:
        """What decides the steps and their results, as plain JSON values."""
        load, scale = self.load, self.scale
        rows = rows_per_request(golden, load.signature, load.sentences)
        job = {
            "target": load.target_name or str(load.target),
            "protocol": load.protocol,
            "transport": load.transport,
            "model": golden.identity,
            "batching": resolve_batching(self.batching, load.server_flags, rows),
            "model_name": load.model_name,
            "server_flags": load.server_flags,
            "request": request_of(load),
            "slo": str(self.slo),
            "ladder": scale.ladder,
            "knee": scale.knee,
            "seconds": (scale.single_user, scale.step, scale.knee_seconds),
            "seed": load.seed,
            "replicas": self.replicas,
            "policy": load.policy,
            "cores_per_replica": self.cores_per_replica,
            "label": self.label or None,
        }
        return dict(json.loads(json.dumps(job)))


def request_of(load: RunSpec) -> dict[str, Any]:
    """What of a run spec changes the requests, or how they are sent, in plain JSON values; of headers the names."""
    access = load.target.access
    tls = {name: None if path is None else str(path) for name, path in shallow(access.tls).items()}
    request = {name: getattr(load, name) for name in REQUEST_DEFAULTS}
    return not_default({**request, "headers": sorted(access.headers.names), "tls": tls})


def not_default(request: Mapping[str, Any]) -> dict[str, Any]:
    """The values that differ from `REQUEST_DEFAULTS` and `ACCESS_DEFAULTS`."""
    defaults = {**REQUEST_DEFAULTS, **ACCESS_DEFAULTS}
    return {name: request[name] for name, default in defaults.items() if request.get(name, default) != default}
