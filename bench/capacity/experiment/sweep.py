"""A sweep from its first step to its last: ladder, knee, fit, hold-out runs, confirmation, replicas.

What is done is in the sweep's folder at once; a sweep that was stopped goes on where it was. What cannot be measured
further ends it with one line, and everything measured stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from bench.capacity.experiment import experiment_design
from bench.capacity.experiment.experiment_design import Scale, Step
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.measurements.measured_step import Measurement, Point, Stage, measure
from bench.capacity.measurements.observed_latencies import Repeats
from bench.capacity.model.fit import FitOptions, fit_model
from bench.capacity.model.model import CapacityModel
from bench.capacity.model.validation import Tested, hold_to_runs
from bench.capacity.plan.objective import SloRate, slo_rate
from bench.capacity.plan.replica_check import ReplicaCheck, check_replicas, predict_replicas, where_met
from bench.capacity.plan.slo import Slo
from bench.core.errors import InconclusiveError, TargetError, WrongAnswerError
from bench.core.units import format_number, format_percent, format_rate, format_seconds, pluralize
from bench.results.records import Outcome
from bench.stats.summary import Summary

CLIENT_LIMITS: Final = ("worker CPU",)
"""Checks of a run whose failure says that the load generator was the limit."""

HELD_UP: Final = ("start delay", "event-loop lag", "stationary", "warm-up")
"""Checks whose failure says that a run shows the machine's doing, or no steady state."""

FEWEST_RATES: Final = 2
"""Rates around the knee that the model must be held to."""

FEWEST_GOOD: Final = 20
"""Good answers that the step with one user must have, to be a distribution of service times."""


class Driver(Protocol):
    """Runs steps against the server."""

    def run(self, step: Step, users: int, runs: Path) -> Path:
        """One run with a pool of `users`; its folder is made in `runs`."""


Listener = Callable[[str], None]


@dataclass(frozen=True)
class SweepResult:
    """What a sweep measured.

    Args:
        measurements: every step, in order.
        saturated: requests a second that last, by the ladder.
        tested: that model, and how it did in runs that it never saw.
        carried: the rate within the objective.
        replicas: several replicas held to the model; None if not run.
    """

    measurements: tuple[Measurement, ...]
    saturated: float
    tested: Tested
    carried: SloRate
    replicas: ReplicaCheck | None

    @property
    def model(self) -> CapacityModel:
        """Fitted to ladder and knee, its intervals as wide as its test showed that they must be."""
        return self.tested.model

    @property
    def points(self) -> tuple[Point, ...]:
        """The steps without their arrays."""
        return tuple(entry.point for entry in self.measurements)


