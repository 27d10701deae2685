"""A measured step of a sweep: the measurement that reports show, and the latencies that the fit takes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from bench.analysis.measured import load
from bench.analysis.run import Analysis, analyse
from bench.capacity.measurements.run_latencies import RunLatencies
from bench.capacity.queue.latency_table import COLUMNS
from bench.core.units import format_rate, pluralize
from bench.results.run_reader import Run, open_run
from bench.stats.estimate import Estimate
from bench.stats.littles_law import little_residual
from bench.workload.arrivals import ClosedLoop

_OF_THE_GENERATOR: Final = frozenset({"worker CPU", "event-loop lag", "own limits"})
"""Validity checks that fail where the load generator was at its limit, whatever the server did."""


class Stage(StrEnum):
    """The part of a sweep that a step belongs to."""

    LADDER = "ladder"
    KNEE = "knee"
    HOLD_OUT = "hold-out"
    CONFIRM = "confirm"
    REPLICAS = "replicas"


def load_text(users: int | None, rate: float | None) -> str:
    """`1 user`, `93.1/s`: the load of a step as text."""
    return pluralize(users, "user") if users is not None else format_rate(rate or 0.0, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The metrics of one run.

    Args:
        stage: the part of the sweep.
        users: users of a closed loop; None in open loop.
        rate: requested rate of an open loop, requests/s; None in closed loop.
        repeat: index of the repeat.
        seconds: measured time, seconds.
        due: number of requests due in the measured time.
        throughput: successful requests/s.
        latency: mean and percentiles from due, seconds, by `bench.capacity.queue.latency_table.COLUMNS`; absent where
            the run is too short for them.
        raw: the same by nearest rank, for a run of any length; empty without a successful request.
        in_flight: mean number of requests sent and not answered.
        little: relative residual of N = X R; None where nothing was in flight.
        errors: fraction of failed requests.
        wrong: fraction of checked answers that were wrong; None if none was checked.
        outcomes: number of measured requests by outcome.
        client_cpu: cores used by the load generator; None if unknown.
        reasons: why the run is INVALID, one line each; empty if it is VALID.
        failed: names of the failed validity checks, see `bench.analysis.validity`.
        alive: whether a request due in the last tenth of the measured time was successful.
        run: name of its run folder.
    """

    stage: Stage
    users: int | None
    rate: float | None
    repeat: int
    seconds: float
    due: int
    throughput: Estimate
    latency: Mapping[str, Estimate]
    raw: Mapping[str, float]
    in_flight: float
    little: float | None
    errors: float
    wrong: float | None
    outcomes: Mapping[str, int]
    client_cpu: float | None
    reasons: tuple[str, ...]
    failed: tuple[str, ...]
    alive: bool
    run: str

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise ValueError(f"a rate of {self.rate} requests/s")
        if not all(0 <= value < math.inf for value in (self.seconds, self.due, self.in_flight, *self.raw.values())):
            raise ValueError("a measurement below 0")
        if not all(0 <= share <= 1 for share in (self.errors, self.wrong or 0.0)):
            raise ValueError(f"a share of {self.errors} errors and {self.wrong} wrong answers")

    @property
    def load(self) -> str:
        """The requested load, see `load_text`."""
        return load_text(self.users, self.rate)

    @property
    def stable(self) -> bool:
        """Whether the server sustained the rate, without a growing backlog."""
        return "backlog" not in self.failed and "achieved rate" not in self.failed

    @property
    def of_the_generator(self) -> bool:
        """Whether the load generator was at its limit, so that latencies and failures may be its own."""
        failed = set(self.failed)
        # Where the server falls behind, requests are sent late because all users wait for it.
        return bool(failed & _OF_THE_GENERATOR) or (self.stable and "start delay" in failed)


def rates_of(measurements: Iterable[Measurement]) -> list[float]:
    """The requested rates that one server sustained in open loop, requests/s.

    Those at which the load generator was at its limit count where there are no others.
    """
    found = [m for m in measurements if m.rate is not None and m.stage is not Stage.REPLICAS and m.stable]
    sure = [m for m in found if not m.of_the_generator]
    return [m.rate for m in sure or found if m.rate is not None]


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """A measurement with the latencies of its requests.

    Args:
        measurement: the metrics.
        latencies: the latencies of single requests.
    """

    measurement: Measurement
    latencies: RunLatencies = field(repr=False)


def measure(path: Path, stage: Stage) -> MeasuredStep:
    """Reads the run of a step.

    Raises:
        UsageError: the folder cannot be read.
    """
    analysis = analyse(open_run(path, verify=False))
    latencies = run_latencies(analysis.run)
    return MeasuredStep(_measurement(analysis, latencies, stage), latencies)


def run_latencies(run: Run) -> RunLatencies:
    """The latencies of a run, for the fit."""
    measured = load(run)
    arrivals = run.manifest.stored_arrivals
    successful = measured.ok
    answered = np.sort(measured.answered)
    closed = isinstance(arrivals, ClosedLoop)
    return RunLatencies(
        users=arrivals.users if isinstance(arrivals, ClosedLoop) else None,
        rate=None if closed else measured.due.size / measured.seconds,
        begins=measured.begins,
        seconds=measured.seconds,
        due=measured.due[successful],
        latency=(measured.done - measured.due)[successful],
        done=answered[(answered >= measured.begins) & (answered <= measured.ends)],
        schedule=np.empty(0) if closed else np.sort(run.columns(["due"])["due"]),
    )


def _measurement(analysis: Analysis, latencies: RunLatencies, stage: Stage) -> Measurement:
    run, metrics = analysis.run, analysis.summary.metrics
    arrivals = run.manifest.stored_arrivals
    in_flight = metrics["in_flight"].center or 0.0
    mean = metrics["from_send_mean"].center or 0.0
    rate = metrics["throughput"].center or 0.0
    wrong, cpu = metrics.get("wrong_share"), metrics.get("client_cpu")
    return Measurement(
        stage=stage,
        users=arrivals.users if isinstance(arrivals, ClosedLoop) else None,
        rate=run.manifest.requested_rate,
        repeat=run.manifest.repeat,
        seconds=analysis.summary.seconds,
        due=analysis.summary.due,
        throughput=metrics["throughput"],
        latency={name: metrics[f"from_due_{name}"] for name in COLUMNS},
        raw=dict(zip(COLUMNS, latencies.columns().tolist(), strict=True)) if latencies.latency.size else {},
        in_flight=in_flight,
        little=little_residual(in_flight, rate, mean),
        errors=metrics["error_share"].center or 0.0,
        wrong=wrong.center if wrong else None,
        outcomes=dict(analysis.summary.counts),
        client_cpu=cpu.center if cpu else None,
        reasons=analysis.validity.reasons,
        failed=tuple(check.name for check in analysis.validity.checks if check.passed is False),
        alive=bool(latencies.due.size and latencies.due[-1] >= latencies.begins + 0.9 * latencies.seconds),
        run=run.name,
    )
