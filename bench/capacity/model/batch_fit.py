"""The parameters of a server with batching, from its closed-loop ladder.

The number of threads, the largest batch and the timeout are known from the configuration of the server. The work that
one more request adds to a batch, and the slowdown of concurrent batches, are fitted to the throughput of the ladder.
Each candidate is simulated with the same random numbers.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import optimize

from bench.capacity.model.queue_fit import MAX_OVERHEAD, MODEL_ERROR, USUAL_OVERHEAD, Ladder, QueueFit
from bench.capacity.queue.queue_model import Batching, QueueModel
from bench.capacity.queue.vectorized_batch_queue import closed_network_batch_throughput
from bench.core.seeds import Stream, generator
from bench.core.types import Floats

_BATCHES: Final = 400
_SIMULATION_ERROR: Final = 0.01
_MAX_MARGINAL: Final = 1.5


@dataclass(frozen=True, slots=True)
class BatchFit:
    """A fit, and the uncertainty of its parameters.

    Args:
        fit: the queue model, see `bench.capacity.model.queue_fit`.
        parameters: the fitted values, see `_Problem`.
        covariance: covariance of `parameters`, from the curvature and the misfit of the least squares.
        ladder: the measurements of the fit.
    """

    fit: QueueFit
    parameters: Floats
    covariance: Floats
    ladder: Ladder

    def draw(self, rng: np.random.Generator) -> QueueFit:
        """A fit with parameters drawn from their distribution, within their bounds."""
        queue_model = self.fit.queue_model
        problem = _Problem(self.ladder, queue_model.servers, _of(queue_model))
        lo, hi = problem.bounds()
        drawn = rng.multivariate_normal(self.parameters, self.covariance, method="eigh")
        found, work = problem.decode(np.clip(drawn, lo, hi))
        return replace(self.fit, queue_model=found, work=work)


def fit_batching(ladder: Ladder, threads: int, batching: Batching) -> BatchFit:
    """Fits a queue model with batching to `ladder`.

    Args:
        ladder: the measurements.
        threads: number of batch threads.
        batching: largest batch and timeout; its marginal work is the initial value.
    """
    problem = _Problem(ladder, threads, batching)
    lo, hi = problem.bounds()
    start = np.clip(np.array([-0.05, 0.02, batching.marginal, *np.full(threads - 1, 0.6)]), lo, hi)
    # Coarse steps, because a simulated ladder is not a smooth function of its parameters.
    found = optimize.least_squares(problem.residuals, start, bounds=(lo, hi), diff_step=0.02, xtol=1e-4, max_nfev=40)
    queue_model, work = problem.decode(found.x)
    freedom = max(found.fun.size - found.x.size, 1)
    inflated = max(1.0, 2 * float(found.cost) / freedom)
    curvature = found.jac.T @ found.jac + 1e-6 * np.eye(found.x.size)
    covariance = np.linalg.inv(curvature) * inflated
    return BatchFit(
        QueueFit(queue_model, work, 2 * float(found.cost), found.x.size, False), found.x, covariance, ladder
    )


def _of(queue_model: QueueModel) -> Batching:
    assert queue_model.batching is not None
    return queue_model.batching


class _Problem:
    """Residuals as a function of x: log(work / s), overhead / s, marginal, and speed / k for each k from 2 on.

    s is the latency of one user without the timeout that its batch waits for.
    """

    def __init__(self, ladder: Ladder, threads: int, batching: Batching) -> None:
        self.ladder = ladder
        self.threads = threads
        self.batching = batching
        self.users = np.array(ladder.users)
        self.logs = np.log(ladder.rates)
        self.errors = np.sqrt(np.square(ladder.errors) + MODEL_ERROR**2 + _SIMULATION_ERROR**2)
        self.single_user_error = float(np.hypot(ladder.single_user_error, MODEL_ERROR))
        # No other request fills the batch of one user, so it waits for the whole timeout.
        waits = batching.timeout if batching.largest > 1 else 0.0
        self.single_user = max(ladder.single_user - waits, 0.05 * ladder.single_user)
        self.spread = generator(0, Stream.RESAMPLING, 7).gamma(4.0, 0.25, (self.users.size, _BATCHES))

    def bounds(self) -> tuple[Floats, Floats]:
        speeds = self.threads - 1
        lo = np.array([-1.0, 0.0, 0.0, *np.full(speeds, 0.02)])
        return lo, np.array([1.0, MAX_OVERHEAD, _MAX_MARGINAL, *np.ones(speeds)])

    def decode(self, x: Floats) -> tuple[QueueModel, float]:
        """(queue_model, mean work)."""
        counts = np.arange(1, self.threads + 1)
        speeds = counts * np.concatenate(([1.0], x[3:]))
        batching = replace(self.batching, marginal=float(x[2]))
        overhead = float(x[1] * self.single_user)
        queue_model = QueueModel(self.threads, tuple(map(float, speeds)), overhead, batching=batching)
        return queue_model, float(np.exp(x[0]) * self.single_user)

    def residuals(self, x: Floats) -> Floats:
        queue_model, work = self.decode(x)
        single_user = np.log((work + queue_model.overhead) / self.single_user) / self.single_user_error
        rates = closed_network_batch_throughput(
            self.users,
            work * self.spread,
            np.array(queue_model.speeds),
            float(x[2]),
            queue_model.overhead,
            self.batching.largest,
            self.batching.timeout,
        )
        return np.concatenate(([single_user, x[1] / USUAL_OVERHEAD], (np.log(rates) - self.logs) / self.errors))