@dataclass
class Sweep:
    """Measures one server.

    Args:
        folder: where everything goes.
        driver: runs a step against the server.
        scale: how long everything takes.
        slo: the objective.
        seed: of everything random.
        told: takes a line for people after each step.
        fit: how much work goes into a fit.
        measured: filled with each step that is done, for whoever is interrupted.
    """

    folder: SweepFolder
    driver: Driver
    scale: Scale
    slo: Slo
    seed: int = 0
    told: Listener = lambda line: None
    fit: FitOptions = field(default_factory=FitOptions)
    measured: list[Measurement] = field(default_factory=list)
    _retried: int = 0

    def run(self, replicas: int = 1, policy: str = "round-robin", fleet: Driver | None = None) -> SweepResult:
        """Everything, in order.

        Args:
            replicas: servers behind the balancer of the last part; 1 leaves it out.
            policy: how that chooses.
            fleet: runs a step against all of them.

        Raises:
            TargetError: the server stopped answering.
            WrongAnswerError: every answer is wrong.
            InconclusiveError: the load generator was the limit, or too little could be measured.
        """
        ladder = self._ladder()
        users = experiment_design.pool_size(max(entry.point.users or 0 for entry in ladder))
        if deep := experiment_design.deep_step(self.scale, [entry.point for entry in ladder], self.seed):
            assert deep.users is not None
            ladder.append(self._do(deep, deep.users))
        saturated = experiment_design.saturated_rate([entry.point for entry in ladder])
        knee = [self._do(step, users) for step in experiment_design.knee_steps(self.scale, saturated, self.seed)]
        model = fit_sweep([*ladder, *knee], self.fit, self.told)
        held = [self._do(step, users) for step in experiment_design.hold_out_steps(self.scale, saturated, self.seed)]
        found = [*ladder, *knee, *held]
        carried = slo_rate(model, [entry.point for entry in found], self.slo)
        if carried.attainable:
            assert carried.rate.center is not None
            rate = carried.rate.center
            found += [self._do(step, users) for step in experiment_design.confirm_steps(self.scale, rate, self.seed)]
        tested = hold_to_runs(model, found)
        model = tested.model
        carried = slo_rate(model, [entry.point for entry in found], self.slo)
        check = None
        if carried.attainable and replicas > 1 and fleet is not None:
            predicted = predict_replicas(model, self.slo, carried.rate, replicas, policy, self.seed)
            more = self._replicas(fleet, predicted, users)
            found += more
            check = check_replicas(predicted, [entry.point for entry in more], self.slo, replicas, policy)
        return SweepResult(tuple(found), saturated, tested, carried, check)

    def _ladder(self) -> list[Measurement]:
        found = self._alone()
        limits = dict(self.slo.latency)
        while True:
            points = [entry.point for entry in found]
            step = experiment_design.next_ladder_step(self.scale, points, limits, self.seed)
            if step is None:
                return found
            assert step.users is not None
            found.append(self._do(step, step.users))

    def _alone(self) -> list[Measurement]:
        """Runs with one user, until the service times are known well enough, or the time for them is over."""
        first, *more = experiment_design.alone_steps(self.scale, self.seed)
        found = [self._do(first, 1)]
        if (count := found[0].observed.latency.size) < FEWEST_GOOD:
            raise InconclusiveError(
                f"one user got {pluralize(count, 'good answer')} in {format_seconds(first.seconds)}, and at least "
                f"{FEWEST_GOOD} are needed; "
                "measure longer with --step-time"
            )
        for step in more:
            error = Repeats(tuple(entry.observed for entry in found)).square_error()
            if error <= experiment_design.ALONE_ERROR:
                break
            self.told(f"  repeating: service times vary widely, their mean square is known to {format_percent(error)}")
            found.append(self._do(step, 1))
        return found

    def _replicas(self, fleet: Driver, predicted: Summary, users: int) -> list[Measurement]:
        """Runs around the prediction, and past them as far as it takes to find where the objective ends."""
        assert predicted.center is not None
        steps = experiment_design.replica_steps(self.scale, predicted.center, self.seed)
        found = [self._do(step, users, fleet) for step in steps]
        missing = where_met([entry.point for entry in found], self.slo).missing
        for load in experiment_design.REPLICA_FURTHER.get(missing, ()):
            steps = experiment_design.replica_steps(self.scale, predicted.center, self.seed, (load,))
            found += [self._do(step, users, fleet) for step in steps]
            if where_met([entry.point for entry in found], self.slo).missing != missing:
                break
        return found

    def _do(self, step: Step, users: int, driver: Driver | None = None) -> Measurement:
        """The step's measurement: made now, or found in the folder."""
        path = self.folder.run_of(step.key)
        found = self._run(step, users, driver or self.driver) if path is None else measure(path, step.stage)
        self.measured.append(found)
        return found

    def _run(self, step: Step, users: int, driver: Driver) -> Measurement:
        while True:
            path = driver.run(step, users, self.folder.runs)
            found = measure(path, step.stage)
            self.told(describe(found.point))
            # A step that says nothing of the server is not kept as done: a resumed sweep makes it anew.
            self._refuse_what_says_nothing(found.point)
            if not _held_up(found.point) or self._retried >= self.scale.retries:
                break
            self._retried += 1
            self.told("  retrying: the load generator was starved of CPU")
        self.folder.add(step.key, path)
        return found

    def _refuse_what_says_nothing(self, point: Point) -> None:
        kept = f"what was measured is in {self.folder.path}, and --resume goes on with it"
        lost = point.outcomes.get(Outcome.UNAVAILABLE, 0)
        if not point.alive and lost:
            raise TargetError(f"the target stopped answering at {point.load}; start it again: {kept}")
        if not point.outcomes.get(Outcome.OK, 0):
            if point.outcomes.get(Outcome.WRONG_ANSWER, 0):
                raise WrongAnswerError(
                    f"every answer that came at {point.load} is wrong: the server may hold another model; name the "
                    f"export that it serves with --model-dir: {kept}"
                )
            raise TargetError(f"no request got a good answer at {point.load}; check the target: {kept}")
        if set(point.failed) & set(CLIENT_LIMITS):
            rate = point.throughput.center or 0.0
            raise InconclusiveError(
                f"the load generator was the limit at {point.load} ({format_number(point.client_cpu or 0.0)} cores for "
                f"{format_number(rate)} requests/s), so the server can do more; take a faster transport or a "
                f"quieter machine: {kept}"
            )


def fit_sweep(
    measurements: Sequence[Measurement], options: FitOptions, told: Listener = lambda line: None
) -> CapacityModel:
    """The model of a sweep's ladder and knee; runs that the server did not keep up with are left out.

    Raises:
        InconclusiveError: too little was measured.
    """
    ladder = [entry for entry in measurements if entry.point.stage is Stage.LADDER]
    knee = [entry for entry in measurements if entry.point.stage is Stage.KNEE and entry.point.stable]
    calm = [entry for entry in knee if not _held_up(entry.point)]
    # Runs that the machine disturbed are taken only where too few others are left.
    if len(calm) >= len(knee) / 2 and len({entry.point.rate for entry in calm}) >= min(FEWEST_RATES, len(knee)):
        knee = calm
    used = [entry for entry in (*ladder, *knee) if entry.observed.latency.size]
    told("fitting the model")
    return fit_model([entry.observed for entry in used], options)


def _held_up(point: Point) -> bool:
    """Whether the machine disturbed a run at a rate that the server kept up with."""
    return point.stable and point.rate is not None and bool(set(point.failed) & set(HELD_UP))


def describe(point: Point) -> str:
    """One line on a step that is done."""
    rate = point.throughput.center or 0.0
    latency = ", ".join(f"{name} {format_seconds(point.raw[name])}" for name in ("p50", "p99") if name in point.raw)
    failed = f", {format_percent(point.errors)} failed" if point.errors else ""
    invalid = " (INVALID)" if point.reasons else ""
    return f"{point.stage} {point.load}: {format_rate(rate)}, {latency or 'no good answer'}{failed}{invalid}"
