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
from bench.capacity.measurements.measured_step import MeasuredStep, Measurement, Stage, measure
from bench.capacity.measurements.run_latencies import Repeats
from bench.capacity.model.fit import FitOptions, fit_model
from bench.capacity.model.model import CapacityModel
from bench.capacity.model.validation import ValidatedModel, validate
from bench.capacity.plan.objective import SloRate, slo_rate
from bench.capacity.plan.replica_validation import ReplicaValidation, predict_replicas, validate_replicas, where_met
from bench.capacity.plan.slo import Slo
from bench.core.errors import InconclusiveError, TargetError, WrongAnswerError
from bench.core.units import format_number, format_percent, format_rate, format_seconds, pluralize
from bench.results.records import Outcome
from bench.stats.estimate import Estimate

CLIENT_LIMITS: Final = ("worker CPU",)
"""Checks of a run whose failure says that the load generator was the limit."""

GENERATOR_STARVED: Final = ("start delay", "event-loop lag", "stationary", "warm-up")
"""Checks whose failure says that a run shows the machine's doing, or no steady state."""

MIN_RATES: Final = 2
"""Rates around the knee that the model must be held to."""

MIN_SUCCESSFUL: Final = 20
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
        steps: every step, in order.
        saturated: requests a second that last, by the ladder.
        validated: that model, and how it did in runs that it never saw.
        sustained: the rate within the objective.
        replicas: several replicas held to the model; None if not run.
    """

    steps: tuple[MeasuredStep, ...]
    saturated: float
    validated: ValidatedModel
    sustained: SloRate
    replicas: ReplicaValidation | None

    @property
    def model(self) -> CapacityModel:
        """Fitted to ladder and knee, its intervals as wide as its test showed that they must be."""
        return self.validated.model

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The steps without their arrays."""
        return tuple(entry.measurement for entry in self.steps)


