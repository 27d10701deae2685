"""Queues whose waiting times are known exactly."""

from fractions import Fraction
from math import ceil, factorial, log

import numpy as np

from bench.core.types import Floats


def mmc_waiting(rate: float, mean: float, servers: int, share: float) -> float:
    """The percentile `share` of the waiting time of M/M/c (A. Erlang; D. Gross et al., *Fundamentals of Queueing
    Theory*, 4th edition, section 2.3), 0 if so many need not wait."""
    load = rate * mean
    rho = load / servers
    last = load**servers / factorial(servers) / (1 - rho)
    waits = last / (sum(load**k / factorial(k) for k in range(servers)) + last)
    return max(0.0, -log((1 - share) / waits) / (servers / mean - rate))


def md1_waiting_below(rate: float, service: float, time: float) -> float:
    """P(waiting time <= time) of M/D/1 (C. Crommelin, 1932):
    (1 - rho) sum over k up to time / service of (-x)^k / k! e^x, x = rate (time - k service).

    The sum alternates with huge terms, so it is taken in fractions.
    """
    lam, d, t = Fraction(rate), Fraction(service), Fraction(time)
    total = Fraction(0)
    for k in range(int(t / d) + 1):
        x = lam * (t - k * d)
        total += (-x) ** k / factorial(k) * _exp(x)
    return float((1 - lam * d) * total)


def _exp(x: Fraction) -> Fraction:
    """e^x to 60 digits: half-argument until small, then the series."""
    halvings = max(0, ceil(log(max(float(x), 1e-9)) / log(2)) + 4)
    small = x / 2**halvings
    term, total = Fraction(1), Fraction(1)
    for k in range(1, 40):
        term = term * small / k
        total += term
    total = total.limit_denominator(10**70)
    for _ in range(halvings):
        total = (total * total).limit_denominator(10**70)
    return total


def md1_waiting(rate: float, service: float, share: float) -> float:
    """The percentile `share` of the waiting time of M/D/1, by bisection."""
    lo, hi = 0.0, 60 * service
    while hi - lo > 1e-4 * service:
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if md1_waiting_below(rate, service, middle) < share else (lo, middle)
    return (lo + hi) / 2


def exponential_sample(mean: float, size: int = 100_000) -> Floats:
    """Values that stand for the exponential distribution: its quantiles at the middles of `size` equal shares."""
    values = -np.log1p(-(np.arange(size) + 0.5) / size)
    return values * (mean / values.mean())  # type: ignore[no-any-return]


def poisson(rate: float, shape: tuple[int, ...], seed: int) -> Floats:
    """Arrival times along the last axis."""
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, shape), axis=-1)
