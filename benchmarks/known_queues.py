"""Queues with known service times: their exact long-run latencies, and the errors of models fitted to them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.queue.latency_table import COLUMNS, Effort, ParameterSet, latency_tables
from bench.capacity.queue.queue_model import QueueModel
from bench.core.types import Floats
from tests.support.queue_server import service_times

LOADS = (0.30, 0.45, 0.60, 0.75, 0.85)
"""Loads of the comparison, as fractions of the capacity."""

SLO_LOAD = 0.75
"""Load whose exact p99 is the objective."""

MEAN = 0.008
"""Mean service time, seconds."""


def exact_latencies(servers: int, cv: float, overhead: float) -> Floats:
    """Long-run latencies of a queue at `LOADS`, seconds, `[LOADS, COLUMNS]`."""
    work = np.sort(service_times(MEAN, cv, 1_000_000, np.random.default_rng(99)))
    parameter_set = ParameterSet(QueueModel.independent(servers, overhead), work * (MEAN / work.mean()))
    rates = [load * servers / MEAN for load in LOADS]
    return np.asarray(latency_tables([parameter_set], rates, Effort(requests=20_000, queues=250, seed=5))[0])


def exact_limit(exact: Floats) -> float:
    """p99 at `SLO_LOAD`, milliseconds."""
    return 1e3 * float(exact[LOADS.index(SLO_LOAD)][COLUMNS.index("p99")])


@dataclass
class ModelErrors:
    """Errors of models of known queues.

    Args:
        percentiles: relative errors of p50, p95 and p99.
        inside: whether each exact value is inside its interval.
        rates: relative errors of the sustained rate, one for each model.
    """

    percentiles: list[float] = field(default_factory=list)
    inside: list[bool] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def add(self, servers: int, exact: Floats, model: CapacityModel, sustained: float | None = None) -> str:
        """Compares a model, and the rate that it gives for the exact p99 at `SLO_LOAD`; returns one line."""
        found = _compare(servers, exact, model)
        text = str(found)
        if sustained is not None:
            rate, capacity = SLO_LOAD * servers / MEAN, servers / MEAN
            found.rates.append(sustained / rate - 1)
            text += (
                f", sustained rate {found.rates[0]:+.1%}, capacity {model.parameter_set.capacity / capacity - 1:+.1%}"
            )
        self.percentiles += found.percentiles
        self.inside += found.inside
        self.rates += found.rates
        return text

    def __str__(self) -> str:
        sizes = list(map(abs, self.percentiles))
        return (
            f"median error {statistics.median(sizes):.1%}, worst {max(sizes):.1%}, {sum(self.inside)} of "
            f"{len(self.inside)} inside"
        )

    def verdicts(self) -> Sequence[tuple[bool, str]]:
        """Whether each goal is met, and the value."""
        if not self.percentiles:
            return []
        median, worst = statistics.median(map(abs, self.percentiles)), max(map(abs, self.rates))
        inside = sum(self.inside) / len(self.inside)
        close = sum(abs(rate) <= 0.05 for rate in self.rates)
        return [
            (median <= 0.10, f"p50, p95, p99 at five rates from 30 to 85 % load: median error {median:.1%} (10 %)"),
            (inside >= 0.85, f"{inside:.0%} of {len(self.inside)} inside the 90 % interval (85 %)"),
            (worst <= 0.05, f"sustained rate: {close} of {len(self.rates)} within 5 %, worst {worst:.1%} (5 %)"),
        ]


def _compare(servers: int, exact: Floats, model: CapacityModel) -> ModelErrors:
    found = ModelErrors()
    for load, row in zip(LOADS, exact, strict=True):
        latency = model.predict(load * servers / MEAN, extrapolate=True).latency
        for column in ("p50", "p95", "p99"):
            estimate, value = latency[column], float(row[COLUMNS.index(column)])
            found.percentiles.append((estimate.center or np.inf) / value - 1)
            found.inside.append((estimate.lo or 0.0) <= value <= (estimate.hi or np.inf))
    return found
