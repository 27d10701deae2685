"""Many queues with batching, simulated together: one numpy operation advances every queue by one batch.

The rules are those of TensorFlow Serving's `SharedBatchScheduler`: a free batch thread takes up to `largest` waiting
requests as soon as there are as many, or the first of them has waited for `timeout`. All requests of a batch begin and
end together. The speed of a batch is that of the number of batches in service when it begins.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.capacity.queue.vectorized_queue import Served
from bench.core.types import Floats


def simulate_batches(
    arrivals: Floats, work: Floats, speeds: Floats, marginal: Floats, largest: int, timeout: float
) -> Served:
    """Serves the requests of each queue in batches.

    Args:
        arrivals: arrival time of each request, seconds, `[queues, n]`, increasing in each queue.
        work: work of each request, seconds, `[queues, n]`.
        speeds: work per second with 1, 2, ... batches in service, `[queues, threads]`.
        marginal: work that one more request adds to a batch, as a fraction of its own work, `[queues]`.
        largest: largest number of requests in a batch.
        timeout: longest wait of the first request of a batch for further requests, seconds.
    """
    queues, n = arrivals.shape
    queue = np.arange(queues)
    # The queues are placed one after the other on one time axis, so that one search serves all.
    apart = float(arrivals.max()) + timeout + 1.0
    times = _Times(arrivals, (arrivals + queue[:, None] * apart).reshape(-1), apart)
    passed = np.concatenate((np.zeros((queues, 1)), np.cumsum(work, axis=1)), axis=1)
    speed_each = speeds / np.arange(1, speeds.shape[1] + 1)
    free = np.zeros(speeds.shape)
    begins, ends = np.zeros((queues, n)), np.zeros((queues, n))
    first = np.zeros((queues, n), np.intp)
    at = np.zeros(queues, np.intp)
    unfinished = queue
    while unfinished.size:
        begun = at[unfinished]
        now, count = _next_batch(times, free[unfinished], unfinished, begun, largest, timeout)
        thread = free[unfinished].argmin(axis=1)
        busy = (free[unfinished] > now[:, None]).sum(axis=1)
        mean = (passed[unfinished, begun + count] - passed[unfinished, begun]) / count
        length = mean * (1 + marginal[unfinished] * (count - 1)) / speed_each[unfinished, busy]
        free[unfinished, thread] = now + length
        begins[unfinished, begun], ends[unfinished, begun], first[unfinished, begun] = now, now + length, begun
        at[unfinished] = begun + count
        unfinished = unfinished[at[unfinished] < n]
    # Every request has the times of the first request of its batch.
    leader = np.maximum.accumulate(first, axis=1)
    start, end = np.take_along_axis(begins, leader, axis=1), np.take_along_axis(ends, leader, axis=1)
    return Served(start - arrivals, end - arrivals)


class _Times(NamedTuple):
    """Arrival times: by queue, and all queues on one axis, `apart` seconds after each other."""

    arrivals: Floats
    axis: Floats
    apart: float


def _next_batch(
    times: _Times, free: Floats, unfinished: NDArray[np.intp], begun: NDArray[np.intp], largest: int, timeout: float
) -> tuple[Floats, NDArray[np.intp]]:
    """(start, number of requests) of the next batch of each unfinished queue."""
    arrivals = times.arrivals
    n = arrivals.shape[1]
    last = begun + largest - 1
    full = np.where(last < n, arrivals[unfinished, np.minimum(last, n - 1)], np.inf)
    now = np.maximum(free.min(axis=1), np.minimum(full, arrivals[unfinished, begun] + timeout))
    there = np.searchsorted(times.axis, now + unfinished * times.apart, side="right") - unfinished * n
    # Rounding on the long axis must not lose the first request.
    return now, np.clip(there - begun, 1, np.minimum(largest, n - begun))


def closed_network_batch_throughput(
    users: NDArray[np.int64],
    work: Floats,
    speeds: Floats,
    marginal: float,
    overhead: float,
    largest: int,
    timeout: float,
) -> Floats:
    """Throughput of closed loops, requests/s, one for each number of users.

    Args:
        users: numbers of users, `[queues]`.
        work: mean work of the requests of each batch, seconds, `[queues, batches]`; the first fifth is not counted.
        speeds: work per second with 1, 2, ... batches in service.
        marginal: as for `simulate_batches`.
        overhead: time of each request outside the server, seconds.
        largest: largest number of requests in a batch.
        timeout: longest wait of the first request of a batch for further requests, seconds.
    """
    queues, most, batches = users.size, int(users.max()), work.shape[1]
    queue = np.arange(queues)
    ready = np.where(np.arange(most) < users[:, None], 0.0, np.inf)
    free = np.zeros((queues, speeds.size))
    speed_each = speeds / np.arange(1, speeds.size + 1)
    warm = batches // 5
    counted, since = np.zeros(queues), np.zeros(queues)
    end = np.zeros(queues)
    for batch in range(batches):
        ready.sort(axis=1)
        full = ready[:, largest - 1] if largest <= most else np.full(queues, np.inf)
        now = np.maximum(free.min(axis=1), np.minimum(full, ready[:, 0] + timeout))
        count = np.minimum((ready <= now[:, None]).sum(axis=1), largest)
        thread = free.argmin(axis=1)
        busy = (free > now[:, None]).sum(axis=1)
        end = now + work[:, batch] * (1 + marginal * (count - 1)) / speed_each[busy]
        free[queue, thread] = end
        ready = np.where(np.arange(most) < count[:, None], (end + overhead)[:, None], ready)
        if batch == warm:
            since = now
        elif batch > warm:
            counted += count
    return np.asarray(counted / np.maximum(now - since, 1e-12))
