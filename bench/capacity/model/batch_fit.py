"""The parameters of a server that batches, from its closed-loop ladder.

How many threads, how large a batch and how long a wait are known from the server's configuration; what one more request
adds to a batch, and how batches slow each other down, are fitted to the ladder's throughput. Each ladder that is tried
is simulated, always with the same random numbers.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from bench.capacity.model.ladder_fit import MODEL_ERROR, MOST_OVERHEAD, USUAL_OVERHEAD, Ladder, StationFit
from bench.capacity.queue.queue_model import Batching, Station
from bench.capacity.queue.vectorized_batch_queue import closed_batches
from bench.core.seeds import Stream, generator

Floats = NDArray[np.float64]

_BATCHES: Final = 400
_SIMULATION_ERROR: Final = 0.01
_MOST_MARGINAL: Final = 1.5


@dataclass(frozen=True, slots=True)
class BatchFit:
    """A fit, and how sure its parameters are.

    Args:
        fit: the station, as of `bench.capacity.model.ladder_fit`.
        parameters: what was fitted: log of work over the latency alone, overhead over it, marginal, speeds over k.
        covariance: of `parameters`, from the least squares' curvature and misfit.
        ladder: what it was fitted to.
    """

    fit: StationFit
    parameters: Floats
    covariance: Floats
    ladder: Ladder

    def draw(self, rng: np.random.Generator) -> StationFit:
        """Parameters as likely as the covariance says, within their bounds."""
        station = self.fit.station
        problem = _Problem(self.ladder, station.servers, _of(station))
        lo, hi = problem.bounds()
        drawn = rng.multivariate_normal(self.parameters, self.covariance, method="eigh")
        found, work = problem.decode(np.clip(drawn, lo, hi))
        return replace(self.fit, station=found, work=work)


def fit_batching(ladder: Ladder, threads: int, batching: Batching) -> BatchFit:
    """The station that agrees best with `ladder`.

    Args:
        ladder: the measurements.
        threads: batch threads.
        batching: largest batch and timeout; its marginal work is where the search begins.
    """
    problem = _Problem(ladder, threads, batching)
    lo, hi = problem.bounds()
    start = np.clip(np.array([-0.05, 0.02, batching.marginal, *np.full(threads - 1, 0.6)]), lo, hi)
    # Coarse steps: a simulated ladder is no smooth function of its parameters.
    found = optimize.least_squares(problem.residuals, start, bounds=(lo, hi), diff_step=0.02, xtol=1e-4, max_nfev=40)
    station, work = problem.decode(found.x)
    freedom = max(found.fun.size - found.x.size, 1)
    inflated = max(1.0, 2 * float(found.cost) / freedom)
    curvature = found.jac.T @ found.jac + 1e-6 * np.eye(found.x.size)
    covariance = np.linalg.inv(curvature) * inflated
    return BatchFit(StationFit(station, work, 2 * float(found.cost), found.x.size, False), found.x, covariance, ladder)


def _of(station: Station) -> Batching:
    assert station.batching is not None
    return station.batching


class _Problem:
    """Residuals over log of work over the latency alone, overhead over it, marginal, and speeds over k."""

    def __init__(self, ladder: Ladder, threads: int, batching: Batching) -> None:
        self.ladder = ladder
        self.threads = threads
        self.batching = batching
        self.users = np.array(ladder.users)
        self.logs = np.log(ladder.rates)
        self.errors = np.sqrt(np.square(ladder.errors) + MODEL_ERROR**2 + _SIMULATION_ERROR**2)
        self.alone_error = float(np.hypot(ladder.alone_error, MODEL_ERROR))
        # One user's request waits the whole timeout, as nobody comes to fill its batch.
        waits = batching.timeout if batching.largest > 1 else 0.0
        self.alone = max(ladder.alone - waits, 0.05 * ladder.alone)
        self.spread = generator(0, Stream.RESAMPLING, 7).gamma(4.0, 0.25, (self.users.size, _BATCHES))

    def bounds(self) -> tuple[Floats, Floats]:
        speeds = self.threads - 1
        lo = np.array([-1.0, 0.0, 0.0, *np.full(speeds, 0.02)])
        return lo, np.array([1.0, MOST_OVERHEAD, _MOST_MARGINAL, *np.ones(speeds)])

    def decode(self, x: Floats) -> tuple[Station, float]:
        """(station, mean work)."""
        counts = np.arange(1, self.threads + 1)
        speeds = counts * np.concatenate(([1.0], x[3:]))
        batching = replace(self.batching, marginal=float(x[2]))
        overhead = float(x[1] * self.alone)
        station = Station(self.threads, tuple(map(float, speeds)), overhead, batching=batching)
        return station, float(np.exp(x[0]) * self.alone)

    def residuals(self, x: Floats) -> Floats:
        station, work = self.decode(x)
        alone = np.log((work + station.overhead) / self.alone) / self.alone_error
        rates = closed_batches(
            self.users,
            work * self.spread,
            np.array(station.speeds),
            float(x[2]),
            station.overhead,
            self.batching.largest,
            self.batching.timeout,
        )
        return np.concatenate(([alone, x[1] / USUAL_OVERHEAD], (np.log(rates) - self.logs) / self.errors))
