"""The collector of a running test: takes workers' reports, stores records and samples, finds the end of the run.

It runs in Locust's master, in its only process, or in a runner's process.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import gevent
import numpy as np
from gevent.event import Event

from bench.core.errors import no_memory, reason_of
from bench.core.units import format_seconds
from bench.load.engine.jobs import ScheduledJobs, ScheduleShard, Unrecorded
from bench.load.engine.payloads import Payload
from bench.load.engine.recorder import Recorder
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.live.live_figures import LiveFigures, LivePlan
from bench.load.monitor.sampling import ServerSampler
from bench.objectives.grammar import Objective
from bench.results.blocks import Block, RecordBuffer
from bench.results.manifest import Stopping
from bench.results.overload import Overload
from bench.results.run_folder import RunWriter
from bench.results.samples import ClientSample
from bench.serving.errors import Lack

# Workers get this much more time than the run may take.
PATIENCE_SECONDS: Final = 10.0
# Locust misses a worker after three silent seconds, which a busy machine can cause; it may recover.
SILENCE_SECONDS: Final = 8.0

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
    """

    alive: Callable[[], set[int]]
    ended: Callable[[], None]
    second: Callable[[LiveFigures], None] | None = None


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
        lost: one line for each lost worker.
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
        self._payloads = payloads
        self._sampler = sampler
        self._callbacks = callbacks
        self._figures = _figures(plans, writer.objectives) if callbacks.second is not None else None
        self._open = set(self._plans)
        self._heard = dict.fromkeys(self._plans, 0.0)
        self._unrecorded = {plan.worker: Unrecorded(plan.shard) for plan in plans if plan.shard is not None}
        self._blocks = dict.fromkeys(self._plans, 0)
        self._lacks: dict[int, Mapping[str, int]] = {}
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

    def report(self, message: Mapping[str, Any]) -> None:
        """Takes a worker's report, see `bench.load.engine.worker_session.WorkerSession`."""
        worker = message["worker"]
        if worker not in self._open:
            return
        self._heard[worker] = self.now
        self._lacks[worker] = message["lacks"]
        block = self._add_block(message["block"])
        if block is not None:
            self._blocks[worker] = block.sequence + 1
            if (unrecorded := self._unrecorded.get(worker)) is not None:
                unrecorded.take_out(block.rows["due"])
        if message["sample"]:
            sample = ClientSample(**message["sample"])
            self._store_or_stop(lambda: self._writer.add_client_sample(sample))
            if self._figures is not None:
                self._figures.add_sample(sample)
        if message["over"]:
            self._close(worker)

    def stop(self, overload: Overload | None = None) -> None:
        """Marks the run as stopped early, now; `overload` is why, if it asks for more than the server carries."""
        if self._stopped_at is None and self._open:
            self._stopped_at, self._overload = max(self.now, 0.0), overload
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
        for worker in sorted(self._open):
            self._lose(worker)
        self._tell()
        for warning in self._sampler.missing:
            self.warn(warning)
        self._sampler.close()
        if self._failure is not None:
            self._writer.close()
            raise self._failure
        elapsed = max(self._ends, min(self.now, self._last_moment()))
        if self._stopped_at is not None:
            # The backlog that is worked off afterwards is not measured.
            elapsed = self._stopped_at
        stopped = self._stopped_at is not None
        return self._writer.finish(
            elapsed, interrupted=stopped, stopping=self.stopping, overload=self._overload, lacks=self._all_lacks()
        )

    def _all_lacks(self) -> dict[Lack, int]:
        """Requests of all workers that failed because their machine lacked something."""
        total: Counter[Lack] = Counter()
        for lacks in self._lacks.values():
            total.update({Lack(name): count for name, count in lacks.items()})
        return dict(total)

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

    def _add_block(self, data: bytes) -> Block | None:
        """Stores records; None if there are none, if they came before, or if they cannot be stored."""
        block = self._store_or_stop(lambda: self._writer.add_block(data))
        if block is not None and self._figures is not None:
            self._figures.add_block(block.rows)
        return block

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

    def _lose(self, worker: int) -> None:
        """Marks a worker as lost: its requests without a record count as dropped."""
        plan = self._plans[worker]
        text = f"worker {worker} was lost {format_seconds(self._heard[worker])} into the run"
        self.lost.append(text)
        if plan.shard is not None:
            dropped = self._drop_unrecorded(worker, plan, plan.shard)
            verb = "counts" if dropped == 1 else "count"
            text += f": {dropped:,} of its requests {verb} as dropped; those of its last second may have been sent"
        self.warn(text)
        self._close(worker)

    def _drop_unrecorded(self, worker: int, plan: WorkerPlan, shard: ScheduleShard) -> int:
        until = self._ends if self._stopped_at is None else self._stopped_at
        unrecorded = self._unrecorded[worker].requests
        workload = plan.workload
        buffer = RecordBuffer(worker, self._blocks[worker])
        recorder = Recorder(buffer, self._payloads, workload.protocols, workload.signature, plan.begins)
        for job in ScheduledJobs(shard.only(unrecorded)).left(until):
            recorder.drop(job)
        dropped = len(buffer)
        self._add_block(recorder.take())
        return dropped

    def _watch(self) -> None:
        """Each second syncs the records to disk, and checks that the workers are alive."""
        while not self._closing.wait(1.0):
            # In a thread: a disk may be slow, and no request should wait for it.
            self._store_or_stop(lambda: gevent.get_hub().threadpool.apply(self._writer.sync))
            gone = self._open - self._callbacks.alive()
            lost = {worker for worker in gone if self.now - self._heard[worker] > SILENCE_SECONDS}
            if self._open and self.now > self._last_moment() + PATIENCE_SECONDS:
                lost = set(self._open)
            for worker in sorted(lost):
                self._lose(worker)

    def _sample_server(self) -> None:
        while not self._closing.wait(max(np.floor(self.now) + 1.0, 0.0) - self.now):
            self._store_or_stop(lambda: self._writer.add_server_sample(self._sampler.sample(self.now)))


def _figures(plans: Sequence[WorkerPlan], objectives: tuple[Objective, ...]) -> LiveFigures:
    """Figures of a run that is about to begin."""
    shards = [np.frombuffer(plan.shard.due) for plan in plans if plan.shard is not None]
    due = np.sort(np.concatenate(shards)) if shards else None
    plan = LivePlan(plans[0].begins, plans[0].ends, due, objectives)
    return LiveFigures(plan, [plan.worker for plan in plans])


def start_times(lead: float) -> tuple[float, datetime]:
    """The moment `lead` seconds from now, on `time.perf_counter` and in UTC."""
    return time.perf_counter() + lead, datetime.now(UTC) + timedelta(seconds=lead)
