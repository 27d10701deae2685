"""`bertbench capacity simulate`: a fleet of the fitted server through failures, restarts, slow replicas, scaling."""

import argparse
import re
from typing import TextIO

from bench.capacity.diurnal import read_diurnal
from bench.capacity.fleet import Fleet
from bench.capacity.incidents import Autoscaling, Failure, Incident, RollingRestart, Slow
from bench.capacity.model_file import StoredModel, read_model
from bench.capacity.scenario_run import draw_arrivals, draw_day, run_fleet
from bench.capacity.slo import Slo
from bench.cli.capacity import POLICIES, positive
from bench.errors import ExitCode, UsageError
from bench.report.capacity_plots import fleet as plot_fleet
from bench.report.capacity_text import fleet_table
from bench.units import counted, format_rate, parse_duration, parse_fraction, parse_rate

_MOST: int = 5_000_000


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Simulates and prints a line a policy.

    Raises:
        UsageError: incidents that make no sense, or more requests than can be simulated.
    """
    positive(args.replicas, "--replicas")
    stored = read_model(args.folder)
    slo = Slo.parse(args.slo or stored.slo)
    seconds, rate = parse_duration(args.duration), parse_rate(args.rate)
    if rate * seconds > _MOST:
        raise UsageError(f"{rate * seconds:,.0f} requests are more than {_MOST:,}; give a shorter --duration")
    if args.diurnal is not None:
        arrivals = draw_day(read_diurnal(args.diurnal), rate, seconds, args.seed)
    else:
        arrivals = draw_arrivals(rate, seconds, args.seed)
    policies = POLICIES if args.policy == "all" else (args.policy,)
    limit = slo.latency.get("p99", max(slo.latency.values()))
    incidents, scaling = _incidents(args), _autoscaling(args, seconds)
    views = [
        run_fleet(_fleet(stored, args, policy, incidents, scaling), arrivals, seconds, limit, args.seed)
        for policy in policies
    ]
    print(
        f"{counted(args.replicas, 'replica')} of {stored.label}, {format_rate(rate, 6)} for {args.duration}, "
        f"{slo}: simulated by the model",
        file=out,
    )
    print(fleet_table(views), file=out)
    if args.out is not None:
        plot_fleet(views, limit, args.out)
        print(f"plot: {args.out}", file=out)
    return ExitCode.GOOD


def _fleet(
    stored: StoredModel,
    args: argparse.Namespace,
    policy: str,
    incidents: tuple[Incident, ...],
    scaling: Autoscaling | None,
) -> Fleet:
    return Fleet(stored.model.candidate, args.replicas, policy, incidents, scaling)


def _incidents(args: argparse.Namespace) -> tuple[Incident, ...]:
    found: list[Incident] = []
    noticed = parse_duration(args.noticed)
    for text in args.fail:
        match = re.fullmatch(r"(\d+)@([^-]+)(?:-(.+))?", text)
        if not match:
            raise UsageError(f"{text!r} is no failure; write it like 0@60s-90s, or 0@60s for good")
        back = parse_duration(match[3]) if match[3] else None
        at = parse_duration(match[2])
        if back is not None and back <= at:
            raise UsageError(f"{text!r} comes back before it fails; write it like 0@60s-90s")
        found.append(Failure(_replica(match[1], args), at, back, noticed))
    for text in args.slow:
        match = re.fullmatch(r"(\d+)x(\d+(?:\.\d+)?)@(.+)", text)
        if not match or not float(match[2]) > 0:
            raise UsageError(f"{text!r} is no slow replica; write it like 0x3@60s")
        found.append(Slow(_replica(match[1], args), float(match[2]), parse_duration(match[3])))
    if args.rolling:
        parts = args.rolling.split(",")
        if len(parts) != 3:
            raise UsageError(f"{args.rolling!r} is no rolling restart; write it like 60s,5s,20s")
        found.append(RollingRestart(*(parse_duration(part) for part in parts)))
    return tuple(found)


def _replica(text: str, args: argparse.Namespace) -> int:
    if int(text) >= args.replicas:
        raise UsageError(f"no replica {text} among {args.replicas}; they count from 0")
    return int(text)


def _autoscaling(args: argparse.Namespace, seconds: float) -> Autoscaling | None:
    if not args.autoscale:
        return None
    parts = args.autoscale.split(",")
    if len(parts) != 4 or not (parts[2].isdigit() and parts[3].isdigit()) or int(parts[2]) < 1:
        raise UsageError(f"{args.autoscale!r} is no autoscaling; write it like 60%,90s,2,20")
    target = parse_fraction(parts[0])
    if not target:
        raise UsageError("autoscaling needs a target above 0 %")
    # As often as Kubernetes' horizontal autoscaler looks, and ten times in the shortest simulation.
    every = min(15.0, seconds / 10)
    return Autoscaling(target, every, parse_duration(parts[1]), int(parts[2]), int(parts[3]))
