"""From measured runs to the capacity model.

1. The closed-loop ladder gives a queue model for each possible number of servers (`bench.capacity.model.queue_fit`).
   Resampled ladders give more of them; together they represent the uncertainty of the measurements. The work of
   requests has the distribution of the measured latencies of a single user, not an assumed one.
2. Each *parameter set* is simulated over the whole range of rates (`bench.capacity.queue.latency_table`).
3. The open-loop runs weigh the sets (`bench.capacity.model.likelihood`). Their percentiles show what the ladder cannot:
   whether sixteen requests share the processor or queue for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from bench.capacity.measurements.run_latencies import Repeats, RunLatencies, grouped
from bench.capacity.model.batch_fit import BatchFit, fit_batching
from bench.capacity.model.bootstrap import Bootstrap, drifted, ladder_of, parameter_set_of, resampled
from bench.capacity.model.capacity_model import CapacityModel, covered_rates
from bench.capacity.model.likelihood import Likelihood, Posterior
from bench.capacity.model.queue_fit import Ladder, QueueFit, fit_queue
from bench.capacity.queue.latency_table import REFERENCE, UNBOUNDED, Effort, ParameterSet, latency_tables
from bench.capacity.queue.queue_model import MAX_SERVERS, Batching
from bench.core.errors import InconclusiveError
from bench.core.seeds import Stream, generator
from bench.core.types import Floats
from bench.core.units import format_percent

LOADS: Final = (0.02, 0.15, 0.3, 0.45, 0.6, 0.7, 0.78, 0.84, 0.88, 0.91, 0.935, 0.955)
"""Rates of the latency tables, as fractions of the capacity."""

MAX_PENALTY_DIFFERENCE: Final = 9.0
"""Numbers of servers that fit worse than the best by more than this (twice a log-likelihood) are discarded."""

KEPT_SETS: Final = 400
"""Equally likely parameter sets in a fitted model."""

_SPEEDS: Final = 20
"""Equally likely speeds of the machine, distributed over the parameter sets."""

LARGE_DISCREPANCY: Final = 0.15
"""Smallest discrepancy that the report warns of."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """Options of a fit.

    Args:
        replicates: number of resampled ladders.
        effort: simulation of each parameter set.
        reference: simulation of the central latency table.
        seed: random seed.
        servers: number of servers; None if it is unknown.
        batching: how the server makes batches, with an initial value of its marginal work; None without batching.
        threads: number of batch threads.
    """

    replicates: int = 100
    effort: Effort = field(default_factory=Effort)
    reference: Effort = REFERENCE
    seed: int = 0
    servers: int | None = None
    batching: Batching | None = None
    threads: int = 1


def fit_model(runs: Sequence[RunLatencies], options: FitOptions | None = None) -> CapacityModel:
    """Fits the capacity model to `runs`.

    Args:
        runs: closed loop with one user and with at least two other numbers, and open loop around the knee.
        options: None is the default.

    Raises:
        InconclusiveError: required runs are missing.
    """
    options = options or FitOptions()
    groups = grouped(runs)
    closed_loop = [step for step in groups if step.users is not None]
    open_loop = [run for run in runs if run.rate is not None]
    if len(closed_loop) < 3 or closed_loop[0].users != 1:
        raise InconclusiveError("the ladder needs a step with one user and two further steps; run the sweep to its end")
    if not open_loop:
        raise InconclusiveError("the sweep has no open-loop run, which the fit needs; run the sweep to its end")
    rng = generator(options.seed, Stream.RESAMPLING, 2)
    fits, reference, grid = _screen(closed_loop, open_loop, options)
    count = -(-options.replicates // len(fits))
    bootstrap = Bootstrap.of(
        [parameter_set for fit in fits for parameter_set in resampled(closed_loop, fit, count, rng)],
        [-queue_fit(fit).penalty / 2 for fit in fits for _ in range(count)],
        grid,
        options.effort,
    )
    for _ in range(2):
        # The second pass has a reference closer to the truth.
        posterior = Likelihood.of(open_loop, reference, grid, options.effort).weigh(bootstrap.tables, bootstrap.priors)
        middle = _middle(bootstrap.tables, posterior.weights)
        reference = bootstrap.parameter_set(middle)
    return _assemble(bootstrap, middle, grid, posterior, open_loop, options, rng)


Fit = QueueFit | BatchFit


def queue_fit(fit: Fit) -> QueueFit:
    """The fitted queue model of either kind of fit."""
    return fit.fit if isinstance(fit, BatchFit) else fit


def _screen(
    closed_loop: Sequence[Repeats], open_loop: Sequence[RunLatencies], options: FitOptions
) -> tuple[list[Fit], ParameterSet, Floats]:
    """(plausible fits, best first; the best parameter set; rates of the latency tables)."""
    ladder, single_user = ladder_of(closed_loop)
    fits = sorted(_all_fits(ladder, options), key=lambda fit: queue_fit(fit).penalty)
    best = queue_fit(fits[0])
    # The open-loop runs can outweigh a small misfit of the ladder, not a large one.
    fits = [fit for fit in fits if queue_fit(fit).penalty < best.penalty + 3 * MAX_PENALTY_DIFFERENCE]
    grid = np.array(LOADS) * best.capacity
    likelihood = Likelihood.of(open_loop, parameter_set_of(best, single_user), grid, options.effort)
    scored = []
    for fit in fits:
        found = queue_fit(fit)
        tried = Bootstrap.of([parameter_set_of(found, single_user)], [-found.penalty / 2], grid, options.effort)
        logs = tried.priors + likelihood.log_likelihood(tried.tables)
        scored.append((float(logs.max()), fit, tried.parameter_set(int(logs.argmax()))))
    scored.sort(key=lambda entry: -entry[0])
    kept = [fit for score, fit, _ in scored if score > scored[0][0] - MAX_PENALTY_DIFFERENCE / 2]
    return kept, scored[0][2], grid


def _all_fits(ladder: Ladder, options: FitOptions) -> list[Fit]:
    """One fit for each possible kind of server."""
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
    bootstrap: Bootstrap,
    center: int,
    grid: Floats,
    posterior: Posterior,
    open_loop: Sequence[RunLatencies],
    options: FitOptions,
    rng: np.random.Generator,
) -> CapacityModel:
    """The model from weighted parameter sets."""
    parameter_set = bootstrap.parameter_set(center).with_speed_factor(
        float(np.exp(posterior.log_speed_factors[center]))
    )
    reference = latency_tables([parameter_set], grid.tolist(), options.reference)[0]
    short = latency_tables([parameter_set], grid.tolist(), options.effort)[0]
    chosen = rng.choice(posterior.weights.size, KEPT_SETS, p=posterior.weights)
    # The random error of a short simulation is common to all sets, so a long simulation of one set corrects all.
    stable = np.isfinite(reference) & np.isfinite(short)
    correction = np.divide(reference, short, out=np.ones_like(short), where=stable)
    slowdowns = posterior.speed_factor_error * rng.standard_normal(chosen.size) - posterior.log_speed_factors[chosen]
    error = np.exp(slowdowns + posterior.discrepancy * rng.standard_normal(chosen.size))
    varied, speeds = _with_run_to_run_variation(bootstrap, chosen, grid, posterior.run_to_run_variation)
    replicates = varied * correction * error[:, None, None]
    capacities = bootstrap.capacities[chosen] * speeds
    warnings = []
    if posterior.discrepancy >= LARGE_DISCREPANCY:
        warnings.append(
            f"the model deviates from the measured percentiles by about {format_percent(posterior.discrepancy)}; "
            "its intervals include this error"
        )
    return CapacityModel(
        parameter_set=parameter_set,
        rates=grid,
        center=reference,
        replicates=replicates,
        capacities=capacities,
        valid=covered_rates([run.rate for run in open_loop if run.rate is not None], grid),
        discrepancy=posterior.discrepancy,
        warnings=tuple(warnings),
    )


def _with_run_to_run_variation(
    bootstrap: Bootstrap, chosen: NDArray[np.intp], grid: Floats, run_to_run_variation: float
) -> tuple[Floats, Floats]:
    """(latency tables of the chosen sets on machines of different speeds, relative speeds of the machines)."""
    tables, speeds = bootstrap.tables[chosen].copy(), np.ones(chosen.size)
    if not run_to_run_variation:
        return tables, speeds
    # The drifts are equally likely, and the chosen sets are in random order.
    drifts = run_to_run_variation * ndtri((np.arange(_SPEEDS) + 0.5) / _SPEEDS)
    for index, drift in enumerate(drifts):
        places = slice(index, None, _SPEEDS)
        overheads = np.array([bootstrap.parameter_set(one).queue_model.overhead for one in chosen[places]])
        tables[places] = drifted(tables[places], overheads, grid, float(drift))
        speeds[places] = np.exp(-drift)
    return tables, speeds


def _middle(tables: Floats, weights: Floats) -> int:
    """Index of the set nearest to the weighted median of all latency tables, over moderate loads."""
    logs = np.log(np.minimum(tables, UNBOUNDED))
    usable = [index for index, load in enumerate(LOADS) if 0.2 <= load <= 0.87]
    logs = logs[:, usable].reshape(logs.shape[0], -1)
    order = np.argsort(logs, axis=0)
    passed = np.cumsum(weights[order], axis=0)
    place = (passed < 0.5).sum(axis=0)
    median = np.take_along_axis(np.take_along_axis(logs, order, axis=0), place[None, :], axis=0)
    distance = np.sum((logs - median) ** 2, axis=1)
    return int(np.argmin(np.where(weights > weights.max() / 50, distance, np.inf)))
