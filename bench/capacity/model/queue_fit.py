"""Parameters of a queue model from a closed-loop ladder: the latency of one user, and throughput by number of users.

With a single user, latency is work plus overhead. With N users, throughput is that of
`bench.capacity.queue.closed_network`. Bounded least squares, weighted by the error of each value, finds the mean work,
the overhead, and the speed with k requests in service at each measured k up to the number of servers (linear between
them). A request is never faster in company than by itself, so the speed with k is at most k.
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
"""Smallest relative error of a value: the error of the model itself."""

USUAL_OVERHEAD: Final = 0.05
"""Prior scale of the overhead, as a fraction of the latency of one user."""

MAX_OVERHEAD: Final = 0.5
"""Largest overhead, as a fraction of the latency of one user."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Measured steps of the closed loop.

    Args:
        single_user: mean latency of one user, seconds.
        single_user_error: relative standard error of `single_user`.
        users: numbers of users of the other steps, each 2 or more, increasing.
        rates: throughput with `users`, requests/s.
        errors: relative standard errors of `rates`.
    """

    single_user: float
    single_user_error: float
    users: tuple[int, ...]
    rates: tuple[float, ...]
    errors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class QueueFit:
    """A queue model with a given number of servers, fitted to a ladder.

    Args:
        queue_model: the model.
        work: mean work of a request, seconds.
        misfit: sum of squared residuals, in standard errors.
        parameters: number of fitted parameters.
        independent: whether the servers do not slow each other down.
    """

    queue_model: QueueModel
    work: float
    misfit: float
    parameters: int
    independent: bool

    @property
    def penalty(self) -> float:
        """Akaike's information criterion, which compares numbers of servers (H. Akaike, 1974)."""
        return self.misfit + 2 * self.parameters

    @property
    def capacity(self) -> float:
        """Saturation rate, requests/s."""
        return self.queue_model.capacity(self.work)


def fit_queue(ladder: Ladder, servers: int, independent: bool, start: QueueFit | None = None) -> QueueFit:
    """Fits a queue model of `servers` servers to `ladder`.

    Args:
        ladder: the measurements.
        servers: largest number of requests in service.
        independent: whether the servers do not slow each other down; if not, the speeds are fitted.
        start: initial values, from a fit with the same number and kind of servers.
    """
    knots = np.empty(0, np.int64) if independent else speed_knots(ladder.users, servers)
    problem = _Problem(ladder, servers, knots)
    first = problem.guess() if start is None else problem.encode(start)
    bounds = ([-1.0, 0.0] + [1e-3] * knots.size, [1.0, MAX_OVERHEAD] + [1.0] * knots.size)
    found = optimize.least_squares(problem.residuals, np.clip(first, *bounds), bounds=bounds, x_scale="jac", xtol=1e-6)
    work, overhead, speeds = problem.decode(found.x)
    queue_model = QueueModel(servers, tuple(map(float, speeds)), overhead)
    return QueueFit(queue_model, work, float(2 * found.cost), found.x.size, independent)


def speed_knots(users: Sequence[int], servers: int) -> NDArray[np.int64]:
    """Numbers of requests in service whose speed is fitted: the measured ones, and the number of servers."""
    return np.array(sorted({count for count in users if 1 < count < servers} | ({servers} - {1})), np.int64)


class _Problem:
    """Residuals as a function of x: log(work / latency of one user), overhead / latency of one user, speed / k."""

    def __init__(self, ladder: Ladder, servers: int, knots: NDArray[np.int64]) -> None:
        self.ladder = ladder
        self.knots = knots
        self.counts = np.arange(1.0, servers + 1)
        self.logs = np.log(ladder.rates)
        self.errors = np.hypot(ladder.errors, MODEL_ERROR)
        self.single_user_error = float(np.hypot(ladder.single_user_error, MODEL_ERROR))

    def guess(self) -> Floats:
        """Initial values from the measurements."""
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
