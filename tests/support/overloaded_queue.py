"""A single-server queue by the second: its backlog, and what ends and is due in each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.load.live.overload import LEAST_SECONDS, _growing_since
from tests.support.queue_server import service_times

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class QueueSeconds:
    """One simulated run.

    Args:
        backlog: requests due and not ended at the beginning and at the end of each second, `[T + 1]`.
        ended: in each second, `[T]`.
        due: in each second, `[T]`.
    """

    backlog: Counts
    ended: Counts
    due: Counts


def queue_seconds(
    utilization: float, capacity: float, seconds: int, cv: float, rng: np.random.Generator, even: bool = False
) -> QueueSeconds:
    """First come first served, with Poisson or even arrivals; `capacity` is requests/s that the server carries."""
    rate = utilization * capacity
    size = int(1.3 * rate * seconds + 50)
    due = (np.arange(size) + 0.5) / rate if even else np.cumsum(rng.exponential(1 / rate, size))
    due = due[due < seconds]
    work = np.cumsum(service_times(1 / capacity, cv, due.size, rng))
    done = work + np.maximum.accumulate(due - np.concatenate(([0.0], work[:-1])))
    return of_times(due, done, seconds)


def of_times(due: NDArray[np.float64], done: NDArray[np.float64], seconds: int) -> QueueSeconds:
    """The seconds of requests that were due and done at these times."""
    ended = np.bincount(done.astype(np.int64), minlength=seconds)[:seconds]
    came = np.bincount(due.astype(np.int64), minlength=seconds)[:seconds]
    return QueueSeconds(np.concatenate(([0], np.cumsum(came - ended))), ended, came)


def stopped_after(run: QueueSeconds) -> int | None:
    """Seconds until the run is stopped, looked at each second; None if it is not."""
    for second in range(LEAST_SECONDS, run.ended.size - 1):
        rest = run.due[second:].sum() / (run.due.size - second)
        if _growing_since(run.backlog[: second + 1], run.ended[:second], rest) is not None:
            return second
    return None
