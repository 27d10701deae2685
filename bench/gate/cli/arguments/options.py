"""The options that the forms of `bertbench gate` share, and the plan that they stand for."""

import argparse
from typing import Any

from bench.bert.contract.masked_requests import COMPACT_SIGNATURE
from bench.cli.common.options import add_access_options, add_model_options, add_preflight_option
from bench.cli.common.values import DURATION, SEED, Value
from bench.core.units import parse_fraction
from bench.gate.types import DEFAULT_EFFECT, METRICS
from bench.workload.arrivals import parse_arrivals


def add_load_options(parser: argparse.ArgumentParser) -> None:
    """The load on both sides, and the time."""
    add_access_options(parser)
    add_model_options(parser)
    add_preflight_option(parser)
    parser.add_argument(
        "--protocol", choices=("grpc", "rest"), help="(default: that of the targets' addresses, gRPC without one)"
    )
    parser.add_argument("--signature", default=COMPACT_SIGNATURE, help=f"default: {COMPACT_SIGNATURE}")
    parser.add_argument(
        "--arrivals",
        type=Value(parse_arrivals),
        default="closed:users=1",
        metavar="TEXT",
        help="as for run (default: closed:users=1)",
    )
    parser.add_argument("--server-flag", action="append", default=[], metavar="FLAG", help="for both sides; repeatable")
    parser.add_argument("--max-time", type=DURATION, default="5m", metavar="TIME", help="default: 5m")
    parser.add_argument("--warmup", type=DURATION, default="3s", metavar="TIME", help="for each side (default: 3s)")
    parser.add_argument("--run-time", type=DURATION, metavar="TIME", help="of one run of a side (default: 1s to 7.5s)")
    parser.add_argument("--request-timeout", type=DURATION, default="10s", metavar="TIME", help="default: 10s")
    parser.add_argument(
        "--seed",
        type=SEED,
        help="random seed for the choice of sentences and the order of runs (default: drawn, and printed)",
    )


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
    parser.add_argument("--metrics", metavar="NAMES", help=f"evaluate only these, which then must be measured: {names}")


def read_plan_options(args: argparse.Namespace) -> dict[str, Any]:
    """`min_effect`, `min_effects` and `metrics` of `bench.gate.spec.GateSpec`.

    Raises:
        UsageError: an effect that is no fraction.
    """
    general, single = DEFAULT_EFFECT, {}
    for text in args.min_effect:
        name, equals, share = text.rpartition("=")
        if equals:
            single[name.strip()] = parse_fraction(share)
        else:
            general = parse_fraction(share)
    metrics = tuple(name.strip() for name in args.metrics.split(",")) if args.metrics else ()
    return {"min_effect": general, "min_effects": single, "metrics": metrics}
