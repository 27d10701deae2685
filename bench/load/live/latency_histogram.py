"""Counts of latencies, of one second or of a whole run: sums of them are the histogram of all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Floats
from bench.core.units import pluralize
from bench.stats.batch_means import LEAST_BATCHES, effective_size, proportion_bounds
from bench.stats.estimate import Estimate
from bench.stats.latency_buckets import SIZE, bucket_of, highest_seconds, lowest_micros
from bench.stats.percentiles import PERCENTILES, needed, rank_of

MOST_BATCHES: Final = 64
"""Batches of a longer run are put together in pairs, which makes them longer than more correlation times."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class LatencyHistogram:
    """Latencies of one interval in the buckets of `bench.stats.latency_buckets`.

    Args:
        buckets: the buckets that are not empty, ascending, `[K]`.
        counts: latencies in each, `[K]`.
    """

    buckets: Counts
    counts: Counts

    @classmethod
    def of(cls, seconds: Floats) -> "LatencyHistogram":
        """The histogram of latencies `[N]`."""
        return cls(*np.unique(bucket_of(seconds), return_counts=True))

    @classmethod
    def by_second(cls, second: Counts, latency: Floats) -> "dict[int, LatencyHistogram]":
        """One histogram for each second, of latencies `[N]` that belong to the seconds `second` `[N]`."""
        keys, counts = np.unique(second * SIZE + bucket_of(latency), return_counts=True)
        seconds = keys // SIZE
        present, first = np.unique(seconds, return_index=True)
        parts = zip(np.split(keys % SIZE, first[1:]), np.split(counts, first[1:]), strict=True)
        return {int(key): cls(*part) for key, part in zip(present, parts, strict=False)}

    def __add__(self, other: "LatencyHistogram") -> "LatencyHistogram":
        buckets, inverse = np.unique(np.concatenate((self.buckets, other.buckets)), return_inverse=True)
        counts = np.bincount(inverse, np.concatenate((self.counts, other.counts)), buckets.size)
        return LatencyHistogram(buckets, counts.astype(np.int64))

    @property
    def total(self) -> int:
        """Number of latencies."""
        return int(self.counts.sum())

    def percentile(self, fraction: float) -> float | None:
        """A percentile by nearest rank, seconds: the largest value of its bucket; None without a latency."""
        if not self.counts.size:
            return None
        running = np.cumsum(self.counts)
        rank = rank_of(fraction, int(running[-1]))
        return highest_seconds(int(self.buckets[np.searchsorted(running, rank, side="right")]))

    @property
    def sum(self) -> float:
        """Sum of the latencies, each taken as the middle of its bucket, seconds."""
        lowest = lowest_micros(self.buckets)
        return float((lowest + lowest_micros(self.buckets + 1) - 1) @ self.counts) / 2e6

    def below(self, seconds: Floats) -> Counts:
        """Latencies of at most each of `seconds` `[B]`, and those in the same bucket."""
        running = np.concatenate((np.zeros(1, np.int64), np.cumsum(self.counts)))
        return np.asarray(running[np.searchsorted(self.buckets, bucket_of(seconds), side="right")])

    def up_to(self, bucket: int) -> int:
        """Latencies in `bucket` and below."""
        return int(self.counts[: np.searchsorted(self.buckets, bucket, side="right")].sum())


class LatencyBatches:
    """All latencies of a run, in batches of consecutive seconds, for percentiles with intervals.

    Successive batches are of 1 s, or of 2, 4, 8... s when there are more than `MOST_BATCHES`.
    """

    def __init__(self) -> None:
        self._seconds = 1
        self._batches: dict[int, LatencyHistogram] = {}
        self._all = np.zeros(SIZE, np.int64)

    def add(self, second: int, histogram: LatencyHistogram) -> None:
        """Adds latencies of the requests that were due in a second."""
        self._all[histogram.buckets] += histogram.counts
        self._put(second // self._seconds, histogram)
        while len(self._batches) > MOST_BATCHES:
            self._coarsen()

    def merge(self, other: "LatencyBatches") -> None:
        """Adds all of another process's latencies."""
        while self._seconds < other._seconds:
            self._coarsen()
        self._all += other._all
        for batch, histogram in other._batches.items():
            self._put(batch * other._seconds // self._seconds, histogram)
        while len(self._batches) > MOST_BATCHES:
            self._coarsen()

    @property
    def histogram(self) -> LatencyHistogram:
        """All latencies."""
        (buckets,) = np.nonzero(self._all)
        return LatencyHistogram(buckets, self._all[buckets])

    def estimates(
        self, prefix: str, confidence: float = 0.95, percentiles: Mapping[str, float] = PERCENTILES
    ) -> list[Estimate]:
        """Percentiles, ascending, named `prefix_p50`, ...; absent where the latencies do not suffice."""
        found: list[Estimate] = []
        running = np.cumsum(self._all)
        sizes = np.array([histogram.total for histogram in self._batches.values()], np.int64)
        least = float(running[-1])
        for name, fraction in percentiles.items():
            metric, size = f"{prefix}_{name}", int(running[-1])
            if size < needed(fraction, confidence):
                text = f"{name} needs {pluralize(needed(fraction, confidence), 'request')}, there are {size:,}"
                found.append(Estimate.absent(metric, text, size, confidence))
                continue
            bucket = int(np.searchsorted(running, rank_of(fraction, size), side="right"))
            if sizes.size < LEAST_BATCHES:
                few = (f"no interval in the first {LEAST_BATCHES} s",)
                found.append(Estimate(metric, highest_seconds(bucket), None, None, confidence, size, few))
                continue
            hits = np.array([histogram.up_to(bucket) for histogram in self._batches.values()], np.int64)
            # A percentile is never more precise than those below it.
            least = min(least, effective_size(fraction, hits, sizes))
            found.append(self._estimate(metric, fraction, least, running, confidence))
        return found

    def _estimate(self, metric: str, fraction: float, n: float, running: Counts, confidence: float) -> Estimate:
        bounds = proportion_bounds(fraction, n, len(self._batches), confidence)

        def value(level: float) -> float:
            rank = rank_of(level, int(running[-1]))
            return highest_seconds(int(np.searchsorted(running, rank, side="right")))

        center, lo, hi = value(fraction), value(bounds.lo), value(bounds.hi)
        if n < needed(fraction, confidence):
            text = f"an upper end needs {needed(fraction, confidence):,} independent requests, these are worth {n:,.0f}"
            return Estimate(metric, center, lo, None, confidence, n, (text,))
        return Estimate(metric, center, lo, hi, confidence, n)

    def _put(self, batch: int, histogram: LatencyHistogram) -> None:
        former = self._batches.get(batch)
        self._batches[batch] = histogram if former is None else former + histogram

    def _coarsen(self) -> None:
        former, self._batches = self._batches, {}
        self._seconds *= 2
        for batch, histogram in former.items():
            self._put(batch // 2, histogram)
