"""The next step of a sweep, decided from the measurements."""

from dataclasses import replace

import pytest

from bench.capacity.experiment.experiment_design import (
    FULL,
    LADDER,
    QUICK,
    Scale,
    Step,
    confirm_steps,
    expected_seconds,
    hold_out_steps,
    knee_steps,
    lost_at_saturation,
    next_ladder_step,
    pool_size,
    replica_steps,
    saturated_rate,
    saturation_step,
    single_user_steps,
)
from bench.capacity.measurements.measured_step import Measurement, Stage
from bench.core.errors import UsageError
from bench.stats.estimate import Estimate
from bench.workload.arrivals import ClosedLoop, Poisson
from tests.support.measurements import measurement as any_measurement


def measurement(users: int, rate: float, p99: float = 0.05, errors: float = 0.0) -> Measurement:
    return any_measurement(Stage.LADDER, users=users, throughput=rate, p99=p99, errors=errors)


def climb(rates: list[float], scale: Scale = FULL, **limits: float) -> list[int]:
    """Numbers of users of a ladder with these throughputs."""
    measurements = [measurement(1, rates[0])]
    for rate in rates[1:]:
        step = next_ladder_step(scale, measurements, limits, 1)
        if step is None:
            break
        assert step.users is not None
        measurements.append(measurement(step.users, rate))
    return [entry.users or 0 for entry in measurements]


def test_a_ladder_ends_two_flat_steps_after_the_knee() -> None:
    assert climb([100, 200, 300, 400, 402, 405, 404, 403]) == [1, 2, 3, 4, 6, 8]


def test_a_ladder_has_its_minimum_number_of_steps() -> None:
    assert climb([100.0] * 12) == [1, 2, 3, 4, 6, 8]
    assert climb([100.0] * 12, QUICK) == [1, 2, 4, 8]


def test_a_ladder_that_only_grows_goes_to_its_end() -> None:
    assert climb([100.0 * 1.2**step for step in range(30)]) == list(LADDER)


def test_one_flat_step_does_not_end_a_ladder() -> None:
    """A random dip in the middle of the ladder does not end it."""
    assert len(climb([100, 180, 240, 300, 303, 420, 500, 505, 506])) == 9


def test_a_latency_far_over_its_limit_ends_a_ladder() -> None:
    measurements = [measurement(1, 100), measurement(2, 200), measurement(3, 300, p99=1.3)]
    assert next_ladder_step(FULL, measurements, {"p99": 0.25}, 1) is None
    assert next_ladder_step(FULL, measurements, {"p99": 0.3}, 1) is not None


def test_a_latency_far_over_its_limit_ends_the_ladder_of_a_slow_server_too() -> None:
    """With few requests in a step there is no p99, and it is at least the p95."""
    slow = measurement(3, 3.4, p99=2.6)
    slow = replace(slow, latency={**slow.latency, "p99": Estimate.absent("p99", "too few requests")})
    measurements = [measurement(1, 1), measurement(2, 2), slow]
    assert next_ladder_step(FULL, measurements, {"p99": 0.25}, 1) is None
    assert next_ladder_step(FULL, measurements, {"p99": 0.3}, 1) is not None


def test_errors_end_a_ladder() -> None:
    assert next_ladder_step(FULL, [measurement(1, 100), measurement(2, 100, errors=0.3)], {}, 1) is None


def test_the_first_step_is_the_longest_and_may_be_repeated() -> None:
    first, *more = single_user_steps(FULL, 1)
    assert (first.users, first.seconds, first.arrivals) == (1, FULL.single_user, ClosedLoop(1))
    assert [step.key for step in more] == [f"ladder 1 users #{repeat}" for repeat in (1, 2, 3)]
    assert len({step.seed for step in (first, *more)}) == 4
    assert len(single_user_steps(QUICK, 1)) == 1


def test_runs_of_one_user_are_one_step_of_the_ladder() -> None:
    expected = Step(Stage.LADDER, 2, None, FULL.step, 0, 1)
    assert next_ladder_step(FULL, [measurement(1, 100)] * 4, {"p99": 0.001}, 1) == expected


