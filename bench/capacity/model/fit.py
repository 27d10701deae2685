"""From measured runs to the capacity model.

1. The closed-loop ladder gives a queue model for each possible number of servers (`bench.capacity.model.ladder_fit`);
   resampled ladders give as many more, each as likely as the scatter of the steps allows. The work of requests
   is that of the latencies of a single user, so its distribution is the measured one, not an assumed one.
2. Each of these *replicates* is simulated over the whole range of rates (`bench.capacity.queue.latency_table`).
3. The open-loop runs weigh them (`bench.capacity.model.likelihood`). What the ladder cannot tell, such as whether
   sixteen requests share the processor or queue for it, shows in their percentiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from bench.capacity.measurements.run_latencies import Repeats, RunLatencies, grouped
from bench.capacity.model.batch_fit import BatchFit, fit_batching
from bench.capacity.model.bootstrap import Bootstrap, drifted, ladder_of, parameter_set_of, resampled
from bench.capacity.model.ladder_fit import Ladder, QueueFit, fit_queue
from bench.capacity.model.likelihood import Likelihood, Posterior
from bench.capacity.model.model import CapacityModel
from bench.capacity.queue.latency_table import UNBOUNDED, Effort, ParameterSet, latency_tables
from bench.capacity.queue.queue_model import MAX_SERVERS, Batching
from bench.core.errors import InconclusiveError
from bench.core.seeds import Stream, generator
from bench.core.types import Floats
from bench.core.units import format_percent

LOADS: Final = (0.02, 0.15, 0.3, 0.45, 0.6, 0.7, 0.78, 0.84, 0.88, 0.91, 0.935, 0.955)
"""Rates of the grid over the capacity."""

SCREENED: Final = 9.0
"""Numbers of servers that fit worse than the best by more than this (twice a log-likelihood) are left out."""

DRAWN: Final = 400
"""Equally likely sets of parameters that a model keeps."""

_SPEEDS: Final = 20
"""Equally likely speeds of the machine that the kept sets of parameters are places."""

POOR: Final = 0.15
"""A discrepancy from here on is worth a warning."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How much work goes into a fit.

    Args:
        replicates: resampled ladders.
        effort: of the simulation of each.
        reference: of the simulation that the central table comes from.
        seed: of everything random.
        servers: the number of servers, if it is known.
        batching: how the server makes batches, if it does; the marginal work is where the search for it begins.
        threads: its batch threads.
    """

    replicates: int = 100
    effort: Effort = field(default_factory=Effort)
    reference: Effort = field(default_factory=lambda: Effort(requests=8000, queues=200, seed=1))
    seed: int = 0
    servers: int | None = None
    batching: Batching | None = None
    threads: int = 1


def fit_model(runs: Sequence[RunLatencies], options: FitOptions | None = None) -> CapacityModel:
    """The model that `runs` support.

    Args:
        runs: closed loop with one user and with several, and open loop around the knee.
        options: how much work goes into it.

    Raises:
        InconclusiveError: runs that a model needs are missing.
    """
    options = options or FitOptions()
    groups = grouped(runs)
    closed = [step for step in groups if step.users is not None]
    opened = [run for run in runs if run.rate is not None]
    if len(closed) < 3 or closed[0].users != 1:
        raise InconclusiveError("the ladder lacks its step with one user, or two more; run the sweep to its end")
    if not opened:
        raise InconclusiveError("no open-loop run to hold the model to; run the sweep to its end")
    rng = generator(options.seed, Stream.RESAMPLING, 2)
    fits, reference, grid = _screen(closed, opened, options)
    count = -(-options.replicates // len(fits))
    replicates = Bootstrap.of(
        [parameter_set for fit in fits for parameter_set in resampled(closed, fit, count, rng)],
        [-queue_fit(fit).penalty / 2 for fit in fits for _ in range(count)],
        grid,
        options.effort,
    )
    for _ in range(2):
        # The second time with a reference that lies nearer to the truth.
        posterior = Likelihood.of(opened, reference, grid, options.effort).weigh(replicates.tables, replicates.priors)
        middle = _middle(replicates.tables, posterior.weights)
        reference = replicates.parameter_set(middle)
    return _assemble(replicates, middle, grid, posterior, opened, options, rng)


Fit = QueueFit | BatchFit


def queue_fit(fit: Fit) -> QueueFit:
    """The fit itself, of either kind."""
    return fit.fit if isinstance(fit, BatchFit) else fit


def _screen(
    closed: Sequence[Repeats], opened: Sequence[RunLatencies], options: FitOptions
) -> tuple[list[Fit], ParameterSet, Floats]:
    """Fits of the kinds of server that the steps allow, the best first, the best queue_model, and the grid."""
    ladder, single_user = ladder_of(closed)
    fits = sorted(_all_fits(ladder, options), key=lambda fit: queue_fit(fit).penalty)
    best = queue_fit(fits[0])
    # The open-loop runs can make up for some of a ladder's misfit, not for all.
    fits = [fit for fit in fits if queue_fit(fit).penalty < best.penalty + 3 * SCREENED]
    grid = np.array(LOADS) * best.capacity
    likelihood = Likelihood.of(opened, parameter_set_of(best, single_user), grid, options.effort)
    scored = []
    for fit in fits:
        found = queue_fit(fit)
        tried = Bootstrap.of([parameter_set_of(found, single_user)], [-found.penalty / 2], grid, options.effort)
        logs = tried.priors + likelihood.log_likelihood(tried.tables)
        scored.append((float(logs.max()), fit, tried.parameter_set(int(logs.argmax()))))
    scored.sort(key=lambda entry: -entry[0])
    kept = [fit for score, fit, _ in scored if score > scored[0][0] - SCREENED / 2]
    return kept, scored[0][2], grid


def _all_fits(ladder: Ladder, options: FitOptions) -> list[Fit]:
    """A fit of each kind of server that could be."""
    if options.batching is not None:
        return [fit_batching(ladder, options.threads, options.batching)]
    numbers = [options.servers] if options.servers else [1, *(n for n in ladder.users if n <= MAX_SERVERS)]
    return [
        fit_queue(ladder, servers, independent)
        for servers in numbers
        for independent in (True, False)
        if independent or servers > 1
    ]


def _assemble(
    found: Bootstrap,
    center: int,
    grid: Floats,
    posterior: Posterior,
    opened: Sequence[RunLatencies],
    options: FitOptions,
    rng: np.random.Generator,
) -> CapacityModel:
    """The model from weighed replicates."""
    parameter_set = found.parameter_set(center).with_speed_factor(float(np.exp(posterior.log_speed_factors[center])))
    reference = latency_tables([parameter_set], grid.tolist(), options.reference)[0]
    short = latency_tables([parameter_set], grid.tolist(), options.effort)[0]
    chosen = rng.choice(posterior.weights.size, DRAWN, p=posterior.weights)
    # The luck of the draw is common to all replicates: the long simulation of one of them takes it out of all.
    stable = np.isfinite(reference) & np.isfinite(short)
    luck = np.divide(reference, short, out=np.ones_like(short), where=stable)
    slowdowns = posterior.speed_factor_error * rng.standard_normal(chosen.size) - posterior.log_speed_factors[chosen]
    own = np.exp(slowdowns + posterior.discrepancy * rng.standard_normal(chosen.size))
    varied, speeds = _with_run_to_run_variation(found, chosen, grid, posterior.run_to_run_variation)
    replicates = varied * luck * own[:, None, None]
    capacities = found.capacities[chosen] * speeds
    highest = max(run.rate or 0.0 for run in opened)
    warnings = []
    if posterior.discrepancy >= POOR:
        warnings.append(
            f"the model misses the measured percentiles by about {format_percent(posterior.discrepancy)}; "
            "its intervals are wide for that reason"
        )
    return CapacityModel(
        parameter_set=parameter_set,
        rates=grid,
        center=reference,
        replicates=replicates,
        capacities=capacities,
        valid=(float(grid[0]), min(highest, float(grid[-1]))),
        discrepancy=posterior.discrepancy,
        warnings=tuple(warnings),
    )


def _with_run_to_run_variation(
    found: Bootstrap, chosen: NDArray[np.intp], grid: Floats, run_to_run_variation: float
) -> tuple[Floats, Floats]:
    """The chosen tables, each on a machine as fast as it may be in another run, and the machine's speeds."""
    tables, speeds = found.tables[chosen].copy(), np.ones(chosen.size)
    if not run_to_run_variation:
        return tables, speeds
    # Equally likely drifts, places in turn: the chosen are in random order.
    drifts = run_to_run_variation * norm.ppf((np.arange(_SPEEDS) + 0.5) / _SPEEDS)
    for index, drift in enumerate(drifts):
        places = slice(index, None, _SPEEDS)
        overheads = np.array([found.parameter_set(one).queue_model.overhead for one in chosen[places]])
        tables[places] = drifted(tables[places], overheads, grid, float(drift))
        speeds[places] = np.exp(-drift)
    return tables, speeds


def _middle(tables: Floats, weights: Floats) -> int:
    """The replicate whose tables lie nearest to the weighted median of all, over the loads that all can carry."""
    logs = np.log(np.minimum(tables, UNBOUNDED))
    usable = [index for index, load in enumerate(LOADS) if 0.2 <= load <= 0.87]
    logs = logs[:, usable].reshape(logs.shape[0], -1)
    order = np.argsort(logs, axis=0)
    passed = np.cumsum(weights[order], axis=0)
    place = (passed < 0.5).sum(axis=0)
    median = np.take_along_axis(np.take_along_axis(logs, order, axis=0), place[None, :], axis=0)
    distance = np.sum((logs - median) ** 2, axis=1)
    return int(np.argmin(np.where(weights > weights.max() / 50, distance, np.inf)))
