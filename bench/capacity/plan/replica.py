"""One replica of a simulated fleet: its requests, and the time of its next event.

Times are seconds; requests are indexes. The simulation calls `arrive` and `wake` in the order of time, and asks for
`next_event` after each, since it may have changed.
"""

import heapq
from abc import ABC, abstractmethod
from collections import deque
from typing import Final

from bench.capacity.queue.queue_model import QueueModel

NEVER: Final = float("inf")


class Replica(ABC):
    """A replica.

    Args:
        queue_model: the queue model.
        work: work of each request, seconds.
        begun: receives the time at which the service of each request begins.
    """

    __slots__ = ("begun", "factor", "up", "version", "work")

    def __init__(self, queue_model: QueueModel, work: list[float], begun: list[float]) -> None:
        self.work = work
        self.begun = begun
        self.factor = 1.0
        self.up = True
        self.version = 0

    @abstractmethod
    def arrive(self, request: int, now: float) -> bool:
        """Takes a request; returns whether the next event may have changed."""

    @abstractmethod
    def wake(self, now: float) -> list[int]:
        """Processes the next event, at `now`; returns the completed requests."""

    @abstractmethod
    def next_event(self) -> float:
        """Time of the next event, unless a request arrives before it."""

    @abstractmethod
    def lose(self, now: float) -> list[int]:
        """Drops all requests and returns them."""

    @abstractmethod
    def slow_down(self, now: float, factor: float) -> None:
        """All work takes `factor` times as long from now on."""


class SharedReplica(Replica):
    """Requests in service share the speed, in virtual time as in `vectorized_queue`; the others wait."""

    __slots__ = ("busy", "clock", "queue", "servers", "speed_each", "virtual")

    def __init__(self, queue_model: QueueModel, work: list[float], begun: list[float]) -> None:
        super().__init__(queue_model, work, begun)
        self.speed_each = [1.0, *(speed / (k + 1) for k, speed in enumerate(queue_model.speeds))]
        self.servers = queue_model.servers
        self.busy: list[tuple[float, int]] = []
        self.queue: deque[int] = deque()
        self.clock = 0.0
        self.virtual = 0.0

    def arrive(self, request: int, now: float) -> bool:
        if len(self.busy) >= self.servers:
            self.queue.append(request)
            return False
        self._advance(now)
        self._begin(request, now)
        return True

    def wake(self, now: float) -> list[int]:
        self._advance(now)
        done = heapq.heappop(self.busy)[1]
        if self.queue:
            self._begin(self.queue.popleft(), now)
        return [done]

    def next_event(self) -> float:
        if not self.busy:
            return NEVER
        return self.clock + (self.busy[0][0] - self.virtual) * self.factor / self.speed_each[len(self.busy)]

    def lose(self, now: float) -> list[int]:
        self._advance(now)
        lost = [*(request for _, request in self.busy), *self.queue]
        self.busy.clear()
        self.queue.clear()
        return lost

    def slow_down(self, now: float, factor: float) -> None:
        self._advance(now)
        self.factor = factor

    def _begin(self, request: int, now: float) -> None:
        self.begun[request] = now
        heapq.heappush(self.busy, (self.virtual + self.work[request], request))

    def _advance(self, now: float) -> None:
        if self.busy:
            self.virtual += (now - self.clock) * self.speed_each[len(self.busy)] / self.factor
        self.clock = now


class BatchReplica(Replica):
    """A free thread takes a batch once it is full or its first request has waited for the timeout."""

    __slots__ = ("batching", "queue", "running", "speed_each", "threads")

    def __init__(self, queue_model: QueueModel, work: list[float], begun: list[float]) -> None:
        super().__init__(queue_model, work, begun)
        assert queue_model.batching is not None
        self.batching = queue_model.batching
        self.threads = queue_model.servers
        self.speed_each = [speed / (k + 1) for k, speed in enumerate(queue_model.speeds)]
        self.queue: deque[tuple[float, int]] = deque()
        self.running: list[tuple[float, list[int]]] = []

    def arrive(self, request: int, now: float) -> bool:
        self.queue.append((now, request))
        self._take(now)
        return True

    def wake(self, now: float) -> list[int]:
        done: list[int] = []
        while self.running and self.running[0][0] <= now:
            done += heapq.heappop(self.running)[1]
        self._take(now)
        return done

    def next_event(self) -> float:
        ends = self.running[0][0] if self.running else NEVER
        if not self.queue or len(self.running) >= self.threads:
            return ends
        return min(ends, self.queue[0][0] + self.batching.timeout)

    def lose(self, now: float) -> list[int]:
        lost = [request for _, members in self.running for request in members]
        lost += [request for _, request in self.queue]
        self.running.clear()
        self.queue.clear()
        return lost

    def slow_down(self, now: float, factor: float) -> None:
        """Affects batches that begin later; running batches keep their end."""
        self.factor = factor

    def _take(self, now: float) -> None:
        largest, timeout = self.batching.largest, self.batching.timeout
        while self.queue and len(self.running) < self.threads:
            if len(self.queue) < largest and now < self.queue[0][0] + timeout:
                return
            members = [self.queue.popleft()[1] for _ in range(min(largest, len(self.queue)))]
            size = len(members)
            work = sum(self.work[request] for request in members) / size * (1 + self.batching.marginal * (size - 1))
            for request in members:
                self.begun[request] = now
            heapq.heappush(self.running, (now + work * self.factor / self.speed_each[len(self.running)], members))


def make_replica(queue_model: QueueModel, work: list[float], begun: list[float]) -> Replica:
    """A replica with or without batching, as the queue model says."""
    return (SharedReplica if queue_model.batching is None else BatchReplica)(queue_model, work, begun)
