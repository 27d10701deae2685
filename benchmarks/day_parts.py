"""The parts of a day of load that accumulate something, fed second by second; see `benchmarks.simulated_day`."""

import os
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Protocol
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from bench.core.journal import ResumableFile
from bench.load.engine.collector import Callbacks, Collector, start_times
from bench.load.engine.jobs import Job, ScheduleShard
from bench.load.engine.payloads import build_payloads
from bench.load.engine.recorder import Recorder
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.live.live_figures import LiveFigures, LivePlan
from bench.load.live.otlp import OtlpExport
from bench.load.live.overload import find_overload
from bench.load.live.prometheus_page import FiguresCollector
from bench.load.live.snapshot_pipe import SnapshotPipe
from bench.load.monitor.sampling import ServerSampler
from bench.load.transports.endpoint import Endpoint
from bench.objectives.grammar import parse_objectives
from bench.results.blocks import OUTCOME_CODES, ROW, RecordBuffer
from bench.results.environment import this_environment
from bench.results.manifest import Origin, describe
from bench.results.records import Ended, Outcome
from bench.results.run_folder import RunWriter
from bench.results.samples import ClientSample, ServerSample
from bench.server.embedded.base import metrics
from bench.server.running import RunningServer
from bench.workload.arrivals import Constant
from bench.workload.workload import Workload
from benchmarks.footprint import size_of
from benchmarks.verdicts import note
from tests.support.toy_golden import toy_golden

LOOK_SECONDS: Final = 60
LOOKS: Final = 30
"""Seconds that the web page asks for, and looks of whose times the median is taken."""
CYCLE: Final = 997
"""Seconds after which the latencies repeat."""
Rows = NDArray[Any]


