"""`bertbench capacity sweep`: measures a server, and plans with the result."""

import argparse
import contextlib
import sys
from dataclasses import replace
from typing import TextIO

from bench.capacity.cli.arguments.capacity import ABSENT, OWN
from bench.capacity.cli.options import plan_request, print_result
from bench.capacity.experiment.experiment_design import FULL, QUICK, Scale
from bench.capacity.experiment.sweep_listener import SweepListener
from bench.capacity.experiment.sweep_spec import SweepSpec
from bench.capacity.plan.slo import Slo
from bench.capacity.report.report import REPORT
from bench.capacity.sweeps import sweep
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.options import access_of, given_options
from bench.cli.common.progress import ProgressDisplay
from bench.core.units import parse_duration
from bench.load.locust_adapter.options import make_spec
from bench.load.setup.catalog import Scenario
from bench.load.setup.run_spec import RunSpec
from bench.serving.target import parse_target


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Measures, fits, validates and plans; prints the result."""
    spec = _spec(args)
    with contextlib.ExitStack() as stack:
        result = sweep(spec, _Listener(stack, out))
    return print_result(result, spec.out / REPORT, out, err)


class _Listener(SweepListener):
    """Shows the progress of a sweep, from the first run to the last.

    Args:
        stack: ends the display.
        out: receives the lines and the display.
    """

    def __init__(self, stack: contextlib.ExitStack, out: CommandOutput) -> None:
        self._stack = stack
        self._out = out
        self._display: ProgressDisplay | None = None

    def expect(self, seconds: float) -> None:
        if self._display is None:
            display = ProgressDisplay(self._out.progress, "capacity", seconds, "about", "starting")
            self._display = self._stack.enter_context(display)
        else:
            self._display.extend(seconds)

    def step(self, title: str) -> None:
        if self._display is not None:
            self._display.show(title)

    def line(self, text: str) -> None:
        if self._display is not None:
            self._display.print_line(text, self._out)


def _spec(args: argparse.Namespace) -> SweepSpec:
    """The sweep in the parsed options.

    Raises:
        UsageError: options that contradict each other.
    """
    load = _load(args)
    replicas = (replace(parse_target(text), access=load.target.access) for text in args.replica_target)
    return SweepSpec(
        load=load,
        slo=Slo.parse(args.slo),
        out=args.out,
        scale=_scale(args),
        servers=args.servers,
        batching=args.batching,
        replicas=args.replicas,
        replica_targets=tuple(replicas),
        cores_per_replica=args.cores_per_replica,
        label=args.label or "",
        plan=plan_request(args),
        resume=args.resume,
    )


def _scale(args: argparse.Namespace) -> Scale:
    step, knee = (None if text is None else parse_duration(text) for text in (args.step_time, args.knee_time))
    return (QUICK if args.quick else FULL).adjusted(step, knee, args.max_users)


def _load(args: argparse.Namespace) -> RunSpec:
    """What all runs have in common; the sweep replaces arrivals, users and times."""
    values = given_options(args, OWN | ABSENT) | {
        "no_overload_stop": True,
        "warmup": 0.0,
        "seed": args.seed,
        "model_dir": args.model_dir,
        "model_name": args.model_name,
        "server_flags": tuple(args.server_flag),
    }
    scenario = Scenario(name="capacity", protocol=args.protocol)
    target = replace(parse_target(args.target), access=access_of(args))
    spec = make_spec(scenario, values, target, users=1, run_time=1.0)
    return replace(spec, policy=args.policy, target_name=args.target, command=tuple(sys.argv))
