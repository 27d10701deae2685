"""Runs whose truth is known, looked at by the rules of `--slo` and `--until` without a clock."""

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from bench.analysis.measured import Measured
from bench.analysis.objectives import evaluate
from bench.core.types import Floats
from bench.objectives.grammar import Objective
from bench.objectives.stopping import CONFIDENCE, Look, StoppingRule
from bench.objectives.until import Until, parse_until
from bench.objectives.verdicts import ObjectiveResult, Verdict
from bench.stats.percentile_intervals import percentile_interval
from tests.support.simulated_queues import single_server

SIGMA: Final = 0.5
"""Standard deviation of log latency, where it is normal."""


@dataclass(frozen=True)
class Latencies:
    """Latencies of consecutive requests.

    Args:
        draw: draws so many, given a generator.
        percentile: the true percentile of the first n of N drawn, given a fraction, n and N.
    """

    draw: Callable[[np.random.Generator, int], Floats]
    percentile: Callable[[float, int, int], float]


def autoregressive(rng: np.random.Generator, size: int, coefficient: float) -> Floats:
    """A stationary first-order autoregression with variance 1."""
    noise = rng.standard_normal(size) * math.sqrt(1 - coefficient**2)
    noise[0] = rng.standard_normal()
    series = np.empty(size)
    value = 0.0
    for index, step in enumerate(noise.tolist()):
        series[index] = value = coefficient * value + step
    return series


def _log_normal(fraction: float, _: int, __: int) -> float:
    return math.exp(SIGMA * float(norm.ppf(fraction)))


def _trend(rng: np.random.Generator, size: int) -> Floats:
    return rng.lognormal(0.0, SIGMA, size) * _levels(size)


def _levels(size: int) -> Floats:
    """A level that rises by a tenth in all."""
    return np.linspace(1.0, 1.1, size)


def _trend_percentile(fraction: float, seen: int, size: int) -> float:
    """The percentile of the mixture of all levels so far."""
    levels = _levels(size)[np.linspace(0, seen - 1, 500).astype(int)]
    return float(brentq(lambda x: float(norm.cdf(np.log(x / levels) / SIGMA).mean()) - fraction, 0.1, 100.0))


KINDS: Final[Mapping[str, Latencies]] = {
    "independent": Latencies(lambda rng, size: rng.lognormal(0.0, SIGMA, size), _log_normal),
    "AR(1) 0.9": Latencies(lambda rng, size: np.exp(SIGMA * autoregressive(rng, size, 0.9)), _log_normal),
    "heavy tails": Latencies(lambda rng, size: rng.pareto(2.5, size) + 1, lambda q, _, __: (1 - q) ** (-1 / 2.5)),
    "drift": Latencies(_trend, _trend_percentile),
    "queue at 50 %": Latencies(lambda rng, size: single_server(rng, 0.5, size), lambda q, _, __: -2 * math.log(1 - q)),
}
"""Of the bar: independent, correlated, with a tail of infinite third moment (Pareto, exponent 2.5), with a level that
rises by 10 % over the longest run; and a queue."""


@dataclass(frozen=True)
class UntilRun:
    """How a run with `--until p99±5%` ended.

    Args:
        stopped: whether it stopped by itself.
        requests: that it measured.
        low: whether the interval begins at or below the truth.
        high: whether it ends at or above it.
    """

    stopped: bool
    requests: int
    low: bool
    high: bool

    @property
    def covered(self) -> bool:
        """Whether the interval covers the truth."""
        return self.low and self.high


def until_run(kind: str, seed: int, longest: int, until: str = "p99±5%") -> UntilRun:
    """One run that stops by itself, one request a second, of `longest` requests at most."""
    (precision,) = parse_until(until).precisions
    fraction = float(precision.name[1:]) / 100
    latencies = KINDS[kind]
    values = latencies.draw(np.random.default_rng([seed, list(KINDS).index(kind)]), longest)
    rule = StoppingRule(Until((precision,)), (), float(longest))
    seen = longest
    while (moment := rule.next_time) is not None:
        seen = int(moment)
        rule.take(Look(moment, estimates=(percentile_interval(precision.metric, values[:seen], fraction),)))
    seen = seen if rule.reason else longest
    found = percentile_interval(precision.metric, values[:seen], fraction)
    truth = latencies.percentile(fraction, seen, longest)
    low = found.lo is None or found.lo <= truth
    return UntilRun(bool(rule.reason), seen, low, found.hi is None or found.hi >= truth)


