"""What a worker sends: its shard of a schedule drawn before the run, or the requests of a closed loop."""

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.core.seeds import Stream, generator
from bench.workload.due_times import OpenLoop
from bench.workload.workload import Schedule, Workload, checked_requests, run_schedule, sentence_order

_CHUNK: Final = 1 << 14


class Job(NamedTuple):
    """One request to send.

    Args:
        due: seconds since the run began.
        request: index of its payload.
        checked: whether its answer is checked.
        protocol_index: index into the run's protocols.
    """

    due: float
    request: int
    checked: bool
    protocol_index: int


@dataclass(frozen=True, slots=True)
class ScheduleShard:
    """One worker's part of an open-loop schedule, as bytes for the message to it.

    Args:
        due: float64, seconds since the run began, sorted.
        request: uint32, index of each payload.
        checked: uint8, whether each answer is checked.
        protocol_index: uint8, index into the run's protocols.
    """

    due: bytes
    request: bytes
    checked: bytes
    protocol_index: bytes

    def only(self, chosen: NDArray[np.bool_]) -> "ScheduleShard":
        """The chosen requests; `chosen` is bool `[N]`."""
        columns = ((self.due, "<f8"), (self.request, "<u4"), (self.checked, "u1"), (self.protocol_index, "u1"))
        return ScheduleShard(*(np.frombuffer(data, np.dtype(kind))[chosen].tobytes() for data, kind in columns))


def partition_schedule(
    arrivals: OpenLoop, workload: Workload, payloads: int, workers: int
) -> tuple[Schedule, tuple[ScheduleShard, ...]]:
    """The schedule of a run and each worker's shard of it; their union does not depend on the number of workers.

    Args:
        arrivals: when requests are due.
        workload: seed, duration, warm-up, share of checked answers.
        payloads: number of payloads to draw from.
        workers: load-generating processes.
    """
    schedule = run_schedule(arrivals, workload)
    count = schedule.due.size
    request = sentence_order(workload.seed, count, payloads).astype(np.uint32)
    protocol_index = np.zeros(count, np.uint8)
    if workload.protocol == "both":
        request, protocol_index = _pair(request, generator(workload.seed, Stream.ORDER))
    checked = checked_requests(workload.seed, count, workload.check_share).astype(np.uint8)
    columns = (schedule.due.astype("<f8"), request, checked, protocol_index)
    shards = tuple(
        ScheduleShard(*(column[worker::workers].tobytes() for column in columns)) for worker in range(workers)
    )
    return schedule, shards


