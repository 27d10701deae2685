"""Replicas, cost, and the plan of a day."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.capacity.measurements.measured_step import Stage
from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.plan.compare_sweeps import cheapest
from bench.capacity.plan.diurnal import plan_diurnal, read_diurnal
from bench.capacity.plan.plan import (
    PlanOptions,
    Redundancy,
    parse_plan,
    plan,
    rates_around,
    simulate_plan,
)
from bench.capacity.plan.replica_validation import (
    ReplicaValidation,
    crossing,
    predict_replicas,
    validate_replicas,
)
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.slo_rate import slo_rate
from bench.capacity.queue.latency_table import COLUMNS, ParameterSet
from bench.capacity.queue.queue_model import QueueModel
from bench.core.errors import InconclusiveError, UsageError
from bench.core.units import format_rate
from bench.stats.estimate import Estimate
from tests.support.exact_queues import exponential_sample
from tests.support.measurements import measurement
from tests.support.plans import SUSTAINED, compared, plan_row, planned


@pytest.fixture(scope="module")
def model() -> CapacityModel:
    """M/M/1 with work of 10 ms, with an uncertainty of 5 % in its capacity."""
    rates = np.array([2.0, 20, 40, 60, 80, 90, 95])
    tails = {"mean": 1.0, "p50": np.log(2), "p90": np.log(10), "p95": np.log(20), "p99": np.log(100)}
    factors = np.array([tails.get(name, np.log(1000)) for name in COLUMNS])

    def table(capacity: float) -> NDArray[Any]:
        room = np.maximum(capacity - rates, 1e-9)
        return np.where(rates[:, None] < capacity, factors / room[:, None], np.inf)

    capacities = np.linspace(97.5, 102.5, 41)
    parameter_set = ParameterSet(QueueModel.independent(1), exponential_sample(0.01, 20_000))
    replicates = np.array([table(capacity) for capacity in capacities])
    return CapacityModel(parameter_set, rates, table(100.0), replicates, capacities, (2.0, 92.0), 0.02)


def test_the_sustained_rate_agrees_with_the_formula(model: CapacityModel) -> None:
    """p99 of M/M/1 is ln 100 / (capacity - rate)."""
    found = model.largest_rate({"p99": 0.25})
    assert found.center == pytest.approx(100 - np.log(100) / 0.25, rel=0.01)
    assert found.lo == pytest.approx(97.7 - np.log(100) / 0.25, rel=0.02)
    assert found.hi == pytest.approx(102.3 - np.log(100) / 0.25, rel=0.02)


def test_n_plus_one_by_the_lower_end_and_headroom(model: CapacityModel) -> None:
    row = plan(model, SUSTAINED, 500.0, PlanOptions(headroom=0.2, price=0.4))
    assert row.needed == 9  # 500 / (75 * 0.8) = 8.3
    assert row.needed_likely == 8  # 500 / (80 * 0.8) = 7.8
    assert row.replicas == 10
    assert row.utilisation == pytest.approx(0.5)
    assert row.utilisation_degraded == pytest.approx(500 / 900)
    assert row.headroom == pytest.approx(1 - 500 / (9 * 80))
    assert row.price == pytest.approx(4.0)
    assert row.price_month == pytest.approx(2920)


@pytest.mark.parametrize(
    ("text", "shown", "total"), [("N+1", "N+1", 5), ("n+2", "N+2", 6), ("2N", "2N", 8), ("N", "N", 4), ("3", "N+3", 7)]
)
def test_redundancy(text: str, shown: str, total: int) -> None:
    found = Redundancy.parse(text)
    assert found.total(4) == total
    assert str(found) == shown


@pytest.mark.parametrize("text", ["", "N+", "half", "0.5N", "-1", "N-1", "nanN"])
def test_malformed_redundancy_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Redundancy.parse(text)


def test_plan_options_out_of_range_are_refused() -> None:
    refused: tuple[dict[str, Any], ...] = (
        {"headroom": 1.0},
        {"headroom": -0.1},
        {"price": -1.0},
        {"price": float("nan")},
    )
    for options in refused:
        with pytest.raises(UsageError):
            PlanOptions(**options)


def test_the_rate_of_a_plan() -> None:
    assert parse_plan("rate=500/s") == parse_plan("500") == parse_plan("rate = 30000/m") == 500.0
    for text in ("users=5", "rate=", "rate=-1"):
        with pytest.raises(UsageError):
            parse_plan(text)
    assert rates_around(100.0)[0] == 25
    assert 100.0 in rates_around(100.0)


def test_an_interval_that_begins_at_0_allows_no_plan(model: CapacityModel) -> None:
    with pytest.raises(InconclusiveError, match="begins at 0"):
        plan(model, Estimate("slo_rate", 80.0, 0.0, 90.0, 0.9, 10), 500.0, PlanOptions())


def test_a_planned_fleet_is_simulated(model: CapacityModel) -> None:
    """Random choice makes replicas M/M/1: p99 = ln 100 / (100 - rate / replicas)."""
    slo = Slo.parse("p99=120ms")
    found = simulate_plan(model, slo, 500.0, 10, "random")
    assert found.latency["p99"] == pytest.approx(np.log(100) / 50, rel=0.06)
    assert not found.broken
    assert simulate_plan(model, slo, 500.0, 7, "random").broken
    assert simulate_plan(model, slo, 500.0, 5, "random").broken == (
        "5 replicas: the capacity by the model is below 500/s",
    )


def test_the_cheapest_sweep() -> None:
    rows = {
        name: compared(name, made)
        for name, made in (
            ("none", None),
            *((str(n), planned(plan_row(n, price))) for n, price in ((4, 2.0), (9, 1.0))),
        )
    }
    assert cheapest(list(rows.values())) is rows["9"]
    unpriced = [compared(str(n), planned(plan_row(n))) for n in (4, 9)]
    assert cheapest(unpriced) is unpriced[0]
    assert cheapest([rows["none"]]) is None


def test_a_fleet_too_large_is_planned_but_not_simulated(model: CapacityModel) -> None:
    found = simulate_plan(model, Slo.parse("p99=1s"), 500.0, 10_001, "random")
    assert (found.latency, found.broken) == ({}, ("no simulation of more than 10,000 replicas",))


def test_a_day(model: CapacityModel, tmp_path: Path) -> None:
    file = tmp_path / "day.csv"
    file.write_text("time,rate\n00:00,50\n08:00,500/s\n20:00,6000/m\n")
    spans = read_diurnal(file)
    assert [(span.start, span.seconds, span.rate) for span in spans] == [
        (0, 8 * 3600, 50),
        (8 * 3600, 12 * 3600, 500),
        (20 * 3600, 4 * 3600, 100),
    ]
    day = plan_diurnal(model, SUSTAINED, spans, PlanOptions(price=1.0))
    replicas = [row.replicas for row in day.rows]
    assert replicas == [2, 10, 3]
    assert day.peak.replicas == 10
    assert day.hours_followed == 2 * 8 + 10 * 12 + 3 * 4
    assert day.hours_fixed == 240
    assert day.price_followed == day.hours_followed


def test_times_of_several_forms(tmp_path: Path) -> None:
    for times in (("6", "7.5"), ("06:00", "07:30:00"), ("2026-01-31T06:00", "2026-01-31T07:30")):
        file = tmp_path / "times.csv"
        file.write_text("time,rate,remark\n" + "".join(f"{time},5,x\n" for time in times))
        first, last = read_diurnal(file)
        assert (first.seconds, last.seconds) == (5400, 86_400 - 5400)


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (
            "06:00",
            "2026-01-31T07:00",
            "'2026-01-31T07:00' is a date and time without an offset from UTC, and '06:00' is",
        ),
        ("2026-01-31T07:00", "12", "'12' is a time of day, and '2026-01-31T07:00' is a date and time without"),
        (
            "2026-01-31T07:00",
            "2026-01-31T08:00Z",
            "'2026-01-31T08:00Z' is a date and time with its offset from UTC, and",
        ),
    ],
)
def test_times_of_several_kinds_in_one_file_are_refused(tmp_path: Path, first: str, second: str, says: str) -> None:
    file = tmp_path / "day.csv"
    file.write_text(f"time,rate\n{first},5\n{second},6\n")
    with pytest.raises(UsageError, match=re.escape(f"day.csv line 3: {says}") + ".*; write all times alike"):
        read_diurnal(file)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock changes in the nights to 2026-03-29 and 2026-10-25."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_day_has_24_hours_in_any_time_zone(tmp_path: Path, day: str) -> None:
    file = tmp_path / "day.csv"
    file.write_text("time,rate\n" + "".join(f"{day}T{hour:02}:00,5\n" for hour in range(24)))
    assert [span.seconds for span in read_diurnal(file)] == [3600.0] * 24


def test_a_time_with_an_offset_is_that_moment(tmp_path: Path) -> None:
    file = tmp_path / "day.csv"
    file.write_text("time,rate\n2026-10-25T02:00+02:00,5\n2026-10-25T02:00+01:00,6\n2026-10-25T03:00Z,7\n")
    assert [span.start for span in read_diurnal(file)] == [0, 3600, 3 * 3600]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "time,rate\n1,5\n",
        "a,b\n1,2\n3,4\n",
        "time,rate\n2,5\n1,5\n",
        "time,rate\n1,x\n2,5\n",
        "time,rate\nx,5\n2,5\n",
    ],
)
def test_malformed_diurnal_files_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"bad\.csv"):
        read_diurnal(file)
    with pytest.raises(UsageError):
        read_diurnal(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f'time,rate\n"{"a" * 300_000}",2\n3,4\n', "cannot be read as text .field larger than field limit"),
        ("time,rate\n1\n2,3\n", "line 2: it has no rate; write one value for each column of the header"),
        ("time,rate\n1,5\n,3\n", "line 3: it has no time; "),
        ("time,rate\n\n1,5\n\n2,x\n", "line 5: 'x' is not a rate; "),
        ("time,rate\n" + "1,5\n" * 300_000, "has over 1,048,576 bytes"),
    ],
)
def test_what_is_wrong_with_a_diurnal_file(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=rf"bad\.csv {says}"):
        read_diurnal(file)


def test_a_device_is_not_a_diurnal_file() -> None:
    with pytest.raises(UsageError, match="/dev/zero is a pipe or a device"):
        read_diurnal(Path("/dev/zero"))


@pytest.mark.parametrize("text", ["1e6", "N+x", "0.5N", "N+10001"])
def test_a_malformed_redundancy_is_quoted_as_given(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Redundancy.parse(text)
    assert str(caught.value) == f"{text!r} is not a redundancy; write it like N+1, N+2, 2N or 0, up to N+10000 or 100N"


def test_two_replicas_by_random_choice_sustain_twice_the_rate(model: CapacityModel) -> None:
    slo = Slo.parse("p99=150ms")
    sustained = model.largest_rate(slo.latency)
    found = predict_replicas(model, slo, sustained, 2, "random", 1)
    assert found.center == pytest.approx(2 * (sustained.center or 0), rel=0.04)
    better = predict_replicas(model, slo, sustained, 2, "least-loaded", 1)
    assert better.center is not None
    assert better.center > (found.center or 0)
    assert better.lo is not None
    assert better.lo < better.center
    assert (found.warnings, better.warnings) == ((), ())


def test_replicas_that_meet_the_objective_at_light_load_only(model: CapacityModel) -> None:
    """By random choice each is M/M/1, whose p99 is within the limit up to capacity - ln 100 / limit.

    The mean is within its own limit at every rate, which is no reason to take the highest.
    """
    slo = Slo.parse("p99=60ms,mean=10s")
    found = predict_replicas(model, slo, model.largest_rate(slo.latency), 2, "random", 1)
    assert found.center == pytest.approx(2 * (100 - np.log(100) / 0.06), rel=0.1)
    assert found.warnings == ()


def test_replicas_that_exceed_a_limit_at_every_simulated_rate(model: CapacityModel) -> None:
    """The tables of the model and its simulation differ by so much here."""
    work = replace(model.parameter_set, work=2 * model.parameter_set.work)
    slo = Slo.parse("p99=60ms")
    sustained = model.largest_rate(slo.latency)
    found = predict_replicas(replace(model, parameter_set=work), slo, sustained, 2, "random", 1)
    assert found.center == pytest.approx(2.0)  # 2 % of the capacity of two replicas
    (warning,) = found.warnings
    assert warning == (
        "the rate that is predicted of 2 replicas, 2/s, is not simulated: already at 2/s the simulation exceeds a "
        "latency limit; measure it"
    )


def test_a_fleet_beyond_the_measured_rates_is_extrapolated(model: CapacityModel) -> None:
    slo = Slo.parse("p99=9s")
    found = predict_replicas(model, slo, model.largest_rate(slo.latency), 2, "least-loaded", 1)
    assert (found.center or 0.0) / 2 > model.valid[1]
    (warning,) = found.warnings
    assert warning.endswith(" for one, above 92/s, the highest rate that the model covers: it is extrapolated")


def test_where_increasing_values_cross_a_limit() -> None:
    assert crossing([1, 2, 3], [1.0, 10.0, 100.0], 10**1.5) == pytest.approx(2.5)
    assert crossing([3, 1, 2], [100.0, 1.0, 10.0], 10**0.5) == pytest.approx(1.5)
    assert crossing([1, 2, 3], [1.0, 0.9, 100.0], 50.0) is not None
    assert crossing([1, 2], [5.0, 6.0], 4.0) is None
    assert crossing([1, 2], [5.0, 6.0], 7.0) is None


def test_the_validation_of_replicas() -> None:
    predicted = Estimate("replicas_slo_rate", 200.0, 190.0, 210.0, 0.9, 100)
    slo = Slo.parse("p99=100ms")
    measurements = [
        measurement(Stage.REPLICAS, rate=rate, p99=p99) for rate, p99 in ((170, 0.05), (190, 0.08), (210, 0.125))
    ]
    found = validate_replicas(predicted, measurements, slo, 2, "random")
    assert found.measured == pytest.approx(200.0, rel=0.01)
    assert found.error == pytest.approx(0.0, abs=0.01)
    assert (
        "exceeded its limit at 170"
        in validate_replicas(predicted, measurements, Slo.parse("p99=1ms"), 2, "random").note
    )
    assert "was met up to 210" in validate_replicas(predicted, measurements, Slo.parse("p99=1s"), 2, "random").note


def test_replicas_that_fail_requests_do_not_sustain_the_rate() -> None:
    """One that is dead fails its share at once, and the latencies are those of the others."""
    predicted = Estimate("replicas_slo_rate", 200.0, 190.0, 210.0, 0.9, 100)
    slo = Slo.parse("p99=100ms,errors=1%")

    def found(*runs: tuple[float, float, float]) -> ReplicaValidation:
        measurements = [measurement(Stage.REPLICAS, rate=rate, p99=p99, errors=errors) for rate, p99, errors in runs]
        return validate_replicas(predicted, measurements, slo, 2, "random")

    dead = found((170, 0.05, 0.5), (190, 0.05, 0.5), (210, 0.05, 0.5))
    assert (dead.measured, dead.note) == (None, "errors 50 % over 1 % at 170/s, the lowest measured rate")
    limited = found((170, 0.05, 0.0), (190, 0.05, 0.0), (210, 0.05, 0.05))
    assert limited.measured == 190
    assert limited.note == "the highest rate that was run below 210/s, where errors 5 % over 1 %"
    # Where a latency crosses its limit before the rate that fails requests, it decides.
    late = found((170, 0.05, 0.0), (190, 0.08, 0.0), (210, 0.125, 0.05))
    assert late.measured == pytest.approx(200.0, rel=0.01)


def test_replicas_of_a_server_that_errors_limit(model: CapacityModel) -> None:
    """The model has no errors: its latencies would allow 80/s."""
    limited = Estimate("slo_rate", 30.0, 25.0, 40.0, 0.9, 100)
    found = predict_replicas(model, Slo.parse("p99=250ms,errors=1%"), limited, 2, "random", 1)
    assert (found.center, found.lo, found.hi) == (60.0, 50.0, 80.0)


class TestObjective:
    def test_measured_rates_on_either_side(self, model: CapacityModel) -> None:
        measurements = [
            measurement(Stage.KNEE, rate=rate, p99=p99) for rate, p99 in ((50, 0.09), (50, 0.1), (80, 0.2), (90, 0.5))
        ]
        found = slo_rate(model, measurements, Slo.parse("p99=250ms"))
        assert found.attainable
        assert (found.highest_passed, found.lowest_failed) == (80, 90)
        assert [entry.runs for entry in found.measured] == [2, 1, 1]

    def test_a_measured_violation_is_outside_the_interval(self, model: CapacityModel) -> None:
        """A plan uses the lower end, so a measured violation overrides the model."""
        limit = Slo.parse("p99=250ms")
        trusted = slo_rate(model, [measurement(Stage.KNEE, rate=90, p99=0.5)], limit).rate
        assert trusted.lo is not None
        assert trusted.lo > 60
        measurements = [measurement(Stage.KNEE, rate=rate, p99=p99) for rate, p99 in ((30, 0.1), (45, 0.3), (60, 0.2))]
        found = slo_rate(model, measurements, limit).rate
        assert (found.center, found.lo) == (trusted.center, 30)
        assert "a run at 45/s violated the objective: it now begins at 30/s" in found.warnings[-1]
        assert slo_rate(model, measurements[1:], limit).rate.lo == 0

    @pytest.mark.parametrize(
        ("runs", "hi", "warned"),
        [
            # Nothing above the highest rate: it may be higher.
            ([(92, 0.5, ())], None, "the true rate may be higher"),
            # A higher run violated the objective: it is not higher than that.
            ([(92, 0.5, ()), (120, 11.0, ("backlog",))], 120, "120/s violated the objective, and the model covers up"),
            # That run was at the load generator's limit, and shows nothing of the server.
            (
                [(92, 0.5, ()), (120, 11.0, ("backlog", "event-loop lag"))],
                None,
                "the load generator was at its limit at 120/s, so what was measured there is left out",
            ),
            ([(92, 0.5, ()), (120, 11.0, ("start delay",)), (120, 11.0, ("backlog", "start delay"))], 120, "120/s vio"),
        ],
    )
    def test_an_open_end_is_the_lowest_rate_that_the_server_did_not_hold(
        self, model: CapacityModel, runs: list[tuple[float, float, tuple[str, ...]]], hi: float | None, warned: str
    ) -> None:
        measurements = [measurement(Stage.KNEE, rate=rate, p99=p99, failed=failed) for rate, p99, failed in runs]
        found = slo_rate(model, measurements, Slo.parse("p99=9s"))
        assert (found.rate.center, found.rate.hi) == (92, hi)
        assert any(warning.startswith(warned) or warning.endswith(warned) for warning in found.rate.warnings)
        assert found.lowest_failed == hi
        higher = any(warning.endswith("may be higher") for warning in found.rate.warnings)
        assert higher == (hi is None)

    def test_a_rate_below_all_runs_has_a_warning(self, model: CapacityModel) -> None:
        limit, runs = Slo.parse("p99=60ms"), [measurement(Stage.KNEE, rate=rate, p99=0.1) for rate in (40, 60)]
        found = slo_rate(model, runs, limit).rate
        assert found.center == pytest.approx(100 - np.log(100) / 0.06, rel=0.05)
        assert found.warnings[0] == (
            f"{format_rate(found.center or 0.0)} is below 40/s, the lowest rate measured in open loop; a sweep with "
            "this objective measures there"
        )
        assert not slo_rate(model, [measurement(Stage.KNEE, rate=20, p99=0.05)], limit).rate.warnings

    def test_errors_limit_a_rate(self, model: CapacityModel) -> None:
        measurements = [
            measurement(Stage.KNEE, rate=rate, errors=errors) for rate, errors in ((50, 0.0), (70, 0.05), (80, 0.2))
        ]
        found = slo_rate(model, measurements, Slo.parse("p99=250ms,errors=1%"))
        assert found.rate.center == 50
        assert found.rate.hi == 70
        assert "limited by errors" in found.rate.warnings[0]

    def test_errors_at_every_rate(self, model: CapacityModel) -> None:
        measurements = [measurement(Stage.KNEE, rate=rate, errors=0.05) for rate in (50, 70)]
        found = slo_rate(model, measurements, Slo.parse("p99=250ms,errors=1%"))
        assert not found.attainable
        assert "up to 5 % of the requests fail" in found.reason

    def test_wrong_answers(self, model: CapacityModel) -> None:
        found = slo_rate(model, [measurement(Stage.LADDER, users=1, wrong=0.01)], Slo.parse("p99=250ms"))
        assert "the answers are wrong" in found.reason
        allowed = slo_rate(model, [measurement(Stage.LADDER, users=1, wrong=0.01)], Slo.parse("p99=250ms,wrong=2%"))
        assert allowed.attainable

    def test_a_server_that_fell_behind_violates_it(self, model: CapacityModel) -> None:
        found = slo_rate(model, [measurement(Stage.KNEE, rate=50, failed=("backlog",))], Slo.parse("p99=1s"))
        assert found.measured[0].broken == ("the server fell behind",)


@pytest.mark.parametrize(
    "word",
    [
        *("nan", "inf", " ", "25:xx", "12:nan", "1:2:3:4", "noon", "2026-13-01", "20260131", "1_0", "-3"),
        *("8785", "12:99", "9999:00"),
    ],
)
def test_a_malformed_time_of_day_is_refused(word: str, tmp_path: Path) -> None:
    file = tmp_path / "day.csv"
    file.write_text(f"time,rate\n0,5\n{word},5\n")
    with pytest.raises(UsageError, match="line 3: .* is not a time; write it like 14:30"):
        read_diurnal(file)