class Day:
    """The records of a day at a steady rate.

    Args:
        seconds: its length.
        rate: requests/s.
    """

    def __init__(self, seconds: int, rate: int) -> None:
        self.seconds, self.rate = seconds, rate
        self.workload = Workload(
            protocol="rest", transport="fast", signature="score", users=64, duration=float(seconds), scenario="soak"
        )
        self.golden = toy_golden(40)
        self.payloads = build_payloads(self.golden, self.workload, ("rest",))
        self.due = np.arange(seconds * rate) / rate
        self._latency = np.random.default_rng(1).lognormal(-4.6, 0.5, CYCLE * rate)
        rows = np.zeros(rate, ROW)
        rows["words"], rows["rows"], rows["tokens"], rows["sentences"] = 14, 1, 16, 1
        rows["bytes_out"], rows["bytes_in"], rows["version"] = 140, 300, -1
        self._rows = rows

    def rows(self, second: int) -> Rows:
        """The records of the requests that were due in a second; one of a thousand is a timeout."""
        rows, at = self._rows.copy(), second % CYCLE * self.rate
        rows["due"] = self.due[second * self.rate : (second + 1) * self.rate]
        rows["sent"] = rows["due"] + 0.0002
        rows["done"] = rows["sent"] + self._latency[at : at + self.rate]
        rows["sentence"] = np.arange(at, at + self.rate) % len(self.payloads)
        if second % (1000 // self.rate) == 0:
            rows["outcome"][0] = OUTCOME_CODES[Outcome.TIMEOUT]
        return rows


class Part(Protocol):
    """Something that takes the records of a day."""

    def feed(self, second: int) -> None:
        """Takes those of a second."""

    def close(self) -> None:
        """Ends it."""


class RecorderPart:
    """A worker's recorder."""

    def __init__(self, day: Day) -> None:
        self._day = day
        self._recorder = Recorder(RecordBuffer(0), day.payloads, ("rest",), "score", 0.0)

    def feed(self, second: int) -> None:
        for row in self._day.rows(second):
            job = Job(float(row["due"]), int(row["sentence"]), True, 0)
            self._recorder.add(job, Ended(job.due, float(row["sent"]), float(row["done"]), Outcome.OK, None, 300, 1e-5))
        assert self._recorder.take()

    def close(self) -> None:
        """Nothing is open."""


class CollectorPart:
    """The collector of a run, with its folder.

    Args:
        day: the records.
        root: where the folder goes.

    Attributes:
        path: the finished folder, after `close`.
    """

    def __init__(self, day: Day, root: Path) -> None:
        self._day = day
        self._buffer = RecordBuffer(0)
        size = day.due.size
        shard = ScheduleShard(day.due.tobytes(), bytes(4 * size), bytes(size), bytes(size))
        plan = WorkerPlan("r", 0, b"", day.workload, Endpoint(), shard, None, 0.0, float(day.seconds))
        epoch, started = start_times(0.0)
        origin = Origin(
            target="http://host:1",
            environment=this_environment(),
            workers=1,
            started=started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        )
        manifest = describe(day.workload, Constant(float(day.rate)), origin, size)
        self._writer = RunWriter.create(root, "day", manifest, sync_every=None, find_warmup=True)
        sampler = ServerSampler(RunningServer(None, None, "bert", "remote"), None)
        callbacks = Callbacks(lambda: {0}, lambda: None, lambda _: None)
        self._collector = Collector(self._writer, epoch, [plan], day.payloads, sampler, callbacks)
        self.path = self._writer.path
        self.sizes: list[int] = []

    def feed(self, second: int) -> None:
        rows = self._day.rows(second)
        sample = {"time": second + 1.001, "worker": 0, "cpu": 0.0612, "rss": 93_218_816.0, "loop_lag": 0.000213}
        sample |= {"in_flight": 1, "waiting": 0, "machine_cpu": 0.4172, "users": 64.0}
        block, over = self._buffer.pack(rows, ("score",)), second + 1 == self._day.seconds
        self._writer.add_server_sample(server_sample(second, self._day.rate))
        report = {"worker": 0, "block": block, "sample": sample, "lacks": {}, "over": over, "ends": self._day.seconds}
        self._collector.report(report)

    def close(self) -> None:
        self.sizes.append(size_of(self.path))
        began = time.perf_counter()
        tracemalloc.start()
        self._collector.finish()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        requests = self._day.due.size
        note(
            f"collector: the folder has {self.sizes[0] / requests:.0f} bytes a request while it is written, "
            f"{size_of(self.path) / requests:.0f} at the end; completed in {time.perf_counter() - began:.0f} s, with "
            f"{peak / requests:.0f} bytes of memory a request"
        )


def server_sample(second: int, rate: int) -> ServerSample:
    """Counters that grow evenly."""
    count = float((second + 1) * rate)
    return ServerSample(
        time=second + 1.0,
        cpu=0.0813,
        rss=412_000_256.0,
        requests_ok=count,
        requests_failed=0.0,
        rest_count=count,
        rest_seconds=count * 0.0041,
        runtime_count=count,
        runtime_seconds=count * 0.0037,
    )


class FiguresPart:
    """The figures while a run is in progress, and what watches them."""

    def __init__(self, day: Day) -> None:
        self._day = day
        objectives = parse_objectives("p99<=1s,errors<=1%,throughput>=5/s,wrong=0")
        self._figures = LiveFigures(LivePlan(0.0, float(day.seconds), day.due, objectives), [0])
        self._read, self._write = os.pipe()
        self._pipe = SnapshotPipe(self._write)
        self._registry, self._collector = CollectorRegistry(), FiguresCollector()
        self._collector.figures = self._figures
        self._registry.register(self._collector)
        self._reader = InMemoryMetricReader()
        self._otlp = OtlpExport("http://collector.invalid", self._reader)
        self._looks: dict[int, list[float]] = {}

    def feed(self, second: int) -> None:
        figures = self._figures
        figures.add_block(self._day.rows(second))
        figures.add_sample(ClientSample(time=second + 1.001, worker=0, in_flight=1, waiting=0, users=64.0))
        if second % LOOK_SECONDS == 0:
            figures.snapshot(LOOKS).to_json()
            self._otlp(figures)
            assert self._reader.get_metrics_data() is not None
            assert generate_latest(self._registry)
            began = time.perf_counter()
            self._pipe(figures)
            assert find_overload(figures) is None
            looks = self._looks.setdefault(3 * second // self._day.seconds, [])
            looks.append(time.perf_counter() - began)
            del looks[:-LOOKS]
            os.read(self._read, 1 << 20)

    def close(self) -> None:
        self._otlp.close()
        for number in (self._read, self._write):
            os.close(number)
        first, last = (float(np.median(self._looks[third])) for third in (0, 2))
        note(f"figures: a look takes {first * 1e3:.1f} ms after a third of the day, {last * 1e3:.1f} ms at its end")


class MetricsPart:
    """The embedded server's metrics."""

    def __init__(self, day: Day) -> None:
        self._day = day

    def feed(self, second: int) -> None:
        for row in self._day.rows(second):
            micros = float(row["done"] - row["sent"]) * 1e6
            metrics.REQUEST_COUNT.add(("bert", "OK"))
            metrics.REQUEST_EXAMPLE_COUNT_TOTAL.add(("bert",), 1)
            metrics.REQUEST_EXAMPLE_COUNTS.add(("bert",), 1.0)
            metrics.REQUEST_LATENCY.add(("bert", "Predict", "REST"), micros)
            metrics.RUNTIME_LATENCY.add(("bert", "Predict", "TF1"), micros)
        if second % 15 == 0:
            assert metrics.page()

    def close(self) -> None:
        """Nothing is open."""


class JournalPart:
    """An output that can be resumed.

    Args:
        day: the records.
        root: where it goes.
    """

    def __init__(self, day: Day, root: Path) -> None:
        self._rate = day.rate
        self._file = ResumableFile(root / "scores.tsv", {"format": "tsv"}, resume=False)

    def feed(self, second: int) -> None:
        for _ in range(self._rate):
            self._file.write(b"a line of scores\n", b"its sentence")
        if second % 10 == 0:
            self._file.checkpoint()

    def close(self) -> None:
        size = self._file.journal.stat().st_size
        self._file.finish()
        note(f"journal: {size} bytes")


class LocustPart:
    """Locust's own statistics, as of a process that sends and has a web page."""

    def __init__(self, day: Day) -> None:
        from locust import stats

        self._day = day
        self._stats: Any = stats
        self._clock = 0.0
        self._requests = stats.RequestStats()
        self._patched = patch.object(stats, "time", SimpleNamespace(time=lambda: self._clock, sleep=time.sleep))
        self._patched.start()

    def feed(self, second: int) -> None:
        self._clock = 1.7e9 + second
        for row in self._day.rows(second):
            self._requests.log_request("POST", "score", float(row["done"] - row["due"]) * 1e3, 300)
        if second % 5 == 0:
            moment = datetime.fromtimestamp(self._clock, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._stats.update_stats_history(SimpleNamespace(stats=self._requests, user_count=64), moment)

    def close(self) -> None:
        self._patched.stop()
