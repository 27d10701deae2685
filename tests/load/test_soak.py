"""What `benchmarks.bench_soak` calls growth, on samples whose truth is known, and a short day of records."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import verdicts
from benchmarks.bench_soak import in_flight, judge_process
from benchmarks.day_parts import Day, FiguresPart, MetricsPart, RecorderPart
from benchmarks.footprint import Footprint, Observed, Thirds, within_growth
from benchmarks.simulated_day import FLAT, grown, judge

MIB = 1 << 20
SECONDS = 1800.0


@pytest.fixture
def missed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Goals that are missed in a test."""
    monkeypatch.setattr(verdicts, "missed", [])
    return verdicts.missed


def observed(
    rss: Callable[[float], float], threads: int = 5, descriptors: Callable[[float], int] = lambda _: 9
) -> Observed:
    """A process of which the samples of half an hour are known; the first minute is a warm-up."""
    found = Observed.__new__(Observed)
    found.name = "process"
    rng = np.random.default_rng(1)
    found.samples = [
        Footprint(time, int(rss(time) + rng.normal(0, MIB)), int(rss(time) / 2), threads, descriptors(time))
        for time in np.arange(10.0, SECONDS, 10.0).tolist()
    ]
    return found


def test_the_requests_in_flight_at_a_moment() -> None:
    sent, done = np.array([0.0, 1.0, 2.0, 3.0]), np.array([2.0, 5.0, 4.0, 4.0])
    assert [in_flight(sent, done, moment) for moment in (0.0, 1.5, 2.0, 3.0, 4.0, 5.0)] == [1, 2, 2, 3, 1, 0]


def test_the_thirds_leave_the_warm_up_and_the_middle_out() -> None:
    thirds = Thirds.of(observed(lambda time: time).samples, 60.0, SECONDS)
    assert [one.time for one in (thirds.first[0], thirds.first[-1])] == [60.0, 590.0]
    assert [one.time for one in (thirds.last[0], thirds.last[-1])] == [1200.0, 1790.0]
    assert Thirds.of([], 0.0, SECONDS).first == []
    with pytest.raises(ValueError, match="no sample"):
        Thirds.of([], 0.0, SECONDS).medians("rss")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (observed(lambda time: 100 * MIB), 0),
        # All of it in the warm-up.
        (observed(lambda time: (80 + 40 * min(time / 60, 1)) * MIB), 0),
        # 1.2 kB and 0.6 kB a request at 10 requests/s; 10 MiB are allowed.
        (observed(lambda time: 100 * MIB + 12_000 * time), 1),
        (observed(lambda time: 100 * MIB + 6_000 * time), 0),
        (observed(lambda time: 100 * MIB, descriptors=lambda time: 9 + (time > 1500)), 1),
        (observed(lambda time: 100 * MIB, descriptors=lambda time: 9 + int(time / 100)), 1),
    ],
    ids=["steady", "warm-up", "a leak", "a small leak", "one descriptor at the end", "descriptors"],
)
def test_what_grows(case: Observed, expected: int, missed: list[str]) -> None:
    judge_process(case, 60.0, SECONDS)
    assert len(missed) == expected, missed


def test_the_bound_of_growth() -> None:
    assert within_growth(100 * MIB, 109 * MIB)
    assert not within_growth(100 * MIB, 111 * MIB)
    assert within_growth(400 * MIB, 419 * MIB)
    assert not within_growth(400 * MIB, 421 * MIB)


class Hoarder(RecorderPart):
    """A recorder that keeps what it has given away."""

    def __init__(self, day: Day) -> None:
        super().__init__(day)
        self.kept: list[bytes] = []

    def feed(self, second: int) -> None:
        super().feed(second)
        self.kept.append(bytes(4096))


@pytest.mark.parametrize(("kind", "flat"), [(RecorderPart, True), (MetricsPart, True), (Hoarder, False)])
def test_a_part_that_keeps_its_records_is_found(
    kind: type[RecorderPart | MetricsPart], flat: bool, missed: list[str]
) -> None:
    day = Day(600, 5)
    first, last = grown(lambda: kind(day), day)
    assert (last - first < FLAT // 8) == flat
    judge("part", first, last)
    assert bool(missed) != flat


def test_figures_of_a_day_are_as_large_as_those_of_a_third(monkeypatch: pytest.MonkeyPatch, missed: list[str]) -> None:
    monkeypatch.setattr("bench.load.live.live_figures.HISTORY_SECONDS", 50)
    monkeypatch.setattr("bench.load.live.live_figures.KEPT_SECONDS", 50)
    day = Day(600, 5)
    judge("figures", *grown(lambda: FiguresPart(day), day))
    assert not missed
