"""Many independent queues simulated side by side: one numpy operation moves every queue by one event.

A *queue* is one queue with its own arrivals, work and speeds. A queue of n requests has 2 n events, whatever happens in
it, so all queues end at the same step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Floats

Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Served:
    """What happened to each request of each queue, seconds, float64 `[queues, n]`.

    Args:
        waiting: from its arrival to the start of its service.
        sojourn: from its arrival to the end of its service.
    """

    waiting: Floats
    sojourn: Floats


def simulate_queues(arrivals: Floats, work: Floats, speeds: Floats) -> Served:
    """First come first served into `speeds.shape[1]` places, whose requests share the queue_model's speed equally.

    Args:
        arrivals: when each request comes, seconds, `[queues, n]`, rising along a queue.
        work: seconds that each takes alone, `[queues, n]`.
        speeds: work a second with 1, 2, ... requests in service, `[queues, servers]`.
    """
    share = speeds / np.arange(1, speeds.shape[1] + 1)
    if np.all(share == share[:, :1]):
        return _independent(arrivals, work / share[:, :1], speeds.shape[1])
    return _Sharing(arrivals, work, share).run()


def _independent(arrivals: Floats, service: Floats, servers: int) -> Served:
    """Servers that do not hinder each other.

    One: Lindley's recursion (1952) as a running maximum. Several: each request goes to the server that is free first
    (Kiefer and Wolfowitz, 1955).
    """
    if servers == 1:
        before = np.cumsum(service, axis=1) - service
        start = before + np.maximum.accumulate(arrivals - before, axis=1)
        waiting = np.maximum(start - arrivals, 0.0)
        return Served(waiting, waiting + service)
    queues, n = arrivals.shape
    queue = np.arange(queues)
    free = np.zeros((servers, queues))
    flat = free.reshape(-1)
    waiting = np.empty((n, queues))
    for index, (now, length) in enumerate(zip(_by_request(arrivals), _by_request(service), strict=True)):
        first = free.argmin(axis=0) * queues + queue
        start = np.maximum(now, flat[first])
        flat[first] = start + length
        np.subtract(start, now, out=waiting[index])
    result = np.ascontiguousarray(waiting.T)
    return Served(result, result + service)


def _by_request(values: Floats) -> Floats:
    return np.ascontiguousarray(values.T)


class _Sharing:
    """Requests in service share the speed equally: a simulation in virtual time.

    Virtual time runs at the speed of each single request in service, so that the end of a request, once it has begun,
    never changes in it. Arrays over requests are flat, request by request: index = request * queues + queue.
    """

    def __init__(self, arrivals: Floats, work: Floats, share: Floats) -> None:
        self.queues, self.n = arrivals.shape
        self.servers = share.shape[1]
        self.queue = np.arange(self.queues)
        # A request that never arrives spares a check of bounds at each step.
        never = np.full((1, self.queues), np.inf)
        self.arrivals = np.concatenate((_by_request(arrivals), never)).reshape(-1)
        self.work = np.concatenate((_by_request(work), never)).reshape(-1)
        self.share = np.concatenate((np.ones((1, self.queues)), share.T)).reshape(-1)
        self.clock = np.zeros(self.queues)
        self.virtual = np.zeros(self.queues)
        # Counts of requests, as flat indexes: busy * queues + queue, and so on.
        self.busy = self.queue.copy()
        self.arrived = self.queue.copy()
        self.begun = self.queue.copy()
        self.ends = np.full((self.servers, self.queues), np.inf)
        # The row after the last request takes what must not be kept.
        self.who = np.empty(self.servers * self.queues, np.intp)
        self.start = np.empty((self.n + 1) * self.queues)
        self.done = np.empty((self.n + 1) * self.queues)

    def run(self) -> Served:
        """All events of all queues."""
        for _ in range(2 * self.n):
            self._step()
        shape = (self.n + 1, self.queues)
        arrivals = self.arrivals.reshape(shape)[:-1]
        waiting = self.start.reshape(shape)[:-1] - arrivals
        sojourn = self.done.reshape(shape)[:-1] - arrivals
        return Served(_by_request(waiting), _by_request(sojourn))

    def _step(self) -> None:
        """Every queue's next arrival or departure, and the start of service that it makes possible."""
        queues, ends = self.queues, self.ends.reshape(-1)
        first = self.ends.argmin(axis=0) * queues + self.queue
        end = ends[first]
        speed = self.share[self.busy]
        departs = self.clock + (end - self.virtual) / speed
        arrives = self.arrivals[self.arrived]
        leaving = departs < arrives
        now = np.minimum(arrives, departs)
        self.virtual += (now - self.clock) * speed
        self.clock = now
        left = first[leaving]
        ends[left] = np.inf
        self.done[self.who[left]] = now[leaving]
        # One more has come, or one place is free.
        self.busy -= queues * leaving
        self.arrived += queues * ~leaving
        starting = (self.begun < self.arrived) & (self.busy < self.servers * queues)
        begun = self.begun[starting]
        place = (self.ends.argmax(axis=0) * queues + self.queue)[starting]
        self.start[begun] = now[starting]
        ends[place] = self.virtual[starting] + self.work[begun]
        self.who[place] = begun
        self.begun += queues * starting
        self.busy += queues * starting
