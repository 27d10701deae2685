"""Serving's metrics under their own names, and the Prometheus page (prometheus_exporter.cc)."""

import bisect
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

Labels = tuple[str, ...]

# Clients choose some labels: the name of a model that is not there is one. Above these limits values are counted
# together.
_MAX_SERIES: Final = 1000
_MAX_LABEL: Final = 1024
_OTHER: Final = "(other)"


def _bounded(labels: Labels, known: Mapping[Labels, object]) -> Labels:
    """The labels under which a value is counted."""
    if labels in known:
        return labels
    if len(known) >= _MAX_SERIES or any(len(label) > _MAX_LABEL for label in labels):
        return (_OTHER,) * len(labels)
    return labels


class Counter:
    """A counter per combination of labels."""

    def __init__(self, name: str, labels: Sequence[str] = (), kind: str = "counter") -> None:
        self.name = name
        self.kind = kind
        self._labels = labels
        self._lock = threading.Lock()
        self._values: dict[Labels, int] = {}

    def add(self, labels: Labels = (), amount: int = 1) -> None:
        """Adds to a counter."""
        with self._lock:
            labels = _bounded(labels, self._values)
            self._values[labels] = self._values.get(labels, 0) + amount

    def lines(self) -> list[str]:
        """The metric's lines of the page, without its type."""
        with self._lock:
            values = sorted(self._values.items())
        return [f"{self.name}{{{_label_text(self._labels, labels)}}} {value}" for labels, value in values]


class Histogram:
    """Counts of values in buckets with exponentially growing limits; the last bucket has no limit.

    Args:
        name: the metric's name.
        labels: names of its labels.
        scale: the first limit.
        growth: ratio of successive limits.
        count: number of limits.
    """

    kind = "histogram"

    def __init__(self, name: str, labels: Sequence[str], scale: float, growth: float, count: int) -> None:
        self.name = name
        self._labels = labels
        self._limits = [scale * growth**power for power in range(count)]
        self._lock = threading.Lock()
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def add(self, labels: Labels, value: float) -> None:
        """Adds a value."""
        # A value at a limit belongs to the next bucket (histogram.cc uses upper_bound).
        bucket = bisect.bisect_right(self._limits, value)
        with self._lock:
            labels = _bounded(labels, self._counts)
            counts = self._counts.get(labels)
            if counts is None:
                counts = self._counts[labels] = [0] * (len(self._limits) + 1)
            counts[bucket] += 1
            self._sums[labels] = self._sums.get(labels, 0) + value

    def observe(self, labels: Labels, started: float) -> None:
        """Adds the whole microseconds since `started`, a reading of `time.perf_counter`."""
        self.add(labels, int((time.perf_counter() - started) * 1e6))

    def lines(self) -> list[str]:
        """The metric's lines of the page, without its type."""
        with self._lock:
            points = sorted((labels, list(counts), self._sums[labels]) for labels, counts in self._counts.items())
        lines = []
        for labels, counts, total in points:
            text = _label_text(self._labels, labels)
            before = f"{text}," if text else ""
            cumulated = 0
            for limit, count in zip([*(f"{limit:g}" for limit in self._limits), "+Inf"], counts, strict=True):
                cumulated += count
                lines.append(f'{self.name}_bucket{{{before}le="{limit}"}} {cumulated}')
            lines += [f"{self.name}_sum{{{text}}} {total:g}", f"{self.name}_count{{{text}}} {cumulated}"]
        return lines


def _label_text(names: Sequence[str], values: Labels) -> str:
    return ",".join(
        '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for name, value in zip(names, values, strict=True)
    )


def _latency(name: str, *labels: str) -> Histogram:
    """A histogram of microseconds, from 10 up to about 25 minutes."""
    return Histogram(name, labels, 10, 1.8, 33)


_PREFIX: Final = ":tensorflow:serving:"

QUEUING_LATENCY: Final = Histogram(f"{_PREFIX}batching_session:queuing_latency", ("thread_pool_name",), 100, 1.2, 52)
WRAPPED_RUN_COUNT: Final = Counter(f"{_PREFIX}batching_session:wrapped_run_count")
MODEL_WARMUP_LATENCY: Final = _latency(f"{_PREFIX}model_warmup_latency", "model_path", "status")
REQUEST_COUNT: Final = Counter(f"{_PREFIX}request_count", ("model_name", "status"))
REQUEST_EXAMPLE_COUNT_TOTAL: Final = Counter(f"{_PREFIX}request_example_count_total", ("model",))
REQUEST_EXAMPLE_COUNTS: Final = Histogram(f"{_PREFIX}request_example_counts", ("model",), 1, 2, 15)
# Serving always lists these two, also without values.
MLMD_MAP: Final = Counter(f"{_PREFIX}mlmd_map", kind="gauge")
REQUEST_LOG_COUNT: Final = Counter(f"{_PREFIX}request_log_count")
REQUEST_LATENCY: Final = _latency(f"{_PREFIX}request_latency", "model_name", "API", "entrypoint")
RUNTIME_LATENCY: Final = _latency(f"{_PREFIX}runtime_latency", "model_name", "API", "runtime")

_ALL: Final[Sequence[Counter | Histogram]] = (
    QUEUING_LATENCY,
    WRAPPED_RUN_COUNT,
    MLMD_MAP,
    MODEL_WARMUP_LATENCY,
    REQUEST_COUNT,
    REQUEST_EXAMPLE_COUNT_TOTAL,
    REQUEST_EXAMPLE_COUNTS,
    REQUEST_LATENCY,
    REQUEST_LOG_COUNT,
    RUNTIME_LATENCY,
)


def page() -> bytes:
    """The Prometheus page, text/plain."""
    lines = []
    for metric in _ALL:
        lines += [f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
    return ("\n".join(lines) + "\n").encode(errors="surrogateescape")
