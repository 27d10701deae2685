"""Samples, once a second, of this process, its event loop, the server and the GPU."""

import time
from collections.abc import Iterator
from typing import Final

import gevent
import gevent.hub
import psutil

from bench.core.errors import TargetError
from bench.core.units import format_seconds
from bench.load.monitor.control_group import GroupUsage, cores_used
from bench.load.monitor.gpu import NO_GPU, Gpu, gpu_unknown
from bench.load.monitor.prometheus import read_page
from bench.results.samples import ClientSample, ServerSample
from bench.server.running import RunningServer
from bench.serving.errors import Rejected, ServingError, lack_of
from bench.serving.rest import RestClient

_TICK: Final = 0.05
_PAGE: Final = "/monitoring/prometheus/metrics"
_BEGIN: Final = 0.0
"""The first moment of a run. A timer may be early by what the event loop was busy for when it was set."""
_FEW_PAGES: Final = 0.9
"""Least share of answered requests for the page, below which a note says so."""


class ProcessUsage:
    """CPU and memory of one process between samples, without its children."""

    def __init__(self, pid: int | None = None) -> None:
        self._process = psutil.Process(pid)
        self._last = (time.perf_counter(), self._cpu_seconds())

    def look(self) -> tuple[float, int]:
        """Mean number of cores used since the last sample, and resident bytes.

        Raises:
            psutil.Error: the process has ended.
        """
        now = (time.perf_counter(), self._cpu_seconds())
        elapsed = now[0] - self._last[0]
        cores = cores_used(now[1] - self._last[1], elapsed)
        self._last = now
        return cores, int(self._process.memory_info().rss)

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


class LoopLag:
    """How late the event loop's timers fire, measured by a greenlet that sleeps."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._greenlet = gevent.spawn(self._tick)

    def take(self) -> float:
        """The largest lag since the last call, seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    def close(self) -> None:
        self._greenlet.kill(block=False)

    def _tick(self) -> None:
        while True:
            expected = time.perf_counter() + _TICK
            gevent.sleep(_TICK)
            self._worst = max(self._worst, time.perf_counter() - expected)


class UserCount:
    """Number of users in this process, and its mean between samples.

    Times are moments of `time.perf_counter`.
    """

    def __init__(self) -> None:
        self.now = 0
        self._seconds = 0.0
        self._looked: float | None = None
        self._changed = 0.0

    def begin(self, moment: float) -> None:
        """Starts counting at `moment`, which may lie in the future."""
        self._looked = self._changed = moment
        self._seconds = 0.0

    def change(self, by: int) -> None:
        """Adds `by` users; negative to remove."""
        self._add(time.perf_counter())
        self.now += by

    def take(self) -> float | None:
        """The mean since the last call, or since counting started; None before that."""
        moment = time.perf_counter()
        if self._looked is None or moment <= self._looked:
            return None
        self._add(moment)
        mean = self._seconds / (moment - self._looked)
        self._seconds, self._looked = 0.0, moment
        return round(mean, 6)

    def _add(self, moment: float) -> None:
        if moment > self._changed:
            self._seconds += self.now * (moment - self._changed)
            self._changed = moment


class ClientSampler:
    """Samples of one load-generating process."""

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._usage: ProcessUsage | None = None
        self._machine: tuple[float, float] | None = None
        self._lag = LoopLag()
        self._look()
        self._look_at_machine()

    def sample(self, now: float, in_flight: int, waiting: int, users: float | None) -> ClientSample:
        """The process at `now`, seconds since the run began; None for what the system does not tell now."""
        cpu, rss = self._look()
        busy = self._look_at_machine()
        return ClientSample(
            time=max(now, _BEGIN),
            worker=self._worker,
            cpu=cpu,
            rss=rss,
            loop_lag=self._lag.take(),
            in_flight=in_flight,
            waiting=waiting,
            machine_cpu=busy,
            users=users,
        )

    def close(self) -> None:
        self._lag.close()

    # Out of open files a look fails: the rest of the sample is known all the same, and the next may be whole.

    def _look(self) -> tuple[float, int] | tuple[None, None]:
        """Cores and memory of the process since the last look."""
        try:
            if self._usage is not None:
                return self._usage.look()
            self._usage = ProcessUsage()
        except (OSError, psutil.Error):
            pass
        return None, None

    def _look_at_machine(self) -> float | None:
        """Cores in use on the machine since the last look."""
        try:
            busy = _busy_seconds()
        except (OSError, psutil.Error):
            return None
        before, self._machine = self._machine, (time.perf_counter(), busy)
        return None if before is None else cores_used(busy - before[1], self._machine[0] - before[0])