@dataclass(frozen=True)
class Server:
    """A server with exponential service times and Poisson arrivals, whose latency is known exactly (M/M/c).

    Args:
        rate: requests/s.
        mean: mean service time, seconds.
        servers: requests that it serves at once.
        errors: share of the requests that fail.
    """

    rate: float
    mean: float
    servers: int
    errors: float = 0.0

    def beyond(self, time: float) -> float:
        """P(latency > time)."""
        load = self.rate * self.mean
        last = load**self.servers / math.factorial(self.servers) / (1 - load / self.servers)
        waits = last / (sum(load**k / math.factorial(k) for k in range(self.servers)) + last)
        service, clearing = 1 / self.mean, self.servers / self.mean - self.rate
        both = (clearing * math.exp(-service * time) - service * math.exp(-clearing * time)) / (clearing - service)
        return (1 - waits) * math.exp(-service * time) + waits * both

    def truth(self, name: str) -> float:
        """The true value of a quantity of objectives.

        Raises:
            ValueError: a percentile that does not exist, as so many requests fail.
        """
        if name == "throughput":
            return self.rate * (1 - self.errors)
        if name == "errors":
            return self.errors
        share = 1 - float(name[1:]) / 100
        if self.errors >= share - 1e-9:
            raise ValueError(f"{name} does not exist where {self.errors:.1%} of the requests fail")
        # A request that failed is later than every limit.
        return float(
            brentq(lambda time: (1 - self.errors) * self.beyond(time) + self.errors - share, 0.0, 1000 * self.mean)
        )

    def run(self, seconds: float, seed: int) -> Measured:
        """A run of so many measured seconds, after a warm-up."""
        rng = np.random.default_rng([seed, 4])
        warmup = 200 * self.mean * self.servers
        due = np.cumsum(rng.exponential(1 / self.rate, int(self.rate * (seconds + warmup) * 1.1) + 100)) - warmup
        due = due[due < seconds]
        service = rng.exponential(self.mean, due.size).tolist()
        free = [-warmup] * self.servers
        done = np.empty(due.size)
        for index, moment in enumerate(due.tolist()):
            done[index] = end = max(moment, heapq.heappop(free)) + service[index]
            heapq.heappush(free, end)
        measured = due >= 0
        due, done = due[measured], done[measured]
        failed = (rng.random(due.size) < self.errors).astype(np.uint8) * 2
        codes = np.zeros(due.size, np.uint8)
        words = np.full(due.size, 10, np.uint32)
        return Measured(0.0, seconds, due, due, done, failed, codes, codes == 0, codes, words)


def verdict_run(
    server: Server, objectives: tuple[Objective, ...], seconds: float, seed: int, *, until_decided: bool
) -> list[ObjectiveResult]:
    """The verdicts of one run of so many seconds, or of at most so many with `--until decided`."""
    measured = server.run(seconds, seed)
    if not until_decided:
        return evaluate(objectives, measured, 1)
    rule = StoppingRule(Until(), objectives, seconds)
    while (moment := rule.next_time) is not None:
        part = measured.before(moment)
        rule.take(Look(moment, tuple(evaluate(rule.open_objectives, part, 1, rule.confidence, over=False))))
    late = evaluate(rule.open_objectives, measured, 1, rule.final_confidence)
    return [*rule.decided, *late]


def right(server: Server, objective: Objective) -> Verdict:
    """The right verdict."""
    truth = server.truth(objective.name)
    good = truth <= objective.limit if objective.quantity.at_most else truth >= objective.limit
    return Verdict.PASS if good else Verdict.FAIL


__all__ = ["CONFIDENCE", "KINDS", "Server", "UntilRun", "autoregressive", "right", "until_run", "verdict_run"]
