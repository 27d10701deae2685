"""`bertbench capacity simulate`: a fleet of the fitted server with failures, restarts, slow replicas, autoscaling."""

import argparse
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final, NamedTuple, TextIO

from msgspec import Meta, Struct

from bench.capacity.cli.options import files_read, slo_of
from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.model.model_file import read_model
from bench.capacity.plan.diurnal import day_length, read_diurnal
from bench.capacity.plan.fleet import MOST_REPLICAS, Fleet
from bench.capacity.plan.incidents import Autoscaling, Failure, Incident, RollingRestart, Slow
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.what_if import (
    FleetView,
    compare_policies,
    constant_profile,
    day_profile,
    draw_arrivals,
    draw_day,
    highest_share,
)
from bench.capacity.report.plots import fleet as plot_fleet
from bench.capacity.report.text_report import fleet_table
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.output_files import refuse_overlaps
from bench.core.errors import ExitCode, UsageError, with_example
from bench.core.types import Floats
from bench.core.units import (
    format_rate,
    format_seconds,
    parse_duration,
    parse_duration_or_zero,
    parse_fraction,
    parse_number,
    parse_rate,
    parse_whole,
    pluralize,
)
from bench.workload.balancing import POLICIES
from bench.workload.rate_profile import RateProfile

_MAX_REQUESTS: Final = 5_000_000
_DEFAULT_SECONDS: Final = 600.0


Fraction = Annotated[float | None, Meta(description="null without a request")]
Latency = Annotated[float | None, Meta(description="seconds; null without an answer")]


class WindowValue(Struct, frozen=True, kw_only=True):
    """One of the equal time windows of a simulation."""

    time: Annotated[float, Meta(description="middle of the window, seconds")]
    p50: Latency
    p99: Latency
    lost: Fraction
    violates: Annotated[bool, Meta(description="whether it violates the objective")]


class ReplicasValue(Struct, frozen=True, kw_only=True):
    """A change of the number of replicas that take requests."""

    time: Annotated[float, Meta(description="seconds")]
    replicas: int


class FleetValue(Struct, frozen=True, kw_only=True):
    """A simulated fleet under one balancing policy."""

    policy: str
    latency: Annotated[Mapping[str, Latency], Meta(description="of all answered requests")]
    worst_p99: Annotated[float | None, Meta(description="highest p99 of a window, seconds")]
    lost: Fraction
    violated: Annotated[float, Meta(description="time of the windows that violate the objective, seconds")]
    replica_hours: float
    windows: Sequence[WindowValue]
    replicas: Sequence[ReplicasValue]


class DayValue(Struct, frozen=True, kw_only=True):
    """The day that a simulation covers, always the whole one."""

    seconds: Annotated[float, Meta(description="length of the day in the file; simulated in `seconds` of the document")]
    lowest: Annotated[float, Meta(description="lowest rate that was simulated, requests/s")]
    highest: Annotated[float, Meta(description="highest rate, requests/s")]


