"""Queues whose servers take batches, many side by side: one numpy operation moves every queue by one batch.

As TensorFlow Serving does it (`SharedBatchScheduler`): a free batch thread takes up to `largest` waiting requests as
soon as so many wait, or the first of them has waited for `timeout`. All requests of a batch begin and end together.
The speed of a batch is that of the number of batches in service when it begins.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.capacity.queue.vectorized_queue import Served
from bench.core.types import Floats


def simulate_batches(
    arrivals: Floats, work: Floats, speeds: Floats, marginal: Floats, largest: int, timeout: float
) -> Served:
    """Serves each queue's requests in batches.

    Args:
        arrivals: when each request comes, seconds, `[queues, n]`, rising along a queue.
        work: seconds that each takes alone, `[queues, n]`.
        speeds: work a second with 1, 2, ... batches in service, `[queues, threads]`.
        marginal: what one more request adds to a batch, as a share of its work alone, `[queues]`.
        largest: most requests in a batch.
        timeout: seconds that the first request of a batch waits for company at most.
    """
    queues, n = arrivals.shape
    queue = np.arange(queues)
    # Queues one behind the other on one time axis, so that one search finds all.
    apart = float(arrivals.max()) + timeout + 1.0
    times = _Times(arrivals, (arrivals + queue[:, None] * apart).reshape(-1), apart)
    passed = np.concatenate((np.zeros((queues, 1)), np.cumsum(work, axis=1)), axis=1)
    share = speeds / np.arange(1, speeds.shape[1] + 1)
    free = np.zeros(speeds.shape)
    begins, ends = np.zeros((queues, n)), np.zeros((queues, n))
    first = np.zeros((queues, n), np.intp)
    at = np.zeros(queues, np.intp)
    going = queue
    while going.size:
        begun = at[going]
        now, count = _next_batch(times, free[going], going, begun, largest, timeout)
        thread = free[going].argmin(axis=1)
        busy = (free[going] > now[:, None]).sum(axis=1)
        mean = (passed[going, begun + count] - passed[going, begun]) / count
        length = mean * (1 + marginal[going] * (count - 1)) / share[going, busy]
        free[going, thread] = now + length
        begins[going, begun], ends[going, begun], first[going, begun] = now, now + length, begun
        at[going] = begun + count
        going = going[at[going] < n]
    # Every request has the times of its batch's first one.
    leader = np.maximum.accumulate(first, axis=1)
    start, end = np.take_along_axis(begins, leader, axis=1), np.take_along_axis(ends, leader, axis=1)
    return Served(start - arrivals, end - arrivals)


class _Times(NamedTuple):
    """When requests come: by queue, and all queues `apart` seconds one behind the other on one axis."""

    arrivals: Floats
    axis: Floats
    apart: float


def _next_batch(
    times: _Times, free: Floats, going: NDArray[np.intp], begun: NDArray[np.intp], largest: int, timeout: float
) -> tuple[Floats, NDArray[np.intp]]:
    """When the next batch of each queue that is `going` begins, and how many requests it has."""
    arrivals = times.arrivals
    n = arrivals.shape[1]
    last = begun + largest - 1
    full = np.where(last < n, arrivals[going, np.minimum(last, n - 1)], np.inf)
    now = np.maximum(free.min(axis=1), np.minimum(full, arrivals[going, begun] + timeout))
    there = np.searchsorted(times.axis, now + going * times.apart, side="right") - going * n
    # What rounding on the long axis may have lost: the first is always there.
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
    """Requests a second of closed loops, one for each number of users.

    Args:
        users: numbers of users, `[queues]`.
        work: mean work of each batch's requests, seconds, `[queues, batches]`; the first fifth of the batches is not
            counted.
        speeds: work a second with 1, 2, ... batches in service.
        marginal: as for `simulate_batches`.
        overhead: seconds of each request outside the server.
        largest: most requests in a batch.
        timeout: seconds that the first request of a batch waits for company at most.
    """
    queues, most, batches = users.size, int(users.max()), work.shape[1]
    queue = np.arange(queues)
    ready = np.where(np.arange(most) < users[:, None], 0.0, np.inf)
    free = np.zeros((queues, speeds.size))
    share = speeds / np.arange(1, speeds.size + 1)
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
        end = now + work[:, batch] * (1 + marginal * (count - 1)) / share[busy]
        free[queue, thread] = end
        ready = np.where(np.arange(most) < count[:, None], (end + overhead)[:, None], ready)
        if batch == warm:
            since = now
        elif batch > warm:
            counted += count
    return np.asarray(counted / np.maximum(now - since, 1e-12))
