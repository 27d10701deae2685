"""How many users a run had while it measured: they may be changed from outside at any moment, so they are sampled."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.analysis.measured import Measured
from bench.core.types import Floats
from bench.core.units import format_number, pluralize
from bench.results.run_reader import Run

_SPELL: Final = 0.25
"""Shorter spells, seconds, come of workers' samples that lie a little apart, and say nothing of fewest and most."""


@dataclass(frozen=True, slots=True)
class UsersPresent:
    """The users of the measured part, over all workers.

    Args:
        mean: over time.
        least: fewest over a second.
        most: most over a second.
    """

    mean: float
    least: int
    most: int

    @property
    def constant(self) -> bool:
        """Whether there were always as many."""
        return self.least == self.most

    def __str__(self) -> str:
        if self.constant:
            return pluralize(self.most, "user")
        return f"{self.least:,} to {pluralize(self.most, 'user')}, {format_number(self.mean)} on average"


def users_present(run: Run, measured: Measured) -> UsersPresent | None:
    """The users of `run` while it measured; None where they were not sampled."""
    samples = run.client_samples()
    known = ~np.isnan(samples["users"])
    if not known.any() or measured.seconds <= 0:
        return None
    time, worker, users = (samples[name][known] for name in ("time", "worker", "users"))
    # Each sample holds for the time since the one before. A worker that is gone has no more samples, and no users.
    edges = np.unique(np.concatenate(([measured.begins, measured.ends], time)))
    edges = edges[(edges >= measured.begins) & (edges <= min(measured.ends, float(time.max())))]
    if edges.size < 2:
        return None
    totals = np.zeros(edges.size - 1)
    for one in np.unique(worker):
        totals += _over(edges, time[worker == one], users[worker == one])
    lengths = np.diff(edges)
    spells = np.round(totals[lengths >= min(_SPELL, float(lengths.max()))]).astype(int)
    return UsersPresent(float(totals @ lengths / lengths.sum()), int(spells.min()), int(spells.max()))


def _over(edges: Floats, time: Floats, users: Floats) -> Floats:
    """A worker's users between each two of `edges`, 0 after its last sample."""
    order = np.argsort(time, kind="stable")
    index = np.searchsorted(time[order], (edges[:-1] + edges[1:]) / 2)
    return np.append(users[order], 0.0)[index]
