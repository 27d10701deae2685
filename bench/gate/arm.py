"""One of two servers that are driven in alternation, on a clock that runs only while this one is driven."""

import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

import gevent
import numpy as np
import psutil
from numpy.typing import NDArray

from bench.bert.contract.golden import Golden
from bench.core.seeds import Stream, generator
from bench.load.engine.dispatcher import Limits
from bench.load.engine.driver import Driver
from bench.load.engine.jobs import CountedJobs, Jobs, ScheduledJobs, partition_schedule
from bench.load.engine.pacer import Pacer
from bench.load.transports.endpoint import Endpoint
from bench.load.transports.pool import Transport, TransportPool
from bench.results.blocks import parse_block
from bench.results.failures import FailureText
from bench.results.records import Ended, Outcome
from bench.server.running import RunningServer
from bench.serving.errors import ServingError
from bench.workload.due_times import Arrivals, ClosedLoop, OpenLoop
from bench.workload.workload import Workload, sentence_order

_STORE_SECONDS: Final = 0.25
"""How often records leave memory: what a kill may take of each arm. A slice may take a few milliseconds only."""
_TAKEN: Final = ("due", "sent", "done", "outcome", "checked")


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds that a server has used so far, and its resident bytes; None where not known."""

    cpu: float | None
    memory: float | None


class Arm:
    """One server, its prepared requests, its users' connections, and the records of all its requests.

    Args:
        server: the running server.
        golden: golden answers of what it serves.
        workload: what is sent; `users`, `seed`, `timeout`, `drain` and `check_share` are used.
        endpoint: the server's address.
        arrivals: closed or open loop.

    Attributes:
        arrivals: closed or open loop.
        clock: seconds for which this arm was driven, warm-up included.
        warmed_up: where on that clock the first warm-up ended.
        blocks: the records so far, as `RunWriter` takes them, unless `store` is something else.
        store: gets each block of records, several times a second.
        samples: (clock, cores in use, resident bytes) after each pair.
        scheduled: number of due times drawn in open loop.
        asked: requests that have ended.
        answered: of these, those that got an answer, right or wrong.
        deadline: reading of `time.monotonic` at which all requests end.
    """

    def __init__(
        self,
        server: RunningServer,
        golden: Golden,
        workload: Workload,
        endpoint: Endpoint,
        arrivals: Arrivals,
    ) -> None:
        self.server = server
        self.workload = workload
        self.arrivals = arrivals
        self._driver = Driver(golden, workload, TransportPool(endpoint, workload.clients), self._note)
        self._users: list[Mapping[str, Transport]]
        self._process: psutil.Process | None
        self._attach_users()
        self.blocks: list[bytes] = []
        self.store: Callable[[bytes], object] = self.blocks.append
        self._rows: list[NDArray[Any]] = []
        self._stored = time.monotonic()
        self.samples: list[tuple[float, float | None, float | None]] = []
        self.clock = 0.0
        self.warmed_up = 0.0
        self.scheduled = 0
        self.asked = 0
        self.answered = 0
        self.deadline = inf

    @property
    def failures(self) -> tuple[FailureText, ...]:
        """The texts of the errors of failed requests, the most frequent first."""
        return self._driver.failures.found()

    @property
    def ended(self) -> bool:
        """Whether the server is a process of this machine that has ended."""
        if self.server.pid is None:
            return False
        try:
            return self._process is None or self._process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def attach(self, server: RunningServer, endpoint: Endpoint) -> None:
        """Replaces the connections by those to another process of the same server.

        Requests do not count until `end_warm_up`.
        """
        self.server = server
        self._driver.reconnect(TransportPool(endpoint, self.workload.clients))
        self._attach_users()
        self.begin_warm_up()

    def _attach_users(self) -> None:
        self._users = [self._driver.user_transports() for _ in range(self.workload.users)]
        self._process = _process(self.server)

    def begin_warm_up(self) -> None:
        """Requests from now on do not count, until `end_warm_up`."""
        self.take()
        self._driver.measure_from(inf)

    def end_warm_up(self) -> None:
        """Requests from now on count."""
        self.take()
        self.warmed_up = self.warmed_up or self.clock
        self._driver.measure_from(self.clock)

    def send_counted_slice(self, pair: int, begin: int, count: int, ends: float) -> None:
        """Sends `count` requests of a pair's sequence, from its index `begin`, in closed loop.

        Args:
            pair: chooses the sequence, together with the seed: the same for both arms.
            begin: index of the first request in it.
            count: how many.
            ends: nothing is sent at or after this reading of the arm's clock.
        """
        seed = _pair_seed(self.workload.seed, pair)
        requests = sentence_order(seed, begin + count, len(self._driver.payloads))[begin:]
        drawn = generator(seed, Stream.CHECKS).random(begin + count)[begin:] < self.workload.check_share
        assert isinstance(self.arrivals, ClosedLoop)
        self._drive(CountedJobs(requests.tolist(), drawn.tolist(), ends), ends, self.arrivals.think)

    def send_scheduled_slice(self, pair: int, seconds: float) -> None:
        """Sends what is due in `seconds` of a pair's schedule, in open loop, and waits for the answers."""
        assert isinstance(self.arrivals, OpenLoop)
        workload = replace(self.workload, seed=_pair_seed(self.workload.seed, pair), duration=seconds, warmup=0.0)
        _, (shard,) = partition_schedule(self.arrivals, workload, len(self._driver.payloads), 1)
        self.scheduled += len(shard.due) // 8
        moved = array("d", (np.frombuffer(shard.due) + self.clock).tolist()).tobytes()
        self._drive(ScheduledJobs(replace(shard, due=moved)), self.clock + seconds, None)

    def take(self) -> dict[str, NDArray[Any]]:
        """Columns of the requests since the last call."""
        self._store_records()
        if not self._rows:
            return {name: np.empty(0) for name in _TAKEN}
        rows = np.concatenate(self._rows)
        self._rows.clear()
        return {name: rows[name] for name in _TAKEN}

    def _store_records(self) -> None:
        """Stores the records since the last call; `take` gives them too."""
        self._stored = time.monotonic()
        if data := self._driver.take():
            self._rows.append(parse_block(data).rows)
            self.store(data)

    def usage(self) -> Usage:
        """What the server has used so far."""
        if self._process is None:
            return Usage(None, None)
        try:
            with self._process.oneshot():
                times = self._process.cpu_times()
                return Usage(float(times.user + times.system), float(self._process.memory_info().rss))
        except psutil.Error:
            return Usage(None, None)

    def close(self) -> None:
        """Closes the connections."""
        for transports in self._users:
            for transport in transports.values():
                transport.close()
        self._driver.close()

    def _drive(self, jobs: Jobs, ends: float, think: float | None) -> None:
        """Lets all users send until no job is left and all are answered; the clock runs only meanwhile."""
        pacer = Pacer()
        last = self.clock + max(self.deadline - time.monotonic(), 0.0)
        ends = min(ends, last)
        limits = Limits(0.0, ends, min(self.workload.drain, last - ends), self.workload.timeout, think)
        dispatcher = self._driver.dispatcher(jobs, limits, pacer)
        start = time.perf_counter()
        dispatcher.begin(start - self.clock)
        # Ctrl-C ends whichever greenlet runs and is then raised here; it is not an error to print.
        hub = gevent.get_hub()
        hub.NOT_ERROR = (*type(hub).NOT_ERROR, KeyboardInterrupt)
        users = [gevent.spawn(dispatcher.drive, transports) for transports in self._users]
        try:
            while len(gevent.joinall(users, timeout=_STORE_SECONDS, raise_error=True)) < len(users):
                self._store_records()
        finally:
            gevent.killall(users)
            pacer.close()
        dispatcher.finish()
        self.clock += time.perf_counter() - start
        if time.monotonic() - self._stored >= _STORE_SECONDS:
            self._store_records()

    def _note(self, protocol: str, ended: Ended, error: ServingError | None) -> None:
        self.asked += 1
        self.answered += ended.outcome in (Outcome.OK, Outcome.WRONG_ANSWER)


def _pair_seed(seed: int, pair: int) -> int:
    """A seed of its own for each pair; pair -1 is the warm-up."""
    return seed * 1_000_003 + pair + 1


def _process(server: RunningServer) -> psutil.Process | None:
    if server.pid is None:
        return None
    try:
        return psutil.Process(server.pid)
    except psutil.Error:
        return None
