"""Where a series settles, on series whose transient is known."""

from collections.abc import Callable

import numpy as np
import pytest

from bench.core.types import Floats
from bench.stats.settling import LEAST_VALUES, mser, settling

SIZE, LEAST = 3000, 300


def queue(utilization: float, rng: np.random.Generator) -> Floats:
    """Latencies of a single-server queue that starts empty."""
    due = np.cumsum(rng.exponential(1 / utilization, SIZE))
    work = np.cumsum(rng.exponential(1.0, SIZE))
    return np.asarray(work + np.maximum.accumulate(due - np.concatenate(([0.0], work[:-1]))) - due)


def noise(rng: np.random.Generator) -> Floats:
    return 0.02 * rng.lognormal(0, 0.3, SIZE)


def decay(times: float, length: float) -> Callable[[np.random.Generator], Floats]:
    """So many times as slow at the start as later; `length` is the time constant, in values."""
    return lambda rng: noise(rng) * (1 + times * np.exp(-np.arange(SIZE) / length))


def found(series: Callable[[np.random.Generator], Floats], runs: int = 100) -> tuple[Floats, float]:
    """The cuts of simulated series, and the share that settles."""
    rng = np.random.default_rng(4)
    results = [settling(np.log(series(rng)), LEAST) for _ in range(runs)]
    return np.array([float(each.index) for each in results]), float(np.mean([each.settled for each in results]))


@pytest.mark.parametrize("utilization", [0.3, 0.7, 0.9])
def test_a_steady_queue_is_not_cut(utilization: float) -> None:
    cuts, settled = found(lambda rng: queue(utilization, rng))
    assert (cuts > LEAST).mean() <= 0.03
    assert settled >= 0.98


def test_a_short_transient_lies_in_the_least_cut() -> None:
    cuts, settled = found(decay(3, 40))
    assert (cuts == LEAST).mean() >= 0.97
    assert settled >= 0.98


def test_a_longer_transient_is_cut_off() -> None:
    cuts, settled = found(decay(2, 250))
    assert 550 <= np.median(cuts) <= 650
    assert settled >= 0.98


def test_a_cold_start_of_a_few_seconds_is_cut_at_its_end() -> None:
    cuts, settled = found(lambda rng: noise(rng) * np.where(np.arange(SIZE) < 700, 2.0, 1.0))
    assert (np.abs(cuts - 700) <= 60).mean() >= 0.95
    assert settled >= 0.98


@pytest.mark.parametrize(
    "series",
    [decay(2, 3000), lambda rng: noise(rng) * np.exp(0.5 * np.arange(SIZE) / SIZE)],
    ids=["too short for its transient", "drifts"],
)
def test_what_never_settles_is_said(series: Callable[[np.random.Generator], Floats]) -> None:
    _, settled = found(series)
    assert settled <= 0.05


def test_few_values_are_left_alone() -> None:
    logs = np.linspace(5, 0, LEAST + LEAST_VALUES - 1)
    assert settling(logs, LEAST).index == LEAST
    assert settling(logs, LEAST).settled


def test_levels_before_and_after() -> None:
    rng = np.random.default_rng(1)
    result = settling(np.where(np.arange(SIZE) < 600, 1.0, 0.0) + rng.normal(0, 0.1, SIZE))
    assert result.index == 600
    assert result.early == pytest.approx(1.0, abs=0.02)
    assert result.late == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("level", [0.1, 3.3, 1e6])
def test_a_series_that_becomes_constant_is_cut_where_it_does(level: float) -> None:
    series = np.concatenate((np.full(40, level / 2), np.full(400, level)))
    assert mser(series) == 40
    assert mser(np.full(400, level)) == 0


def test_mser_is_the_least_error_of_the_mean() -> None:
    rng = np.random.default_rng(2)
    series = np.concatenate((np.full(40, 3.0), rng.normal(0, 1, 400)))
    batches = series.reshape(-1, 5).mean(axis=1)
    errors = [batches[start:].var() / (batches.size - start) for start in range(batches.size - 5)]
    assert mser(series) == 5 * int(np.argmin(errors)) == 40