def _pair(request: NDArray[np.uint32], rng: np.random.Generator) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Pairs of equal requests, one on each protocol, in an order drawn for each pair."""
    first = rng.integers(0, 2, (request.size + 1) // 2).astype(np.uint8)
    protocol_index = np.column_stack((first, 1 - first)).ravel()[: request.size]
    return np.repeat(request[::2], 2)[: request.size], protocol_index


class Unrecorded:
    """The requests of a shard that have no record so far: a byte for each, however many records come.

    Args:
        shard: the worker's part of the schedule.

    Attributes:
        due: when the requests of the shard are due, seconds since the run began, `[N]`.
        requests: which have no record, bool `[N]`.
    """

    def __init__(self, shard: ScheduleShard) -> None:
        self.due = np.frombuffer(shard.due)
        self.requests = np.ones(self.due.size, np.bool_)

    def take_out(self, due: NDArray[np.float64]) -> None:
        """Takes out requests that were due at these times; of several that were due at one, as many as are named."""
        times, counts = np.unique(due, return_counts=True)
        first = np.searchsorted(self.due, times, side="left")
        there = np.minimum(first, self.due.size - 1)
        plain = (counts == 1) & (self.due[there] == times) & self.requests[there]
        self.requests[there[plain]] = False
        for time, count, start in zip(times[~plain], counts[~plain], first[~plain], strict=True):
            end = np.searchsorted(self.due, time, side="right")
            self.requests[start + np.flatnonzero(self.requests[start:end])[:count]] = False


class Jobs(Protocol):
    """The queue of requests from which users take the next one."""

    def take(self, now: float) -> Job | None:
        """The next job; None at the end. `now` is in seconds since the run began."""

    def give_back(self, job: Job) -> float:
        """Takes back a job whose user ended before it was due.

        Returns:
            When the first of the jobs that are back is due; infinity if there is none.
        """

    def exhausted(self, now: float) -> bool:
        """Whether there is no job any more that a user could take."""

    def left(self, until: float) -> list[Job]:
        """Removes all jobs; returns those due at or before `until` that no user took."""

    def waiting(self, now: float) -> int:
        """Number of jobs due at `now` and not taken."""


class ScheduledJobs:
    """Open loop: a worker's shard of the schedule, in the order of due times."""

    def __init__(self, shard: ScheduleShard) -> None:
        self._due = array("d", shard.due)
        self._request = array("I", shard.request)
        self._checked = shard.checked
        self._protocol_index = shard.protocol_index
        self._next = 0
        # A heap by due time. All are due before the next one.
        self._returned: list[Job] = []

    def __len__(self) -> int:
        return len(self._due)

    def take(self, now: float) -> Job | None:
        if self._returned:
            return heappop(self._returned)
        index = self._next
        if index >= len(self._due):
            return None
        self._next = index + 1
        return self._job(index)

    def give_back(self, job: Job) -> float:
        heappush(self._returned, job)
        return self._returned[0].due

    def exhausted(self, now: float) -> bool:
        return not self._returned and self._next >= len(self._due)

    def left(self, until: float) -> list[Job]:
        rest = [*self._returned, *(self._job(index) for index in range(self._next, len(self._due)))]
        self._returned.clear()
        self._next = len(self._due)
        return [job for job in rest if job.due <= until]

    def waiting(self, now: float) -> int:
        due = int(np.searchsorted(np.frombuffer(self._due), now, side="right"))
        return max(due - self._next, 0) + sum(job.due <= now for job in self._returned)

    def _job(self, index: int) -> Job:
        return Job(self._due[index], self._request[index], bool(self._checked[index]), self._protocol_index[index])


class _ClosedLoop:
    """A queue whose requests are due when a user is free: none waits, and none is left behind."""

    def give_back(self, job: Job) -> float:
        """In closed loop a job that was not sent was not due."""
        return inf

    def left(self, until: float) -> list[Job]:
        return []

    def waiting(self, now: float) -> int:
        return 0


class ClosedJobs(_ClosedLoop):
    """Closed loop: always another job, due now, until the end.

    Args:
        workload: seed, protocols, share of checked answers.
        payloads: number of payloads to draw from.
        worker: index of this process; each draws its own order.
        ends: no job is due at or after this, seconds since the run began.
    """

    def __init__(self, workload: Workload, payloads: int, worker: int, ends: float) -> None:
        self._workload = workload
        self._payloads = payloads
        self._ends = ends
        self._random = generator(workload.seed, Stream.SENTENCES, 1 + worker)
        self._queue: deque[tuple[int, bool, int]] = deque()
        self._draw()

    def take(self, now: float) -> Job | None:
        if now >= self._ends:
            return None
        if not self._queue:
            self._draw()
        return Job(now, *self._queue.popleft())

    def exhausted(self, now: float) -> bool:
        return now >= self._ends

    def _draw(self) -> None:
        request = self._random.integers(0, self._payloads, _CHUNK).astype(np.uint32)
        checked = self._random.random(_CHUNK) < self._workload.check_share
        protocol_index = np.zeros(_CHUNK, np.uint8)
        if self._workload.protocol == "both":
            request, protocol_index = _pair(request, self._random)
        self._queue.extend(zip(request.tolist(), checked.tolist(), protocol_index.tolist(), strict=True))


class CountedJobs(_ClosedLoop):
    """Closed loop: a list of requests, each due when a user is free, until the list or the time ends.

    Args:
        requests: indexes of payloads.
        checked: whether each answer is compared.
        ends: no job is due at or after this, seconds of the run's clock.
    """

    def __init__(self, requests: Sequence[int], checked: Sequence[bool], ends: float) -> None:
        self._left = list(zip(requests, checked, strict=True))[::-1]
        self._ends = ends

    def take(self, now: float) -> Job | None:
        if not self._left or now >= self._ends:
            return None
        request, checked = self._left.pop()
        return Job(now, request, checked, 0)

    def exhausted(self, now: float) -> bool:
        return not self._left or now >= self._ends
