"""What-if simulations of a fleet with incidents: the latency and losses that users see, in total and over time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.capacity.plan.diurnal import Span, day_length
from bench.capacity.plan.fleet import Fleet, FleetServed, simulate_fleet
from bench.capacity.plan.slo import Slo
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
        violated: total time of the windows that violate the objective, seconds.
        replica_hours: hours of all replicas, summed.
        times: middle of each window, seconds, `[WINDOWS]`.
        p50: p50 of each window, seconds; NaN without an answer.
        p99: p99 of each window, seconds; NaN without an answer.
        lost_fraction: fraction of lost requests in each window.
        violates: whether each window violates a limit of the objective, see `run_fleet`, `[WINDOWS]`.
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
    violates: NDArray[np.bool_]
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


def constant_profile(rate: float, seconds: float) -> RateProfile:
    """A constant rate, requests/s, over a time, seconds."""
    return RateProfile(np.zeros(1), np.full(1, rate), np.full(1, rate), seconds)


def highest_share(profile: RateProfile, view: FleetView) -> float:
    """Highest rate of one replica, where those that take requests share the rate alike, requests/s; 0 without one.

    Args:
        profile: the rate of the requests, constant between its knots.
        view: the simulation of these requests.
    """
    changes, counts = (np.array(column) for column in zip(*view.replicas, strict=True))
    times = np.union1d(profile.starts, changes[changes < profile.end])
    present = counts[np.searchsorted(changes, times, side="right") - 1]
    shares = np.divide(profile.rate(times), present, out=np.zeros(times.size), where=present > 0)
    return float(shares.max())


def draw_day(profile: RateProfile, seed: int) -> Floats:
    """Poisson arrivals at the rates of a day, seconds, increasing."""
    rng = generator(seed, Stream.ARRIVALS)
    return profile.inverse(np.sort(rng.random(int(rng.poisson(profile.total))) * profile.total))


def compare_policies(
    fleet: Fleet, policies: Sequence[str], arrivals: Floats, seconds: float, slo: Slo, seed: int
) -> list[FleetView]:
    """Simulates `fleet` with each balancing policy; see `run_fleet`."""
    return [run_fleet(replace(fleet, policy=policy), arrivals, seconds, slo, seed) for policy in policies]


def run_fleet(fleet: Fleet, arrivals: Floats, seconds: float, slo: Slo, seed: int) -> FleetView:
    """Simulates `fleet` and summarizes the result.

    Each time window is held against every limit of the objective: its mean and percentiles are those of the answered
    requests that arrive in it, and its lost requests count as errors. A window whose requests are all lost violates any
    objective. No answer of a simulation is wrong.

    Args:
        fleet: the replicas and their incidents.
        arrivals: arrival times, seconds, increasing; at least one.
        seconds: simulated time, seconds.
        slo: the objective.
        seed: random seed of the simulation.
    """
    served = simulate_fleet(fleet, arrivals, seed)
    answered = served.sojourn[~served.lost]
    edges = np.linspace(0, seconds, WINDOWS + 1)
    windows = list(_windows(served, edges))
    p50, p99 = (np.array([window.latency[name] for window in windows]) for name in ("p50", "p99"))
    violates = np.array([window.violates(slo) for window in windows])
    return FleetView(
        policy=fleet.policy,
        latency=_latency(answered),
        lost=float(served.lost.mean()),
        worst=float(np.nanmax(p99)) if np.isfinite(p99).any() else np.nan,
        violated=float(violates.mean() * seconds),
        replica_hours=served.replica_seconds(seconds) / 3600,
        times=(edges[1:] + edges[:-1]) / 2,
        p50=p50,
        p99=p99,
        lost_fraction=np.array([window.lost for window in windows]),
        violates=violates,
        replicas=served.replicas,
    )


@dataclass(frozen=True, slots=True)
class _Window:
    """The requests that arrive in a time window.

    Args:
        requests: their number.
        lost: fraction of them that were lost; 0 without a request.
        latency: of the answered ones by `COLUMNS`, seconds; NaN without an answer.
    """

    requests: int
    lost: float
    latency: dict[str, float]

    def violates(self, slo: Slo) -> bool:
        """Whether they violate a limit of `slo`; no request violates none."""
        if self.lost == 1:
            return True
        return self.requests > 0 and bool(slo.broken(self.latency, self.lost, None))


def _windows(served: FleetServed, edges: Floats) -> Iterator[_Window]:
    places = np.searchsorted(served.arrived, edges)
    for start, end in pairwise(places.tolist()):
        lost = served.lost[start:end]
        latency = _latency(served.sojourn[start:end][~lost])
        yield _Window(end - start, float(lost.mean()) if lost.size else 0.0, latency)


def _latency(answered: Floats) -> dict[str, float]:
    """Mean and percentiles by `COLUMNS`, seconds; NaN without an answer."""
    if not answered.size:
        return dict.fromkeys(COLUMNS, np.nan)
    return {"mean": float(answered.mean())} | dict(zip(COLUMNS[1:], nearest_rank(answered, QUANTILES), strict=True))
