"""What-if simulations of a fleet with incidents."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.capacity.plan.diurnal import Span
from bench.capacity.plan.fleet import Fleet
from bench.capacity.plan.incidents import Failure, Slow
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.what_if import (
    WINDOWS,
    constant_profile,
    day_profile,
    draw_arrivals,
    draw_day,
    highest_share,
    run_fleet,
)
from bench.capacity.queue.latency_table import ParameterSet
from bench.capacity.queue.queue_model import QueueModel
from bench.capacity.report.plots import fleet as plot_fleet

CONSTANT = ParameterSet(QueueModel.independent(1), np.full(1, 0.01))
LIMIT = Slo.parse("p99=200ms")


def test_a_failure_shows_as_losses_in_its_window() -> None:
    arrivals = draw_arrivals(100.0, 60.0, 1)
    view = run_fleet(
        Fleet(CONSTANT, 2, "random", (Failure(0, 30.0, 40.0, 1.0),)), arrivals, 60.0, Slo.parse("p99=100ms"), 1
    )
    assert view.times.size == WINDOWS
    assert 30 <= view.times[view.lost_fraction.argmax()] <= 31
    assert view.lost == pytest.approx(0.5 / 60, rel=0.4)
    assert view.latency["p50"] < 0.03
    assert view.replica_hours == pytest.approx((60 * 2 - 10) / 3600, rel=0.01)


@pytest.mark.parametrize("replicas", [1, 3])
def test_the_axis_of_replicas_has_whole_numbers(replicas: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("bench.report.plots.save", lambda figure, *_: shown.append(figure))
    view = run_fleet(Fleet(CONSTANT, replicas, "random"), draw_arrivals(10.0, 30.0, 1), 30.0, LIMIT, 1)
    plot_fleet([view], LIMIT.latency, tmp_path / "fleet.png")
    (figure,) = shown
    (axes,) = [axes for axes in figure.axes if axes.get_ylabel() == "replicas"]
    ticks = axes.get_yticks()
    assert ticks.size > 1
    np.testing.assert_array_equal(ticks, ticks.round())


def test_a_slow_replica_is_over_the_limit_until_it_recovers() -> None:
    arrivals = draw_arrivals(100.0, 60.0, 2)
    slow = (Slow(0, 4.0, 20.0, 25.0),)
    view = run_fleet(Fleet(CONSTANT, 2, "round-robin", slow), arrivals, 60.0, LIMIT, 1)
    assert view.worst > 0.2
    assert 4 <= view.violated <= 20
    calm = run_fleet(Fleet(CONSTANT, 2, "round-robin"), arrivals, 60.0, LIMIT, 1)
    assert calm.violated == 0
    assert calm.lost == 0


def test_time_without_requests_between_two_incidents_violates_nothing() -> None:
    arrivals = draw_arrivals(100.0, 60.0, 2)
    arrivals = arrivals[(arrivals < 26) | (arrivals > 32)]
    twice = (Slow(0, 4.0, 5.0, 8.0), Slow(0, 4.0, 50.0, 53.0))
    view = run_fleet(Fleet(CONSTANT, 2, "round-robin", twice), arrivals, 60.0, LIMIT, 1)
    over = view.times[view.p99 > 0.2]
    assert over[0] < 10
    assert over[-1] > 50
    assert view.violated == over.size < 20


@pytest.mark.parametrize(
    ("slo", "violated"),
    [
        # Latencies: 10 ms without waiting, which half of the requests do at this load; p99 50 ms.
        ("p50=9ms,p99=2s", 60.0),
        ("mean=12ms,p99=2s", 60.0),
        ("p50=30ms", 0.0),
        ("p50=30ms,p99=500ms,errors=60%", 0.0),
        # Half of the requests of 3 windows of 1 s are lost.
        ("p99=1s,errors=0", 3.0),
        ("p99=1s,errors=20%", 3.0),
        ("p99=1s,errors=90%", 0.0),
        ("p99=1s", 0.0),
        ("p99=1s,errors=0,wrong=0", 3.0),
    ],
)
def test_each_window_is_held_against_every_limit(slo: str, violated: float) -> None:
    arrivals = draw_arrivals(100.0, 60.0, 4)
    crash = (Failure(0, 30.0, 33.0, 5.0),)
    view = run_fleet(Fleet(CONSTANT, 2, "random", crash), arrivals, 60.0, Slo.parse(slo), 1)
    assert view.lost == pytest.approx(0.5 / 20, rel=0.4)
    assert view.violated == view.violates.sum() == violated


def test_a_window_whose_requests_are_all_lost_violates_any_objective() -> None:
    arrivals = draw_arrivals(100.0, 60.0, 4)
    view = run_fleet(Fleet(CONSTANT, 1, "random", (Failure(0, 30.0),)), arrivals, 60.0, Slo.parse("p99=9s"), 1)
    assert view.violates.tolist() == [False] * 30 + [True] * 30


def test_the_highest_rate_of_one_replica() -> None:
    constant = constant_profile(60.0, 60.0)
    arrivals = draw_arrivals(60.0, 60.0, 1)
    day = day_profile((Span("0", 0.0, 43_200.0, 10.0), Span("12", 43_200.0, 43_200.0, 30.0)), 60.0, 60.0)
    for incidents, steady, varying in (
        ((), 20.0, 20.0),
        # Noticed from 11 s to 21 s, while the day asks for 20/s of two.
        ((Failure(0, 10.0, 20.0, 1.0),), 30.0, 20.0),
        ((Failure(0, 10.0, 40.0, 1.0),), 30.0, 30.0),
        # None is left from 11 s on.
        (tuple(Failure(replica, 10.0) for replica in range(3)), 20.0, 20 / 3),
    ):
        view = run_fleet(Fleet(CONSTANT, 3, "random", incidents), arrivals, 60.0, LIMIT, 1)
        assert highest_share(constant, view) == pytest.approx(steady)
        assert highest_share(day, view) == pytest.approx(varying)


def test_a_day_is_scaled_to_the_simulated_time() -> None:
    spans = (Span("0", 0.0, 43_200.0, 10.0), Span("12", 43_200.0, 43_200.0, 30.0))
    arrivals = draw_day(day_profile(spans, 90.0, 100.0), 3)
    assert np.all(np.diff(arrivals) >= 0)
    assert (arrivals < 50).sum() == pytest.approx(30 * 50, rel=0.1)
    assert (arrivals >= 50).sum() == pytest.approx(90 * 50, rel=0.1)
    assert arrivals.max() < 100
