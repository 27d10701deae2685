"""Runs the steps of a sweep in the runner's process, against servers that are started as they are needed."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from bench.capacity.experiment.experiment_design import Step
from bench.capacity.experiment.sweep_listener import SweepListener
from bench.capacity.experiment.sweep_spec import SweepSpec
from bench.capacity.measurements.measured_step import Stage, load_text
from bench.core.errors import UsageError
from bench.load.runner.client import Runner
from bench.load.setup.remote_server import remote_server
from bench.load.setup.run_spec import RunSpec, address_of
from bench.server.affinity import cores_for, pin
from bench.server.lifecycle import RunningServer, open_target


class ReplicaServers:
    """The replicas of a sweep, started when they are first needed.

    Args:
        spec: the sweep.
        stack: stops the servers at its end.
    """

    def __init__(self, spec: SweepSpec, stack: contextlib.ExitStack) -> None:
        self._spec = spec
        self._stack = stack
        self._open: list[RunningServer] = []
        self._checked = 0

    def get(self, count: int) -> tuple[RunningServer, ...]:
        """The first `count` replicas.

        Raises:
            UsageError: a replica cannot be pinned to cores.
            TargetError: a replica that is started here does not come up.
        """
        while len(self._open) < count:
            self._open.append(self._start(len(self._open)))
        return tuple(self._open[:count])

    def unchecked(self, count: int) -> bool:
        """Whether one of the first `count` replicas was in no run yet."""
        return count > self._checked

    def note_checked(self, count: int) -> None:
        """A run with the first `count` replicas began, so they hold the model."""
        self._checked = max(count, self._checked)

    def _start(self, number: int) -> RunningServer:
        spec, load = self._spec, self._spec.load
        target = spec.replica_targets[number - 1] if number and load.target.remote else load.target
        if target.remote:
            # The first run with it checks it, as any other run would.
            server = remote_server(replace(load, target=target))
        else:
            opened = open_target(target, load.model_dir, load.model_name, load.server_flags)
            server = self._stack.enter_context(opened)
        if spec.cores_per_replica is not None:
            if server.pid is None:
                raise UsageError(f"--cores-per-replica does not apply to {target}; it pins local server processes only")
            pin(server.pid, cores_for(number, spec.cores_per_replica))
        return server


@dataclass(frozen=True)
class RunnerDriver:
    """Runs steps in the runner's process; see `bench.capacity.experiment.sweep.Driver`.

    Args:
        runner: the process.
        listener: receives the progress.
        servers: the servers.
        replicas: number of servers that a step drives.
        template: what all runs have in common.
    """

    runner: Runner
    listener: SweepListener
    servers: ReplicaServers
    replicas: int
    template: RunSpec

    def run(self, step: Step, users: int, runs: Path) -> Path:
        """Makes one run with a pool of `users`; returns its folder, in `runs`."""
        if step.stage is Stage.LADDER and step.repeat:
            self.listener.expect(step.seconds)
        self.listener.step(f"{step.stage} {load_text(step.users, step.rate)}")
        servers = self.servers.get(self.replicas)
        spec = replace(
            self.template,
            scenario=f"capacity-{step.stage}",
            arrivals=step.arrivals,
            users=users,
            duration=step.seconds,
            seed=step.seed,
            results=runs,
            servers=servers,
            target=address_of(servers[0], self.template.protocol),
            repeat=step.repeat,
            preflight=self.template.preflight and self.servers.unchecked(self.replicas),
        )
        path = self.runner.run(spec)
        self.servers.note_checked(self.replicas)
        return path


def template_of(spec: SweepSpec) -> RunSpec:
    """What all runs of a sweep have in common."""
    load = spec.load
    target_name = load.target_name or str(load.target)
    return replace(load, warmup=spec.scale.warmup, target_name=target_name, group=load.group or uuid4().hex[:12])
