"""The fitted model: latency against rate with intervals, the rate that a limit allows, and how far to trust it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bench.capacity.queue.latency_table import COLUMNS, UNBOUNDED, UNSTABLE, ParameterSet, interpolate_tables
from bench.core.errors import UsageError
from bench.core.types import Floats
from bench.core.units import format_rate, format_seconds
from bench.stats.estimate import Estimate

CONFIDENCE: Final = 0.9

_FINE: Final = 2000


class OutsideRange(UsageError):
    """A question outside the range that the model was fitted in."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What to expect at one rate.

    Args:
        rate: requests a second.
        utilisation: share of the capacity in use.
        latency: mean and percentiles by name, seconds; absent where the server has not the capacity.
        extrapolated: whether the rate lies outside the range that the model was fitted in.
    """

    rate: float
    utilisation: float
    latency: Mapping[str, Estimate]
    extrapolated: bool


@dataclass(frozen=True)
class CapacityModel:
    """Latency against rate of one server, as fitted by `bench.capacity.model.fit`.

    Args:
        parameter_set: the queue_model and the work of requests that describe the server best.
        rates: grid of rates, requests a second, `[U]`, rising.
        center: latency at each, seconds, `[U, COLUMNS]`; infinite if unstable.
        replicates: the same for each equally likely set of parameters, `[R, U, COLUMNS]`; infinite if unstable.
        capacities: requests a second when saturated, for each of those, `[R]`.
        valid: lowest and highest rate that the steps cover.
        discrepancy: relative error of the model itself that the steps show, at least.
        warnings: what a reader must know, one line each.
        widening: how many times as wide as the replicates' all intervals are, see `bench.capacity.model.validation`.
    """

    parameter_set: ParameterSet
    rates: Floats = field(repr=False)
    center: Floats = field(repr=False)
    replicates: Floats = field(repr=False)
    capacities: Floats = field(repr=False)
    valid: tuple[float, float]
    discrepancy: float
    warnings: tuple[str, ...] = ()
    widening: float = 1.0

    @property
    def capacity(self) -> Estimate:
        """Requests a second when saturated."""
        center = self.parameter_set.capacity
        lo, hi = _interval(center * (self.capacities / center) ** self.widening)
        return Estimate("capacity", center, lo, hi, CONFIDENCE, self.capacities.size)

    @property
    def knee(self) -> float:
        """The rate, requests a second, with the largest ratio of rate to mean latency.

        Kleinrock's power (L. Kleinrock, *Power and deterministic rules of thumb for probabilistic problems in computer
        communications*, ICC 1979): past it latency grows by a larger share than the rate does.
        """
        fine = np.linspace(self.rates[0], self.rates[-1], _FINE)
        mean = interpolate_tables(self.rates, self.center, fine)[:, COLUMNS.index("mean")]
        return float(fine[np.argmax(fine / mean)])

    def predict(self, rate: float, *, extrapolate: bool = False) -> Prediction:
        """What to expect at `rate` requests a second of Poisson arrivals.

        Raises:
            OutsideRange: the rate lies outside `valid`, and `extrapolate` was not asked for.
        """
        outside = not self.valid[0] <= rate <= self.valid[1]
        if outside and not extrapolate:
            raise OutsideRange(
                f"{format_rate(rate, 6)} lies outside the {format_rate(self.valid[0])} to "
                f"{format_rate(self.valid[1])} that the model was fitted "
                "in; measure there, or ask for extrapolation"
            )
        stable = rate < UNSTABLE * self.parameter_set.capacity
        center = interpolate_tables(self.rates, self.center, np.array([rate]))[0]
        replicates = interpolate_tables(self.rates, self._widened(), np.array([rate]))[:, 0]
        latency = {}
        for column, name in enumerate(COLUMNS):
            if not stable:
                latency[name] = Estimate.absent(name, "the server has not the capacity", confidence=CONFIDENCE)
                continue
            middle = float(center[column])
            lo, hi = _interval(replicates[:, column])
            top = None if hi >= UNBOUNDED else max(hi, middle)
            latency[name] = Estimate(name, middle, min(lo, middle), top, CONFIDENCE, self.capacities.size)
        return Prediction(rate, rate / self.parameter_set.capacity, latency, outside)

    def largest_rate(self, limits: Mapping[str, float]) -> Estimate:
        """The largest rate at which every column named in `limits` stays within its limit, seconds.

        0 where even the lowest rate of the grid breaks one; at most the end of `valid`, with a warning that the true
        rate may be higher.
        """
        fine = np.linspace(self.rates[0], min(self.valid[1], self.rates[-1]), _FINE)
        center = float(self._largest(self.center[None], limits, fine)[0])
        found = self._largest(self._widened(), limits, fine)
        lo, hi = _interval(found)
        top = float(fine[-1])
        warnings: tuple[str, ...] = ()
        if center >= top:
            warnings = (f"within the limit up to {format_rate(top)}, the highest rate measured; it may be higher",)
        return Estimate("slo_rate", center, min(lo, center), max(hi, center), CONFIDENCE, found.size, warnings)

    def _widened(self) -> Floats:
        """The replicates, `widening` times as far from the center; what has no bound keeps none."""
        if self.widening == 1:
            return self.replicates
        center = np.minimum(self.center, UNBOUNDED)
        with np.errstate(over="ignore"):
            return np.asarray(center * (self.replicates / center) ** self.widening)

    def _largest(self, tables: Floats, limits: Mapping[str, float], fine: Floats) -> Floats:
        """Largest rate of `fine` within the limits for each of `tables`, 0 where there is none."""
        found = np.full(tables.shape[0], np.inf)
        for name, limit in limits.items():
            column = COLUMNS.index(name)
            values = interpolate_tables(self.rates, tables[:, :, column : column + 1], fine)[:, :, 0]
            within = np.maximum.accumulate(values, axis=1) <= limit
            last = within.sum(axis=1) - 1
            found = np.minimum(found, np.where(last >= 0, fine[np.maximum(last, 0)], 0.0))
        return found


def _interval(values: Floats) -> tuple[float, float]:
    """Ends of the central `CONFIDENCE` of `values`."""
    tail = (1 - CONFIDENCE) / 2
    lo, hi = np.quantile(values, [tail, 1 - tail], method="inverted_cdf")
    return float(lo), float(hi)


def limits_text(limits: Mapping[str, float]) -> Sequence[str]:
    """`p99 250 ms` and so on, for messages."""
    return [f"{name} {format_seconds(seconds)}" for name, seconds in limits.items()]