def _busy_seconds() -> float:
    """CPU seconds used on all cores since the machine started."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # The kernel counts guest time in user time as well.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - guests - idle)


def _usage(server: RunningServer) -> ProcessUsage | GroupUsage | str:
    """What samples the server's process, or all of its container or control group; why there is nothing to sample.

    Raises:
        UsageError: there is no such control group.
    """
    if server.control_group is not None:
        return GroupUsage.at(server.control_group)
    try:
        if server.container is not None and server.container_pid is not None:
            return GroupUsage.of_container(server.container_pid, server.container)
        if server.pid is not None:
            return ProcessUsage(server.pid)
    except (TargetError, psutil.Error) as error:
        # Requests tell whether the server answers; its CPU and memory are not worth a run.
        return str(error)
    if server.container is not None:
        return "the container's Engine runs on another machine"
    return "the server's process is unknown"


class ServerSampler:
    """Samples of the server.

    Args:
        server: its REST endpoint has its Prometheus page, after the path prefix; its process is on this machine; where
            either is unknown, it is not sampled.
        gpu: the GPU that it computes on, if any.
    """

    def __init__(self, server: RunningServer, gpu: Gpu | None) -> None:
        self._model = server.model
        found = _usage(server)
        self._usage: ProcessUsage | GroupUsage | None = None if isinstance(found, str) else found
        self._unseen = found if isinstance(found, str) else ""
        self._client = RestClient(server.rest, server.access) if server.rest is not None else None
        self._gpu = gpu
        self._gpu_unknown = gpu is None and gpu_unknown(server)
        self._pages = self._looks = 0
        self._failure: ServingError | None = None
        self._page()
        # When the process had ended, seconds since the run began.
        self._gone: float | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """What could not be sampled, one line each; to be read when the run is over."""
        return tuple(self._missing())

    def _missing(self) -> Iterator[str]:
        if self._client is None:
            yield "the server's REST address is unknown: no server metrics"
        elif isinstance(self._failure, Rejected) and not self._pages:
            yield (
                f"the server has no page {_PAGE}: no time inside the server; start it with "
                "--monitoring_config_file (see docker/serving/monitoring.config)"
            )
        elif not self._pages:
            why = str(self._failure).partition(";")[0]
            yield f"the server's page {_PAGE} never answered ({why}): no time inside the server"
        elif self._pages < _FEW_PAGES * self._looks:
            yield (
                f"the server's page {_PAGE} answered {self._pages} of {self._looks} requests: the server's metrics may "
                "lack the run's first and last seconds"
            )
        if self._gone is not None:
            yield f"the server's process ended {format_seconds(self._gone)} into the run; no CPU and memory after that"
        elif self._usage is None:
            yield f"{self._unseen}: no server CPU and memory"
        if self._gpu_unknown:
            yield "bertbench runs in a container, whose driver does not show which GPU the server uses: no GPU figures"
        if self._gpu is not None and self._gpu.others:
            yield (
                f"the GPU's samples are those of {self._gpu.name}, the first of {self._gpu.others + 1} of the server "
                "on the PCI bus; set CUDA_DEVICE_ORDER=PCI_BUS_ID and CUDA_VISIBLE_DEVICES to choose one"
            )

    def sample(self, now: float) -> ServerSample:
        """The server at `now`, seconds since the run began; None for what is unknown."""
        values = self._page()
        cpu, rss, gpu = None, None, NO_GPU
        if self._usage is not None:
            try:
                cpu, rss = self._usage.look()
            except (psutil.Error, OSError) as error:
                if lack_of([error]) is None:
                    self._usage, self._gone = None, max(now, _BEGIN)
        if self._gpu is not None:
            # In a thread: a driver call may take milliseconds, for which no request should wait.
            gpu = gevent.get_hub().threadpool.apply(self._gpu.look)
        return ServerSample(
            time=max(now, _BEGIN),
            cpu=cpu,
            rss=rss,
            gpu=gpu.utilization,
            gpu_memory=gpu.memory,
            gpu_power=gpu.power,
            gpu_energy=gpu.energy,
            **values,
        )

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _page(self) -> dict[str, float]:
        """The counters on the server's page; {} if it did not answer."""
        if self._client is None:
            return {}
        self._looks += 1
        try:
            page = self._client.get(_PAGE, timeout=0.9)
        except ServingError as error:
            # The server is busy or stopped: this sample lacks its metrics.
            self._failure = error
            return {}
        self._pages += 1
        return read_page(page.decode(errors="replace"), self._model)