def test_saturation_is_the_median_of_the_flat_end() -> None:
    assert saturated_rate([measurement(1, 100), measurement(2, 196), measurement(3, 202), measurement(4, 199)]) == 199


def test_saturation_is_the_throughput_with_most_users_if_lower() -> None:
    measurements = [
        measurement(1, 100),
        measurement(2, 196),
        measurement(4, 204),
        measurement(8, 199),
        measurement(64, 150),
    ]
    assert saturated_rate(measurements) == 150
    assert lost_at_saturation(measurements) == pytest.approx(1 - 150 / 204)
    assert lost_at_saturation(measurements[:3]) == 0


def test_a_flat_ladder_ends_with_the_users_of_the_open_loop_pool() -> None:
    flat = [measurement(users, rate) for users, rate in ((1, 100), (2, 200), (3, 201), (4, 200))]
    assert saturation_step(FULL, flat, 1) == Step(Stage.LADDER, 64, None, FULL.step, 0, 1)
    assert saturation_step(FULL, flat[:3], 1) is None
    assert saturation_step(FULL, [*flat, measurement(6, 200, errors=0.3)], 1) is None


@pytest.mark.parametrize("steps", [1, 2])
def test_a_ladder_that_errors_end_early_is_not_flat(steps: int) -> None:
    ladder = [measurement(users, 100, errors=0.3) for users in range(1, steps + 1)]
    assert next_ladder_step(FULL, ladder, {}, 1) is None
    assert saturation_step(FULL, ladder, 1) is None


def test_a_slow_server_gets_no_more_users_than_it_answers_within_the_step() -> None:
    slow = [measurement(users, rate) for users, rate in ((1, 2), (2, 4), (3, 4), (4, 4))]
    step = saturation_step(FULL, slow, 1)
    assert step is not None
    assert step.users == 4 * FULL.step / 4
    assert saturation_step(replace(FULL, step=3.0), slow, 1) is None


def test_knee_and_hold_out_rates_differ_and_come_in_random_order() -> None:
    knee, hold_out = knee_steps(FULL, 200.0, 5), hold_out_steps(FULL, 200.0, 5)
    assert len(knee) == 12
    assert sorted({step.rate for step in knee}) == [100, 140, 160, 180]
    assert not {step.rate for step in knee} & {step.rate for step in hold_out}
    assert [step.rate for step in knee] != sorted(step.rate or 0 for step in knee)
    assert len({(step.rate, step.seed) for step in knee}) == 12
    assert not {step.seed for step in knee} & {step.seed for step in hold_out}
    assert knee_steps(FULL, 200.0, 5) == knee
    assert len({step.key for step in (*knee, *hold_out)}) == 17


def test_every_step_has_a_key_and_arrivals() -> None:
    (step, *_) = confirm_steps(FULL, 123.456, 0)
    assert step.rate == 123
    assert step.arrivals == Poisson(123.0)
    assert step.key == "confirm 123/s #0"
    assert [step.rate for step in replica_steps(QUICK, 100.0, 0)] == [85, 95, 105, 115]


def test_the_pool_has_room() -> None:
    assert [pool_size(users) for users in (4, 32, 256)] == [64, 128, 512]


@pytest.mark.parametrize(("scale", "least", "most"), [(QUICK, 120, 200), (FULL, 700, 1200)])
def test_quick_takes_three_minutes_and_full_a_quarter_of_an_hour(scale: Scale, least: float, most: float) -> None:
    assert least < expected_seconds(scale, 1) < most
    assert expected_seconds(scale, 2) > expected_seconds(scale, 1)
    assert expected_seconds(replace(scale, step=1.0), 1) < expected_seconds(scale, 1)


def test_a_scale_with_other_lengths_and_a_shorter_ladder() -> None:
    found = FULL.adjusted(step=10.0, knee=5.0, max_users=4)
    assert (found.step, found.single_user, found.ladder) == (10.0, FULL.single_user / 2, (1, 2, 3, 4))
    assert (found.knee_seconds, found.hold_out_seconds) == (5.0, 5.0)
    assert FULL.adjusted() == FULL
    with pytest.raises(UsageError, match="a ladder up to 2 users has fewer than three steps; give --max-users 4"):
        FULL.adjusted(max_users=2)
