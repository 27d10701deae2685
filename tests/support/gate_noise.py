"""Gates that never ran: pairs of runs drawn from noise whose truth is known."""

from collections.abc import Iterator, Mapping

import numpy as np

from bench.core.types import Floats
from bench.gate.decision import Gate
from bench.gate.types import METRICS, Pair, Plan, RunMetrics, Verdict

BASE = {"p50": 0.006, "throughput": 300.0, "p95": 0.009, "p99": 0.013, "errors": 0.0, "cpu": 0.007, "memory": 4e8}

SPREAD = {"p50": 1.0, "throughput": 1.2, "p95": 1.4, "p99": 3.0, "cpu": 0.7, "memory": 0.05}
"""How much more than the machine's speed each metric varies from run to run."""

NOISES = ("plain", "autocorrelated", "heavy", "drifting", "bursts")


def machine(kind: str, rng: np.random.Generator, runs: int, sd: float) -> Floats:
    """Logarithm of the machine's slowness in each of `runs` runs that follow each other, float64 `[runs]`.

    Args:
        kind: `plain`: independent normal; `autocorrelated`: AR(1) with 0.9; `heavy`: Student's t with 2 degrees of
            freedom, some runs many times slower; `drifting`: a trend of 60 % over the gate, with steps; `bursts`: most
            runs alike, one in eight slowed by a neighbour.
        rng: draws.
        runs: how many.
        sd: standard deviation (of the bulk) in one run.
    """
    fresh = rng.normal(0, sd, runs)
    if kind == "plain":
        return fresh
    if kind == "heavy":
        return sd * rng.standard_t(2, runs)
    if kind == "bursts":
        return fresh + np.where(rng.random(runs) < 1 / 8, rng.exponential(0.5, runs), 0.0)  # type: ignore[no-any-return]
    if kind == "drifting":
        steps = np.cumsum(np.where(rng.random(runs) < 0.05, rng.normal(0, 0.15, runs), 0.0))
        return fresh + steps + rng.choice([-1, 1]) * np.linspace(0, 0.6, runs)  # type: ignore[no-any-return]
    found = np.empty(runs)
    value = rng.normal(0, sd)
    for index, step in enumerate(fresh):
        value = 0.9 * value + step * np.sqrt(1 - 0.81)
        found[index] = value + rng.normal(0, sd / 3)
    return found


def pairs(
    kind: str,
    rng: np.random.Generator,
    count: int,
    sd: float,
    effects: Mapping[str, float] | None = None,
    requests: int = 600,
    fail: tuple[float, float] = (0.0, 0.0),
) -> Iterator[Pair]:
    """Pairs whose candidate is worse by `effects` (ratios less 1, by metric; for `errors` see `fail`).

    Args:
        kind: of noise.
        rng: draws.
        count: how many pairs.
        sd: of the logarithm of one run's median.
        effects: by metric; one that is not named has none.
        requests: in a run.
        fail: chance that a request to the baseline, to the candidate fails.
    """
    effects = effects or {}
    slow = machine(kind, rng, 2 * count, sd)
    own = {metric.name: rng.normal(0, sd / 2, 2 * count) for metric in METRICS}
    for index in range(count):
        first = bool(rng.integers(2))
        sides = []
        for side in (0, 1):
            slot = 2 * index + (side if first else 1 - side)
            failed = int(rng.binomial(requests, fail[side]))
            values = {"errors": failed / requests}
            for name, spread in SPREAD.items():
                noise = spread * (slow[slot] + own[name][slot])
                worse = np.log1p(effects.get(name, 0.0)) if side else 0.0
                sign = -1 if name == "throughput" else 1
                values[name] = BASE[name] * float(np.exp(sign * np.clip(noise + worse, -20, 20)))
            failures = {"unavailable": failed} if failed else {}
            sides.append(RunMetrics(requests, failed, 0, requests - failed, values, failures))
        yield Pair(sides[0], sides[1], first)


def slower(by: float) -> dict[str, float]:
    """The effects of a candidate whose every answer takes longer by `by`, a fraction."""
    return {"p50": by, "p95": by, "p99": by, "throughput": by, "cpu": 0.0}


def run_gate(plan: Plan, stream: Iterator[Pair], limit: int) -> tuple[Verdict, int]:
    """The verdict on a stream of pairs with time for `limit` of them, and how many it took."""
    gate = Gate(plan)
    for taken, pair in enumerate(stream, start=1):
        gate.add(pair)
        found = gate.decide(limit - taken)
        if found is not None:
            return found, taken
    raise AssertionError("no verdict although time is over")
