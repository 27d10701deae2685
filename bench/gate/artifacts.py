"""What a live gate stores: a run folder for each arm, on a clock that stands still while the other arm is driven."""

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bench.core.redaction import redacted_command
from bench.gate.ab_servers import ABServers
from bench.gate.arm import Arm
from bench.gate.spec import Variant
from bench.gate.types import ARMS
from bench.results.environment import this_environment
from bench.results.manifest import Origin, describe
from bench.results.run_folder import RunWriter
from bench.results.samples import ServerSample
from bench.workload.due_times import OpenLoop


def write_artifacts(folder: Path | None, servers: ABServers, started: datetime) -> None:
    """Writes a finished run of each arm to `folder`.

    Args:
        folder: the gate's folder; None writes nothing.
        servers: both arms, with the requests so far.
        started: when the gate started, UTC.
    """
    if folder is None:
        return
    origin = Origin(
        target="",
        environment=this_environment(),
        workers=1,
        started=f"{started:%Y-%m-%dT%H:%M:%S.%fZ}",
        group=folder.name,
        command=redacted_command(sys.argv),
        warnings=("driven in alternation with the other arm of a gate: time stands still meanwhile",),
    )
    for name, arm, variant in zip(ARMS, servers.arms, servers.variants, strict=True):
        write_arm(folder, name, arm, variant, origin)


def write_arm(root: Path, name: str, arm: Arm, variant: Variant, origin: Origin) -> Path:
    """Writes `root/<time>-<name>/`, a finished run of all requests to an arm, and gives that folder.

    Args:
        root: the gate's folder.
        name: `baseline` or `candidate`.
        arm: whose records; its warm-up is among them.
        variant: what it ran.
        origin: what the manifests of both arms have in common.
    """
    workload = replace(
        arm.workload, warmup=arm.warmed_up, duration=max(arm.clock - arm.warmed_up, 1e-9), scenario=f"gate-{name}"
    )
    own = replace(
        origin,
        target=str(variant.target),
        server={"backend": arm.server.backend, "flags": list(variant.flags)},
        headers=variant.target.access.headers.names,
    )
    arrivals = arm.arrivals
    manifest = describe(workload, arrivals, own, arm.scheduled if isinstance(arrivals, OpenLoop) else None)
    with RunWriter.create(root, name, manifest) as writer:
        for block in arm.blocks:
            writer.add_block(block)
        for time, cores, memory in arm.samples:
            writer.add_server_sample(ServerSample(time=time, cpu=cores, rss=memory))
        return writer.finish(arm.clock)
