"""Simulated sweeps: the closed and open loops of a known queue, as latencies and as run folders."""

import heapq
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.capacity.experiment.experiment_design import QUICK, Step
from bench.capacity.experiment.sweep import Sweep
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.measurements.run_latencies import RunLatencies
from bench.capacity.model.fit import FitOptions
from bench.capacity.plan.slo import Slo
from bench.capacity.queue.latency_table import Effort
from bench.core.types import Floats
from bench.results.records import Outcome
from tests.support.queue_server import service_times
from tests.support.synthetic_runs import ENVIRONMENT, WORKLOAD, Requests, write_run

SMALL = replace(
    QUICK, ladder=(1, 2, 4, 8, 16), single_user=8.0, step=3.0, knee_seconds=5.0, hold_out_seconds=5.0, retries=0
)
FIT = FitOptions(replicates=15, effort=Effort(1500, 2), reference=Effort(3000, 20, 1))
SLO = Slo.parse("p99=60ms,errors=1%,wrong=0")


@dataclass
class KnownServer:
    """A first-come-first-served queue with service times of a known distribution.

    Args:
        servers: requests in service at once.
        mean: mean service time, seconds.
        cv: coefficient of variation of the service times.
        overhead: time of each request outside the queue, seconds.
        seed: random seed.
        cold: extra service time, as a fraction, of a request that finds all servers idle for a millisecond or more.
        run_to_run_variation: standard deviation of the logarithm of the speed between runs.
    """

    servers: int = 1
    mean: float = 0.01
    cv: float = 0.5
    overhead: float = 0.0007
    seed: int = 0
    cold: float = 0.0
    run_to_run_variation: float = 0.0
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def _service(self, count: int) -> Floats:
        """Service times of the requests of a run."""
        slow = (
            float(np.exp(self.run_to_run_variation * self.rng.standard_normal())) if self.run_to_run_variation else 1.0
        )
        return slow * service_times(self.mean, self.cv, count, self.rng)

    def closed(self, users: int, seconds: float, warmup: float = 1.0) -> Requests:
        """A closed loop."""
        ready, free = [0.0] * users, [0.0] * self.servers
        count = int((seconds + warmup) * self.servers / self.mean * 2) + 1000
        service = iter(self._service(count).tolist())
        rows = []
        while ready[0] < seconds + warmup:
            due = heapq.heappop(ready)
            end = max(due + self.overhead / 2, heapq.heappop(free)) + next(service)
            heapq.heappush(free, end)
            heapq.heappush(ready, end + self.overhead / 2)
            rows.append((due, end + self.overhead / 2))
        due, done = np.array(rows).T
        return Requests(due, due.copy(), done, [Outcome.OK] * due.size, int(np.searchsorted(due, warmup)))

    def open(self, rate: float, seconds: float, warmup: float = 1.0) -> Requests:
        """Poisson arrivals."""
        due = np.cumsum(self.rng.exponential(1 / rate, int(rate * (seconds + warmup) * 1.5) + 100))
        due = due[due < seconds + warmup]
        service = self._service(due.size)
        free, done = [0.0] * self.servers, np.empty(due.size)
        for index, moment in enumerate(due):
            came = moment + self.overhead / 2
            cold = self.cold if came > max(free) + 0.001 else 0.0
            end = max(came, heapq.heappop(free)) + service[index] * (1 + cold)
            heapq.heappush(free, end)
            done[index] = end + self.overhead / 2
        return Requests(due, due.copy(), done, [Outcome.OK] * due.size, int(np.searchsorted(due, warmup)))

    def measure_closed_loop(self, users: int, seconds: float) -> RunLatencies:
        return latencies(self.closed(users, seconds), seconds, users=users)

    def measure_open_loop(self, rate: float, seconds: float) -> RunLatencies:
        return latencies(self.open(rate, seconds), seconds, rate=rate)


def latencies(requests: Requests, seconds: float, users: int | None = None, rate: float | None = None) -> RunLatencies:
    """The latencies of requests for the fit; the warm-up is one second."""
    measured = requests.due >= 1.0
    inside = (requests.done >= 1.0) & (requests.done <= 1.0 + seconds)
    return RunLatencies(
        users=users,
        rate=rate and float(measured.sum()) / seconds,
        begins=1.0,
        seconds=seconds,
        due=requests.due[measured],
        latency=(requests.done - requests.due)[measured],
        done=np.sort(requests.done[inside]),
        schedule=np.empty(0) if users is not None else requests.due,
    )


@dataclass
class KnownDriver:
    """Writes the runs of a sweep as a known server would answer them.

    Args:
        server: the server.
        client_cpu: cores used by the load generator.
        wrong: fraction of wrong answers.
        wrong_outcome: what becomes of these.
        dies_at: key of the step after whose first third the server stops answering.
        dies_with: what becomes of its requests then.
        stays_dead: whether it answers nothing at all when that step is repeated.
        silences: number of runs of that step after which it answers again; None for never.
    """

    server: KnownServer
    client_cpu: float = 0.2
    wrong: float = 0.0
    wrong_outcome: Outcome = Outcome.WRONG_ANSWER
    dies_at: str = ""
    dies_with: Outcome = Outcome.UNAVAILABLE
    stays_dead: bool = False
    silences: int | None = None
    asked: list[str] = field(default_factory=list)

    def run(self, step: Step, users: int, runs: Path) -> Path:
        self.asked.append(step.key)
        if step.users is not None:
            requests = self.server.closed(step.users, step.seconds)
        else:
            assert step.rate is not None
            requests = self.server.open(step.rate, step.seconds)
        for index in np.flatnonzero(self.server.rng.random(requests.due.size) < self.wrong):
            requests.outcome[index] = self.wrong_outcome
        times = self.asked.count(step.key)
        if step.key == self.dies_at and (self.silences is None or times <= self.silences):
            first = 0 if self.stays_dead and times > 1 else requests.due.size // 3
            for index in range(first, requests.due.size):
                requests.outcome[index] = self.dies_with
        workload = replace(WORKLOAD, users=users, duration=step.seconds, warmup=1.0, seed=step.seed)
        run = write_run(
            runs,
            requests,
            str(step.arrivals),
            workload,
            slug=f"step-{len(self.asked)}",
            client={"cpu": self.client_cpu},
            environment=ENVIRONMENT,
            repeat=step.repeat,
        )
        return run.path


def sweep_of(path: Path, driver: KnownDriver, slo: Slo = SLO, resume: bool = False) -> Sweep:
    """A short sweep of a known server."""
    folder = SweepFolder.create(path, {"slo": str(slo), "label": None, "batching": "off"}, resume=resume)
    return Sweep(folder, driver, SMALL, slo, fit=FIT)
