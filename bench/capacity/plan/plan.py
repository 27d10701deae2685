"""The replicas that a rate needs, their utilization and their cost."""

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.plan.fleet import MOST_REPLICAS, Fleet, simulate_fleet
from bench.capacity.plan.slo import Slo
from bench.capacity.queue.latency_table import COLUMNS, QUANTILES, UNSTABLE
from bench.core.errors import InconclusiveError, UsageError
from bench.core.types import checked_call, checked_fields
from bench.core.units import format_percent, format_rate, parse_number, parse_rate, parse_whole, pluralize
from bench.stats.estimate import Estimate
from bench.stats.percentiles import nearest_rank
from bench.workload.balancing import POLICIES

HOURS_A_MONTH: Final = 730.0
_SIMULATED: Final = 60_000
_MAX_SPARE: Final = 10_000
_MAX_FACTOR: Final = 100


@dataclass(frozen=True, slots=True)
@checked_fields
class Redundancy:
    """Spare replicas, beyond those that the rate needs.

    Args:
        spare: number of spare replicas.
        factor: multiple of the needed replicas, 1 or more.
    """

    spare: int = 1
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.spare <= _MAX_SPARE or not 1 <= self.factor <= _MAX_FACTOR:
            raise UsageError(f"a redundancy of {self.spare} spare and {self.factor} times the needed replicas")

    @classmethod
    @checked_call
    def parse(cls, text: str) -> Self:
        """Parses `N+1`, `N+2`, `2N`, `N`, or a number of spare replicas.

        Raises:
            UsageError: anything else.
        """
        word = text.strip().upper().replace(" ", "")
        try:
            if word.startswith("N+"):
                return cls(parse_whole(word[2:], 0, _MAX_SPARE))
            if word.endswith("N"):
                return cls(0, parse_number(word[:-1] or "1", 1, _MAX_FACTOR))
            return cls(parse_whole(word, 0, _MAX_SPARE))
        except UsageError:
            raise UsageError(
                f"{text!r} is not a redundancy; write it like N+1, N+2, 2N or 0, up to N+{_MAX_SPARE} or {_MAX_FACTOR}N"
            ) from None

    def __str__(self) -> str:
        factor = "" if self.factor == 1 else f"{self.factor:g}"
        return f"{factor}N" + (f"+{self.spare}" if self.spare else "")

    def total(self, needed: int) -> int:
        """Total number of replicas, if the rate needs `needed`."""
        return math.ceil(needed * self.factor - 1e-9) + self.spare


