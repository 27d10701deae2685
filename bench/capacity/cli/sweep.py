"""The measuring part of `bertbench capacity`."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

from bench.bert.contract.golden import read_golden
from bench.bert.demo.demo_model import demo_model_dir
from bench.capacity.cli.batching import batching_text, read_batching, rows_of
from bench.capacity.cli.finish import finish, plan_options
from bench.capacity.cli.options import OWN
from bench.capacity.experiment.experiment_design import FULL, QUICK, Scale, Step, expected_seconds
from bench.capacity.experiment.sweep import Sweep
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.measurements.measured_step import MeasuredStep, Stage, load_text
from bench.capacity.model.fit import FitOptions
from bench.capacity.plan.slo import Slo
from bench.capacity.report.report import write_interrupted
from bench.cli.common.options import given_options
from bench.cli.common.progress import ProgressDisplay
from bench.core import interrupts
from bench.core.errors import UsageError
from bench.core.units import parse_duration, pluralize
from bench.load.locust_adapter.options import OPTIONS, SWITCHES, make_spec
from bench.load.runner.client import Runner, open_runner
from bench.load.setup.catalog import Scenario
from bench.load.setup.run_spec import RunSpec, address_of
from bench.server.affinity import cores_for, pin
from bench.server.lifecycle import RunningServer, check_model, open_target
from bench.serving.target import parse_target


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Measures, fits, checks, plans, and writes the report."""
    scale, slo = _scale(args), Slo.parse(args.slo)
    # Before anything is measured for a quarter of an hour.
    plan_options(args)
    model_dir = args.model_dir or demo_model_dir()
    job = _job(args, model_dir, slo, scale)
    check_model(parse_target(args.target), model_dir, args.server_flag)
    folder = SweepFolder.create(args.out, job, resume=args.resume)
    expected = expected_seconds(scale, args.replicas)
    measured: list[MeasuredStep] = []
    with (
        _kept(folder, measured),
        ProgressDisplay(err, "capacity", expected, "about", "starting") as progress,
        contextlib.ExitStack() as stack,
        open_runner() as runner,
    ):
        servers = _Servers(args, model_dir, stack)
        template = _template(args, model_dir)
        driver = RunnerDriver(runner, progress, lambda: servers.get(1), template)
        fleet = RunnerDriver(runner, progress, lambda: servers.get(args.replicas), template)
        fit = fit_options(folder, args.seed, args.servers)
        sweep = Sweep(folder, driver, scale, slo, args.seed, lambda line: progress.print_line(line, out), fit, measured)
        result = sweep.run(args.replicas, args.policy, fleet)
    with _kept(folder, measured):
        return finish(folder, result.steps, result.validated, result.replicas, args, out, err)


@contextlib.contextmanager
def _kept(folder: SweepFolder, measured: Sequence[MeasuredStep]) -> Iterator[None]:
    """Writes what there is of a sweep that a signal ends."""
    try:
        yield
    except KeyboardInterrupt as error:
        signal = interrupts.received()
        why = "interrupted" if signal is None else f"interrupted by {interrupts.name_of(signal)}"
        path = write_interrupted([entry.measurement for entry in measured], why, folder.path)
        error.add_note(f"{pluralize(len(measured), 'step')} done, see {path}; --resume goes on")
        raise


@dataclass
class RunnerDriver:
    """Runs steps of a sweep in a runner's process.

    Args:
        runner: the process.
        progress: shows each step.
        servers: the servers, opened when they are first needed.
        template: what all steps have in common.
    """

    runner: Runner
    progress: ProgressDisplay
    servers: Callable[[], tuple[RunningServer, ...]]
    template: RunSpec

    def run(self, step: Step, users: int, runs: Path) -> Path:
        """One run; see `bench.capacity.experiment.sweep.Driver`."""
        if step.stage is Stage.LADDER and step.repeat:
            self.progress.extend(step.seconds)
        self.progress.show(f"{step.stage} {load_text(step.users, step.rate)}")
        servers = self.servers()
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
        )
        return self.runner.run(spec)


