"""The steps of a sweep: which runs, in which order, how long. Decided from the measurements so far, without I/O.

    ladder    closed loop with 1, 2, 3, 4, 6, 8, ... users, until throughput is flat or latency is far too long. The
              step with one user is repeated while its service times vary too much. The last step has as many users as
              the open loop can have in flight, because a long queue can reduce the throughput of a server.
    knee      open loop at fractions of the sustained throughput, repeated, in random order
    hold-out  open loop at other fractions, run after the fit and not part of it
    confirm   open loop at the rate that the model gives for the objective

The ladder comes first, because a rate above the capacity grows an unbounded backlog and a number of users cannot. It
ends by the rules of SageMaker's inference recommender: throughput is flat, or a latency limit is passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from bench.capacity.measurements.measured_step import Measurement, Stage
from bench.capacity.queue.latency_table import COLUMNS, REFERENCE, Effort
from bench.core.errors import UsageError
from bench.core.seeds import Stream, generator
from bench.core.types import checked_call, checked_fields
from bench.core.units import check_range
from bench.workload.due_times import MOST_USERS, ClosedLoop, Poisson
from bench.workload.workload import MOST_SECONDS

LADDER: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
FLAT: Final = 0.03
"""A step that adds less than this fraction to the best throughput so far is flat."""
FLAT_STEPS: Final = 2
TOO_SLOW: Final = 5.0
"""The ladder ends where a latency exceeds its limit by this factor, even if throughput still grows."""
MOST_RUNS: Final = 10_000
"""Of one kind in a sweep."""
TOO_MANY_ERRORS: Final = 0.2
SINGLE_USER_ERROR: Final = 0.03
"""Largest relative standard error of the mean square of the latencies of one user. Waiting is proportional to that mean
square (Pollaczek and Khinchine), so it has the same relative error."""


@dataclass(frozen=True, slots=True)
@checked_fields
class Scale:
    """Numbers and lengths of the runs of a sweep.

    Args:
        ladder: numbers of users.
        single_user: length of the step with one user, whose latencies are the service times of the model, seconds.
        single_user_runs: largest number of runs of that step, until the error is at most `SINGLE_USER_ERROR`.
        step: length of every other step of the ladder, seconds.
        min_steps: smallest number of steps of the ladder.
        knee: loads of the open-loop runs that the model is fitted to, as fractions of the sustained throughput.
        knee_seconds: length of each, seconds.
        repeats: number of runs at each.
        hold_out: loads of the validation runs.
        hold_out_seconds: length of each, seconds.
        confirm: number of runs at the sustained rate.
        warmup: load before each run, seconds.
        retries: largest number of runs that are repeated because the load generator was starved of CPU.
        settle: time that a run takes beside its load, for the progress bar, seconds.
        replicates: number of resampled ladders in the fit.
        effort: simulation of each parameter set in the fit.
        reference: simulation of the central latency table of the model.
    """

    ladder: tuple[int, ...]
    single_user: float
    single_user_runs: int
    step: float
    min_steps: int
    knee: tuple[float, ...]
    knee_seconds: float
    repeats: int
    hold_out: tuple[float, ...]
    hold_out_seconds: float
    confirm: int
    warmup: float
    retries: int
    settle: float = 1.5
    replicates: int = 100
    effort: Effort = field(default_factory=Effort)
    reference: Effort = REFERENCE

    def __post_init__(self) -> None:
        if not self.ladder:
            raise UsageError("ladder is empty; give numbers of users")
        for users in self.ladder:
            check_range("ladder", users, 1, MOST_USERS)
        for name in ("single_user", "step", "knee_seconds", "hold_out_seconds", "warmup", "settle"):
            check_range(name, getattr(self, name), 0, MOST_SECONDS, "s")
        for name in ("single_user_runs", "min_steps", "repeats", "confirm", "retries", "replicates"):
            check_range(name, getattr(self, name), 0, MOST_RUNS)

    @checked_call
    def adjusted(self, step: float | None = None, knee: float | None = None, max_users: int | None = None) -> Self:
        """The scale with other lengths and a shorter ladder.

        Args:
            step: length of each step of the ladder, seconds; that of one user changes by the same factor.
            knee: length of each open-loop run, seconds.
            max_users: largest number of users of the ladder.

        Raises:
            UsageError: the ladder has fewer than three steps.
        """
        scale = self
        if step is not None:
            scale = replace(scale, step=step, single_user=step * scale.single_user / scale.step)
        if knee is not None:
            scale = replace(scale, knee_seconds=knee, hold_out_seconds=knee)
        if max_users is not None:
            ladder = tuple(count for count in scale.ladder if count <= max_users)
            if len(ladder) < 3:
                raise UsageError(f"a ladder up to {max_users} users has fewer than three steps; give --max-users 4")
            scale = replace(scale, ladder=ladder)
        return scale


FULL: Final = Scale(
    ladder=LADDER,
    single_user=60.0,
    single_user_runs=4,
    step=20.0,
    min_steps=6,
    knee=(0.5, 0.7, 0.8, 0.9),
    knee_seconds=30.0,
    repeats=3,
    hold_out=(0.3, 0.45, 0.6, 0.75, 0.85),
    hold_out_seconds=30.0,
    confirm=2,
    warmup=2.0,
    retries=5,
)
"""About 15 minutes, and up to three more where service times vary widely."""

QUICK: Final = Scale(
    ladder=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    single_user=15.0,
    single_user_runs=1,
    step=6.0,
    min_steps=4,
    knee=(0.55, 0.75, 0.88),
    knee_seconds=10.0,
    repeats=2,
    hold_out=(0.4, 0.8),
    hold_out_seconds=10.0,
    confirm=1,
    warmup=1.0,
    retries=1,
    settle=1.0,
)
"""About 3 minutes."""


@dataclass(frozen=True, slots=True)
class Step:
    """A run to make.

    Args:
        stage: the part of the sweep.
        users: users of a closed loop; None in open loop.
        rate: rate of an open loop, requests/s; None in closed loop.
        seconds: measured time, seconds.
        repeat: index of the repeat.
        seed: random seed.
    """

    stage: Stage
    users: int | None
    rate: float | None
    seconds: float
    repeat: int
    seed: int

    @property
    def arrivals(self) -> ClosedLoop | Poisson:
        """The arrival process."""
        if self.users is not None:
            return ClosedLoop(self.users)
        assert self.rate is not None
        return Poisson(self.rate)

    @property
    def key(self) -> str:
        """Name of the step within its sweep."""
        load = f"{self.users} users" if self.users is not None else f"{self.rate:.6g}/s"
        return f"{self.stage} {load} #{self.repeat}"


def single_user_steps(scale: Scale, seed: int) -> list[Step]:
    """The possible runs with one user, the first step of the ladder."""
    return [
        Step(Stage.LADDER, scale.ladder[0], None, scale.single_user, repeat, seed + 400 + repeat if repeat else seed)
        for repeat in range(scale.single_user_runs)
    ]


def next_ladder_step(
    scale: Scale, measurements: Sequence[Measurement], limits: dict[str, float], seed: int
) -> Step | None:
    """The next step of the ladder after `measurements`; None where it ends.

    Args:
        scale: numbers of users.
        measurements: the runs of the ladder so far, in order.
        limits: latency limits of the objective, seconds, by name.
        seed: seed of the sweep.
    """
    steps = len({m.users for m in measurements})
    if steps >= len(scale.ladder) or (steps >= scale.min_steps and _is_flat(measurements)):
        return None
    if measurements[-1].errors > TOO_MANY_ERRORS or (steps >= 3 and _too_slow(measurements[-1], limits)):
        return None
    return Step(Stage.LADDER, scale.ladder[steps], None, scale.step, 0, seed)


def saturation_step(scale: Scale, measurements: Sequence[Measurement], seed: int) -> Step | None:
    """The last step of the ladder, with as many users as the open-loop pool; None where the ladder is not flat.

    It has fewer users where an answer would take more than a quarter of the step.
    """
    if not _is_flat(measurements) or measurements[-1].errors > TOO_MANY_ERRORS:
        return None
    most = max(m.users or 0 for m in measurements)
    users = min(pool_size(most), int(_rate(measurements[-1]) * scale.step / 4))
    return Step(Stage.LADDER, users, None, scale.step, 0, seed) if users > most else None


def _rate(measurement: Measurement) -> float:
    return measurement.throughput.center or 0.0


def with_most_users(measurements: Sequence[Measurement]) -> Measurement:
    """The measurement with most users."""
    return max(measurements, key=lambda m: m.users or 0)


def _is_flat(measurements: Sequence[Measurement]) -> bool:
    """Whether each of the last steps is flat, compared with the best step before it."""
    rates = [_rate(m) for m in measurements]
    return len(rates) > FLAT_STEPS and all(
        rates[-back] < (1 + FLAT) * max(rates[:-back]) for back in range(1, FLAT_STEPS + 1)
    )


def _too_slow(measurement: Measurement, limits: dict[str, float]) -> bool:
    return any(_at_least(measurement, name) > TOO_SLOW * limit for name, limit in limits.items())


def _at_least(measurement: Measurement, name: str) -> float:
    """A latency, or where the run is too short for it, the highest percentile below it, seconds; 0 without any."""
    names = (name,) if name == "mean" else COLUMNS[1 : COLUMNS.index(name) + 1]
    return max(measurement.latency[column].center or 0.0 for column in names)


def saturated_rate(measurements: Sequence[Measurement]) -> float:
    """Sustained throughput, requests/s: the median of the steps within `FLAT` of the best, or less with most users."""
    rates = np.array([_rate(m) for m in measurements])
    flat = np.median(rates[rates > (1 - FLAT) * rates.max()])
    return float(min(flat, _rate(with_most_users(measurements))))


def lost_at_saturation(measurements: Sequence[Measurement]) -> float:
    """Fraction of the best throughput that is lost with most users."""
    return 1 - _rate(with_most_users(measurements)) / max(map(_rate, measurements))


def knee_steps(scale: Scale, saturated: float, seed: int) -> list[Step]:
    """The open-loop runs that the model is fitted to, in random order, so that drift affects all rates alike."""
    steps = [
        Step(Stage.KNEE, None, _round(load * saturated), scale.knee_seconds, repeat, seed + 1 + repeat)
        for load in scale.knee
        for repeat in range(scale.repeats)
    ]
    order = generator(seed, Stream.ORDER, 1).permutation(len(steps))
    return [steps[index] for index in order]


def hold_out_steps(scale: Scale, saturated: float, seed: int) -> list[Step]:
    """The validation runs, in random order."""
    steps = [
        Step(Stage.HOLD_OUT, None, _round(load * saturated), scale.hold_out_seconds, 0, seed + 101)
        for load in scale.hold_out
    ]
    order = generator(seed, Stream.ORDER, 2).permutation(len(steps))
    return [steps[index] for index in order]


def confirm_steps(scale: Scale, rate: float, seed: int) -> list[Step]:
    """Runs at the rate that the model gives for the objective."""
    rounded = _round(rate)
    return [
        Step(Stage.CONFIRM, None, rounded, scale.hold_out_seconds, repeat, seed + 201 + repeat)
        for repeat in range(scale.confirm)
    ]


REPLICA_LOADS: Final = (0.85, 0.95, 1.05, 1.15)
"""Rates of the runs of several replicas, relative to the predicted rate."""


REPLICA_FURTHER: Final = {"lower": (0.7, 0.55, 0.4, 0.25), "higher": (1.3, 1.5, 1.75, 2.0)}
"""Further rates, where all of `REPLICA_LOADS` are above the measured rate (lower) or below it (higher)."""


def replica_steps(scale: Scale, rate: float, seed: int, loads: Sequence[float] = REPLICA_LOADS) -> list[Step]:
    """Runs of several replicas around the rate that the model predicts for them."""
    repeats = max(scale.repeats - 1, 1)
    return [
        Step(Stage.REPLICAS, None, _round(load * rate), scale.knee_seconds, repeat, seed + 301 + repeat)
        for repeat in range(repeats)
        for load in loads
    ]


def pool_size(users: int) -> int:
    """Size of the open-loop pool, the most requests in flight, after a ladder of up to `users`."""
    return min(max(4 * users, 64), 512)


def expected_seconds(scale: Scale, replicas: int) -> float:
    """Expected length of a sweep whose ladder has eight steps, for the progress bar, seconds."""
    each = scale.warmup + scale.settle
    steps = min(9, len(scale.ladder) + 1) - 1
    open_loop = len(scale.knee) * scale.repeats
    total = scale.single_user + steps * scale.step + open_loop * scale.knee_seconds
    total += len(scale.hold_out) * scale.hold_out_seconds + scale.confirm * scale.hold_out_seconds
    runs = 1 + steps + open_loop + len(scale.hold_out) + scale.confirm
    if replicas > 1:
        more = len(REPLICA_LOADS) * max(scale.repeats - 1, 1)
        total += more * scale.knee_seconds
        runs += more
    return total + runs * each


def _round(rate: float) -> float:
    """Rounds to three digits, so that the rate is easy to name and to request again."""
    return float(f"{rate:.3g}")
