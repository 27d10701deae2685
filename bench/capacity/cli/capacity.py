"""`bertbench capacity`: what rate one server holds within an objective, and how many servers a rate needs.

Without a word after it, or with `sweep`: measures, fits, checks and plans. `fit`, `report` and `plan` work on what a
sweep left; `simulate` lets a fleet of the fitted server run through incidents.
"""

import argparse
from pathlib import Path
from typing import Final, TextIO

from bench.capacity.cli.options import OWN
from bench.cli.common.options import add_scenario_options, add_target_options, served_target
from bench.cli.common.values import DURATION_TEXT, FRACTION_TEXT, RATE_TEXT, SEED, Value, number, whole
from bench.workload.policies import POLICIES

DEFAULT_SLO: Final = "p99=250ms,errors=0.1%,wrong=0"
DEFAULT_OUT: Final = Path("results/capacity")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    _add_sweep(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    _add_sweep(actions.add_parser("sweep", help="measure, fit, check and plan (what happens without ACTION too)"))
    for name, text in (("fit", "fit the model again to a sweep's runs"), ("report", "write a sweep's report again")):
        action = actions.add_parser(name, help=text)
        action.add_argument("folder", type=Path, metavar="DIR", help="the sweep's --out")
        action.add_argument("--slo", help="another objective than the sweep's")
        action.add_argument("--seed", type=SEED, default=0, help="of the fit's random numbers (default: 0)")
        action.add_argument(
            "--servers", type=whole(1, 10_000), metavar="N", help="requests served at once, if it is known"
        )
        _add_plan(action)
    action = actions.add_parser("plan", help="replicas and cost of a rate, from one or several sweeps")
    action.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="the --out of sweeps")
    action.add_argument("--slo", help="another objective than the sweep's")
    action.add_argument("--out", type=Path, metavar="FILE", help="where the Markdown goes too")
    _add_plan(action)
    _add_simulate(actions.add_parser("simulate", help="a fleet of the fitted server, with incidents"))


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Does what ACTION says.

    Raises:
        UsageError: options that make no sense.
        TargetError: the target failed.
        InconclusiveError: no figure can be given.
        WrongAnswerError: every answer is wrong.
    """
    # Each part loads what it needs alone: scipy for a fit, locust's parts for a sweep, matplotlib for a report.
    if args.action in (None, "sweep"):
        from bench.capacity.cli import sweep

        return sweep.run(args, out, err)
    if args.action in ("fit", "report"):
        from bench.capacity.cli import fit

        return fit.run(args, out, err)
    if args.action == "plan":
        from bench.capacity.cli import plan

        return plan.run(args, out, err)
    from bench.capacity.cli import simulate

    return simulate.run(args, out, err)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    add_target_options(parser)
    parser.add_argument("--protocol", choices=("rest", "grpc"), default="rest", help="(default: rest)")
    parser.add_argument("--slo", default=DEFAULT_SLO, help=f"the objective (default: {DEFAULT_SLO})".replace("%", "%%"))
    parser.add_argument("--quick", action="store_true", help="3 minutes instead of 15 to 18, with wider intervals")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help=f"(default: {DEFAULT_OUT})")
    parser.add_argument("--resume", action="store_true", help="go on with the sweep that --out holds")
    parser.add_argument(
        "--label", help="names this server in reports (default: protocol, signature, precision, target)"
    )
    parser.add_argument("--seed", type=SEED, default=0, help="of schedules, sentences and the fit (default: 0)")
    parser.add_argument(
        "--servers", type=whole(1, 10_000), metavar="N", help="requests the server works on at once, if it is known"
    )
    parser.add_argument(
        "--batching",
        default="auto",
        metavar="TEXT",
        help="how it makes batches: auto (from its --server-flag), off, or largest=16,timeout=1ms,threads=2",
    )
    parser.add_argument(
        "--max-users",
        type=whole(1, 100_000),
        metavar="N",
        help="end of the ladder's climb (default: 256); its last step has what open loop may have: 4 N or 64",
    )
    parser.add_argument(
        "--step-time", type=DURATION_TEXT, metavar="TIME", help="of each step of the ladder (default: 20s, quick: 6s)"
    )
    parser.add_argument(
        "--knee-time", type=DURATION_TEXT, metavar="TIME", help="of each open-loop run (default: 30s, quick: 10s)"
    )
    parser.add_argument(
        "--replicas", type=whole(1, 10_000), default=1, metavar="N", help="check N replicas behind a balancer too"
    )
    parser.add_argument(
        "--replica-target",
        type=Value(served_target, as_text=True),
        action="append",
        default=[],
        metavar="URL",
        help="another replica's address; repeatable",
    )
    parser.add_argument(
        "--cores-per-replica",
        type=whole(1, 4096),
        metavar="N",
        help="keep each server started here to N cores of its own",
    )
    _add_plan(parser)
    add_scenario_options(parser, OWN)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", metavar="rate=RATE", help="replicas for a rate, like rate=500/s")
    parser.add_argument("--redundancy", default="N+1", help="N, N+1, N+2, 2N or a number of spares (default: N+1)")
    parser.add_argument(
        "--headroom", type=FRACTION_TEXT, default="20%", help="share of each replica's rate left free (default: 20%%)"
    )
    parser.add_argument(
        "--price",
        action="append",
        type=number(0, 1e9),
        metavar="PRICE",
        help="of one replica for an hour; several for several sweeps, in their order",
    )
    parser.add_argument(
        "--policy", choices=POLICIES, default="round-robin", help="of the balancer (default: round-robin)"
    )
    parser.add_argument("--diurnal", type=Path, metavar="CSV", help="a day's rates: columns time and rate")


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the sweep's --out")
    parser.add_argument("--replicas", type=whole(1, 10_000), required=True, metavar="N")
    parser.add_argument("--rate", type=RATE_TEXT, required=True, help="requests a second in all, like 500/s")
    parser.add_argument("--duration", type=DURATION_TEXT, default="10m", help="simulated time (default: 10m)")
    parser.add_argument(
        "--policy", choices=(*POLICIES, "all"), default="all", help="of the balancer (default: all, side by side)"
    )
    parser.add_argument(
        "--fail",
        action="append",
        default=[],
        metavar="I@A-B",
        help="replica I (from 0) dies at A and is back at B, like 0@60s-90s; without -B never; repeatable",
    )
    parser.add_argument(
        "--noticed", type=DURATION_TEXT, default="1s", help="until the balancer notices a failure (default: 1s)"
    )
    parser.add_argument(
        "--slow", action="append", default=[], metavar="IxF@A", help="replica I takes F times as long, like 0x3@60s"
    )
    parser.add_argument("--rolling", metavar="A,DRAIN,AWAY", help="a rolling restart, like 60s,5s,20s")
    parser.add_argument(
        "--autoscale",
        metavar="TARGET,LAG,LEAST,MOST",
        help="keep replicas busy to TARGET, new ones ready after LAG, like 60%%,90s,2,20",
    )
    parser.add_argument("--diurnal", type=Path, metavar="CSV", help="a day's rates instead of --rate: scaled to it")
    parser.add_argument("--slo", help="another objective than the sweep's")
    parser.add_argument("--seed", type=SEED, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE", help="a PNG of latency and losses over time")
