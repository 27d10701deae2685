"""Latency histograms in the HdrHistogram log format, which HistogramLogProcessor, hdrh and the web plotter read.

Values are whole microseconds with three significant digits. Each line carries one interval and one clock, by tag:
`from-due` (latency from when the request was due) or `from-send`. Successful requests only, without the warm-up.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from bench.results.blocks import OUTCOME_CODES
from bench.results.records import Outcome
from bench.stats.latency_buckets import HIGHEST, bucket_of, lowest_micros

NEEDED: Final = ("due", "sent", "done", "outcome", "warmup")
"""Record columns that `HistogramLog.add` takes."""

TAGS: Final = ("from-due", "from-send")
MAX_INTERVALS: Final = 600
"""A longer run gets longer intervals, which limits the size of the file."""


class HistogramLog:
    """Counts latencies by interval and clock.

    Args:
        interval: length of an interval, seconds; see `interval_for`.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._counts: dict[str, dict[tuple[int, int], int]] = {tag: {} for tag in TAGS}

    def add(self, columns: dict[str, NDArray[Any]]) -> None:
        """Adds records; a request belongs to the interval in which it was due."""
        ok = (columns["outcome"] == OUTCOME_CODES[Outcome.OK]) & ~columns["warmup"]
        due, sent, done = (columns[name][ok] for name in ("due", "sent", "done"))
        interval = np.asarray(due // self._interval, np.int64)
        for tag, latency in zip(TAGS, (done - due, done - sent), strict=True):
            keys, counts = np.unique(interval << 40 | lowest_micros(bucket_of(latency)), return_counts=True)
            entries = self._counts[tag]
            for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
                entry = (key >> 40, key & (1 << 40) - 1)
                entries[entry] = entries.get(entry, 0) + count

    def lines(self, started: datetime) -> Iterator[str]:
        """The log's lines, without line ends; `started` is when the run's clock was 0."""
        epoch = started.timestamp()
        yield "#[Histogram log format version 1.3]"
        yield "#[Latencies of successful requests in microseconds, without the warm-up]"
        yield f"#[StartTime: {epoch:.3f} (seconds since epoch), {started.astimezone(UTC).isoformat()}]"
        yield f"#[BaseTime: {epoch:.3f} (seconds since epoch)]"
        yield '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
        ordered = {tag: sorted(self._counts[tag].items()) for tag in TAGS}
        intervals = sorted({interval for entries in self._counts.values() for interval, _ in entries})
        positions = dict.fromkeys(TAGS, 0)
        for interval in intervals:
            for tag in TAGS:
                histogram = HdrHistogram(1, HIGHEST, 3)
                while positions[tag] < len(ordered[tag]) and ordered[tag][positions[tag]][0][0] == interval:
                    (_, value), count = ordered[tag][positions[tag]]
                    histogram.record_value(value, count)
                    positions[tag] += 1
                start, longest = interval * self._interval, histogram.get_max_value() / 1000
                payload = histogram.encode().decode()
                yield f"Tag={tag},{start:.3f},{self._interval:.3f},{longest:.3f},{payload}"


def interval_for(length: float) -> float:
    """Interval for a run of `length` seconds: whole seconds, at most `MAX_INTERVALS` of them."""
    return float(max(1, -(-int(length) // MAX_INTERVALS)))
