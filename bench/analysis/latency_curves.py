"""Latency percentiles and time series of a run, for plots."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.analysis.measured import Measured
from bench.analysis.time_by_second import TimeBySecond, time_by_second
from bench.core.types import Floats
from bench.results.run_reader import Run
from bench.results.samples import counter_rate
from bench.results.timeseries import NEEDED, TimeSeries
from bench.stats.percentiles import rank_of

MAX_POINTS: Final = 300
"""Most intervals of a time series: a plot resolves no more."""
_GRID: Final = 400
_SUMMED: Final = ("in_flight", "waiting", "users")
"""Samples that are summed over workers."""
_LARGEST: Final = ("cpu", "machine_cpu", "loop_lag", "rss")
"""Samples of which the largest of all workers counts."""


@dataclass(frozen=True)
class Percentiles:
    """Latency at each percentile of the successful requests.

    Args:
        fractions: the percentiles as fractions, 0 to below 1, denser towards 1, float64 `[K]`.
        from_due: seconds, float64 `[K]`.
        from_send: seconds, float64 `[K]`.
    """

    fractions: Floats
    from_due: Floats
    from_send: Floats


@dataclass(frozen=True)
class LatencyCurves:
    """The curves of one run.

    Args:
        percentiles: of the measured successful requests; None without one.
        interval: length of an interval of `series`, seconds.
        series: see `bench.results.timeseries.TimeSeries.close`; counts are of an interval, not a second. `ok_by_due`
            has the requests that the percentiles of an interval are of.
        server: by name, one value a sample of the server: `time`, `request`, `runtime`, `queue` (mean seconds a request
            since the sample before), `cpu` (cores), `rss` (bytes), `gpu` (fraction); NaN where not known.
        client: by name, one value a second: `time`, `cpu` (cores of the busiest worker), `machine_cpu` (cores),
            `loop_lag` (seconds) and `rss` (bytes) of the worker with the largest, `in_flight` and `waiting` (requests,
            all workers), `users` (all workers).
        parts: where the time of requests goes, each second.
        begins: when the measured part begins, seconds.
        ends: when it ends.
        latest: the last known time of the run, seconds.
    """

    percentiles: Percentiles | None
    interval: float
    series: dict[str, Floats]
    server: dict[str, Floats]
    client: dict[str, Floats]
    parts: TimeBySecond
    begins: float
    ends: float
    latest: float

    def rate(self, name: str) -> Floats:
        """Requests/s of a count of `series` in each interval, float64; of the last one in the part of it that the run
        covers, NaN where that is less than half of it."""
        counts, start = self.series[name], self.series["time"]
        # Nothing is due after the end of the load; answers may come until the end of the run.
        over = name in ("due", "sent") and not counts[start >= self.ends].any()
        seconds = self._covered(self.ends if over else self.latest)
        enough = seconds >= self.interval / 2
        return np.where(enough, counts / np.where(enough, seconds, 1.0), math.nan)

    def failure_rate(self, counts: Floats) -> Floats:
        """Failed requests/s from their number in each interval; none is left out, however short the last one is."""
        return np.asarray(counts / np.maximum(self._covered(self.latest), self.interval / 2))

    @property
    def in_flight(self) -> Floats:
        """Mean requests in flight in each interval, float64, the last one as for `rate`."""
        seconds = self._covered(self.latest)
        enough = seconds >= self.interval / 2
        return np.where(enough, self.series["in_flight"] * self.interval / np.where(enough, seconds, 1.0), math.nan)

    def _covered(self, end: float) -> Floats:
        """Seconds of each interval that lie before `end`."""
        return np.asarray(np.clip(end - self.series["time"], 0.0, self.interval))


def latency_curves(run: Run, measured: Measured) -> LatencyCurves:
    """The curves of a run.

    Args:
        run: the stored run.
        measured: its measured part.

    Raises:
        UsageError: the records cannot be read.
    """
    ok = measured.ok
    due, sent, done = (values[ok] for values in (measured.due, measured.sent, measured.done))
    interval = float(max(1, math.ceil(measured.latest / MAX_POINTS)))
    series = TimeSeries(interval)
    for batch in run.batches(NEEDED):
        series.add(batch)
    return LatencyCurves(
        percentiles=_percentiles(done - due, done - sent) if due.size else None,
        interval=interval,
        series=series.close() | {"ok_by_due": series.successful_by_due()},
        server=_server(run),
        client=_client(run),
        parts=time_by_second(run, measured),
        begins=measured.begins,
        ends=measured.ends,
        latest=measured.latest,
    )


def _percentiles(from_due: Floats, from_send: Floats) -> Percentiles:
    size = from_due.size
    fractions = np.unique(1 - np.geomspace(1, 1 / size, min(_GRID, size)))
    ranks = [rank_of(fraction, size) for fraction in fractions]
    return Percentiles(fractions, np.sort(from_due)[ranks], np.sort(from_send)[ranks])


def _server(run: Run) -> dict[str, Floats]:
    samples = run.server_samples()
    rates = {
        name: np.nan_to_num(counter_rate(samples, name), nan=0.0)
        for name in ("rest_count", "rest_seconds", "grpc_count", "grpc_seconds")
    }
    request = _ratio(rates["rest_seconds"] + rates["grpc_seconds"], rates["rest_count"] + rates["grpc_count"])
    found = {name: samples[name] for name in ("time", "cpu", "rss", "gpu")} | {"request": request}
    for name in ("runtime", "queue"):
        found[name] = _ratio(counter_rate(samples, f"{name}_seconds"), counter_rate(samples, f"{name}_count"))
    return found


def _ratio(seconds: Floats, count: Floats) -> Floats:
    there = (count > 0) & ~np.isnan(seconds)
    return np.where(there, seconds / np.where(there, count, 1.0), math.nan)


def _client(run: Run) -> dict[str, Floats]:
    """Samples of all workers, put together second by second."""
    samples = run.client_samples()
    seconds = np.floor(samples["time"] + 0.5)
    moments, place = np.unique(seconds, return_inverse=True)
    found = {}
    for name in (*_LARGEST, *_SUMMED):
        known = ~np.isnan(samples[name])
        values = np.zeros(moments.size) if name in _SUMMED else np.full(moments.size, -math.inf)
        (np.add if name in _SUMMED else np.maximum).at(values, place[known], samples[name][known])
        found[name] = np.where(np.bincount(place[known], minlength=moments.size) > 0, values, math.nan)
    return {"time": moments} | found
