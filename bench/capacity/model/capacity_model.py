"""The fitted model: latency by rate with intervals, the largest rate within limits, and the range of validity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bench.capacity.queue.latency_table import COLUMNS, UNBOUNDED, UNSTABLE, ParameterSet, interpolate_tables
from bench.core.errors import UsageError
from bench.core.types import Floats
from bench.core.units import format_rate
from bench.stats.estimate import Estimate

CONFIDENCE: Final = 0.9

_FINE: Final = 2000
_RATES: Final = (1e-6, 1e9)
_SHORTEST: Final = 1e-12
_MOST_WIDENING: Final = 1000.0


class OutsideRange(UsageError):
    """The rate is outside the rates that the model covers."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted latency at one rate.

    Args:
        rate: requests/s.
        utilisation: rate over capacity.
        latency: mean and percentiles by name, seconds; absent where the rate exceeds the capacity.
        extrapolated: whether the rate is outside `CapacityModel.valid`.
    """

    rate: float
    utilisation: float
    latency: Mapping[str, Estimate]
    extrapolated: bool


@dataclass(frozen=True)
class CapacityModel:
    """Latency by rate of one server; `bench.capacity.model.fit` makes it.

    Args:
        parameter_set: the central queue model and the work of requests.
        rates: rates of the tables, requests/s, `[U]`, increasing.
        center: central latency table, seconds, `[U, COLUMNS]`; infinite where unstable.
        replicates: the latency table of each of R equally likely parameter sets, `[R, U, COLUMNS]`.
        capacities: saturation rate of each of these sets, requests/s, `[R]`.
        valid: lowest and highest rate that the model covers, requests/s, see `covered_rates`.
        discrepancy: estimated relative error of the model itself.
        warnings: one line each.
        widening: factor on the width of all intervals, see `bench.capacity.model.validation`.
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

    def __post_init__(self) -> None:
        if fault := self._fault():
            raise ValueError(fault)

    def _fault(self) -> str:
        """What no model has; a file may hold anything. "" for nothing."""
        shape = (self.rates.size, len(COLUMNS))
        if self.rates.ndim != 1 or self.rates.size < 2 or self.center.shape != shape:
            return f"the table has the shape {self.center.shape} for {self.rates.size} rates"
        if self.capacities.ndim != 1 or not self.capacities.size:
            return "there are no capacities"
        if self.replicates.shape != (self.capacities.size, *shape):
            return f"the replicates have the shape {self.replicates.shape} for {self.capacities.size} capacities"
        if not (_are_within(self.rates, *_RATES) and (np.diff(self.rates) > 0).all()):
            return "the rates do not increase, or no server has them"
        if not _are_within(self.capacities, *_RATES) or not _are_within(np.array(self.valid), 0.0, _RATES[1]):
            return "a capacity, or an end of the valid range, is one that no server has"
        if not all(_are_within(table, _SHORTEST, np.inf) for table in (self.center, self.replicates)):
            return "a latency is not above 0"
        if not (0 <= self.discrepancy < np.inf and 0 < self.widening <= _MOST_WIDENING):
            return f"discrepancy is {self.discrepancy} and widening {self.widening}"
        return ""

    @property
    def capacity(self) -> Estimate:
        """Saturation rate, requests/s."""
        center = self.parameter_set.capacity
        lo, hi = _interval(center * (self.capacities / center) ** self.widening)
        return Estimate("capacity", center, lo, hi, CONFIDENCE, self.capacities.size)

    @property
    def knee(self) -> float:
        """The rate with the largest ratio of rate to mean latency, requests/s.

        Kleinrock's power (L. Kleinrock, *Power and deterministic rules of thumb for probabilistic problems in computer
        communications*, ICC 1979): above it, latency grows faster than the rate, in relative terms.
        """
        fine = np.linspace(self.rates[0], self.rates[-1], _FINE)
        mean = interpolate_tables(self.rates, self.center, fine)[:, COLUMNS.index("mean")]
        return float(fine[np.argmax(fine / mean)])

    def predict(self, rate: float, *, extrapolate: bool = False) -> Prediction:
        """Predicts the latency of Poisson arrivals at `rate` requests/s.

        Raises:
            OutsideRange: the rate is outside `valid`, and `extrapolate` is False.
        """
        outside = not self.valid[0] <= rate <= self.valid[1]
        if outside and not extrapolate:
            raise OutsideRange(
                f"{format_rate(rate, 6)} is outside {format_rate(self.valid[0])} to {format_rate(self.valid[1])}, the "
                "rates that the model covers; measure at that rate, or pass extrapolate=True"
            )
        stable = rate < UNSTABLE * self.parameter_set.capacity
        center = interpolate_tables(self.rates, self.center, np.array([rate]))[0]
        replicates = interpolate_tables(self.rates, self._widened(), np.array([rate]))[:, 0]
        latency = {}
        for column, name in enumerate(COLUMNS):
            if not stable:
                latency[name] = Estimate.absent(name, "the rate exceeds the capacity", confidence=CONFIDENCE)
                continue
            middle = float(center[column])
            lo, hi = _interval(replicates[:, column])
            top = None if hi >= UNBOUNDED else max(hi, middle)
            latency[name] = Estimate(name, middle, min(lo, middle), top, CONFIDENCE, self.capacities.size)
        return Prediction(rate, rate / self.parameter_set.capacity, latency, outside)

    def largest_rate(self, limits: Mapping[str, float], violated: float | None = None) -> Estimate:
        """The largest rate at which every latency named in `limits` is within its limit.

        0 where the lowest rate of the tables already exceeds a limit; at most the upper end of `valid`, with a warning
        that the true rate may be higher. An interval that reaches that end is open above, or ends at `violated`.

        Args:
            limits: seconds, by the latency's name.
            violated: the lowest rate that was measured to violate the objective, requests/s; None without one.
        """
        fine = np.linspace(self.rates[0], min(self.valid[1], self.rates[-1]), _FINE)
        center = float(self._largest(self.center[None], limits, fine)[0])
        found = self._largest(self._widened(), limits, fine)
        lo, hi = _interval(found)
        top = float(fine[-1])
        above: float | None = max(hi, center)
        if above is not None and above >= top:
            above = None if violated is None else max(violated, center)
        warnings = self._end_warnings(top, violated) if center >= top else ()
        return Estimate("slo_rate", center, min(lo, center), above, CONFIDENCE, found.size, warnings)

    def _end_warnings(self, top: float, violated: float | None) -> tuple[str, ...]:
        """What a rate at the end of what the model covers means, one line at most."""
        if violated is None:
            what = "measured rate" if top < self.rates[-1] else "rate of the model's tables"
            return (f"within the limits up to {format_rate(top)}, the highest {what}; the true rate may be higher",)
        if violated <= top:
            return ()
        return (
            f"{format_rate(violated)} violated the objective, and the model covers up to {format_rate(top)}: the rate "
            "lies between",
        )

    def _widened(self) -> Floats:
        """The replicates, their distance from the center multiplied by `widening` on a log scale."""
        if self.widening == 1:
            return self.replicates
        center = np.minimum(self.center, UNBOUNDED)
        with np.errstate(over="ignore"):
            return np.asarray(center * (self.replicates / center) ** self.widening)

    def _largest(self, tables: Floats, limits: Mapping[str, float], fine: Floats) -> Floats:
        """Largest rate of `fine` within the limits for each of `tables`, requests/s; 0 where there is none."""
        found = np.full(tables.shape[0], np.inf)
        for name, limit in limits.items():
            column = COLUMNS.index(name)
            values = interpolate_tables(self.rates, tables[:, :, column : column + 1], fine)[:, :, 0]
            within = np.maximum.accumulate(values, axis=1) <= limit
            last = within.sum(axis=1) - 1
            found = np.minimum(found, np.where(last >= 0, fine[np.maximum(last, 0)], 0.0))
        return found


def covered_rates(measured: Sequence[float], tables: Floats) -> tuple[float, float]:
    """The lowest and the highest rate that a model covers, requests/s.

    Below the open-loop runs it lies between them and the runs of a single user, whose requests never wait, so it covers
    all rates down to the lowest of its tables. Above them nothing is measured.

    Args:
        measured: requested rates of the open-loop runs, requests/s; at least one.
        tables: rates of the model's tables, requests/s, increasing.
    """
    return float(tables[0]), float(np.clip(max(measured), tables[0], tables[-1]))


def _are_within(values: Floats, least: float, most: float) -> bool:
    return bool(((values >= least) & (values <= most)).all())


def _interval(values: Floats) -> tuple[float, float]:
    """Ends of the central `CONFIDENCE` of `values`."""
    tail = (1 - CONFIDENCE) / 2
    lo, hi = np.quantile(values, [tail, 1 - tail], method="inverted_cdf")
    return float(lo), float(hi)
