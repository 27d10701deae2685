"""The collector of a running test: takes workers' reports, stores records and samples, finds the end of the run.

It runs in Locust's master, in its only process, or in a runner's process.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import gevent
import numpy as np
from gevent.event import Event

from bench.core.errors import no_memory, reason_of
from bench.load.engine.payloads import Payload
from bench.load.engine.worker_accounts import Loss, WorkerAccounts
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.live.live_figures import LiveFigures, LivePlan
from bench.load.monitor.sampling import ServerSampler
from bench.objectives.grammar import Objective
from bench.results.manifest import Stopping
from bench.results.overload import Overload
from bench.results.run_folder import RunWriter
from bench.results.samples import ClientSample

# Workers get this much more time than the run may take.
PATIENCE_SECONDS: Final = 10.0
# Locust misses a worker after three silent seconds, which a busy machine can cause; it may recover.
SILENCE_SECONDS: Final = 8.0
# A worker that ended by itself is lost after this, unless the run is stopped too: Ctrl-C reaches all its processes.
_QUIT_SECONDS: Final = 1.0

# After a whole second, so that the workers' reports of that second have arrived.
_REPORTS_SECONDS: Final = 0.3

logger = logging.getLogger(__name__)

Stored = TypeVar("Stored")


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What a collector asks and tells its owner.

    Args:
        alive: returns the indexes of the workers that are alive.
        ended: called once, when every worker has finished or is lost.
        second: called each second with the newest figures, and once more with the final ones when all records are
            stored; None if nobody watches, and no figures are kept.
        lost: called with each worker that is lost; it may come back, and must then send nothing more.
    """

    alive: Callable[[], set[int]]
    ended: Callable[[], None]
    second: Callable[[LiveFigures], None] | None = None
    lost: Callable[[int], None] = lambda worker: None


