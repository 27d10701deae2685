"""Batching of requests by Serving's rules (batching_session.cc, shared_batch_scheduler.h).

Each set of fed and fetched tensors of a version has a queue. The threads visit the queues in turn and take the oldest
batch of one: a closed batch, or the open batch when it is full or its timeout has passed.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.server.embedded.base import metrics
from bench.server.embedded.base.status import Code, PrintedFaults, StatusError, invalid_argument
from bench.server.embedded.config.model_config import BatchingParameters
from bench.server.embedded.models.servable import Caller, check_caller, run_timeout
from bench.server.embedded.runtime.batch_tensors import join_rows, join_tasks, split_outputs, split_rows
from bench.server.embedded.runtime.inline_threads import allow_inline_runs
from bench.server.embedded.runtime.model_runtime import ModelRuntime
from bench.server.embedded.runtime.session import Feeds
from bench.server.embedded.runtime.tensors import Tensor

# A client may ask for any set of outputs.
_MAX_QUEUES: Final = 1000
_LATE: Final = "Run() timeout exceeded while waiting in batching queue"


@dataclass(eq=False, slots=True)
class Task:
    """A request, or a part of one, in a queue.

    Args:
        feeds: tensors by name.
        rows: their first dimension.
        caller: the client that waits.
        enqueued: reading of `time.perf_counter` when it was submitted.
    """

    feeds: Feeds
    rows: int
    caller: Caller
    enqueued: float = field(default_factory=time.perf_counter)
    outputs: list[Tensor] | None = None
    error: StatusError | None = None
    done: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.done.acquire()

    def finish(self, outputs: list[Tensor] | None, error: StatusError | None = None) -> None:
        """Sets the result and wakes the caller."""
        self.outputs, self.error = outputs, error
        self.done.release()

    def wait(self) -> list[Tensor]:
        """Waits for the outputs.

        Raises:
            StatusError: the task failed.
        """
        self.done.acquire()
        if self.error is not None:
            raise self.error.bare()
        assert self.outputs is not None
        return self.outputs


@dataclass(eq=False, slots=True)
class _Batch:
    tasks: list[Task] = field(default_factory=list)
    rows: int = 0
    started: float = 0.0


class Scheduler:
    """The threads that run batches, shared by all models.

    Args:
        parameters: sizes and limits.
    """

    def __init__(self, parameters: BatchingParameters) -> None:
        self.parameters = parameters
        self.changed = threading.Condition(threading.Lock())
        self._queues: deque[Queue] = deque()
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{parameters.thread_pool_name or 'batch'}_{number}", daemon=True)
            for number in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, queue: "Queue") -> None:
        """Adds a queue."""
        with self.changed:
            self._queues.append(queue)

    def remove(self, queue: "Queue") -> None:
        """Removes a queue, which must be empty."""
        with self.changed:
            self._queues.remove(queue)

    def stop(self) -> None:
        """Ends the threads after their current batches."""
        with self.changed:
            self._stopped = True
            self.changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        allow_inline_runs()
        while True:
            with self.changed:
                found = self._next()
                while found is None and not self._stopped:
                    self.changed.wait(self._seconds_to_next())
                    found = self._next()
            if found is None:
                return
            queue, batch = found
            queue.process(batch)
            # Not kept while this thread waits for the next one.
            del found, queue, batch

    def _next(self) -> "tuple[Queue, _Batch] | None":
        """The next batch that may run; needs the lock."""
        for _ in range(len(self._queues)):
            queue = self._queues[0]
            self._queues.rotate(-1)
            batch = queue.take()
            if batch is not None:
                return queue, batch
        return None

    def _seconds_to_next(self) -> float | None:
        """Seconds until the timeout of an open batch passes; None without one. Needs the lock."""
        times = [ready for queue in self._queues if (ready := queue.ready_at()) is not None]
        return min(max(min(times) - time.perf_counter(), 0), threading.TIMEOUT_MAX) if times else None


class Queue:
    """The batches of one set of tensors of one version; the last one is open.

    Args:
        scheduler: its threads run the batches.
        session: the version's session.
        fetches: tensor names.
    """

    def __init__(self, scheduler: Scheduler, session: ModelRuntime, fetches: Sequence[str]) -> None:
        self._scheduler = scheduler
        self._parameters = scheduler.parameters
        self._session = session
        self._fetches = fetches
        self._batches: deque[_Batch] = deque([_Batch()])

    def submit(self, feeds: Feeds, caller: Caller) -> list[Task]:
        """Enqueues a request, split into parts where it spans several batches.

        Raises:
            StatusError: it is too large, or the queue is full (UNAVAILABLE).
        """
        rows = batch_rows(feeds)
        parameters = self._parameters
        if rows > parameters.max_batch_size:
            raise invalid_argument(
                f"Task size {rows} is larger than maximum input batch size {parameters.max_batch_size}"
            )
        with self._scheduler.changed:
            self._check_room(rows)
            tasks = self._split(feeds, rows, caller)
            for task in tasks:
                if self._batches[-1].rows + task.rows > parameters.batch_limit:
                    self._batches.append(_Batch())
                batch = self._batches[-1]
                if not batch.tasks:
                    batch.started = task.enqueued
                batch.tasks.append(task)
                batch.rows += task.rows
            self._scheduler.changed.notify(len(tasks))
        return tasks

    def take(self) -> _Batch | None:
        """Removes the oldest batch if it may run now; needs the scheduler's lock."""
        if len(self._batches) == 1:
            limit = self.ready_at()
            if limit is None or limit > time.perf_counter():
                return None
            self._batches.append(_Batch())
        return self._batches.popleft()

    def ready_at(self) -> float | None:
        """Reading of `time.perf_counter` from which the oldest batch may run; None without one. Needs the lock."""
        oldest = self._batches[0]
        if not oldest.tasks:
            return None
        if len(self._batches) > 1 or oldest.rows >= self._parameters.batch_limit:
            return 0.0
        return oldest.started + self._parameters.batch_timeout

    def process(self, batch: _Batch) -> None:
        """Runs a batch and gives each task its rows. Tasks whose caller no longer waits are left out."""
        now = time.perf_counter()
        tasks = []
        for task in batch.tasks:
            metrics.QUEUING_LATENCY.add((self._parameters.thread_pool_name,), int((now - task.enqueued) * 1e6))
            left = task.caller.seconds_left()
            if task.caller.cancelled():
                task.finish(None, StatusError(Code.CANCELLED, "The request was cancelled"))
            elif left is not None and left <= 0:
                task.finish(None, StatusError(Code.RESOURCE_EXHAUSTED, _LATE))
            else:
                tasks.append(task)
        if not tasks:
            return
        answers: list[list[Tensor]] = []
        # No caller may wait for ever, and the thread is needed for other batches.
        failed = StatusError(Code.INTERNAL, "The batch could not be processed")
        with PrintedFaults():
            try:
                answers = self._run(tasks)
            except StatusError as error:
                failed = error.bare()
        if not answers:
            for task in tasks:
                task.finish(None, failed)
            return
        for task, outputs in zip(tasks, answers, strict=True):
            task.finish(outputs)

    def _run(self, tasks: Sequence[Task]) -> list[list[Tensor]]:
        sizes = [task.rows for task in tasks]
        padding = self._padding(sum(sizes))
        feeds = join_tasks([task.feeds for task in tasks], padding, self._parameters.pad_variable_length_inputs)
        metrics.WRAPPED_RUN_COUNT.add()
        outputs = self._session.run(feeds, self._fetches, _latest_deadline(tasks))
        return split_outputs(outputs, sizes, padding)

    def _padding(self, rows: int) -> int:
        """Rows to add up to the next allowed size."""
        for size in self._parameters.allowed_batch_sizes:
            if size >= rows:
                return size - rows
        return 0

    def _check_room(self, rows: int) -> None:
        parameters, waiting = self._parameters, len(self._batches)
        tail = self._batches[-1].rows
        if parameters.enable_large_batch_splitting:
            limit = parameters.batch_limit
            room = (parameters.max_enqueued_batches - waiting) * limit + limit - tail
            if rows > room:
                raise StatusError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; task size is "
                    f"{rows} but scheduling capacity is only {room} (num_enqueued_batches={waiting}, "
                    f"max_enqueued_batches={parameters.max_enqueued_batches}, open_batch_size={tail}, "
                    f"max_execution_batch_size={limit})",
                )
        elif tail + rows > parameters.max_batch_size and waiting >= parameters.max_enqueued_batches:
            raise StatusError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{waiting} batches enqueued and max_enqueued_batches is {parameters.max_enqueued_batches}",
            )

    def _split(self, feeds: Feeds, rows: int, caller: Caller) -> list[Task]:
        """One task, or parts that fill the open batch and then further ones (SplitInputTask)."""
        limit = self._parameters.batch_limit
        free = limit - self._batches[-1].rows
        if not self._parameters.enable_large_batch_splitting or rows <= free:
            return [Task(feeds, rows, caller)]
        sizes = [free] if free else []
        while sum(sizes) < rows:
            sizes.append(min(limit, rows - sum(sizes)))
        parts = {name: split_rows(tensor, sizes) for name, tensor in feeds}
        return [
            Task([(name, parts[name][place]) for name, _ in feeds], size, caller) for place, size in enumerate(sizes)
        ]


