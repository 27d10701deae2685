"""Keeping what a gate measured: a run folder a side, on the side's own clock, which stands still between its turns."""

from dataclasses import replace
from pathlib import Path

from bench.gate.ab_servers import Contender
from bench.gate.arm import Side
from bench.results.manifest import Origin, describe
from bench.results.run_folder import RunWriter
from bench.results.samples import ServerSample
from bench.workload.schedules import OpenLoop


def keep_side(root: Path, name: str, side: Side, contender: Contender, origin: Origin) -> Path:
    """Writes `root/<time>-<name>/`, a finished run of all the turns that a side had, and gives it.

    Args:
        root: the gate's folder.
        name: `baseline` or `candidate`.
        side: whose records; its warm-up is among them.
        contender: what it was.
        origin: what the headers of both sides have in common.
    """
    workload = replace(
        side.workload, warmup=side.warmed_up, duration=max(side.clock - side.warmed_up, 1e-9), scenario=f"gate-{name}"
    )
    own = replace(
        origin,
        target=str(contender.target),
        server={"backend": side.server.backend, "flags": list(contender.flags)},
        warnings=("driven in turns with the other side of a gate: time stands still between its turns",),
    )
    arrivals = side.arrivals
    header = describe(workload, arrivals, own, side.scheduled if isinstance(arrivals, OpenLoop) else None)
    with RunWriter.create(root, name, header) as writer:
        for block in side.blocks:
            writer.add_block(block)
        for time, cores, memory in side.samples:
            writer.add_server_sample(ServerSample(time=time, cpu=cores, rss=memory))
        return writer.finish(side.clock)
