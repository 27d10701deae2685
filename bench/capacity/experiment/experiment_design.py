"""What a sweep runs, in which order, for how long: decided from what was measured so far. Pure.

    ladder    closed loop, 1, 2, 3, 4, 6, 8, ... users, until throughput is flat or a request takes far too long; one
              user several times, if service times vary so much that one run says too little of them; last as many
              users as open loop can have in flight, for a server may do less with a long queue than with a short one
    knee      open loop at shares of the throughput that lasts, repeated, in random order
    hold-out  open loop at other shares, run after the model was fitted and never given to it
    confirm   open loop at the rate that the model gives for the objective

The ladder comes first because a rate above what a server sustains grows an unbounded backlog, which no number of users
can. The rules for its end are those of SageMaker's recommender: throughput flattened, or a latency limit passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.capacity.measurements.measured_step import Measurement, Stage
from bench.core.seeds import Stream, generator
from bench.workload.schedules import ClosedLoop, Poisson

LADDER: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
FLAT: Final = 0.03
"""A step that adds less than this share to the best throughput so far adds nothing."""
FLAT_STEPS: Final = 2
TOO_SLOW: Final = 5.0
"""The ladder ends where a latency passed its limit this many times over, throughput flat or not."""
TOO_MANY_ERRORS: Final = 0.2
SINGLE_USER_ERROR: Final = 0.03
"""Relative standard error of the mean square of one user's latencies that is small enough: waiting grows with that mean
(Pollaczek and Khinchine), so that it errs as much."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How long everything takes.

    Args:
        ladder: numbers of users.
        single_user: seconds of the step with one user, whose latencies are the model's service times.
        single_user_runs: how often that is run at most, until the latencies are known to `SINGLE_USER_ERROR`.
        step: seconds of every other step of the ladder.
        least_steps: steps that the ladder has at least.
        knee: loads of the open-loop runs that the model is fitted to.
        knee_seconds: of each.
        repeats: of each.
        hold_out: loads of the runs that the model is held to.
        hold_out_seconds: of each.
        confirm: runs at the rate of the objective.
        warmup: seconds of load before each run.
        retries: how many runs in all are made again because the load generator was starved of CPU in them.
        settle: seconds that a run takes beside its load, for the progress bar.
    """

    ladder: tuple[int, ...]
    single_user: float
    single_user_runs: int
    step: float
    least_steps: int
    knee: tuple[float, ...]
    knee_seconds: float
    repeats: int
    hold_out: tuple[float, ...]
    hold_out_seconds: float
    confirm: int
    warmup: float
    retries: int
    settle: float = 1.5


FULL: Final = Scale(
    ladder=LADDER,
    single_user=60.0,
    single_user_runs=4,
    step=20.0,
    least_steps=6,
    knee=(0.5, 0.7, 0.8, 0.9),
    knee_seconds=30.0,
    repeats=3,
    hold_out=(0.3, 0.45, 0.6, 0.75, 0.85),
    hold_out_seconds=30.0,
    confirm=2,
    warmup=2.0,
    retries=5,
)
"""About 15 minutes, up to three more where service times vary widely."""

QUICK: Final = Scale(
    ladder=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    single_user=15.0,
    single_user_runs=1,
    step=6.0,
    least_steps=4,
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
    """One run to come.

    Args:
        stage: which part of the sweep it belongs to.
        users: users of a closed loop; None in open loop.
        rate: requests a second in open loop; None in closed loop.
        seconds: measured time.
        repeat: index of the repeat.
        seed: of everything that is drawn.
    """

    stage: Stage
    users: int | None
    rate: float | None
    seconds: float
    repeat: int
    seed: int

    @property
    def arrivals(self) -> ClosedLoop | Poisson:
        """When requests are due."""
        if self.users is not None:
            return ClosedLoop(self.users)
        assert self.rate is not None
        return Poisson(self.rate)

    @property
    def key(self) -> str:
        """Names the step within its sweep."""
        load = f"{self.users} users" if self.users is not None else f"{self.rate:.6g}/s"
        return f"{self.stage} {load} #{self.repeat}"


def single_user_steps(scale: Scale, seed: int) -> list[Step]:
    """The runs with one user, the ladder's first step; all but the first only where they are needed."""
    return [
        Step(Stage.LADDER, scale.ladder[0], None, scale.single_user, repeat, seed + 400 + repeat if repeat else seed)
        for repeat in range(scale.single_user_runs)
    ]


