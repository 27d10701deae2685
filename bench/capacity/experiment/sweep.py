"""The steps of a sweep from first to last: ladder, knee, fit, hold-out, confirmation, replicas.

Each completed step is recorded in the folder of the sweep at once, so an interrupted sweep can continue. A step that
cannot be measured ends the sweep with one line; everything measured before is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from bench.capacity.experiment import experiment_design
from bench.capacity.experiment.experiment_design import Scale, Step
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.experiment.sweep_listener import SweepListener
from bench.capacity.measurements.measured_step import MeasuredStep, Measurement, Stage, measure
from bench.capacity.measurements.run_latencies import Repeats
from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.model.fit import FitOptions, fit_model
from bench.capacity.model.validation import ValidatedModel, covering, validate
from bench.capacity.plan.replica_validation import (
    ReplicaValidation,
    find_crossing,
    predict_replicas,
    validate_replicas,
)
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.slo_rate import SloRate, slo_rate
from bench.core.errors import InconclusiveError, TargetError, WrongAnswerError
from bench.core.units import format_number, format_percent, format_rate, format_seconds, pluralize
from bench.results.records import Outcome
from bench.stats.estimate import Estimate

CLIENT_LIMITS: Final = ("worker CPU",)
"""Validity checks that fail where the load generator was the limit."""

GENERATOR_STARVED: Final = ("start delay", "event-loop lag", "stationary", "warm-up")
"""Validity checks that fail where the machine disturbed a run, or the run was not stationary."""

FAILURES: Final = tuple(outcome for outcome in Outcome if outcome not in (Outcome.OK, Outcome.DROPPED))
"""How a request ends that the server failed; one that was never sent is none of them."""

MIN_RATES: Final = 2
"""Smallest number of rates around the knee for a fit."""

MIN_SUCCESSFUL: Final = 20
"""Smallest number of successful requests of one user, for a distribution of service times."""

MIN_DUE: Final = 5
"""Requests that each open-loop run should have: fewer show nothing, and a run may then have none at all."""


class Driver(Protocol):
    """Runs steps against the server."""

    def run(self, step: Step, users: int, runs: Path) -> Path:
        """Makes one run with a pool of `users`; returns its folder, in `runs`."""


@dataclass(frozen=True)
class SweepResult:
    """The measurements of a sweep and the model fitted to them.

    Args:
        steps: every step, in order.
        saturated: sustained throughput of the ladder, requests/s.
        validated: the model with its validation.
        sustained: the rate within the objective.
        replicas: the rate of several replicas, predicted and measured; None if not measured.
    """

    steps: tuple[MeasuredStep, ...]
    saturated: float
    validated: ValidatedModel
    sustained: SloRate
    replicas: ReplicaValidation | None

    @property
    def model(self) -> CapacityModel:
        """The model, its intervals widened where the validation requires it."""
        return self.validated.model

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The measurements of the steps."""
        return measurements_of(self.steps)


def measurements_of(steps: Sequence[MeasuredStep]) -> tuple[Measurement, ...]:
    """The measurements of steps."""
    return tuple(step.measurement for step in steps)


