"""A queue_model's parameters from a closed-loop ladder: what a request takes alone, and throughput by number of users.

With a single user, a request takes its work plus the overhead. With N users, throughput is that of
`bench.capacity.queue.closed_network`. The parameters that agree best, each figure weighed by its own error, are found
by bounded least squares: mean work, overhead, and the speed with k in service at each measured k up to the number of
servers (between them, linear). A request is never faster in company than on its own, so speeds are at most k.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from bench.capacity.queue.closed_network import closed_network_throughput
from bench.capacity.queue.queue_model import QueueModel
from bench.core.types import Floats

MODEL_ERROR: Final = 0.005
"""Relative error that every figure has at least: the model is no better than that."""

USUAL_OVERHEAD: Final = 0.05
"""Overhead as a share of the latency alone that needs no evidence; more must be in the data."""

MOST_OVERHEAD: Final = 0.5


@dataclass(frozen=True, slots=True)
class Ladder:
    """Measured steps in closed loop.

    Args:
        single_user: mean latency of one user's requests, seconds.
        single_user_error: its relative standard error.
        users: numbers of users of the other steps, each 2 or more, rising.
        rates: their throughput, requests a second.
        errors: relative standard errors of `rates`.
    """

    single_user: float
    single_user_error: float
    users: tuple[int, ...]
    rates: tuple[float, ...]
    errors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class QueueFit:
    """What a ladder says of a queue_model with a given number of servers.

    Args:
        queue_model: the queue_model.
        work: mean work of a request, seconds.
        misfit: sum of squared residuals in standard errors.
        parameters: how many were fitted.
        independent: whether the servers do not hinder each other.
    """

    queue_model: QueueModel
    work: float
    misfit: float
    parameters: int
    independent: bool

    @property
    def penalty(self) -> float:
        """Akaike's criterion: what is compared between numbers of servers (H. Akaike, 1974)."""
        return self.misfit + 2 * self.parameters

    @property
    def capacity(self) -> float:
        """Requests a second when saturated."""
        return self.queue_model.capacity(self.work)


def fit_queue(ladder: Ladder, servers: int, independent: bool, start: QueueFit | None = None) -> QueueFit:
    """The queue_model of `servers` servers that agrees best with `ladder`.

    Args:
        ladder: the steps.
        servers: most requests in service at once.
        independent: whether the servers do not hinder each other; else the speeds are fitted.
        start: a fit to begin from, of a like ladder with the same number and kind of servers.
    """
    knots = np.empty(0, np.int64) if independent else speed_knots(ladder.users, servers)
    problem = _Problem(ladder, servers, knots)
    first = problem.guess() if start is None else problem.encode(start)
    bounds = ([-1.0, 0.0] + [1e-3] * knots.size, [1.0, MOST_OVERHEAD] + [1.0] * knots.size)
    found = optimize.least_squares(problem.residuals, np.clip(first, *bounds), bounds=bounds, x_scale="jac", xtol=1e-6)
    work, overhead, speeds = problem.decode(found.x)
    queue_model = QueueModel(servers, tuple(map(float, speeds)), overhead)
    return QueueFit(queue_model, work, float(2 * found.cost), found.x.size, independent)


def speed_knots(users: Sequence[int], servers: int) -> NDArray[np.int64]:
    """The numbers in service whose speed is fitted: the measured ones, and the number of servers."""
    return np.array(sorted({count for count in users if 1 < count < servers} | ({servers} - {1})), np.int64)


class _Problem:
    """Residuals over log of work over the latency alone, overhead over it, and speed over k at each knot."""

    def __init__(self, ladder: Ladder, servers: int, knots: NDArray[np.int64]) -> None:
        self.ladder = ladder
        self.knots = knots
        self.counts = np.arange(1.0, servers + 1)
        self.logs = np.log(ladder.rates)
        self.errors = np.hypot(ladder.errors, MODEL_ERROR)
        self.single_user_error = float(np.hypot(ladder.single_user_error, MODEL_ERROR))

    def guess(self) -> Floats:
        """Parameters read off the steps."""
        speeds = np.interp(self.knots, self.ladder.users, self.ladder.rates) * self.ladder.single_user
        return np.concatenate(([0.0, 0.01], speeds / self.knots))

    def encode(self, fit: QueueFit) -> Floats:
        speeds = np.array(fit.queue_model.speeds)[self.knots - 1] / self.knots
        return np.concatenate(
            ([np.log(fit.work / self.ladder.single_user), fit.queue_model.overhead / self.ladder.single_user], speeds)
        )

    def decode(self, x: Floats) -> tuple[float, float, Floats]:
        """(work, overhead, speeds)."""
        work, overhead = float(np.exp(x[0]) * self.ladder.single_user), float(x[1] * self.ladder.single_user)
        if not self.knots.size:
            return work, overhead, self.counts
        speeds = np.interp(self.counts, np.concatenate(([1], self.knots)), np.concatenate(([1.0], x[2:] * self.knots)))
        return work, overhead, speeds

    def residuals(self, x: Floats) -> Floats:
        work, overhead, speeds = self.decode(x)
        single_user = np.log((work + overhead) / self.ladder.single_user) / self.single_user_error
        rates = np.log(closed_network_throughput(self.ladder.users, speeds, work, overhead))
        return np.concatenate(([single_user, x[1] / USUAL_OVERHEAD], (rates - self.logs) / self.errors))
