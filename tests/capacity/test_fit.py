"""Models fitted to simulated runs of a known queue, compared with that queue."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.capacity.measurements.run_latencies import Repeats, RunLatencies, grouped
from bench.capacity.model.bootstrap import ladder_of
from bench.capacity.model.capacity_model import CapacityModel, OutsideRange
from bench.capacity.model.fit import FitOptions, fit_model
from bench.capacity.queue.latency_table import COLUMNS, Effort, ParameterSet, latency_tables
from bench.capacity.queue.queue_model import QueueModel
from bench.core.errors import InconclusiveError
from tests.support.known_sweeps import KnownServer
from tests.support.queue_server import service_times

pytestmark = pytest.mark.long(100)

FAST = FitOptions(
    replicates=30, effort=Effort(requests=2500, queues=2), reference=Effort(requests=5000, queues=60, seed=1), seed=1
)


def steps(server: KnownServer, seconds: float = 12.0) -> list[RunLatencies]:
    capacity = server.servers / server.mean
    runs = [server.measure_closed_loop(users, seconds * (2 if users == 1 else 1)) for users in (1, 2, 4, 6, 8, 12)]
    return runs + [
        server.measure_open_loop(load * capacity, seconds) for load in (0.5, 0.7, 0.8, 0.9) for _ in range(2)
    ]


def truth(server: KnownServer, rates: list[float]) -> NDArray[Any]:
    work = np.sort(service_times(server.mean, server.cv, 200_000, np.random.default_rng(77)))
    queue_model = QueueModel.independent(server.servers, server.overhead)
    parameter_set = ParameterSet(queue_model, work * server.mean / work.mean())
    return latency_tables([parameter_set], rates, Effort(10_000, 60, 9))[0]  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=[(1, 0.3), (4, 1.2)], ids=["one server", "four servers"])
def fitted(request: pytest.FixtureRequest) -> tuple[KnownServer, CapacityModel]:
    servers, cv = request.param
    server = KnownServer(servers, 0.005 * (1 + servers / 4), cv, 0.0004, seed=3)
    return server, fit_model(steps(server), FAST)


def test_percentiles_at_rates_outside_the_fit(fitted: tuple[KnownServer, CapacityModel]) -> None:
    server, model = fitted
    capacity = server.servers / server.mean
    rates = [load * capacity for load in (0.3, 0.45, 0.6, 0.75, 0.85)]
    exact = truth(server, rates)
    errors, inside = [], []
    for rate, row in zip(rates, exact, strict=True):
        latency = model.predict(rate).latency
        for name in ("p50", "p95", "p99"):
            value, summary = row[COLUMNS.index(name)], latency[name]
            assert summary.center is not None
            assert summary.lo is not None
            assert summary.hi is not None
            errors.append(abs(summary.center / value - 1))
            inside.append(summary.lo <= value <= summary.hi)
    assert np.median(errors) < 0.10
    assert np.mean(inside) >= 0.6


def test_capacity_and_sustained_rate(fitted: tuple[KnownServer, CapacityModel]) -> None:
    server, model = fitted
    capacity = server.servers / server.mean
    assert model.capacity.center == pytest.approx(capacity, rel=0.04)
    limit = float(truth(server, [0.75 * capacity])[0][COLUMNS.index("p99")])
    found = model.largest_rate({"p99": limit})
    assert found.center == pytest.approx(0.75 * capacity, rel=0.07)
    assert found.lo is not None
    assert found.hi is not None
    assert found.lo <= found.center <= found.hi


def test_limits_that_no_rate_and_every_rate_meets(fitted: tuple[KnownServer, CapacityModel]) -> None:
    _, model = fitted
    assert model.largest_rate({"p99": 1e-5}).center == 0
    all_of_it = model.largest_rate({"p99": 100.0})
    assert all_of_it.center == pytest.approx(model.valid[1])
    assert all_of_it.lo == all_of_it.center
    assert all_of_it.hi is None, "no higher rate was measured"
    assert all_of_it.warnings


def test_extrapolation_must_be_requested(fitted: tuple[KnownServer, CapacityModel]) -> None:
    _, model = fitted
    with pytest.raises(OutsideRange, match=r"the rates that the model covers; measure at that rate"):
        model.predict(model.valid[1] * 1.02)
    asked = model.predict(model.valid[1] * 1.02, extrapolate=True)
    assert asked.extrapolated
    assert not model.predict(model.valid[1]).extrapolated


def test_latency_is_absent_above_the_capacity(fitted: tuple[KnownServer, CapacityModel]) -> None:
    _, model = fitted
    found = model.predict(1.2 * model.parameter_set.capacity, extrapolate=True)
    assert found.latency["p50"].center is None
    assert found.utilisation == pytest.approx(1.2)


def test_the_same_seed_gives_the_same_model() -> None:
    server = KnownServer(1, 0.01, 0.5, seed=5)
    runs = steps(server, 4.0)
    small = FitOptions(10, Effort(800, 2), Effort(1000, 10, 1), seed=2)
    one, other = fit_model(runs, small), fit_model(runs, small)
    np.testing.assert_array_equal(one.replicates, other.replicates)


def test_drift_widens_intervals() -> None:
    """Open-loop runs that are each 15 % slower or faster than the ladder: the intervals show it."""
    calm, rough = KnownServer(1, 0.01, 0.5, seed=6), KnownServer(1, 0.01, 0.5, seed=6)
    steady = steps(calm, 6.0)
    drifting = [run for run in steps(rough, 6.0) if run.users is not None]
    for index in range(8):
        rough.mean = 0.01 * (1.15 if index % 2 else 0.87)
        drifting.append(rough.measure_open_loop(70.0, 6.0))
    small = FitOptions(20, Effort(1500, 2), Effort(3000, 20, 1), seed=2)
    width = [
        np.ptp(np.quantile(fit_model(runs, small).replicates[:, 4, 1], [0.05, 0.95])) for runs in (steady, drifting)
    ]
    assert width[1] > 2 * width[0]


def errors_of(model: CapacityModel, server: KnownServer) -> list[float]:
    """Relative errors of percentiles at rates outside the fit, compared with long runs."""
    found = []
    for load in (0.3, 0.45, 0.6, 0.75):
        rate = load * server.servers / server.mean
        columns = server.measure_open_loop(rate, 300.0).columns()
        latency = model.predict(rate).latency
        found += [
            abs((latency[name].center or 0.0) / columns[COLUMNS.index(name)] - 1) for name in ("p50", "p95", "p99")
        ]
    return found


def test_a_server_that_is_slow_after_idle_times_has_a_speed_factor() -> None:
    """Its open-loop requests take longer than the closed loop implies, where the server is never idle."""
    waking = KnownServer(2, 0.008, 0.5, seed=11, cold=1.0)
    model = fit_model(steps(waking), FAST)
    assert model.parameter_set.queue_model.speed_factor < 1 / 1.1
    assert np.median(errors_of(model, waking)) < 0.12
    steady = KnownServer(2, 0.008, 0.5, seed=11)
    assert fit_model(steps(steady), FAST).parameter_set.queue_model.speed_factor == pytest.approx(1.0, abs=0.05)


def test_run_to_run_variation_adds_little_error() -> None:
    """Close to saturation, a machine that is 5 % slower doubles latencies; such a run carries little information."""
    wandering = KnownServer(2, 0.008, 0.5, seed=12, run_to_run_variation=0.05)
    model = fit_model(steps(wandering), FAST)
    steady = KnownServer(2, 0.008, 0.5, seed=13)
    assert np.median(errors_of(model, steady)) < 0.12
    assert model.discrepancy < 0.3


def test_a_fit_needs_a_ladder_and_open_loop_runs() -> None:
    server = KnownServer(1, 0.01, 0.5, seed=7)
    closed = [server.measure_closed_loop(users, 2.0) for users in (1, 2, 4)]
    opened = server.measure_open_loop(50.0, 2.0)
    with pytest.raises(InconclusiveError, match="ladder"):
        fit_model([*closed[1:], opened])
    with pytest.raises(InconclusiveError, match="open-loop"):
        fit_model(closed)


def test_steps_are_grouped() -> None:
    server = KnownServer(seed=8)
    runs = [server.measure_closed_loop(2, 1.0), server.measure_closed_loop(1, 1.0), server.measure_closed_loop(2, 1.0)]
    found = grouped(runs)
    assert [(step.users, len(step.runs)) for step in found] == [(1, 1), (2, 2)]


def test_throughput_counts_answers_within_the_measured_time() -> None:
    server = KnownServer(2, 0.01, 0.3, 0.0, seed=9)
    step = Repeats((server.measure_closed_loop(8, 10.0),))
    assert step.throughput() == pytest.approx(200.0, rel=0.03)
    resampled = [step.throughput(np.random.default_rng(seed)) for seed in range(200)]
    assert np.std(resampled) / 200 == pytest.approx(step.throughput_error(), rel=0.4)


def test_the_error_of_the_mean_square() -> None:
    server = KnownServer(1, 0.01, 1.0, 0.0, seed=10)
    runs = [Repeats((server.measure_closed_loop(1, 10.0),)) for _ in range(60)]
    squares = np.array([np.mean(run.latencies() ** 2) for run in runs])
    assert np.median([run.square_error() for run in runs]) == pytest.approx(squares.std() / squares.mean(), rel=0.35)
    assert Repeats((server.measure_closed_loop(1, 0.001),)).square_error() == np.inf


def test_a_step_with_few_requests_is_resampled_to_some() -> None:
    """Two requests in twenty parts of the time: one resample in eight would have none."""
    nothing = np.empty(0)
    step = RunLatencies(2, None, 0.0, 1.0, np.array([0.1, 0.8]), np.array([0.01, 0.01]), np.array([0.11, 0.81]))
    resampled = [Repeats((step,)).throughput(np.random.default_rng(seed)) for seed in range(200)]
    assert min(resampled) > 0
    assert Repeats((RunLatencies(2, None, 0.0, 1.0, nothing, nothing, nothing),)).throughput() == 0
    single = KnownServer(1, 0.01, 0.5, seed=7).measure_closed_loop(1, 2.0)
    empty = RunLatencies(4, None, 0.0, 1.0, nothing, nothing, nothing)
    with pytest.raises(InconclusiveError, match="4 users had no successful request; measure longer"):
        ladder_of([Repeats((single,)), Repeats((step,)), Repeats((empty,))], np.random.default_rng(0))