@dataclass(frozen=True, slots=True)
@checked_fields
class PlanOptions:
    """Options of a plan.

    Args:
        redundancy: spare replicas.
        headroom: fraction of the sustained rate of each needed replica that stays free.
        price: price of one replica for an hour, in any currency; None without one.
        policy: balancing policy, one of `bench.workload.balancing.POLICIES`.
    """

    redundancy: Redundancy = Redundancy()
    headroom: float = 0.2
    price: float | None = None
    policy: str = "round-robin"

    def __post_init__(self) -> None:
        if not 0 <= self.headroom < 1:
            raise UsageError(f"headroom is {format_percent(self.headroom)}; it must be at least 0 % and below 100 %")
        if self.price is not None and not 0 <= self.price < math.inf:
            raise UsageError(f"price is {self.price}; it must be 0 or more")
        if self.policy not in POLICIES:
            raise UsageError(f"{self.policy!r} is not a balancing policy; it must be one of {', '.join(POLICIES)}")


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The plan of one rate.

    Args:
        rate: requests/s.
        needed: replicas that sustain it within objective and headroom, by the lower end of the interval of the rate.
        needed_likely: the same by the estimate, at most `needed`.
        replicas: `needed` with the redundancy.
        utilisation: utilization with all replicas up.
        utilisation_degraded: utilization with the spare replicas down.
        headroom: fraction of the sustained rate left free, with the spare replicas down.
        price: price of all replicas for an hour; None without a price.
    """

    rate: float
    needed: int
    needed_likely: int
    replicas: int
    utilisation: float
    utilisation_degraded: float
    headroom: float
    price: float | None

    @property
    def price_month(self) -> float | None:
        """Price of a month of 730 hours."""
        return None if self.price is None else self.price * HOURS_A_MONTH


def parse_plan(text: str) -> float:
    """The rate in `rate=500/s` or `500/s`, requests/s.

    Raises:
        UsageError: anything else.
    """
    name, equals, value = text.partition("=")
    if equals and name.strip().lower() != "rate":
        raise UsageError(f"{name.strip()!r} is not part of a plan; write it like rate=500/s")
    return parse_rate(value if equals else text)


def plan(model: CapacityModel, sustained: Estimate, rate: float, options: PlanOptions) -> PlanRow:
    """Plans the replicas for a rate.

    Args:
        model: model of one replica.
        sustained: rate that one replica sustains within the objective, requests/s.
        rate: total rate, requests/s.
        options: redundancy, headroom, price.

    Raises:
        InconclusiveError: the interval of `sustained` begins at 0.
    """
    assert sustained.center is not None
    if not sustained.lo:
        raise InconclusiveError(
            "the sustained rate of one replica is too uncertain for a plan: its interval begins at 0; measure longer"
        )
    free = 1 - options.headroom
    needed = max(1, math.ceil(rate / (sustained.lo * free) - 1e-9))
    likely = max(1, math.ceil(rate / (sustained.center * free) - 1e-9))
    replicas = options.redundancy.total(needed)
    capacity = model.parameter_set.capacity
    return PlanRow(
        rate=rate,
        needed=needed,
        needed_likely=likely,
        replicas=replicas,
        utilisation=rate / (replicas * capacity),
        utilisation_degraded=rate / (needed * capacity),
        headroom=1 - rate / (needed * sustained.center),
        price=None if options.price is None else replicas * options.price,
    )


def rates_around(rate: float) -> list[float]:
    """Rates of the table of a plan, from a quarter to four times the planned rate, requests/s."""
    return [rate * factor for factor in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)]


@dataclass(frozen=True, slots=True)
class SimulatedPlan:
    """The simulation of a planned fleet.

    Args:
        replicas: number of replicas that are up.
        policy: balancing policy.
        latency: by `bench.capacity.queue.latency_table.COLUMNS`, seconds; empty where the rate exceeds the capacity,
            and for a fleet that is too large.
        broken: violated limits of the objective, one line each; where `latency` is empty, why.
    """

    replicas: int
    policy: str
    latency: dict[str, float]
    broken: tuple[str, ...]


def simulate_plan(
    model: CapacityModel, slo: Slo, rate: float, replicas: int, policy: str, seed: int = 0
) -> SimulatedPlan:
    """Simulates Poisson arrivals at `rate` requests/s to `replicas` behind a load balancer."""
    if rate >= UNSTABLE * replicas * model.parameter_set.capacity:
        return SimulatedPlan(
            replicas,
            policy,
            {},
            (f"{pluralize(replicas, 'replica')}: the capacity by the model is below {format_rate(rate)}",),
        )
    if replicas > MOST_REPLICAS:
        return SimulatedPlan(replicas, policy, {}, (f"no simulation of more than {MOST_REPLICAS:,} replicas",))
    latency = fleet_latency(model, rate, replicas, policy, seed)
    return SimulatedPlan(replicas, policy, latency, slo.broken(latency, 0.0, None))


def fleet_latency(
    model: CapacityModel, rate: float, replicas: int, policy: str, seed: int, requests: int = _SIMULATED
) -> dict[str, float]:
    """Latency of a fleet by `latency_table.COLUMNS`, seconds; the first fifth of the requests is not counted."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, requests))
    served = simulate_fleet(Fleet(model.parameter_set, replicas, policy), arrivals, seed)
    sojourn = served.sojourn[requests // 5 :]
    found = nearest_rank(sojourn, QUANTILES)
    return {"mean": float(sojourn.mean())} | dict(zip(COLUMNS[1:], found, strict=True))