class SimulateDocument(Document, frozen=True, kw_only=True):
    """A fleet of the fitted server, simulated."""

    command: str = "capacity simulate"
    label: Annotated[str, Meta(description="name of the measured server")]
    replicas: Annotated[int, Meta(description="at the start")]
    rate: Annotated[float, Meta(description="requests/s")]
    seconds: Annotated[float, Meta(description="simulated time")]
    diurnal: Annotated[DayValue | None, Meta(description="the day that was simulated; null without one")]
    slo: Annotated[str, Meta(description="the objective")]
    fleets: Annotated[Sequence[FleetValue], Meta(description="one for each balancing policy")]
    plot: Annotated[str | None, Meta(description="PNG file")]
    warnings: Annotated[Sequence[str], Meta(description="of the sweep, and where the simulation goes beyond it")]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Simulates the fleet, and prints one line for each balancing policy.

    Raises:
        UsageError: malformed incidents, too many requests, or a plot that would overwrite what is read.
    """
    refuse_overlaps({"--out": args.out}, others=files_read(args, [args.folder]))
    load = _load(args)
    seconds, rate = load.seconds, load.rate
    stored = read_model(args.folder)
    slo = slo_of(args) or Slo.parse(stored.slo)
    policies = tuple(POLICIES) if args.policy == "all" else (args.policy,)
    incidents, scaling = _incidents(args, seconds), _autoscaling(args, seconds)
    fleet = Fleet(stored.model.parameter_set, args.replicas, policies[0], incidents, scaling)
    views = compare_policies(fleet, policies, load.arrivals, seconds, slo, args.seed)
    lines = [
        f"{pluralize(args.replicas, 'replica')} of {stored.label}, {load.text}, {slo}: simulated by the model",
        fleet_table(views),
    ]
    beyond = _beyond_measured(stored.model, max(highest_share(load.profile, view) for view in views))
    warnings = [*stored.warnings, *beyond]
    lines += [f"note: {warning}" for warning in warnings]
    if args.out is not None:
        plot_fleet(views, slo.latency, args.out)
        lines.append(f"plot: {args.out}")
    document = SimulateDocument(
        label=stored.label,
        replicas=args.replicas,
        rate=rate,
        seconds=seconds,
        diurnal=load.day,
        slo=str(slo),
        fleets=list(map(_value, views)),
        plot=None if args.out is None else str(args.out),
        warnings=warnings,
    )
    out.result(document, "\n".join(lines), lines[1])
    return ExitCode.OK


def _beyond_measured(model: CapacityModel, share: float) -> list[str]:
    """What to say where a replica has to serve up to `share` requests/s."""
    if share <= model.valid[1]:
        return []
    found = (
        f"up to {format_rate(share)} for one replica, above {format_rate(model.valid[1])}, the highest rate that the "
        "model covers: its latency is extrapolated"
    )
    capacity = model.parameter_set.capacity
    if share >= capacity:
        found += f", and grows as long as the rate is above its capacity of {format_rate(capacity)}"
    return [found]


class _Load(NamedTuple):
    """What is asked of the fleet: arrivals and their rates, the highest rate (requests/s), simulated seconds, words."""

    arrivals: Floats
    profile: RateProfile
    rate: float
    seconds: float
    text: str
    day: DayValue | None


def _load(args: argparse.Namespace) -> _Load:
    """The load in the parsed options.

    Raises:
        UsageError: a file that cannot be read, too many requests, or none.
    """
    rate, spans = parse_rate(args.rate), read_diurnal(args.diurnal) if args.diurnal else None
    given = parse_duration(args.duration) if args.duration else None
    if spans is None:
        seconds = _DEFAULT_SECONDS if given is None else given
        profile, text, day = constant_profile(rate, seconds), f"{format_rate(rate)} for {format_seconds(seconds)}", None
        _check_total(profile.total)
        arrivals = draw_arrivals(rate, seconds, args.seed)
    else:
        length = day_length(spans)
        seconds = length if given is None else given
        profile = day_profile(spans, rate, seconds)
        lowest = float(profile.first.min())
        day = DayValue(seconds=length, lowest=lowest, highest=rate)
        text = f"{format_rate(lowest)} to {format_rate(rate)} over {_day_text(length, seconds)}"
        _check_total(profile.total)
        arrivals = draw_day(profile, args.seed)
    if not arrivals.size:
        raise UsageError(f"no request in {text}: nothing was simulated; give a longer --duration or a higher --rate")
    return _Load(arrivals, profile, rate, seconds, text, day)


def _day_text(length: float, seconds: float) -> str:
    whole = f"the day of {format_seconds(length)}"
    if seconds == length:
        return whole
    return f"{whole}, {'shortened' if seconds < length else 'stretched'} to {format_seconds(seconds)}"


def _check_total(total: float) -> None:
    if total > _MAX_REQUESTS:
        raise UsageError(f"{total:,.0f} requests exceed {_MAX_REQUESTS:,}; give a shorter --duration or a lower --rate")


def _value(view: FleetView) -> FleetValue:
    arrays = (found.tolist() for found in (view.times, view.p50, view.p99, view.lost_fraction, view.violates))
    return FleetValue(
        policy=view.policy,
        latency=view.latency,
        worst_p99=view.worst,
        lost=view.lost,
        violated=view.violated,
        replica_hours=view.replica_hours,
        windows=[
            WindowValue(time=time, p50=p50, p99=p99, lost=lost, violates=violates)
            for time, p50, p99, lost, violates in zip(*arrays, strict=True)
        ],
        replicas=[ReplicasValue(time=time, replicas=count) for time, count in view.replicas],
    )


def _incidents(args: argparse.Namespace, seconds: float) -> tuple[Incident, ...]:
    found: list[Incident] = []
    noticed = parse_duration(args.noticed)
    # A setting of a variable or the file is a default for all fleets.
    if not args.fail and "noticed" in args.given:
        raise UsageError(f"--noticed {args.noticed} is about failures, and there is none; give one with --fail")
    with _option("--fail", "0@60s-90s, or 0@60s without recovery"):
        found += [_begun(_failure(text, noticed, args), text, seconds) for text in args.fail]
    with _option("--slow", "0x3@60s"):
        found += [_begun(_slow(text, args), text, seconds) for text in args.slow]
    if args.rolling:
        with _option("--rolling", "60s,5s,20s"):
            restart = RollingRestart(*map(parse_duration, _split(args.rolling, 3)))
            found.append(_begun(restart, args.rolling, seconds))
    return tuple(found)


@contextlib.contextmanager
def _option(name: str, example: str) -> Iterator[None]:
    """Adds the name of an option to errors, and an example of its value unless there is another cure."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{name}: {with_example(error, example)}") from None


def _begun(incident: Incident, text: str, seconds: float) -> Incident:
    """The incident, if it begins within the simulated time."""
    if incident.at >= seconds:
        raise UsageError(
            f"{text!r} begins after the end, at {format_seconds(seconds)}; give an earlier time or a longer --duration"
        )
    return incident


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
        smallest = parse_whole(min_text, 1, MOST_REPLICAS)
        largest = parse_whole(max_text, smallest, MOST_REPLICAS)
        if not target:
            raise UsageError("the target must be above 0%")
    # The interval of Kubernetes' horizontal pod autoscaler, or a tenth of a shorter simulation.
    every = min(15.0, seconds / 10)
    return Autoscaling(target, every, lag, smallest, largest)