@dataclass
class Sweep:
    """Measures one server.

    Args:
        folder: where everything goes.
        driver: runs a step against the server.
        scale: how long everything takes.
        slo: the objective.
        seed: of everything random.
        log: takes a line for people after each step.
        fit: how much work goes into a fit.
        measured: filled with each step that is done, for whoever is interrupted.
    """

    folder: SweepFolder
    driver: Driver
    scale: Scale
    slo: Slo
    seed: int = 0
    log: Listener = lambda line: None
    fit: FitOptions = field(default_factory=FitOptions)
    measured: list[MeasuredStep] = field(default_factory=list)
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
        users = experiment_design.pool_size(max(entry.measurement.users or 0 for entry in ladder))
        if saturation := experiment_design.saturation_step(
            self.scale, [entry.measurement for entry in ladder], self.seed
        ):
            assert saturation.users is not None
            ladder.append(self._do(saturation, saturation.users))
        saturated = experiment_design.saturated_rate([entry.measurement for entry in ladder])
        knee = [self._do(step, users) for step in experiment_design.knee_steps(self.scale, saturated, self.seed)]
        model = fit_sweep([*ladder, *knee], self.fit, self.log)
        held = [self._do(step, users) for step in experiment_design.hold_out_steps(self.scale, saturated, self.seed)]
        found = [*ladder, *knee, *held]
        sustained = slo_rate(model, [entry.measurement for entry in found], self.slo)
        if sustained.attainable:
            assert sustained.rate.center is not None
            rate = sustained.rate.center
            found += [self._do(step, users) for step in experiment_design.confirm_steps(self.scale, rate, self.seed)]
        validated = validate(model, found)
        model = validated.model
        sustained = slo_rate(model, [entry.measurement for entry in found], self.slo)
        check = None
        if sustained.attainable and replicas > 1 and fleet is not None:
            predicted = predict_replicas(model, self.slo, sustained.rate, replicas, policy, self.seed)
            more = self._replicas(fleet, predicted, users)
            found += more
            check = validate_replicas(predicted, [entry.measurement for entry in more], self.slo, replicas, policy)
        return SweepResult(tuple(found), saturated, validated, sustained, check)

    def _ladder(self) -> list[MeasuredStep]:
        found = self._single_user()
        limits = dict(self.slo.latency)
        while True:
            measurements = [entry.measurement for entry in found]
            step = experiment_design.next_ladder_step(self.scale, measurements, limits, self.seed)
            if step is None:
                return found
            assert step.users is not None
            found.append(self._do(step, step.users))

    def _single_user(self) -> list[MeasuredStep]:
        """Runs with one user, until the service times are known well enough, or the time for them is over."""
        first, *more = experiment_design.single_user_steps(self.scale, self.seed)
        found = [self._do(first, 1)]
        if (count := found[0].latencies.latency.size) < MIN_SUCCESSFUL:
            raise InconclusiveError(
                f"one user got {pluralize(count, 'good answer')} in {format_seconds(first.seconds)}, and at least "
                f"{MIN_SUCCESSFUL} are needed; "
                "measure longer with --step-time"
            )
        for step in more:
            error = Repeats(tuple(entry.latencies for entry in found)).square_error()
            if error <= experiment_design.SINGLE_USER_ERROR:
                break
            self.log(f"  repeating: service times vary widely, their mean square is known to {format_percent(error)}")
            found.append(self._do(step, 1))
        return found

    def _replicas(self, fleet: Driver, predicted: Estimate, users: int) -> list[MeasuredStep]:
        """Runs around the prediction, and past them as far as it takes to find where the objective ends."""
        assert predicted.center is not None
        steps = experiment_design.replica_steps(self.scale, predicted.center, self.seed)
        found = [self._do(step, users, fleet) for step in steps]
        missing = where_met([entry.measurement for entry in found], self.slo).missing
        for load in experiment_design.REPLICA_FURTHER.get(missing, ()):
            steps = experiment_design.replica_steps(self.scale, predicted.center, self.seed, (load,))
            found += [self._do(step, users, fleet) for step in steps]
            if where_met([entry.measurement for entry in found], self.slo).missing != missing:
                break
        return found

    def _do(self, step: Step, users: int, driver: Driver | None = None) -> MeasuredStep:
        """The step's measurement: made now, or found in the folder."""
        path = self.folder.run_of(step.key)
        found = self._run(step, users, driver or self.driver) if path is None else measure(path, step.stage)
        self.measured.append(found)
        return found

    def _run(self, step: Step, users: int, driver: Driver) -> MeasuredStep:
        while True:
            path = driver.run(step, users, self.folder.runs)
            found = measure(path, step.stage)
            self.log(describe(found.measurement))
            # A step that says nothing of the server is not kept as done: a resumed sweep makes it anew.
            self._refuse_what_says_nothing(found.measurement)
            if not _generator_starved(found.measurement) or self._retried >= self.scale.retries:
                break
            self._retried += 1
            self.log("  retrying: the load generator was starved of CPU")
        self.folder.add(step.key, path)
        return found

    def _refuse_what_says_nothing(self, measurement: Measurement) -> None:
        kept = f"what was measured is in {self.folder.path}, and --resume goes on with it"
        lost = measurement.outcomes.get(Outcome.UNAVAILABLE, 0)
        if not measurement.alive and lost:
            raise TargetError(f"the target stopped answering at {measurement.load}; start it again: {kept}")
        if not measurement.outcomes.get(Outcome.OK, 0):
            if measurement.outcomes.get(Outcome.WRONG_ANSWER, 0):
                raise WrongAnswerError(
                    f"every answer at {measurement.load} is wrong: the server may serve another model; name the "
                    f"export that it serves with --model-dir: {kept}"
                )
            raise TargetError(f"no request got a good answer at {measurement.load}; check the target: {kept}")
        if set(measurement.failed) & set(CLIENT_LIMITS):
            rate = measurement.throughput.center or 0.0
            raise InconclusiveError(
                f"the load generator was the limit at {measurement.load} "
                f"({format_number(measurement.client_cpu or 0.0)} cores for {format_number(rate)} requests/s), so the "
                f"server can do more; take a faster transport or a quieter machine: {kept}"
            )


def fit_sweep(steps: Sequence[MeasuredStep], options: FitOptions, log: Listener = lambda line: None) -> CapacityModel:
    """The model of a sweep's ladder and knee; runs that the server did not keep up with are left out.

    Raises:
        InconclusiveError: too little was measured.
    """
    ladder = [entry for entry in steps if entry.measurement.stage is Stage.LADDER]
    knee = [entry for entry in steps if entry.measurement.stage is Stage.KNEE and entry.measurement.stable]
    calm = [entry for entry in knee if not _generator_starved(entry.measurement)]
    # Runs that the machine disturbed are taken only where too few others are left.
    if len(calm) >= len(knee) / 2 and len({entry.measurement.rate for entry in calm}) >= min(MIN_RATES, len(knee)):
        knee = calm
    used = [entry for entry in (*ladder, *knee) if entry.latencies.latency.size]
    log("fitting the model")
    return fit_model([entry.latencies for entry in used], options)


def _generator_starved(measurement: Measurement) -> bool:
    """Whether the machine disturbed a run at a rate that the server kept up with."""
    return (
        measurement.stable and measurement.rate is not None and bool(set(measurement.failed) & set(GENERATOR_STARVED))
    )


def describe(measurement: Measurement) -> str:
    """One line on a step that is done."""
    rate = measurement.throughput.center or 0.0
    latency = ", ".join(
        f"{name} {format_seconds(measurement.raw[name])}" for name in ("p50", "p99") if name in measurement.raw
    )
    failed = f", {format_percent(measurement.errors)} failed" if measurement.errors else ""
    invalid = " (INVALID)" if measurement.reasons else ""
    return (
        f"{measurement.stage} {measurement.load}: {format_rate(rate)}, {latency or 'no good answer'}{failed}{invalid}"
    )
