"""A measured step of a sweep: what the reports show of a run, and what the fit takes from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

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


class Stage(StrEnum):
    """Which part of a sweep a step belongs to."""

    LADDER = "ladder"
    KNEE = "knee"
    HOLD_OUT = "hold-out"
    CONFIRM = "confirm"
    REPLICAS = "replicas"


def load_text(users: int | None, rate: float | None) -> str:
    """`1 user`, `93.1/s`: the load of a step, for people."""
    return pluralize(users, "user") if users is not None else format_rate(rate or 0.0, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One run, measured.

    Args:
        stage: which part of the sweep it belongs to.
        users: users of a closed loop; None in open loop.
        rate: requests a second asked in open loop; None in closed loop.
        repeat: index of the repeat.
        seconds: measured time.
        due: requests that were due in it.
        throughput: successful requests/s.
        latency: mean and percentiles from due, seconds, by `bench.capacity.queue.latency_table.COLUMNS`; absent where
            the run is too short to carry them.
        raw: the same by nearest rank, however short the run; empty without a good answer.
        in_flight: mean number of requests sent and not answered.
        little: share of N that N = X R leaves open; None where nothing was in flight.
        errors: share of failed requests.
        wrong: share of checked answers that were wrong; None if none was checked.
        outcomes: measured requests by outcome.
        client_cpu: cores that the load generator used; None if not known.
        reasons: why the run is INVALID, one line each; empty if it is VALID.
        failed: names of the checks that failed, see `bench.analysis.validity`.
        alive: whether anything due in the last tenth of the measured time was answered well.
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

    @property
    def load(self) -> str:
        """What was asked for, see `load_text`."""
        return load_text(self.users, self.rate)

    @property
    def stable(self) -> bool:
        """Whether the server kept up with the rate: no growing backlog."""
        return "backlog" not in self.failed and "achieved rate" not in self.failed


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """A measurement with the run's arrays.

    Args:
        measurement: what reports show.
        latencies: what the fit takes.
    """

    measurement: Measurement
    latencies: RunLatencies = field(repr=False)


def measure(path: Path, stage: Stage) -> MeasuredStep:
    """Reads a run of a sweep.

    Raises:
        UsageError: the folder cannot be read.
    """
    analysis = analyse(open_run(path, verify=False))
    latencies = run_latencies(analysis.run)
    return MeasuredStep(_measurement(analysis, latencies, stage), latencies)


def run_latencies(run: Run) -> RunLatencies:
    """What the fit takes of a run."""
    measured = load(run)
    arrivals = run.manifest.parsed_arrivals()
    ok = measured.ok
    answered = np.sort(measured.answered)
    closed = isinstance(arrivals, ClosedLoop)
    return RunLatencies(
        users=arrivals.users if isinstance(arrivals, ClosedLoop) else None,
        rate=None if closed else measured.due.size / measured.seconds,
        begins=measured.begins,
        seconds=measured.seconds,
        due=measured.due[ok],
        latency=(measured.done - measured.due)[ok],
        done=answered[(answered >= measured.begins) & (answered <= measured.ends)],
        schedule=np.empty(0) if closed else np.sort(run.columns(["due"])["due"]),
    )


def _measurement(analysis: Analysis, latencies: RunLatencies, stage: Stage) -> Measurement:
    run, metrics = analysis.run, analysis.summary.metrics
    arrivals = run.manifest.parsed_arrivals()
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
