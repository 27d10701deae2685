"""What a live gate stores: a run folder for each arm, on a clock that stands still while the other arm is driven."""

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Self

from bench.core.redaction import redacted_command
from bench.gate.ab_servers import ABServers
from bench.gate.arm import Arm
from bench.gate.spec import Variant
from bench.gate.types import ARMS
from bench.results.environment import this_environment
from bench.results.manifest import Origin, RunManifest, describe
from bench.results.run_folder import RunWriter
from bench.results.samples import ServerSample
from bench.workload.due_times import OpenLoop


class GateRuns:
    """The runs of both arms of a gate, written while it goes on: a kill takes at most the last second.

    Args:
        folder: the gate's folder; None writes nothing.
        servers: both arms.
        started: when the gate started, UTC.
        max_time: seconds that it may take.

    Attributes:
        begun: whether the runs are being written.
    """

    def __init__(self, folder: Path | None, servers: ABServers, started: datetime, max_time: float) -> None:
        self._folder = folder
        self._servers = servers
        self._started = started
        self._max_time = max_time
        self._arms: tuple[ArmRun, ...] = ()

    @property
    def begun(self) -> bool:
        return bool(self._arms)

    def begin(self) -> None:
        """Writes the requests so far, and from now on each as it ends."""
        if self._folder is None or self._arms:
            return
        origin = Origin(
            target="",
            environment=this_environment(),
            workers=1,
            started=f"{self._started:%Y-%m-%dT%H:%M:%S.%fZ}",
            group=self._folder.name,
            command=redacted_command(sys.argv),
            warnings=("driven in alternation with the other arm of a gate: time stands still meanwhile",),
        )
        both = zip(ARMS, self._servers.arms, self._servers.variants, strict=True)
        self._arms = tuple(
            ArmRun(self._folder, name, arm, describe_arm(name, arm, variant, origin, self._max_time))
            for name, arm, variant in both
        )

    def finish(self) -> None:
        """Makes finished runs of what was sent."""
        self.begin()
        for arm in self._arms:
            arm.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for arm in self._arms:
            arm.close()


class ArmRun:
    """The run of one arm, `root/<time>-<name>/`.

    Args:
        root: the gate's folder.
        name: `baseline` or `candidate`.
        arm: whose records; its warm-up is among them.
        manifest: that of `describe_arm`.
    """

    def __init__(self, root: Path, name: str, arm: Arm, manifest: RunManifest) -> None:
        self._arm, self._manifest = arm, manifest
        # How much will be due is known at the end.
        self._writer = RunWriter.create(root, name, replace(manifest, scheduled=None), sync_every=None)
        for block in arm.blocks:
            self._writer.add_block(block)
        arm.blocks.clear()
        arm.store = self._writer.add_block

    def finish(self) -> Path:
        """Makes it a finished run, and gives its folder."""
        arm = self._arm
        for time, cores, memory in arm.samples:
            self._writer.add_server_sample(ServerSample(time=time, cpu=cores, rss=memory))
        self._writer.end_load(max(arm.clock, arm.warmed_up + 1e-9), arm.scheduled if self._manifest.open_loop else None)
        return self._writer.finish(arm.clock, failures=arm.failures)

    def close(self) -> None:
        """Closes the files; without `finish` the run stays unfinished."""
        self._writer.close()


def describe_arm(name: str, arm: Arm, variant: Variant, origin: Origin, max_time: float) -> RunManifest:
    """The manifest of an arm that was warmed up.

    Args:
        name: `baseline` or `candidate`.
        arm: the arm.
        variant: what it runs.
        origin: what the manifests of both arms have in common.
        max_time: seconds that the gate may take.
    """
    workload = replace(arm.workload, warmup=arm.warmed_up, duration=max_time, scenario=f"gate-{name}")
    own = replace(
        origin,
        target=str(variant.target),
        server={"backend": arm.server.backend, "flags": list(variant.flags)},
        headers=variant.target.access.headers.names,
    )
    return describe(workload, arm.arrivals, own, arm.scheduled if isinstance(arm.arrivals, OpenLoop) else None)