class Collector:
    """One run from its start to its folder.

    Args:
        writer: writes the run's folder.
        epoch: when its clock is 0, on the clock of `time.perf_counter`.
        plans: the workers' plans.
        payloads: the run's requests.
        sampler: samples the server once a second.
        callbacks: its owner.

    Attributes:
        stopping: the looks at a run that may stop by itself, for the folder.
        lost: one line for each lost worker, once the run is stored.
        over: set when every worker has finished or is lost.
    """

    def __init__(
        self,
        writer: RunWriter,
        epoch: float,
        plans: Sequence[WorkerPlan],
        payloads: Sequence[Payload],
        sampler: ServerSampler,
        callbacks: Callbacks,
    ) -> None:
        self._writer = writer
        self._epoch = epoch
        self._plans = {plan.worker: plan for plan in plans}
        self._accounts = WorkerAccounts(plans, payloads)
        self._sampler = sampler
        self._callbacks = callbacks
        self._figures: LiveFigures | None = None
        if callbacks.second is not None:
            self._figures = _figures(plans, self._accounts, writer.objectives)
        self._open = set(self._plans)
        self._heard = dict.fromkeys(self._plans, 0.0)
        # Workers that ended before the load did, without being asked to, by until when they have sent what was due.
        self._quit: dict[int, float] = {}
        self._settled = False
        self._stopped_at: float | None = None
        self._ends = next(iter(self._plans.values())).ends
        self.stopping: Stopping | None = None
        self._overload: Overload | None = None
        self._failure: OSError | None = None
        self.lost: list[str] = []
        self.over = Event()
        self._closing = Event()
        watching = [self._watch, self._sample_server, *([self._tell_each_second] if self._figures else [])]
        self._greenlets = [gevent.spawn(each) for each in watching]

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._writer.path

    @property
    def counts(self) -> Mapping[str, int]:
        """Requests stored so far, by outcome."""
        return self._writer.counts

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._epoch

    @property
    def ending(self) -> bool:
        """Whether the run was stopped early, or every worker has finished or is lost."""
        return self._stopped_at is not None or self.over.is_set()

    @property
    def quitters(self) -> set[int]:
        """Workers that ended by themselves a moment ago: lost, unless the run is stopped in the next one."""
        return self._open & self._quit.keys()

    def report(self, message: Mapping[str, Any]) -> None:
        """Takes a worker's report, see `bench.load.engine.worker_session.WorkerSession`.

        The records of a worker that was given up are taken until the run is stored: what was sent is never dropped.
        """
        worker = message["worker"]
        if self._settled or worker not in self._open | self._accounts.lost.keys():
            return
        self._accounts.hear(message)
        self._add_block(message["block"])
        if worker not in self._open:
            return
        self._heard[worker] = self.now
        if message["sample"]:
            sample = ClientSample(**message["sample"])
            self._store_or_stop(lambda: self._writer.add_client_sample(sample))
            if self._figures is not None:
                self._figures.add_sample(sample)
        if message["over"]:
            if self._stopped_at is None and message["ends"] < self._ends:
                self._quit[worker] = message["ends"]
            else:
                self._close(worker)

    def stop(self, overload: Overload | None = None) -> None:
        """Marks the run as stopped early, now; `overload` is why, if it asks for more than the server carries."""
        if self._stopped_at is None and self._open:
            self._overload = overload
            # A worker may have heard of it first; one that is lost by now ended for another reason.
            self._stop_at(min([self.now, *(self._quit[worker] for worker in self.quitters)]))
            for worker in sorted(self.quitters):
                self._close(worker)

    def _stop_at(self, moment: float) -> None:
        self._stopped_at = max(moment, 0.0)
        if self._figures is not None:
            self._figures.stop(self._stopped_at)

    def end_at(self, moment: float) -> None:
        """Ends the load of the run at `moment`, seconds since it began, as if that had been planned.

        The workers must be told too; nothing is due after it, and what was due before is still sent and answered.
        """
        if not moment < self._ends:
            return
        self._ends = moment
        if self._figures is not None:
            self._figures.stop(moment)
        shards = [plan.shard for plan in self._plans.values()]
        due = [int((np.frombuffer(shard.due) <= moment).sum()) for shard in shards if shard is not None]
        if self._figures is not None:
            self._figures.end_load(moment)
        self._store_or_stop(lambda: self._writer.end_load(moment, sum(due) if due else None))

    def finish(self) -> Path:
        """Writes the folder's final form; workers that have not finished are lost.

        Raises:
            OSError: it cannot be written, or a write failed during the run; it stays unfinished.
        """
        self._closing.set()
        gevent.joinall(self._greenlets)
        self._lose(set(self._open))
        self._settle()
        self._tell()
        for warning in self._sampler.missing:
            self.warn(warning)
        self._sampler.close()
        if self._failure is not None:
            self._writer.close()
            raise self._failure
        lacks, failures = self._accounts.all_lacks(), self._accounts.all_failures()
        stopped, early = self._stopped_at, self._stopped_at is not None
        # The backlog that is worked off after a stop is not measured.
        elapsed = max(self._ends, min(self.now, self._last_moment())) if stopped is None else stopped
        return self._writer.finish(
            elapsed, interrupted=early, stopping=self.stopping, overload=self._overload, lacks=lacks, failures=failures
        )

    def _store_or_stop(self, store: Callable[[], Stored]) -> Stored | None:
        """Calls `store`; if that fails, stops the run, and `finish` raises the error."""
        try:
            return store()
        except (OSError, MemoryError) as error:
            if self._failure is None:
                self._failure = error if isinstance(error, OSError) else no_memory(str(self.path))
                self.stop()
                for worker in sorted(self._open):
                    self._close(worker)
            return None

    def _add_block(self, data: bytes) -> None:
        """Stores records, unless there are none, they came before, or they cannot be stored."""
        block = self._store_or_stop(lambda: self._writer.add_block(data))
        if block is not None:
            self._accounts.add(block)
            if self._figures is not None:
                self._figures.add_block(block.rows)

    def _tell(self) -> None:
        if self._figures is not None and self._callbacks.second is not None:
            self._callbacks.second(self._figures)

    def _tell_each_second(self) -> None:
        while not self._closing.wait(
            max(np.floor(self.now - _REPORTS_SECONDS) + 1.0 + _REPORTS_SECONDS, 0.0) - self.now
        ):
            try:
                self._tell()
            except OSError as error:
                # Out of open files, say: who watches goes without this second's figures, and has the next ones.
                logger.warning("the figures of this second were not shown (%s)", reason_of(error))

    def warn(self, text: str) -> None:
        """Adds a warning to the run."""
        self._store_or_stop(lambda: self._writer.add_warning(text))

    def _last_moment(self) -> float:
        return self._ends + next(iter(self._plans.values())).workload.drain

    def _close(self, worker: int) -> None:
        self._open.discard(worker)
        if self._figures is not None:
            self._figures.end(worker)
        if not self._open and not self.over.is_set():
            self.over.set()
            self._callbacks.ended()

    def _lose(self, workers: set[int]) -> None:
        """Marks workers as lost. Until the run is stored their records are still taken; see `_settle`."""
        if not workers:
            return
        left = self._plans.keys() - self._accounts.lost.keys() - workers
        if not left and workers <= self._quit.keys() and self._stopped_at is None:
            # Nobody is there to send what is due from now on.
            self._stop_at(min(self.now, self._ends))
        for worker in sorted(workers):
            self._accounts.lost[worker] = Loss(self._heard[worker], announced=worker in self._quit)
            self._callbacks.lost(worker)
            self._close(worker)
        self._expect()

    def _expect(self) -> None:
        """Tells the figures which requests are due: not those that a lost worker will never send."""
        expected = self._accounts.expected()
        if self._figures is not None and expected is not None:
            self._figures.plan = replace(self._figures.plan, due=expected[expected <= self._ends])

    def _settle(self) -> None:
        """Accounts for the lost workers: their requests without a record count as dropped."""
        until = self._ends if self._stopped_at is None else self._stopped_at
        for worker in sorted(self._accounts.lost):
            text, block = self._accounts.settle(worker, until)
            self.lost.append(text.partition(":")[0])
            self.warn(text)
            self._add_block(block)
        self._expect()
        self._settled = True

    def _watch(self) -> None:
        """Each second syncs the records to disk, and checks that the workers are alive."""
        while not self._closing.wait(1.0):
            # In a thread: a disk may be slow, and no request should wait for it.
            self._store_or_stop(lambda: gevent.get_hub().threadpool.apply(self._writer.sync))
            gone = self._open - self._callbacks.alive()
            lost = {worker for worker in gone if self.now - self._heard[worker] > SILENCE_SECONDS}
            lost |= {worker for worker in self.quitters if self.now - self._heard[worker] > _QUIT_SECONDS}
            if self._open and self.now > self._last_moment() + PATIENCE_SECONDS:
                lost = set(self._open)
            self._lose(lost)

    def _sample_server(self) -> None:
        while not self._closing.wait(max(np.floor(self.now) + 1.0, 0.0) - self.now):
            self._store_or_stop(lambda: self._writer.add_server_sample(self._sampler.sample(self.now)))


def _figures(plans: Sequence[WorkerPlan], accounts: WorkerAccounts, objectives: tuple[Objective, ...]) -> LiveFigures:
    """Figures of a run that is about to begin."""
    plan = LivePlan(plans[0].begins, plans[0].ends, accounts.expected(), objectives)
    return LiveFigures(plan, [plan.worker for plan in plans])


def start_times(lead: float) -> tuple[float, datetime]:
    """The moment `lead` seconds from now, on `time.perf_counter` and in UTC."""
    return time.perf_counter() + lead, datetime.now(UTC) + timedelta(seconds=lead)
