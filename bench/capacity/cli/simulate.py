"""`bertbench capacity simulate`: a fleet of the fitted server with failures, restarts, slow replicas, autoscaling."""

import argparse
import contextlib
import re
from collections.abc import Iterator
from typing import Final, TextIO

from bench.capacity.cli.options import slo_of
from bench.capacity.model.model_file import read_model
from bench.capacity.plan.diurnal import read_diurnal
from bench.capacity.plan.fleet import Fleet
from bench.capacity.plan.incidents import Autoscaling, Failure, Incident, RollingRestart, Slow
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.what_if import compare_policies, draw_arrivals, draw_day
from bench.capacity.report.plots import fleet as plot_fleet
from bench.capacity.report.text_report import fleet_table
from bench.core.errors import ExitCode, UsageError
from bench.core.units import (
    format_rate,
    parse_duration,
    parse_duration_or_zero,
    parse_fraction,
    parse_number,
    parse_rate,
    parse_whole,
    pluralize,
)
from bench.workload.policies import POLICIES

_MAX_REQUESTS: Final = 5_000_000
_MAX_REPLICAS: Final = 10_000


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Simulates the fleet, and prints one line for each balancing policy.

    Raises:
        UsageError: malformed incidents, or too many requests.
    """
    seconds, rate = parse_duration(args.duration), parse_rate(args.rate)
    if rate * seconds > _MAX_REQUESTS:
        raise UsageError(f"{rate * seconds:,.0f} requests exceed {_MAX_REQUESTS:,}; give a shorter --duration")
    stored = read_model(args.folder)
    slo = slo_of(args) or Slo.parse(stored.slo)
    day = read_diurnal(args.diurnal) if args.diurnal else None
    policies = tuple(POLICIES) if args.policy == "all" else (args.policy,)
    incidents, scaling = _incidents(args), _autoscaling(args, seconds)
    fleet = Fleet(stored.model.parameter_set, args.replicas, policies[0], incidents, scaling)
    arrivals = draw_day(day, rate, seconds, args.seed) if day else draw_arrivals(rate, seconds, args.seed)
    views = compare_policies(fleet, policies, arrivals, seconds, slo.window_limit, args.seed)
    print(
        f"{pluralize(args.replicas, 'replica')} of {stored.label}, {format_rate(rate, 6)} for {args.duration}, "
        f"{slo}: simulated by the model",
        file=out,
    )
    print(fleet_table(views), file=out)
    if args.out is not None:
        plot_fleet(views, slo.window_limit, args.out)
        print(f"plot: {args.out}", file=out)
    return ExitCode.OK


def _incidents(args: argparse.Namespace) -> tuple[Incident, ...]:
    found: list[Incident] = []
    noticed = parse_duration(args.noticed)
    with _option("--fail", "0@60s-90s, or 0@60s without recovery"):
        found += [_failure(text, noticed, args) for text in args.fail]
    with _option("--slow", "0x3@60s"):
        found += [_slow(text, args) for text in args.slow]
    if args.rolling:
        with _option("--rolling", "60s,5s,20s"):
            found.append(RollingRestart(*map(parse_duration, _split(args.rolling, 3))))
    return tuple(found)


@contextlib.contextmanager
def _option(name: str, example: str) -> Iterator[None]:
    """Adds the name of an option and an example of its value to errors."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{name}: {error}; write it like {example}") from None


def _split(text: str, count: int) -> list[str]:
    parts = text.split(",")
    if len(parts) != count:
        raise UsageError(f"{text!r} has {pluralize(len(parts), 'value')}, not {count}")
    return parts


def _failure(text: str, noticed: float, args: argparse.Namespace) -> Failure:
    match = re.fullmatch(r"([0-9]+)@([^-]+)(?:-(.+))?", text)
    if not match:
        raise UsageError(f"{text!r} does not name a replica and a time")
    back = parse_duration(match[3]) if match[3] else None
    at = parse_duration_or_zero(match[2])
    if back is not None and back <= at:
        raise UsageError(f"{text!r} recovers before it fails")
    return Failure(_replica(match[1], args), at, back, noticed)


def _slow(text: str, args: argparse.Namespace) -> Slow:
    match = re.fullmatch(r"([0-9]+)x([^@]+)@(.+)", text)
    if not match:
        raise UsageError(f"{text!r} does not name a replica, a factor and a time")
    factor = parse_number(match[2], 0, 1000, open_least=True)
    return Slow(_replica(match[1], args), factor, parse_duration_or_zero(match[3]))


def _replica(text: str, args: argparse.Namespace) -> int:
    if int(text) >= args.replicas:
        raise UsageError(f"no replica {text} among {args.replicas}; replicas count from 0")
    return int(text)


def _autoscaling(args: argparse.Namespace, seconds: float) -> Autoscaling | None:
    if not args.autoscale:
        return None
    with _option("--autoscale", "60%,90s,2,20"):
        target_text, lag_text, min_text, max_text = _split(args.autoscale, 4)
        target, lag = parse_fraction(target_text), parse_duration_or_zero(lag_text)
        smallest = parse_whole(min_text, 1, _MAX_REPLICAS)
        largest = parse_whole(max_text, smallest, _MAX_REPLICAS)
        if not target:
            raise UsageError("the target must be above 0%")
    # The interval of Kubernetes' horizontal pod autoscaler, or a tenth of a shorter simulation.
    every = min(15.0, seconds / 10)
    return Autoscaling(target, every, lag, smallest, largest)
