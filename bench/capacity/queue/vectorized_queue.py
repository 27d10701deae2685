"""Many independent queues, simulated together: one numpy operation advances every queue by one event.

Each queue has its own arrivals, work and speeds. A queue of n requests has 2 n events in every case, so all queues end
at the same step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Floats

Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Served:
    """Times of each request of each queue, seconds, `[queues, n]`.

    Args:
        waiting: from arrival to the start of service.
        sojourn: from arrival to the end of service.
    """

    waiting: Floats
    sojourn: Floats


def simulate_queues(arrivals: Floats, work: Floats, speeds: Floats) -> Served:
    """First come first served, with up to `speeds.shape[1]` requests in service, which share the speed equally.

    Args:
        arrivals: arrival time of each request, seconds, `[queues, n]`, increasing in each queue.
        work: work of each request, seconds, `[queues, n]`.
        speeds: work per second with 1, 2, ... requests in service, `[queues, servers]`.
    """
    speed_each = speeds / np.arange(1, speeds.shape[1] + 1)
    if np.all(speed_each == speed_each[:, :1]):
        return _independent(arrivals, work / speed_each[:, :1], speeds.shape[1])
    return _Sharing(arrivals, work, speed_each).run()


def _independent(arrivals: Floats, service: Floats, servers: int) -> Served:
    """Servers that do not slow each other down.

    One server: Lindley's recursion (1952) as a running maximum. Several: each request takes the server that is free
    first (Kiefer and Wolfowitz, 1955).
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

    Virtual time advances at the speed of one request in service, so the virtual end of a request is fixed once its
    service begins. Arrays over requests are flat, with index = request * queues + queue.
    """

    def __init__(self, arrivals: Floats, work: Floats, speed_each: Floats) -> None:
        self.queues, self.n = arrivals.shape
        self.servers = speed_each.shape[1]
        self.queue = np.arange(self.queues)
        # A last request that never arrives saves a bounds check at each step.
        never = np.full((1, self.queues), np.inf)
        self.arrivals = np.concatenate((_by_request(arrivals), never)).reshape(-1)
        self.work = np.concatenate((_by_request(work), never)).reshape(-1)
        self.speed_each = np.concatenate((np.ones((1, self.queues)), speed_each.T)).reshape(-1)
        self.clock = np.zeros(self.queues)
        self.virtual = np.zeros(self.queues)
        # Counts of requests, as flat indexes: busy * queues + queue, and so on.
        self.busy = self.queue.copy()
        self.arrived = self.queue.copy()
        self.begun = self.queue.copy()
        self.ends = np.full((self.servers, self.queues), np.inf)
        # The row after the last request takes values to discard.
        self.who = np.empty(self.servers * self.queues, np.intp)
        self.start = np.empty((self.n + 1) * self.queues)
        self.done = np.empty((self.n + 1) * self.queues)

    def run(self) -> Served:
        """Processes all events of all queues."""
        for _ in range(2 * self.n):
            self._step()
        shape = (self.n + 1, self.queues)
        arrivals = self.arrivals.reshape(shape)[:-1]
        waiting = self.start.reshape(shape)[:-1] - arrivals
        sojourn = self.done.reshape(shape)[:-1] - arrivals
        return Served(_by_request(waiting), _by_request(sojourn))

    def _step(self) -> None:
        """Processes the next arrival or departure of every queue, and the start of service that it allows."""
        queues, ends = self.queues, self.ends.reshape(-1)
        first = self.ends.argmin(axis=0) * queues + self.queue
        end = ends[first]
        speed = self.speed_each[self.busy]
        departs = self.clock + (end - self.virtual) / speed
        arrives = self.arrivals[self.arrived]
        leaving = departs < arrives
        now = np.minimum(arrives, departs)
        self.virtual += (now - self.clock) * speed
        self.clock = now
        left = first[leaving]
        ends[left] = np.inf
        self.done[self.who[left]] = now[leaving]
        # One request arrived, or one left.
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
