"""Several replicas behind a client-side balancer: the rate within the objective, predicted and measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import optimize

from bench.capacity.measurements.measured_step import Measurement
from bench.capacity.model.model import CapacityModel
from bench.capacity.plan.plan import fleet_latency
from bench.capacity.plan.slo import Slo
from bench.capacity.queue.latency_table import UNSTABLE
from bench.core.units import format_rate
from bench.stats.estimate import Estimate

_LOADS: Final = tuple(np.linspace(0.3, 0.97, 12).tolist())
_REQUESTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class ReplicaValidation:
    """What so many replicas carry within the objective.

    Args:
        replicas: how many.
        policy: how the balancer chooses.
        predicted: requests a second, by simulation of the model of one.
        measured: requests a second, where the measured latency meets its limit; None where the runs do not enclose it.
        error: predicted over measured, less 1; None likewise.
        note: why nothing was found, or how; one line.
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
    """The rate that `replicas` carry within the latencies of `slo`.

    Args:
        model: of one replica.
        slo: the objective.
        sustained: rate of one replica within it, whose relative interval the fleet's is taken to have.
        replicas: how many.
        policy: how the balancer chooses.
        seed: of the simulation.
    """
    assert sustained.center
    assert sustained.lo is not None
    assert sustained.hi is not None
    top = replicas * model.parameter_set.capacity
    rates = [load * top for load in _LOADS if load < UNSTABLE]
    found = [fleet_latency(model, rate, replicas, policy, seed, _REQUESTS) for rate in rates]
    center = min(
        crossing(rates, [entry[name] for entry in found], limit) or rates[-1] for name, limit in slo.latency.items()
    )
    ends = [center * end / sustained.center for end in (sustained.lo, sustained.hi)]
    return Estimate("replicas_slo_rate", center, ends[0], ends[1], sustained.confidence, sustained.n)


def crossing(rates: Sequence[float], values: Sequence[float], limit: float) -> float | None:
    """The rate at which rising values meet `limit`; None where they do not enclose it.

    Values are made to rise (isotonic regression of their logarithms), then interpolated.
    """
    order = np.argsort(rates)
    at = np.array(rates, np.float64)[order]
    logs = optimize.isotonic_regression(np.log(np.array(values)[order])).x
    if not logs[0] <= np.log(limit) < logs[-1]:
        return None
    after = int(np.searchsorted(logs, np.log(limit), side="right"))
    share = (np.log(limit) - logs[after - 1]) / (logs[after] - logs[after - 1])
    return float(at[after - 1] + share * (at[after] - at[after - 1]))


@dataclass(frozen=True, slots=True)
class Met:
    """Where runs met an objective's limits.

    Args:
        rate: requests a second, the lowest at which a latency met its limit; None where the runs do not enclose it.
        missing: "lower" or "higher", the rates that would have to be run to know; "" if none.
        note: one line.
    """

    rate: float | None
    missing: str
    note: str


def where_met(measurements: Sequence[Measurement], slo: Slo) -> Met:
    """Where runs at several rates met the latencies of `slo`."""
    rates = sorted({m.rate for m in measurements if m.rate is not None})
    found: list[float] = []
    for name, limit in slo.latency.items():
        values = [
            float(np.median([p.raw[name] for p in measurements if p.rate == rate and name in p.raw])) for rate in rates
        ]
        if values[0] > limit:
            return Met(
                None,
                "lower",
                f"{name} was over its limit at {format_rate(rates[0])} already, the lowest rate that was run",
            )
        meets = crossing(rates, values, limit)
        if meets is not None:
            found.append(meets)
    if not found:
        return Met(
            None, "higher", f"every limit was kept up to {format_rate(rates[-1])}, the highest rate that was run"
        )
    return Met(min(found), "", f"interpolated between runs at {format_rate(rates[0])} to {format_rate(rates[-1])}")


def validate_replicas(
    predicted: Estimate, measurements: Sequence[Measurement], slo: Slo, replicas: int, policy: str
) -> ReplicaValidation:
    """The prediction held to the runs of all replicas."""
    met = where_met(measurements, slo)
    assert predicted.center is not None
    error = None if met.rate is None else predicted.center / met.rate - 1
    return ReplicaValidation(replicas, policy, predicted, met.rate, error, met.note)