def next_ladder_step(
    scale: Scale, measurements: Sequence[Measurement], limits: dict[str, float], seed: int
) -> Step | None:
    """The ladder's next step after `measurements`; None where it ends.

    Args:
        scale: numbers of users.
        measurements: the ladder's runs so far, in order, `single_user_steps` first.
        limits: the objective's latencies, seconds by column.
        seed: of the sweep.
    """
    steps = len({m.users for m in measurements})
    if steps >= len(scale.ladder) or (steps >= scale.least_steps and _is_flat(measurements)):
        return None
    if measurements[-1].errors > TOO_MANY_ERRORS or (steps >= 3 and _too_slow(measurements[-1], limits)):
        return None
    return Step(Stage.LADDER, scale.ladder[steps], None, scale.step, 0, seed)


def saturation_step(scale: Scale, measurements: Sequence[Measurement], seed: int) -> Step | None:
    """The ladder's last step: the pool of the open loop, all in flight; None where the ladder did not end flat.

    Fewer where so many would take more than a quarter of the step for one answer.
    """
    if not _is_flat(measurements) or measurements[-1].errors > TOO_MANY_ERRORS:
        return None
    most = max(m.users or 0 for m in measurements)
    users = min(pool_size(most), int(_rate(measurements[-1]) * scale.step / 4))
    return Step(Stage.LADDER, users, None, scale.step, 0, seed) if users > most else None


def _rate(measurement: Measurement) -> float:
    return measurement.throughput.center or 0.0


def _is_flat(measurements: Sequence[Measurement]) -> bool:
    """Whether each of the last steps added next to nothing to the best before it."""
    rates = [_rate(m) for m in measurements]
    return all(rates[-back] < (1 + FLAT) * max(rates[:-back]) for back in range(1, FLAT_STEPS + 1))


def _too_slow(measurement: Measurement, limits: dict[str, float]) -> bool:
    return any((measurement.latency[name].center or 0.0) > TOO_SLOW * limit for name, limit in limits.items())


def saturated_rate(measurements: Sequence[Measurement]) -> float:
    """Throughput that lasts, requests a second: what the ladder's flat end has, or less if most users get less.

    The flat end is the median of the steps within `FLAT` of the best.
    """
    rates = np.array([_rate(m) for m in measurements])
    flat = np.median(rates[rates > (1 - FLAT) * rates.max()])
    return float(min(flat, _rate(max(measurements, key=lambda m: m.users or 0))))


def lost_at_saturation(measurements: Sequence[Measurement]) -> float:
    """Share of the ladder's best throughput that is lost with most users."""
    return 1 - _rate(max(measurements, key=lambda m: m.users or 0)) / max(map(_rate, measurements))


def knee_steps(scale: Scale, saturated: float, seed: int) -> list[Step]:
    """The open-loop runs that the model is fitted to, in random order, so that drift meets all rates alike."""
    steps = [
        Step(Stage.KNEE, None, _round(load * saturated), scale.knee_seconds, repeat, seed + 1 + repeat)
        for load in scale.knee
        for repeat in range(scale.repeats)
    ]
    order = generator(seed, Stream.ORDER, 1).permutation(len(steps))
    return [steps[index] for index in order]


def hold_out_steps(scale: Scale, saturated: float, seed: int) -> list[Step]:
    """The runs that the model is held to, in random order."""
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
"""Rates of the replicas' runs over the predicted one."""


REPLICA_FURTHER: Final = {"lower": (0.7, 0.55, 0.4, 0.25), "higher": (1.3, 1.5, 1.75, 2.0)}
"""The same where those were all above the measured one, or all below it; one after the other, until they are not."""


def replica_steps(scale: Scale, rate: float, seed: int, loads: Sequence[float] = REPLICA_LOADS) -> list[Step]:
    """Runs of several replicas around the rate that the model predicts for them."""
    repeats = max(scale.repeats - 1, 1)
    return [
        Step(Stage.REPLICAS, None, _round(load * rate), scale.knee_seconds, repeat, seed + 301 + repeat)
        for repeat in range(repeats)
        for load in loads
    ]


def pool_size(users: int) -> int:
    """Users of the open-loop pool, the most in flight, after a ladder that went up to `users`."""
    return min(max(4 * users, 64), 512)


def expected_seconds(scale: Scale, replicas: int) -> float:
    """About how long a whole sweep takes, for the progress bar; the ladder is taken to have eight steps."""
    each = scale.warmup + scale.settle
    steps = min(9, len(scale.ladder) + 1) - 1
    opened = len(scale.knee) * scale.repeats
    total = scale.single_user + steps * scale.step + opened * scale.knee_seconds
    total += len(scale.hold_out) * scale.hold_out_seconds + scale.confirm * scale.hold_out_seconds
    runs = 1 + steps + opened + len(scale.hold_out) + scale.confirm
    if replicas > 1:
        more = len(REPLICA_LOADS) * max(scale.repeats - 1, 1)
        total += more * scale.knee_seconds
        runs += more
    return total + runs * each


def _round(rate: float) -> float:
    """Three digits: a rate that is easy to name and to ask for again."""
    return float(f"{rate:.3g}")
