"""How many replicas a rate needs, how busy they are, and what they cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from bench.capacity.model.model import CapacityModel
from bench.capacity.plan.fleet import Fleet, simulate_fleet
from bench.capacity.plan.slo import Slo
from bench.capacity.queue.latency_table import COLUMNS
from bench.core.errors import InconclusiveError, UsageError
from bench.core.units import format_percent, format_rate, parse_number, parse_rate, parse_whole, pluralize
from bench.stats.estimate import Estimate
from bench.stats.quantiles import nearest_rank

HOURS_A_MONTH: Final = 730.0
_SIMULATED: Final = 60_000
_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


_MOST_SPARE: Final = 10_000
_MOST_FACTOR: Final = 100


@dataclass(frozen=True, slots=True)
class Redundancy:
    """Replicas beyond those that the rate needs.

    Args:
        spare: how many more.
        factor: how many times those needed, 1 or more.
    """

    spare: int = 1
    factor: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """`N+1`, `N+2`, `2N`, `N`, or a plain number of spares.

        Raises:
            UsageError: anything else.
        """
        word = text.strip().upper().replace(" ", "")
        try:
            if word.startswith("N+"):
                return cls(parse_whole(word[2:], 0, _MOST_SPARE))
            if word.endswith("N"):
                return cls(0, parse_number(word[:-1] or "1", 1, _MOST_FACTOR))
            return cls(parse_whole(word, 0, _MOST_SPARE))
        except UsageError as error:
            raise UsageError(f"{text!r} is not a redundancy ({error}); write it like N+1, N+2, 2N or 0") from None

    def __str__(self) -> str:
        factor = "" if self.factor == 1 else f"{self.factor:g}"
        return f"{factor}N" + (f"+{self.spare}" if self.spare else "")

    def total(self, needed: int) -> int:
        """Replicas in all, where `needed` carry the rate."""
        return math.ceil(needed * self.factor - 1e-9) + self.spare


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a plan is asked to hold.

    Args:
        redundancy: replicas beyond those needed.
        headroom: share of each needed replica's rate that stays free at the planned rate.
        price: of one replica for an hour, in any currency; None if not given.
        policy: how the balancer chooses, one of `bench.workload.policies.POLICIES`.
    """

    redundancy: Redundancy = Redundancy()
    headroom: float = 0.2
    price: float | None = None
    policy: str = "round-robin"

    def __post_init__(self) -> None:
        if not 0 <= self.headroom < 1:
            raise UsageError(f"headroom is a share below 100 %, not {format_percent(self.headroom)}")
        if self.price is not None and not 0 <= self.price < math.inf:
            raise UsageError(f"a price is 0 or more, not {self.price}")


@dataclass(frozen=True, slots=True)
class PlanRow:
    """Replicas for one rate.

    Args:
        rate: requests a second.
        needed: replicas that carry it within the objective and the headroom, by the lower end of the rate's interval.
        needed_likely: the same by the estimate itself: fewer, or as many.
        replicas: with the redundancy.
        utilisation: share of the capacity in use, all replicas up.
        utilisation_degraded: the same with the spare ones down.
        headroom: share of the objective's rate left free, the spare ones down.
        price: of all replicas for an hour; None without a price.
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
        """For a month of 730 hours."""
        return None if self.price is None else self.price * HOURS_A_MONTH


def parse_plan(text: str) -> float:
    """The rate in `rate=500/s` or `500/s`, requests a second.

    Raises:
        UsageError: anything else.
    """
    name, equals, value = text.partition("=")
    if equals and name.strip().lower() != "rate":
        raise UsageError(f"a plan has no {name.strip()!r}; write it like rate=500/s")
    return parse_rate(value if equals else text)


def plan(model: CapacityModel, sustained: Estimate, rate: float, options: PlanOptions) -> PlanRow:
    """Replicas for `rate` requests a second.

    Args:
        model: of one replica.
        sustained: rate that one replica carries within the objective.
        rate: requests a second in all.
        options: redundancy, headroom, price.

    Raises:
        InconclusiveError: no rate within the objective is sure enough.
    """
    assert sustained.center is not None
    if not sustained.lo:
        raise InconclusiveError(
            "the rate of one replica is too uncertain to plan with: its interval begins at 0; measure longer"
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
    """The rates of a plan's table: from a quarter of the planned one to four times it."""
    return [rate * factor for factor in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)]


@dataclass(frozen=True, slots=True)
class SimulatedPlan:
    """A planned fleet, simulated.

    Args:
        replicas: how many are up.
        policy: how the balancer chooses.
        latency: by `bench.capacity.queue.latency_table.COLUMNS`, seconds; empty where the fleet has not the capacity.
        broken: limits of the objective that it breaks, one line each.
    """

    replicas: int
    policy: str
    latency: dict[str, float]
    broken: tuple[str, ...]


def simulate_plan(
    model: CapacityModel, slo: Slo, rate: float, replicas: int, policy: str, seed: int = 0
) -> SimulatedPlan:
    """Simulates `replicas` at `rate` requests a second of Poisson arrivals behind a balancer."""
    if rate >= 0.985 * replicas * model.parameter_set.capacity:
        return SimulatedPlan(
            replicas,
            policy,
            {},
            (f"{pluralize(replicas, 'replica')}: no capacity for {format_rate(rate)} by the model",),
        )
    latency = fleet_latency(model, rate, replicas, policy, seed)
    return SimulatedPlan(replicas, policy, latency, slo.broken(latency, 0.0, None))


def fleet_latency(
    model: CapacityModel, rate: float, replicas: int, policy: str, seed: int, requests: int = _SIMULATED
) -> dict[str, float]:
    """Latency of a fleet at one rate by `latency_table.COLUMNS`, seconds, its first fifth left out."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, requests))
    served = simulate_fleet(Fleet(model.parameter_set, replicas, policy), arrivals, seed)
    sojourn = served.sojourn[requests // 5 :]
    found = nearest_rank(sojourn, [_SHARES[name] for name in COLUMNS[1:]])
    return {"mean": float(sojourn.mean())} | dict(zip(COLUMNS[1:], found, strict=True))


@dataclass(frozen=True, slots=True)
class ComparedSweep:
    """One measured set in a comparison.

    Args:
        label: what it is.
        sustained: rate of one replica within the objective.
        row: the plan.
    """

    label: str
    sustained: Estimate
    row: PlanRow | None


def cheapest(rows: Sequence[ComparedSweep]) -> ComparedSweep | None:
    """The set with the lowest price, or without prices the fewest replicas; None if none carries the rate."""
    known = [entry for entry in rows if entry.row is not None]
    if not known:
        return None
    priced = all(entry.row is not None and entry.row.price is not None for entry in known)

    def cost(entry: ComparedSweep) -> float:
        assert entry.row is not None
        return float(entry.row.price or 0.0) if priced else float(entry.row.replicas)

    return min(known, key=cost)
