"""The arguments of `bertbench capacity`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.capacity.plan.slo import Slo
from bench.capacity.queue.queue_model import MAX_SERVERS
from bench.cli.common.options import add_scenario_options, add_target_options, served_target
from bench.cli.common.values import (
    DURATION_TEXT,
    FOLDER,
    FRACTION_TEXT,
    LABEL,
    PNG,
    RATE_TEXT,
    SEED,
    Value,
    number,
    output_path,
    whole,
)
from bench.workload.balancing import POLICIES
from bench.workload.due_times import MOST_USERS

_SLO: Final = Value(Slo.parse, as_text=True)
DEFAULT_SLO: Final = "p99=250ms,errors=0.1%,wrong=0"
DEFAULT_OUT: Final = Path("results/capacity")
PLAN_DEFAULTS: Final[Mapping[str, str | None]] = {
    "redundancy": "N+1",
    "headroom": "20%",
    "price": None,
    "policy": "round-robin",
}
"""Options of a plan, which have no effect without one."""
NO_PLAN: Final = "none"
NOTICED: Final = "1s"
# Options of a run that the sweep sets itself, or that it has under another name.
OWN: Final = frozenset(
    {"arrivals", "model_dir", "model_name", "results", "server_flags", "seed", "warmup", "drain"}
    | {"slo", "until", "max_duration"}
)
ABSENT: Final = frozenset({"metrics_port", "otlp_endpoint", "no_overload_stop"})
"""Options of scenarios that do not apply to a sweep, which drives servers into overload on purpose."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    _add_sweep(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    parser.set_defaults(action="sweep")
    _add_sweep(actions.add_parser("sweep", help="measure, fit, validate and plan (the default action)"))
    for name, text in (
        ("fit", "fit the model to the runs of a sweep again"),
        ("report", "write the report of a sweep again"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("folder", type=Path, metavar="DIR", help="the --out of the sweep")
        action.add_argument("--slo", type=_SLO, help="objective (default: that of the stored report)")
        if name == "fit":
            action.add_argument("--seed", type=SEED, help="random seed of the fit (default: that of the fit before)")
            _add_servers(action)
        _add_plan(action, "none leaves the stored plan out")
    action = actions.add_parser("plan", help="replicas and cost for a rate, from one or several sweeps")
    action.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="the --out of each sweep")
    action.add_argument("--slo", type=_SLO, help="objective (default: that of the sweep)")
    action.add_argument("--out", type=output_path, metavar="FILE", help="file that the Markdown is written to as well")
    _add_plan(action)
    _add_simulate(actions.add_parser("simulate", help="simulate a fleet of the fitted server with incidents"))


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    add_target_options(parser)
    parser.add_argument(
        "--protocol", choices=("rest", "grpc"), default="rest", help="protocol of the requests (default: rest)"
    )
    parser.add_argument(
        "--slo", type=_SLO, default=DEFAULT_SLO, help=f"the objective (default: {DEFAULT_SLO})".replace("%", "%%")
    )
    parser.add_argument("--quick", action="store_true", help="3 minutes instead of 15 to 18, with wider intervals")
    parser.add_argument(
        "--out", type=FOLDER, default=DEFAULT_OUT, metavar="DIR", help=f"folder of the sweep (default: {DEFAULT_OUT})"
    )
    parser.add_argument("--resume", action="store_true", help="continue the sweep in --out")
    parser.add_argument(
        "--label", type=LABEL, help="name of this server in reports (default: protocol, signature, precision, target)"
    )
    parser.add_argument(
        "--seed", type=SEED, default=0, help="random seed of schedules, sentences and the fit (default: 0)"
    )
    _add_server(parser)
    _add_scale(parser)
    _add_plan(parser)
    add_scenario_options(parser, OWN | ABSENT)


def _add_servers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--servers", type=whole(1, MAX_SERVERS), metavar="N", help="requests that the server works on at once, if known"
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    _add_servers(parser)
    parser.add_argument(
        "--batching",
        default="auto",
        metavar="TEXT",
        help="how the server makes batches: auto (from its --server-flag), off, or largest=16,timeout=1ms,threads=2",
    )
    parser.add_argument(
        "--replicas",
        type=whole(1, 10_000),
        default=1,
        metavar="N",
        help="also measure N replicas behind a load balancer",
    )
    parser.add_argument(
        "--replica-target",
        type=Value(served_target, as_text=True),
        action="append",
        default=[],
        metavar="URL",
        help="address of another replica; repeatable",
    )
    parser.add_argument(
        "--cores-per-replica",
        type=whole(1, 4096),
        metavar="N",
        help="pin each server started here to N cores of its own",
    )


def _add_scale(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-users",
        type=whole(1, MOST_USERS),
        metavar="N",
        help="largest number of users of the ladder (default: 256); its last step then has 4 N users, at least 64",
    )
    parser.add_argument(
        "--step-time",
        type=DURATION_TEXT,
        metavar="TIME",
        help="length of each step of the ladder (default: 20s, quick: 6s)",
    )
    parser.add_argument(
        "--knee-time",
        type=DURATION_TEXT,
        metavar="TIME",
        help="length of each open-loop run (default: 30s, quick: 10s)",
    )


def _add_plan(parser: argparse.ArgumentParser, none: str = "none for no plan") -> None:
    parser.add_argument("--plan", metavar="rate=RATE", help=f"the rate to plan for, like rate=500/s; {none}")
    parser.add_argument(
        "--redundancy",
        default=PLAN_DEFAULTS["redundancy"],
        help="N, N+1, N+2, 2N or a number of spare replicas (default: N+1)",
    )
    parser.add_argument(
        "--headroom",
        type=FRACTION_TEXT,
        default=PLAN_DEFAULTS["headroom"],
        help="fraction of the sustained rate of each replica left free (default: 20%%)",
    )
    parser.add_argument(
        "--price",
        action="append",
        type=number(0, 1e9),
        metavar="PRICE",
        help="price of one replica for an hour; repeatable, one for each sweep in their order",
    )
    parser.add_argument(
        "--policy", choices=POLICIES, default=PLAN_DEFAULTS["policy"], help="balancing policy (default: round-robin)"
    )
    parser.add_argument("--diurnal", type=Path, metavar="CSV", help="rates of a day: columns time and rate")


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the --out of the sweep")
    parser.add_argument("--replicas", type=whole(1, 10_000), required=True, metavar="N", help="number of replicas")
    parser.add_argument("--rate", type=RATE_TEXT, required=True, help="total rate, like 500/s")
    parser.add_argument(
        "--duration", type=DURATION_TEXT, help="simulated time (default: 10m, or the length of the day)"
    )
    parser.add_argument(
        "--policy", choices=(*POLICIES, "all"), default="all", help="balancing policy (default: all, side by side)"
    )
    parser.add_argument(
        "--fail",
        action="append",
        default=[],
        metavar="I@A-B",
        help="replica I (from 0) crashes at A and recovers at B, like 0@60s-90s; never without -B; repeatable",
    )
    parser.add_argument(
        "--noticed",
        type=DURATION_TEXT,
        default=NOTICED,
        help="delay until the load balancer notices a failure (default: 1s)",
    )
    parser.add_argument(
        "--slow",
        action="append",
        default=[],
        metavar="IxF@A",
        help="replica I takes F times as long from A on, like 0x3@60s; repeatable",
    )
    parser.add_argument(
        "--rolling",
        metavar="A,DRAIN,AWAY",
        help="rolling restart from A on; each replica drains, then is away, like 60s,5s,20s",
    )
    parser.add_argument(
        "--autoscale",
        metavar="TARGET,LAG,MIN,MAX",
        help="target utilization, delay of a new replica, and limits of their number, like 60%%,90s,2,20",
    )
    parser.add_argument(
        "--diurnal",
        type=Path,
        metavar="CSV",
        help="rates of a day, scaled so that --rate is the highest and the whole day takes --duration",
    )
    parser.add_argument("--slo", type=_SLO, help="objective (default: that of the sweep)")
    parser.add_argument("--seed", type=SEED, default=0, help="random seed (default: 0)")
    parser.add_argument(
        "--out", type=PNG, metavar="FILE", help="write a plot of latency and losses over time, a PNG file"
    )
