"""When a run is stopped for asking more than the server carries, and when it is not."""

from collections.abc import Callable

import numpy as np
import pytest

from bench.core.types import Floats
from bench.load.live.live_figures import LiveFigures, LivePlan
from bench.load.live.overload import find_overload
from bench.results.blocks import ROW
from bench.results.samples import ClientSample
from tests.support.overloaded_queue import of_times, queue_seconds, stopped_after

SECONDS = 60


@pytest.mark.parametrize(("capacity", "cv"), [(50, 1.0), (100, 0.3), (100, 1.0), (100, 2.0), (400, 1.0)])
def test_a_server_that_keeps_up_is_left_alone(capacity: float, cv: float) -> None:
    rng = np.random.default_rng([int(capacity), int(10 * cv)])
    stops = sum(stopped_after(queue_seconds(0.85, capacity, SECONDS, cv, rng)) is not None for _ in range(200))
    assert stops <= 1


@pytest.mark.parametrize(("capacity", "cv"), [(100, 0.3), (100, 1.0), (400, 0.3), (400, 1.0), (400, 2.0)])
def test_at_a_tenth_above_capacity_half_of_the_runs_are_stopped_within_15_s(capacity: float, cv: float) -> None:
    rng = np.random.default_rng([7, int(capacity), int(10 * cv)])
    found = [stopped_after(queue_seconds(1.1, capacity, 2 * SECONDS, cv, rng)) for _ in range(60)]
    assert np.median([2 * SECONDS if each is None else each for each in found]) <= 15


def served(due: Floats, capacity: float, stall: tuple[float, float] | None = None) -> Floats:
    """When requests are done by a server that takes the same time for each, and does nothing during a stall."""
    free, done = 0.0, []
    for moment in due:
        begin = max(moment, free)
        if stall is not None and stall[0] <= begin < stall[1]:
            begin = stall[1]
        free = begin + 1 / capacity
        done.append(free)
    return np.array(done)


def even(rates: list[float]) -> Floats:
    """Due times at a rate for each second."""
    return np.concatenate([second + (np.arange(rate) + 0.5) / rate for second, rate in enumerate(rates) if rate])


STEADY = [100.0] * SECONDS
CASES: dict[str, tuple[Floats, float, tuple[float, float] | None, bool]] = {
    "keeps up": (even(STEADY), 110.0, None, False),
    "overloaded": (even(STEADY), 90.0, None, True),
    "overloaded after half of the run": (even([50.0] * 30 + [150.0] * 30), 100.0, None, True),
    "a long stall": (even(STEADY), 150.0, (20.0, 35.0), False),
    "a burst": (even([50.0] * 20 + [200.0] * 12 + [20.0] * 28), 100.0, None, False),
    "a step down": (even([120.0] * 20 + [50.0] * 40), 100.0, None, False),
    "a ramp beyond capacity": (even([float(5 * second) for second in range(1, SECONDS)]), 120.0, None, True),
    "overloaded in its last seconds": (even([50.0] * 55 + [200.0] * 5), 100.0, None, False),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_stopped(case: str) -> None:
    due, capacity, stall, expected = CASES[case]
    found = stopped_after(of_times(due, served(due, capacity, stall), SECONDS))
    assert (found is not None) == expected, found


def figures_of(due: Floats, done: Floats, until: float, begins: float = 2.0) -> LiveFigures:
    figures = LiveFigures(LivePlan(begins, float(SECONDS), due), [0])
    rows = np.zeros(due.size, ROW)
    rows["due"], rows["sent"], rows["done"] = due, due, done
    figures.add_block(rows[done < until])
    figures.add_sample(ClientSample(time=until, worker=0))
    return figures


def test_what_is_known_of_an_overload() -> None:
    due = even(STEADY)
    figures = figures_of(due, served(due, 80.0), 12.0)
    found = find_overload(figures)
    assert found.time == 12.0
    assert found.since == 2.0
    assert found.backlog == figures.second(11).open == 241
    assert found.carried == pytest.approx(80, abs=1)
    assert found.carried_lo <= found.carried <= found.carried_hi
    assert found.asked == pytest.approx(100, abs=1)
    assert str(found).startswith("overloaded: 100 requests/s are due and 80 [")
    assert str(found).endswith("] end, 241 are open after 12 s")


@pytest.mark.parametrize(
    "change",
    [
        lambda figures: figures.stop(11.0),
        lambda figures: setattr(figures, "plan", LivePlan(5.0, 60.0, figures.plan.due)),
        lambda figures: setattr(figures, "plan", LivePlan(2.0, 60.0)),
        lambda figures: setattr(figures, "plan", LivePlan(2.0, 13.0, figures.plan.due)),
    ],
    ids=["stopped already", "in the warm-up", "closed loop", "almost over"],
)
def test_what_is_no_reason_to_stop(change: Callable[[LiveFigures], None]) -> None:
    due = even(STEADY)
    figures = figures_of(due, served(due, 80.0), 12.0)
    assert find_overload(figures) is not None
    change(figures)
    assert find_overload(figures) is None


def test_a_run_without_a_warmup_begins_with_an_empty_queue() -> None:
    due = even(STEADY)
    found = find_overload(figures_of(due, served(due, 80.0), 12.0, begins=0.0))
    assert (found.since, found.backlog) == (0.0, 241)


def test_a_run_longer_than_its_history_is_stopped_for_what_it_asks_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """150 of 200 s keep up; the server then becomes too slow."""
    for module in ("live_figures", "overload"):
        monkeypatch.setattr(f"bench.load.live.{module}.HISTORY_SECONDS", 40)
    due = even([100.0] * 300)
    done = np.concatenate((served(due[:15_000], 200.0), 150 + served(due[15_000:] - 150, 80.0)))
    figures = LiveFigures(LivePlan(2.0, 300.0, due), [0])
    rows = np.zeros(due.size, ROW)
    rows["due"] = rows["sent"] = due
    rows["done"] = done
    for second in range(200):
        figures.add_block(rows[(done >= second) & (done < second + 1)])
        figures.add_sample(ClientSample(time=second + 1.0, worker=0))
        found = find_overload(figures)
        if found is not None:
            break
    assert figures.since > 60
    assert 155 <= found.time <= 170
    assert found.since == 150
    assert found.carried == pytest.approx(80, abs=1)
    assert found.backlog == ((due <= found.time) & (done > found.time)).sum()