class BatchingRunner:
    """Batches the requests to one version.

    Args:
        session: the version's session; closed with this runner.
        scheduler: its threads run the batches.
    """

    def __init__(self, session: ModelRuntime, scheduler: Scheduler) -> None:
        self._session = session
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._queues: dict[tuple[frozenset[str], frozenset[str]], tuple[Queue, tuple[str, ...]]] = {}

    def run(self, feeds: Feeds, fetches: Sequence[str], caller: Caller) -> list[Tensor]:
        """Waits until a batch with this request has run.

        Raises:
            StatusError: it cannot be batched, the queue is full, the caller no longer waits, or the batch failed.
        """
        check_caller(caller)
        queue, order = self._queue(feeds, fetches)
        tasks = queue.submit(feeds, caller)
        # Waits for all parts, also after a failure, so that none runs on after the answer.
        answers: list[Any] = []
        error: StatusError | None = None
        for task in tasks:
            try:
                answers.append(task.wait())
            except StatusError as failed:
                error = error or failed.bare()
        if error is not None:
            raise error.bare()
        outputs = answers[0] if len(answers) == 1 else [join_rows(parts) for parts in zip(*answers, strict=True)]
        by_name = dict(zip(order, outputs, strict=True))
        return [by_name[name] for name in fetches]

    def close(self) -> None:
        for queue, _ in self._queues.values():
            self._scheduler.remove(queue)
        self._session.close()

    def _queue(self, feeds: Feeds, fetches: Sequence[str]) -> tuple[Queue, tuple[str, ...]]:
        key = (frozenset([name for name, _ in feeds]), frozenset(fetches))
        with self._lock:
            if key not in self._queues:
                if len(self._queues) >= _MAX_QUEUES:
                    raise StatusError(
                        Code.RESOURCE_EXHAUSTED, f"requests for more than {_MAX_QUEUES} sets of outputs of one version"
                    )
                order = tuple(sorted(key[1]))
                self._queues[key] = (Queue(self._scheduler, self._session, order), order)
                self._scheduler.add(self._queues[key][0])
            return self._queues[key]


def batch_rows(feeds: Feeds) -> int:
    """The first dimension, which all tensors share (ComputeTensorBatchSize).

    Raises:
        StatusError: they do not share one.
    """
    if not feeds:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    if any(not tensor.shape for _, tensor in feeds):
        raise invalid_argument("Batching Run() input tensors must have at least one dimension")
    sizes = {tensor.shape[0] for _, tensor in feeds}
    if len(sizes) > 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def _latest_deadline(tasks: Sequence[Task]) -> int | None:
    """Milliseconds until the last of the tasks' deadlines; None if a task has no deadline."""
    left = [task.caller.seconds_left() for task in tasks]
    limited = [seconds for seconds in left if seconds is not None]
    return run_timeout(max(limited)) if len(limited) == len(left) else None