@dataclass
class Sweep:
    """Measures one server.

    Args:
        folder: folder of the sweep.
        driver: runs a step against the server.
        scale: numbers and lengths of the runs.
        slo: the objective.
        seed: random seed.
        listener: receives the progress.
        fit: options of the fit.
        measured: receives each completed step, for an interrupted sweep.
    """

    folder: SweepFolder
    driver: Driver
    scale: Scale
    slo: Slo
    seed: int = 0
    listener: SweepListener = field(default_factory=SweepListener)
    fit: FitOptions = field(default_factory=FitOptions)
    measured: list[MeasuredStep] = field(default_factory=list)
    _retried: int = 0

    def run(self, replicas: int = 1, policy: str = "round-robin", fleet: Driver | None = None) -> SweepResult:
        """Makes all steps, in order.

        Args:
            replicas: servers behind the load balancer of the last part; 1 leaves it out.
            policy: balancing policy.
            fleet: runs a step against all replicas.

        Raises:
            TargetError: the server stopped answering.
            WrongAnswerError: every answer is wrong.
            InconclusiveError: the load generator was the limit, or too little was measured.
        """
        ladder = self._ladder()
        users = experiment_design.pool_size(max(step.measurement.users or 0 for step in ladder))
        if last := experiment_design.saturation_step(self.scale, measurements_of(ladder), self.seed):
            ladder.append(self._do(last))
        saturated = experiment_design.saturated_rate(measurements_of(ladder))
        self._refuse_few(saturated)
        knee = self._do_all(experiment_design.knee_steps(self.scale, saturated, self.seed), users)
        self.listener.step("fit")
        self.listener.line("fitting the model")
        model = fit_sweep([*ladder, *knee], self.fit)
        hold_out = self._do_all(experiment_design.hold_out_steps(self.scale, saturated, self.seed), users)
        steps = [*ladder, *knee, *hold_out]
        rate = slo_rate(model, measurements_of(steps), self.slo).rate.center
        if rate and rate * self.scale.hold_out_seconds >= MIN_DUE:
            steps += self._do_all(experiment_design.confirm_steps(self.scale, rate, self.seed), users)
        validated = validate(model, steps)
        sustained = slo_rate(validated.model, measurements_of(steps), self.slo)
        validation = None
        if sustained.attainable and replicas > 1 and fleet is not None:
            predicted = predict_replicas(validated.model, self.slo, sustained.rate, replicas, policy, self.seed)
            more = self._replicas(fleet, predicted, users)
            steps += more
            validation = validate_replicas(predicted, measurements_of(more), self.slo, replicas, policy)
        return SweepResult(tuple(steps), saturated, validated, sustained, validation)

    def _ladder(self) -> list[MeasuredStep]:
        found = self._single_user()
        limits = dict(self.slo.latency)
        while step := experiment_design.next_ladder_step(self.scale, measurements_of(found), limits, self.seed):
            found.append(self._do(step))
        return found

    def _single_user(self) -> list[MeasuredStep]:
        """Runs with one user, until the service times are known well enough or no run is left."""
        first, *more = experiment_design.single_user_steps(self.scale, self.seed)
        found = [self._do(first)]
        if (count := found[0].latencies.latency.size) < MIN_SUCCESSFUL:
            raise InconclusiveError(
                f"one user had {pluralize(count, 'successful request')} in {format_seconds(first.seconds)}, and the "
                f"model needs {MIN_SUCCESSFUL}; measure longer with --step-time"
            )
        for step in more:
            error = Repeats(tuple(entry.latencies for entry in found)).square_error()
            if error <= experiment_design.SINGLE_USER_ERROR:
                break
            self.listener.line(
                f"  repeating: service times vary widely; the error of their mean square is {format_percent(error)}"
            )
            found.append(self._do(step))
        return found

    def _refuse_few(self, saturated: float) -> None:
        """Refuses a server that is too slow for the open-loop runs."""
        scale = self.scale
        due = saturated * min(min(scale.knee) * scale.knee_seconds, min(scale.hold_out) * scale.hold_out_seconds)
        if due < MIN_DUE:
            raise InconclusiveError(
                f"the server sustains {format_rate(saturated)}: an open-loop run would have {format_number(due)} "
                f"requests, and the model needs {MIN_DUE}; measure longer with --knee-time"
            )

    def _replicas(self, fleet: Driver, predicted: Estimate, users: int) -> list[MeasuredStep]:
        """Runs around the predicted rate, and beyond them until they enclose the sustained rate.

        Those that would have fewer than `MIN_DUE` requests are left out.
        """
        center = predicted.center
        assert center is not None

        def run(loads: Sequence[float]) -> list[MeasuredStep]:
            steps = experiment_design.replica_steps(self.scale, center, self.seed, loads)
            return self._do_all([step for step in steps if (step.rate or 0.0) * step.seconds >= MIN_DUE], users, fleet)

        found = run(experiment_design.REPLICA_LOADS)
        missing = find_crossing(measurements_of(found), self.slo).missing
        for load in experiment_design.REPLICA_FURTHER.get(missing, ()):
            found += run((load,))
            if find_crossing(measurements_of(found), self.slo).missing != missing:
                break
        return found

    def _do_all(self, steps: Sequence[Step], users: int, driver: Driver | None = None) -> list[MeasuredStep]:
        return [self._do(step, users, driver) for step in steps]

    def _do(self, step: Step, users: int | None = None, driver: Driver | None = None) -> MeasuredStep:
        """Measures a step, or reads it from the folder; a closed loop has its own number of users."""
        path = self.folder.run_of(step.key)
        if path is None:
            found = self._run(step, step.users or users or 1, driver or self.driver)
        else:
            found = measure(path, step.stage)
        self.measured.append(found)
        return found

    def _run(self, step: Step, users: int, driver: Driver) -> MeasuredStep:
        silent = ""
        while True:
            try:
                path = driver.run(step, users, self.folder.runs)
            except TargetError as error:
                # The error of a server that does not answer before a run says nothing of the steps so far.
                raise TargetError(f"{silent} ({error}): {self._resume()}") if silent else error from error
            found = measure(path, step.stage)
            self.listener.line(describe(found.measurement))
            if _ends_silent(found.measurement) and not silent:
                # A pause of the machine or of a proxy has ended when the step is repeated; a server that is dead or
                # hangs answers nothing then.
                silent = f"the target stopped answering at {found.measurement.load}"
                self.listener.line("  repeating: no request due at the end was successful")
                continue
            # An unusable step is not recorded as completed, so that a resumed sweep repeats it.
            self._refuse_unusable(found.measurement)
            if _ends_silent(found.measurement):
                self.listener.line("  kept: it ended so again after answers: the load is more than the target serves")
            if not _generator_starved(found.measurement) or self._retried >= self.scale.retries:
                break
            self._retried += 1
            self.listener.line("  retrying: the load generator was starved of CPU")
        self.folder.add(step.key, path)
        return found

    def _resume(self) -> str:
        return f"the steps so far are in {self.folder.path}, and --resume continues the sweep"

    def _refuse_unusable(self, measurement: Measurement) -> None:
        resume = self._resume()
        load, outcomes = measurement.load, measurement.outcomes
        if _is_unavailable(measurement):
            raise TargetError(f"the target stopped answering at {load}; start it again: {resume}")
        if not outcomes.get(Outcome.OK, 0):
            if outcomes.get(Outcome.WRONG_ANSWER, 0):
                raise WrongAnswerError(
                    f"every answer at {load} is wrong: the server may serve another model; give the export that it "
                    f"serves with --model-dir: {resume}"
                )
            ended = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items() if count)
            what = "the target"
            if outcomes.get(Outcome.REJECTED, 0):
                what += ", and that --model-dir is the export that it serves"
            raise TargetError(f"no request at {load} was successful ({ended}); check {what}: {resume}")
        if set(measurement.failed) & set(CLIENT_LIMITS):
            raise InconclusiveError(
                f"the load generator was the limit at {load} ({format_number(measurement.client_cpu or 0.0)} cores for "
                f"{format_number(measurement.throughput.center or 0.0)} requests/s), so the server can do more; use a "
                f"faster transport or a quieter machine: {resume}"
            )