class _Servers:
    """The replicas, opened as they are needed."""

    def __init__(self, args: argparse.Namespace, model_dir: Path, stack: contextlib.ExitStack) -> None:
        self._args = args
        self._model_dir = model_dir
        self._stack = stack
        self._open: list[RunningServer] = []

    def get(self, count: int) -> tuple[RunningServer, ...]:
        """The first `count` replicas."""
        while len(self._open) < count:
            self._open.append(self._next(len(self._open)))
        return tuple(self._open[:count])

    def _next(self, number: int) -> RunningServer:
        args = self._args
        target = parse_target(args.target)
        if number and target.remote:
            if len(args.replica_target) < number:
                raise UsageError(f"replica {number + 1} is not known; give its address with --replica-target")
            target = parse_target(args.replica_target[number - 1])
        server = self._stack.enter_context(open_target(target, self._model_dir, args.model_name, args.server_flag))
        if args.cores_per_replica is not None:
            if server.pid is None:
                raise UsageError("--cores-per-replica needs a server that was started here as a process")
            pin(server.pid, cores_for(number, args.cores_per_replica))
        return server


def fit_options(folder: SweepFolder, seed: int, servers: int | None) -> FitOptions:
    """How a sweep's model is fitted."""
    batching, threads = read_batching(folder.job["batching"])
    return FitOptions(seed=seed, servers=servers, batching=batching, threads=threads)


def _scale(args: argparse.Namespace) -> Scale:
    scale = QUICK if args.quick else FULL
    if args.step_time:
        seconds = parse_duration(args.step_time)
        scale = replace(scale, step=seconds, single_user=seconds * scale.single_user / scale.step)
    if args.knee_time:
        seconds = parse_duration(args.knee_time)
        scale = replace(scale, knee_seconds=seconds, hold_out_seconds=seconds)
    if args.max_users is not None:
        ladder = tuple(count for count in scale.ladder if count <= args.max_users)
        if len(ladder) < 3:
            raise UsageError(f"a ladder up to {args.max_users} users has fewer than three steps; give --max-users 4")
        scale = replace(scale, ladder=ladder)
    return scale


def _options(args: argparse.Namespace) -> dict[str, str]:
    """Texts of the load's options that were given."""
    given = {name: getattr(args, name) for name in OPTIONS if name not in OWN}
    return {name: entry.text for name, entry in given.items() if entry is not None} | {
        name: "on" for name in SWITCHES if getattr(args, name)
    }


def _job(args: argparse.Namespace, model_dir: Path, slo: Slo, scale: Scale) -> dict[str, Any]:
    """What decides a sweep's steps and what they show."""
    golden = read_golden(model_dir).golden
    rows = rows_of(
        golden,
        args.signature.value if args.signature else "score",
        args.sentences_per_request.value if args.sentences_per_request else 1,
    )
    return {
        "target": args.target,
        "protocol": args.protocol,
        "transport": args.transport.text if args.transport else OPTIONS["transport"][0],
        "model": golden.checkpoint_digest,
        "batching": batching_text(args.batching, args.server_flag, rows),
        "model_name": args.model_name,
        "server_flags": list(args.server_flag),
        "options": {name: text for name, text in _options(args).items() if name != "transport"},
        "slo": str(slo),
        "quick": args.quick,
        "ladder": list(scale.ladder),
        "seconds": [scale.single_user, scale.step, scale.knee_seconds],
        "seed": args.seed,
        "replicas": args.replicas,
        "policy": args.policy,
        "cores_per_replica": args.cores_per_replica,
        "label": args.label,
    }


def _template(args: argparse.Namespace, model_dir: Path) -> RunSpec:
    """What all steps have in common."""
    scale = QUICK if args.quick else FULL
    values = given_options(args, OWN) | {
        "warmup": scale.warmup,
        "model_dir": model_dir,
        "model_name": args.model_name,
        "server_flags": tuple(args.server_flag),
    }
    scenario = Scenario(name="capacity", protocol=args.protocol)
    spec = make_spec(scenario, values, parse_target(args.target), 1, scale.warmup + 1.0)
    return replace(spec, policy=args.policy, target_name=args.target, group=uuid4().hex[:12], command=tuple(sys.argv))
