"""What-if simulations of a fleet with incidents: the latency and losses that users see, in total and over time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from bench.capacity.plan.diurnal import Span, day_length
from bench.capacity.plan.fleet import Fleet, FleetServed, simulate_fleet
from bench.capacity.queue.latency_table import COLUMNS, QUANTILES
from bench.core.seeds import Stream, generator
from bench.core.types import Floats
from bench.stats.percentiles import nearest_rank
from bench.workload.rate_profile import RateProfile

WINDOWS: Final = 60
"""Number of equal time windows of a simulation."""


@dataclass(frozen=True, slots=True)
class FleetView:
    """The result of a simulation.

    Args:
        policy: balancing policy.
        latency: by `bench.capacity.queue.latency_table.COLUMNS`, seconds, over all answered requests.
        lost: fraction of lost requests.
        worst: highest p99 of a window, seconds.
        violated: total time of the windows whose p99 exceeds the limit or in which requests are lost, seconds.
        replica_hours: hours of all replicas, summed.
        times: middle of each window, seconds, `[WINDOWS]`.
        p50: p50 of each window, seconds; NaN without an answer.
        p99: p99 of each window, seconds; NaN without an answer.
        lost_fraction: fraction of lost requests in each window.
        replicas: (time in seconds, replicas that take requests) at each change.
    """

    policy: str
    latency: dict[str, float]
    lost: float
    worst: float
    violated: float
    replica_hours: float
    times: Floats
    p50: Floats
    p99: Floats
    lost_fraction: Floats
    replicas: tuple[tuple[float, int], ...]


def draw_arrivals(rate: float, seconds: float, seed: int) -> Floats:
    """Poisson arrivals at `rate` requests/s over `seconds`, seconds, increasing."""
    rng = generator(seed, Stream.ARRIVALS)
    count = int(rng.poisson(rate * seconds))
    return np.sort(rng.random(count) * seconds)


def day_profile(spans: Sequence[Span], peak: float, seconds: float) -> RateProfile:
    """The rates of a day, scaled to a highest rate `peak` (requests/s) and a length `seconds`."""
    length = day_length(spans)
    factor = peak / max(span.rate for span in spans)
    rates = np.array([span.rate * factor for span in spans])
    starts = np.array([span.start for span in spans]) * (seconds / length)
    return RateProfile(starts, rates, rates, seconds)


def draw_day(profile: RateProfile, seed: int) -> Floats:
    """Poisson arrivals at the rates of a day, seconds, increasing."""
    rng = generator(seed, Stream.ARRIVALS)
    return profile.inverse(np.sort(rng.random(int(rng.poisson(profile.total))) * profile.total))


def compare_policies(
    fleet: Fleet, policies: Sequence[str], arrivals: Floats, seconds: float, limit: float, seed: int
) -> list[FleetView]:
    """Simulates `fleet` with each balancing policy; see `run_fleet`."""
    return [run_fleet(replace(fleet, policy=policy), arrivals, seconds, limit, seed) for policy in policies]


def run_fleet(fleet: Fleet, arrivals: Floats, seconds: float, limit: float, seed: int) -> FleetView:
    """Simulates `fleet` and summarizes the result.

    Args:
        fleet: the replicas and their incidents.
        arrivals: arrival times, seconds, increasing; at least one.
        seconds: simulated time, seconds.
        limit: limit of the p99 of a window, seconds.
        seed: random seed of the simulation.
    """
    served = simulate_fleet(fleet, arrivals, seed)
    answered = served.sojourn[~served.lost]
    found = nearest_rank(answered, QUANTILES) if answered.size else [np.nan] * len(QUANTILES)
    mean = float(answered.mean()) if answered.size else np.nan
    edges = np.linspace(0, seconds, WINDOWS + 1)
    p50, p99, lost = _windows(served, edges)
    times = (edges[1:] + edges[:-1]) / 2
    violated = (p99 > limit) | (lost > 0)
    return FleetView(
        policy=fleet.policy,
        latency={"mean": mean} | dict(zip(COLUMNS[1:], found, strict=True)),
        lost=float(served.lost.mean()),
        worst=float(np.nanmax(p99)) if np.isfinite(p99).any() else np.nan,
        violated=float(violated.mean() * seconds),
        replica_hours=served.replica_seconds(seconds) / 3600,
        times=times,
        p50=p50,
        p99=p99,
        lost_fraction=lost,
        replicas=served.replicas,
    )


def _windows(served: FleetServed, edges: Floats) -> tuple[Floats, Floats, Floats]:
    """(p50, p99, fraction lost) of the requests that arrive in each window."""
    places = np.searchsorted(served.arrived, edges)
    p50, p99, lost = (np.full(edges.size - 1, np.nan) for _ in range(3))
    for index, (start, end) in enumerate(pairwise(places.tolist())):
        is_lost = served.lost[start:end]
        sojourn = served.sojourn[start:end][~is_lost]
        lost[index] = float(is_lost.mean()) if is_lost.size else 0.0
        if sojourn.size:
            p50[index], p99[index] = nearest_rank(sojourn, [0.5, 0.99])
    return p50, p99, lost
