"""The latencies of a measured run, and their resampling.

Neighbouring requests are correlated, so blocks of consecutive time are resampled, over all repeats of a step (the
moving-block bootstrap of H. Künsch, *The jackknife and the bootstrap for general stationary observations*, Annals of
Statistics 17, 1989).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bench.capacity.queue.latency_table import column_values
from bench.core.types import Floats

BLOCKS: Final = 20
"""Number of blocks in a run."""


@dataclass(frozen=True, slots=True)
class RunLatencies:
    """The successful requests in the measured part of one run.

    Args:
        users: users of a closed loop; None in open loop.
        rate: rate of due requests in open loop, requests/s; None in closed loop.
        begins: start of the measured part, seconds.
        seconds: length of the measured part, seconds.
        due: due time of each successful request, seconds, increasing.
        latency: from due to the end of the answer, seconds.
        done: completion times of successful requests within the measured part, also of those due before it, seconds.
        schedule: all due times of an open loop, including the warm-up, seconds, increasing; empty in closed loop.
    """

    users: int | None
    rate: float | None
    begins: float
    seconds: float
    due: Floats = field(repr=False)
    latency: Floats = field(repr=False)
    done: Floats = field(repr=False)
    schedule: Floats = field(default_factory=lambda: np.empty(0), repr=False)

    def __post_init__(self) -> None:
        if (self.users is None) == (self.rate is None):
            raise ValueError("give either users (closed loop) or rate (open loop)")
        if self.due.shape != self.latency.shape:
            raise ValueError(f"{self.due.size} due times do not match {self.latency.size} latencies")
        if self.rate is not None and self.schedule.size < self.due.size:
            raise ValueError(f"{self.due.size} requests exceed the schedule of {self.schedule.size}")

    def columns(self) -> Floats:
        """Mean and percentiles of the latencies, see `bench.capacity.queue.latency_table.COLUMNS`."""
        return np.asarray(column_values(self.latency[None, :].copy())[0])

    def block_rates(self) -> Floats:
        """Successful requests/s in each of `BLOCKS` equal parts of the measured time."""
        edges = self.begins + np.linspace(0, self.seconds, BLOCKS + 1)
        return np.histogram(self.done, edges)[0] * (BLOCKS / self.seconds)

    def latency_blocks(self) -> list[Floats]:
        """Latencies of the requests due in each of `BLOCKS` equal parts, seconds; empty parts are left out."""
        edges = self.begins + np.linspace(0, self.seconds, BLOCKS + 1)[1:-1]
        return [block for block in np.split(self.latency, np.searchsorted(self.due, edges)) if block.size]


@dataclass(frozen=True, slots=True)
class Repeats:
    """All repeats of one step, resampled as one.

    Args:
        runs: runs with the same users or rate.
    """

    runs: tuple[RunLatencies, ...]

    @property
    def users(self) -> int | None:
        return self.runs[0].users

    @property
    def rate(self) -> float | None:
        return self.runs[0].rate

    def throughput(self, rng: np.random.Generator | None = None) -> float:
        """Successful requests/s; of resampled blocks if a generator is given, which are positive as a whole."""
        rates = np.concatenate([run.block_rates() for run in self.runs])
        if rng is None or not rates.any():
            return float(rates.mean())
        # With few requests a resample may hold none, which is no rate of a server that answers.
        while not (drawn := rng.choice(rates, rates.size)).any():
            pass
        return float(drawn.mean())

    def throughput_error(self) -> float:
        """Relative standard error of `throughput`, estimated from the blocks."""
        rates = np.concatenate([run.block_rates() for run in self.runs])
        return float(rates.std(ddof=1) / np.sqrt(rates.size) / max(rates.mean(), 1e-12))

    def latencies(self, rng: np.random.Generator | None = None) -> Floats:
        """All latencies, seconds; of resampled blocks if a generator is given."""
        blocks = [block for run in self.runs for block in run.latency_blocks()]
        if rng is not None:
            blocks = [blocks[index] for index in rng.integers(0, len(blocks), len(blocks))]
        return np.concatenate(blocks)

    def square_error(self) -> float:
        """Relative standard error of the mean square of the latencies; infinite with fewer than two blocks."""
        squares = np.array([np.mean(block**2) for run in self.runs for block in run.latency_blocks()])
        if squares.size < 2:
            return np.inf
        return float(squares.std(ddof=1) / np.sqrt(squares.size) / squares.mean())


def grouped(runs: Sequence[RunLatencies]) -> list[Repeats]:
    """Runs grouped by users or rate: closed loop first, each in increasing order."""
    groups: dict[tuple[bool, float], list[RunLatencies]] = {}
    for run in runs:
        key = (run.users is None, float(run.users if run.users is not None else run.rate or 0))
        groups.setdefault(key, []).append(run)
    return [Repeats(tuple(groups[key])) for key in sorted(groups)]
