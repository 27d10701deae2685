"""Keeping what a gate measured: a run folder a side, on the side's own clock, which stands still between its turns."""

from dataclasses import replace
from pathlib import Path

from bench.gate.ab_servers import Variant
from bench.gate.arm import Arm
from bench.results.manifest import Origin, describe
from bench.results.run_folder import RunWriter
from bench.results.samples import ServerSample
from bench.workload.schedules import OpenLoop


def write_arm_artifacts(root: Path, name: str, arm: Arm, variant: Variant, origin: Origin) -> Path:
    """Writes `root/<time>-<name>/`, a finished run of all the turns that a side had, and gives it.

    Args:
        root: the gate's folder.
        name: `baseline` or `candidate`.
        arm: whose records; its warm-up is among them.
        variant: what it was.
        origin: what the manifests of both sides have in common.
    """
    workload = replace(
        arm.workload, warmup=arm.warmed_up, duration=max(arm.clock - arm.warmed_up, 1e-9), scenario=f"gate-{name}"
    )
    own = replace(
        origin,
        target=str(variant.target),
        server={"backend": arm.server.backend, "flags": list(variant.flags)},
        warnings=("driven in turns with the other side of a gate: time stands still between its turns",),
    )
    arrivals = arm.arrivals
    manifest = describe(workload, arrivals, own, arm.scheduled if isinstance(arrivals, OpenLoop) else None)
    with RunWriter.create(root, name, manifest) as writer:
        for block in arm.blocks:
            writer.add_block(block)
        for time, cores, memory in arm.samples:
            writer.add_server_sample(ServerSample(time=time, cpu=cores, rss=memory))
        return writer.finish(arm.clock)