def fit_sweep(steps: Sequence[MeasuredStep], options: FitOptions) -> CapacityModel:
    """Fits the model to the ladder and the knee of a sweep, without runs that the server did not sustain.

    Raises:
        InconclusiveError: too little was measured.
    """
    ladder = [step for step in steps if step.measurement.stage is Stage.LADDER]
    knee = [step for step in steps if step.measurement.stage is Stage.KNEE and step.measurement.stable]
    undisturbed = [step for step in knee if not _generator_starved(step.measurement)]
    # Disturbed runs are used only where too few others are left.
    rates = {step.measurement.rate for step in undisturbed}
    if len(undisturbed) >= len(knee) / 2 and len(rates) >= min(MIN_RATES, len(knee)):
        knee = undisturbed
    model = fit_model([step.latencies for step in (*ladder, *knee) if step.latencies.latency.size], options)
    return covering(model, measurements_of(knee))


def _is_unavailable(measurement: Measurement) -> bool:
    """Whether the server was unavailable at the end of a run."""
    return not measurement.alive and bool(measurement.outcomes.get(Outcome.UNAVAILABLE, 0))


def _ends_silent(measurement: Measurement) -> bool:
    """Whether the server was unavailable at the end of a run, or answered before and failed in any other way then."""
    outcomes = measurement.outcomes
    failed = any(outcomes.get(outcome, 0) for outcome in FAILURES)
    return _is_unavailable(measurement) or (not measurement.alive and outcomes.get(Outcome.OK, 0) > 0 and failed)


def _generator_starved(measurement: Measurement) -> bool:
    """Whether the machine disturbed a run at a rate that the server sustained."""
    open_loop = measurement.rate is not None
    return measurement.stable and open_loop and bool(set(measurement.failed) & set(GENERATOR_STARVED))


def describe(measurement: Measurement) -> str:
    """One line about a completed step."""
    rate, raw = measurement.throughput.center or 0.0, measurement.raw
    latency = ", ".join(f"{name} {format_seconds(raw[name])}" for name in ("p50", "p99") if name in raw)
    failed = f", {format_percent(measurement.errors)} failed" if measurement.errors else ""
    invalid = " (INVALID)" if measurement.reasons else ""
    found = f"{format_rate(rate)}, {latency or 'no successful request'}"
    return f"{measurement.stage} {measurement.load}: {found}{failed}{invalid}"
