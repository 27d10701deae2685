"""Several replicas behind a client-side balancer: the sustained rate, predicted and measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import optimize

from bench.capacity.measurements.measured_step import Measurement
from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.plan.plan import fleet_latency
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.slo_rate import measured_rates
from bench.core.units import format_rate
from bench.stats.estimate import Estimate

_LOADS: Final = tuple(np.linspace(0.3, 0.97, 12).tolist())
"""Rates that are simulated, as fractions of the capacity of all replicas."""
_LOWER_LOADS: Final = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25)
"""The same, where the lowest of the others exceeds a limit."""
_REQUESTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class ReplicaValidation:
    """The rate that several replicas sustain within the objective.

    Args:
        replicas: number of replicas.
        policy: balancing policy.
        predicted: by simulation of the model of one replica, requests/s.
        measured: by interpolation of the runs, requests/s; None where the runs do not enclose it.
        error: predicted / measured - 1; None without `measured`.
        note: how `measured` was found, or why not; one line.
    """

    replicas: int
    policy: str
    predicted: Estimate
    measured: float | None
    error: float | None
    note: str


def predict_replicas(
    model: CapacityModel, slo: Slo, sustained: Estimate, replicas: int, policy: str, seed: int
) -> Estimate:
    """The rate that `replicas` sustain within `slo`, requests/s; with a warning where one gets more than the model
    covers, or where the simulation is within the limits at no rate.

    Args:
        model: model of one replica.
        slo: the objective.
        sustained: sustained rate of one replica; the fleet has the same relative interval.
        replicas: number of replicas.
        policy: balancing policy.
        seed: random seed of the simulation.
    """
    assert sustained.center
    assert sustained.lo is not None
    found = _fleet_latencies(model, slo, replicas, policy, seed)
    rates = list(found)
    warnings: list[str] = []
    if slo.broken(found[rates[0]], 0.0, None):
        center = min(rates[0], replicas * sustained.center)
        warnings.append(
            f"the rate that is predicted of {replicas:,} replicas, {format_rate(center)}, is not simulated: already at "
            f"{format_rate(rates[0])} the simulation exceeds a latency limit; measure it"
        )
    else:
        # The lowest rate is within the limit, so a limit that is not crossed is met up to the highest rate.
        center = min(
            crossing(rates, [latency[name] for latency in found.values()], limit) or rates[-1]
            for name, limit in slo.latency.items()
        )
    if sustained.center < (model.largest_rate(slo.latency).center or 0.0):
        # Errors limit one replica, which the simulation does not have.
        center = min(center, replicas * sustained.center)
    share = center / replicas
    if share > model.valid[1]:
        warnings.append(
            f"the rate that is predicted of {replicas:,} replicas, {format_rate(center)}, is {format_rate(share)} for "
            f"one, above {format_rate(model.valid[1])}, the highest rate that the model covers: it is extrapolated"
        )
    low, high = (None if end is None else center * end / sustained.center for end in (sustained.lo, sustained.hi))
    return Estimate("replicas_slo_rate", center, low, high, sustained.confidence, sustained.n, tuple(warnings))


def _fleet_latencies(
    model: CapacityModel, slo: Slo, replicas: int, policy: str, seed: int
) -> dict[float, dict[str, float]]:
    """Latencies of the simulated fleet by rate, increasing; from a lower rate on where a limit is exceeded early."""

    def simulated(loads: Sequence[float]) -> dict[float, dict[str, float]]:
        rates = [load * replicas * model.parameter_set.capacity for load in loads]
        return {rate: fleet_latency(model, rate, replicas, policy, seed, _REQUESTS) for rate in rates}

    found = simulated(_LOADS)
    lowest = next(iter(found.values()))
    return simulated(_LOWER_LOADS) | found if slo.broken(lowest, 0.0, None) else found


def crossing(rates: Sequence[float], values: Sequence[float], limit: float) -> float | None:
    """The rate at which `values` cross `limit`; None where they do not enclose it.

    The values are made monotone (isotonic regression of their logarithms), then interpolated.
    """
    order = np.argsort(rates)
    at = np.array(rates, np.float64)[order]
    logs = optimize.isotonic_regression(np.log(np.array(values)[order])).x
    if not logs[0] <= np.log(limit) < logs[-1]:
        return None
    after = int(np.searchsorted(logs, np.log(limit), side="right"))
    fraction = (np.log(limit) - logs[after - 1]) / (logs[after] - logs[after - 1])
    return float(at[after - 1] + fraction * (at[after] - at[after - 1]))


@dataclass(frozen=True, slots=True)
class Crossing:
    """The rate at which runs cross a limit of an objective.

    Args:
        rate: the lowest rate at which a limit is crossed, requests/s; None where the runs do not enclose it.
        missing: the rates to run in order to find it, "lower" or "higher"; "" if it is found, or nothing was run.
        note: one line.
    """

    rate: float | None
    missing: str
    note: str


def find_crossing(measurements: Sequence[Measurement], slo: Slo) -> Crossing:
    """Finds where runs at several rates cross a limit of `slo`.

    Latencies are interpolated. Where errors or wrong answers exceed their limit before a latency does, it is the
    highest rate below that.
    Runs in which the load generator was at its limit count where there are no others.
    """
    measurements = [m for m in measurements if not m.of_the_generator] or measurements
    rates = sorted({m.rate for m in measurements if m.rate is not None})
    if not rates:
        return Crossing(None, "", "a run would have too few requests; measure longer with --knee-time")
    failing, why = _lowest_failing(measurements, slo)
    if failing == rates[0]:
        return Crossing(None, "lower", f"{why} at {format_rate(failing)}, the lowest measured rate")
    found: list[float] = []
    for name, limit in slo.latency.items():
        values = [
            float(np.median([p.raw[name] for p in measurements if p.rate == rate and name in p.raw])) for rate in rates
        ]
        if values[0] > limit:
            return Crossing(
                None,
                "lower",
                f"{name} exceeded its limit at {format_rate(rates[0])}, the lowest measured rate",
            )
        rate = crossing(rates, values, limit)
        if rate is not None:
            found.append(rate)
    if failing is not None and (not found or failing <= min(found)):
        passed = max(rate for rate in rates if rate < failing)
        return Crossing(passed, "", f"the highest rate that was run below {format_rate(failing)}, where {why}")
    if not found:
        return Crossing(
            None, "higher", f"every limit was met up to {format_rate(rates[-1])}, the highest measured rate"
        )
    return Crossing(min(found), "", f"interpolated between runs at {format_rate(rates[0])} to {format_rate(rates[-1])}")


def _lowest_failing(measurements: Sequence[Measurement], slo: Slo) -> tuple[float | None, str]:
    """(the lowest rate at which errors or wrong answers exceed their limit, requests/s; what does, one line)."""
    for entry in measured_rates(measurements, slo):
        if why := "; ".join(text for text in entry.broken if text.startswith(("errors", "wrong answers"))):
            return entry.rate, why
    return None, ""


def validate_replicas(
    predicted: Estimate, measurements: Sequence[Measurement], slo: Slo, replicas: int, policy: str
) -> ReplicaValidation:
    """Compares the prediction with the runs of all replicas."""
    found = find_crossing(measurements, slo)
    assert predicted.center is not None
    error = None if found.rate is None else predicted.center / found.rate - 1
    return ReplicaValidation(replicas, policy, predicted, found.rate, error, found.note)
