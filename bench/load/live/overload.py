"""Finds an open loop whose backlog grows for good: requests are due faster than the server carries them.

**Test.** The backlog, requests due and not ended, is the CUSUM of the difference between the rates at which requests
are due and end (E. Page, *Continuous inspection schemes*, Biometrika 41, 1954): the queue cannot be negative, so it
is a random walk reflected at 0. With drift -d and variance v a second, it rises by h within an excursion with
probability exp(-2dh/v) (J. Kingman, *The single server queue in heavy traffic*, 1961). The limit is the h that makes
this exp(-`EXPONENT`) for a server at the utilization `PROTECTED`: such a server is left alone. v is measured, and at
least half that of Poisson arrivals and exponential service times.

**For good.** The backlog must also have risen in each third of the time since it began to grow, while requests ended
in each of them: a server that stalls, and then works off its backlog, is measured and not stopped. And the requests
still to come must be due faster than the server carries them: a burst or a step down is waited out. The warm-up does
not count, since a cold server carries less, and of a run of more than `HISTORY_SECONDS` only the newest do.

Simulated rates of false stops and times to the stop: `docs/validation/load.md`.
"""

import math
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.load.live.live_figures import HISTORY_SECONDS, LiveFigures
from bench.results.overload import Overload
from bench.stats.batch_means import mean_bounds

PROTECTED: Final = 0.95
"""Utilization of a server that keeps up and must not be stopped."""
EXPONENT: Final = 6.5
"""Minus the logarithm of the chance of an excursion of its backlog that reaches the limit."""
LEAST_VARIANCE: Final = 0.5
"""Least variance of a step of the backlog, as a share of that of Poisson arrivals and exponential service times."""
LEAST_SECONDS: Final = 8
"""Shortest growth."""
LEAST_EXCESS: Final = 0.05
"""Least growth, as a share of the requests carried meanwhile."""
LEAST_REST: Final = 2.0
"""Seconds before the end from which a run is no longer stopped."""
_PARTS: Final = 3
_LEAST_SHARE: Final = 0.5
"""Least rate of ends in each third, as a share of the mean: below it the server stalls."""

Counts = NDArray[np.int64]


def find_overload(figures: LiveFigures) -> Overload | None:
    """The overload of a run in progress; None as long as its backlog is that of a server that keeps up."""
    complete = figures.complete
    known = figures.since + 1 if figures.since else 0
    begins = max(math.ceil(figures.plan.begins), complete - HISTORY_SECONDS, known)
    if complete - begins < LEAST_SECONDS or figures.plan.ends - complete < LEAST_REST:
        return None
    backlog = figures.backlog(max(begins - 1, 0), complete)
    if backlog is None or figures.stopped_at is not None:
        return None
    if begins == 0:
        backlog = np.concatenate(([0], backlog))
    ended = figures.ended(begins, complete)
    due, by_now = figures.plan.due, figures.due_by(complete)
    assert due is not None
    assert by_now is not None
    rest = (due.size - by_now) / (figures.plan.ends - complete)
    since = _growing_since(backlog, ended, rest)
    if since is None:
        return None
    seconds = backlog.size - 1 - since
    carried, lo, hi = mean_bounds(ended[since:].astype(np.float64))
    return Overload(
        time=float(complete),
        since=float(begins + since),
        backlog=int(backlog[-1]),
        asked=carried + float(backlog[-1] - backlog[since]) / seconds,
        carried=carried,
        carried_lo=max(lo, 0.0),
        carried_hi=hi,
    )


def _growing_since(backlog: Counts, ended: Counts, rest: float) -> int | None:
    """The second since which the backlog has been growing for good; None if it has not.

    Args:
        backlog: at the beginning and at the end of each second, `[T + 1]`.
        ended: requests that ended in each second, `[T]`.
        rest: requests/s that are still to come.
    """
    # The latest moment from which the backlog has grown by `LEAST_EXCESS` most clearly: Page's reference value.
    tilted = backlog - LEAST_EXCESS * float(ended.mean()) * np.arange(backlog.size)
    since = backlog.size - 1 - int(np.argmin(tilted[::-1]))
    seconds = backlog.size - 1 - since
    if seconds < LEAST_SECONDS:
        return None
    carried = float(ended[since:].mean())
    steps = np.diff(backlog).astype(np.float64)
    due = carried + float(backlog[-1] - backlog[since]) / seconds
    variance = max(_variance(steps), LEAST_VARIANCE * (due + carried))
    drift = (1 / PROTECTED - 1) * carried
    if carried == 0:
        return None
    limit = max(EXPONENT * variance / (2 * drift), LEAST_EXCESS * carried * seconds)
    if backlog[-1] - backlog[since] < limit:
        return None
    parts = np.linspace(since, backlog.size - 1, _PARTS + 1).round().astype(np.int64)
    rising = (np.diff(backlog[parts]) > 0).all()
    running = all(ended[low:high].mean() >= _LEAST_SHARE * carried for low, high in pairwise(parts))
    return since if rising and running and rest > carried else None


def _variance(steps: NDArray[np.float64]) -> float:
    """Variance of the steps of the backlog from second to second, without their slow drift (J. von Neumann, 1941)."""
    return float(np.square(np.diff(steps)).sum()) / (2 * max(steps.size - 1, 1))
