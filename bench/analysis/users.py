"""The number of users of a run. It can change at any time (Locust's web UI, a load shape), so it is sampled."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.analysis.measured import Measured
from bench.core.types import Floats
from bench.core.units import format_number, pluralize
from bench.results.run_reader import Run

_MIN_INTERVAL: Final = 0.25
"""Seconds. The samples of several workers are not simultaneous; shorter intervals between them are ignored."""


@dataclass(frozen=True, slots=True)
class UsersPresent:
    """The users of the measured part of a run, over all workers.

    Args:
        mean: over time.
        least: minimum.
        most: maximum.
    """

    mean: float
    least: int
    most: int

    @property
    def constant(self) -> bool:
        """Whether the number never changed."""
        return self.least == self.most

    def __str__(self) -> str:
        if self.constant:
            return pluralize(self.most, "user")
        return f"{self.least:,} to {pluralize(self.most, 'user')}, {format_number(self.mean)} on average"


def users_present(run: Run, measured: Measured) -> UsersPresent | None:
    """The users of the measured part of `run`; None where they were not sampled."""
    samples = run.client_samples()
    known = ~np.isnan(samples["users"])
    if run.file.interrupted:
        # Users leave after a stop, and the last sample has the mean of the whole second.
        known &= samples["time"] <= measured.ends
    if not known.any() or measured.seconds <= 0:
        return None
    time, worker, users = (samples[name][known] for name in ("time", "worker", "users"))
    # A sample covers the time since the previous one. A worker without further samples has no users.
    edges = np.unique(np.concatenate(([measured.begins, measured.ends], time)))
    edges = edges[(edges >= measured.begins) & (edges <= min(measured.ends, float(time.max())))]
    if edges.size < 2:
        return None
    totals = np.zeros(edges.size - 1)
    for one in np.unique(worker):
        totals += _over(edges, time[worker == one], users[worker == one])
    lengths = np.diff(edges)
    counts = np.round(totals[lengths >= min(_MIN_INTERVAL, float(lengths.max()))]).astype(int)
    return UsersPresent(float(totals @ lengths / lengths.sum()), int(counts.min()), int(counts.max()))


def _over(edges: Floats, time: Floats, users: Floats) -> Floats:
    """A worker's users between each two of `edges`; 0 after its last sample."""
    order = np.argsort(time, kind="stable")
    index = np.searchsorted(time[order], (edges[:-1] + edges[1:]) / 2)
    return np.append(users[order], 0.0)[index]
