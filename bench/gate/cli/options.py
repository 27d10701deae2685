"""Options of the gate that its forms share, and what they lead to."""

import argparse
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from bench.bert.contract.requests import COMPACT_SIGNATURE
from bench.cli.common.options import add_model_options
from bench.cli.common.progress import ProgressDisplay
from bench.cli.common.values import DURATION, SEED
from bench.core.atomic_files import make_folder
from bench.core.errors import UsageError
from bench.core.units import parse_fraction
from bench.gate.ab_servers import gate_spec
from bench.gate.types import METRICS, Plan, default_plan, restricted
from bench.load.setup.run_spec import RunSpec
from bench.workload.arrivals import parse_arrivals

DEFAULT_EFFECT = 0.05


def add_load_options(parser: argparse.ArgumentParser) -> None:
    """What both sides are asked, and for how long."""
    add_model_options(parser)
    parser.add_argument("--protocol", choices=("grpc", "rest"), default="grpc")
    parser.add_argument("--signature", default=COMPACT_SIGNATURE, help=f"default: {COMPACT_SIGNATURE}")
    parser.add_argument(
        "--arrivals", default="closed:users=1", metavar="TEXT", help="as for run (default: closed:users=1)"
    )
    parser.add_argument("--server-flag", action="append", default=[], metavar="FLAG", help="for both sides; repeatable")
    parser.add_argument("--max-time", type=DURATION, default=300.0, metavar="TIME", help="default: 5m")
    parser.add_argument("--warmup", type=DURATION, default=3.0, metavar="TIME", help="a side (default: 3s)")
    parser.add_argument("--run-time", type=DURATION, metavar="TIME", help="a run of a side (default: 1s to 5s)")
    parser.add_argument("--request-timeout", type=DURATION, default=10.0, metavar="TIME", help="default: 10s")
    parser.add_argument("--seed", type=SEED, help="of sentences and coins (default: drawn, and printed)")


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """What counts as a regression."""
    names = ", ".join(metric.name for metric in METRICS)
    parser.add_argument(
        "--min-effect",
        action="append",
        default=[],
        metavar="[METRIC=]SHARE",
        help="smallest effect that matters: of the median (default: 5%%; other metrics follow from it), or of one "
        f"metric ({names}); repeatable",
    )
    parser.add_argument("--metrics", metavar="NAMES", help=f"judge only these, which then must be there: {names}")


def read_plan(min_effects: Sequence[str], metrics: str | None) -> Plan:
    """The plan of `--min-effect` and `--metrics`.

    Raises:
        UsageError: no such metric, or no fraction.
    """
    general, overrides = DEFAULT_EFFECT, {}
    for text in min_effects:
        name, equals, share = text.rpartition("=")
        if equals:
            overrides[name.strip()] = parse_fraction(share)
        else:
            general = parse_fraction(share)
    plan = default_plan(general, overrides)
    return restricted(plan, tuple(name.strip() for name in metrics.split(","))) if metrics else plan


def median_effect(plan: Plan) -> float:
    """The smallest effect that the plan looks for in the median, or the smallest of all without it."""
    return plan.min_effects.get("p50", min(plan.min_effects.values()))


def read_load(args: argparse.Namespace) -> RunSpec:
    """The load that the options describe; a seed is drawn if none is given.

    Raises:
        UsageError: arrivals that cannot be read.
    """
    return gate_spec(
        protocol=args.protocol,
        signature=args.signature,
        arrivals=parse_arrivals(args.arrivals),
        model_name=args.model_name,
        seed=secrets.randbits(31) if args.seed is None else args.seed,
        timeout=args.request_timeout,
    )


def gate_progress(err: TextIO, most: float, name: str = "gate") -> ProgressDisplay:
    """The progress of a gate that may take `most` seconds."""
    return ProgressDisplay(err, name, most, "at most", "starting both servers")


def output_path(text: str) -> Path:
    """A file to write, whose folder must be there.

    Raises:
        UsageError: there is no such folder, or no file can be written in it.
    """
    path = Path(text)
    if not path.parent.is_dir():
        raise UsageError(f"no folder {path.parent} for {path.name}; make it first")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file")
    make_folder(path.parent, "", "name another place")
    return path
