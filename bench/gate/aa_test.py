"""What a gate is worth on this machine: its false alarms, counted, and the smallest effect that it finds in time.

Format history of `gate-calibration.json`:
    1: first.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from bench.core.cache import read_measured, write_measured
from bench.core.seeds import Stream, generator
from bench.core.versioned_json import VersionedJson
from bench.gate.decision import Gate
from bench.gate.types import Pair, Plan, RunMetrics, Verdict, VerdictKind
from bench.stats.clopper_pearson import upper_bound

FILE_NAME: Final = "gate-calibration.json"

EFFECTS: Final = (0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Smallest effects that are tried."""
DETECTED: Final = 0.8
"""An effect counts as found if at least this share of gates calls it a REGRESSION."""
FALSE: Final = 0.05
"""...and if no more gates than this call REGRESSION without it."""
TRIALS: Final = 60
_BLOCK: Final = 5

_SLOWER: Final = {"p50": 1, "p95": 1, "p99": 1, "throughput": -1}


@dataclass(frozen=True, slots=True)
class AATestResult:
    """Gates of a server against itself.

    Args:
        gates: how many were run.
        alarms: how many of them said REGRESSION.
        inconclusive: how many said INCONCLUSIVE.
        max_time: seconds that each had at most.
        smallest: the smallest effect that is found within `max_time`; None if even the largest tried is not.
        pair_seconds: what one pair takes.
        measured: when, UTC.
    """

    gates: int
    alarms: int
    inconclusive: int
    max_time: float
    smallest: float | None
    pair_seconds: float
    measured: str

    def __str__(self) -> str:
        bound = upper_bound(self.alarms, self.gates)
        return f"{self.alarms} of {self.gates} gates without a change on this machine, at most {bound:.1%} (95 %)"


def load_key(protocol: str, arrivals: str, model_digest: str) -> str:
    """Under what a calibration is stored: it holds for one load, by one client, on one model."""
    return f"{protocol}{'-fast' if protocol == 'grpc' else ''} {arrivals} {model_digest}"


def read_aa_test(name: str) -> AATestResult | None:
    """What is stored under `name` for this machine; None if nothing is.

    Raises:
        UsageError: a file that cannot be read.
    """
    return _read().get(name)


def store_aa_test(name: str, found: AATestResult) -> None:
    """Stores a calibration for this machine."""
    write_measured(_FILE, FILE_NAME, _Stored(os.cpu_count(), {**_read(), name: found}))


@dataclass(frozen=True, slots=True)
class _Stored:
    """The file: logical cores of the machine, and what was found by load."""

    cores: int | None
    loads: Mapping[str, AATestResult]


_FILE: Final = VersionedJson(_Stored, 1, name="gate calibration", cure="run bertbench gate calibrate again")


def _read() -> Mapping[str, AATestResult]:
    found = read_measured(_FILE, FILE_NAME)
    return {} if found is None else found.loads


def smallest_effect(
    series: Sequence[Sequence[Pair]], plan_of: Callable[[float], Plan], limit: int, seed: int
) -> float | None:
    """The smallest of `EFFECTS` that gates on pairs like these find, each as its own `--min-effect`.

    Gates are made of the measured pairs, each of one series, so that what makes two processes of one server differ for
    good stays in: blocks of pairs drawn with their neighbours, sides named by a coin, and the effect put on every
    latency of one side. Without the effect no more than `FALSE` of the gates may call REGRESSION.

    Args:
        series: pairs of a server against itself, one series a gate.
        plan_of: the plan for a smallest effect.
        limit: pairs that there is time for.
        seed: of the draws.
    """
    usable = [[pair for pair in pairs if not pair.invalid] for pairs in series]
    usable = [pairs for pairs in usable if pairs]
    if not usable or limit < 1:
        return None
    low, high = 0, len(EFFECTS)
    while low < high:
        middle = (low + high) // 2
        effect = EFFECTS[middle]
        found = _regression_share(usable, plan_of(effect), effect, limit, seed)
        if found >= DETECTED and _regression_share(usable, plan_of(effect), 0.0, limit, seed) <= FALSE:
            high = middle
        else:
            low = middle + 1
    return EFFECTS[low] if low < len(EFFECTS) else None


def _regression_share(series: Sequence[Sequence[Pair]], plan: Plan, effect: float, limit: int, seed: int) -> float:
    draws = generator(seed, Stream.RESAMPLING)
    hits = 0
    for _ in range(TRIALS):
        pairs = series[int(draws.integers(len(series)))]
        stream = resampled(pairs, limit, effect, bool(draws.integers(2)), draws)
        hits += replay(plan, stream, limit).kind is VerdictKind.REGRESSION
    return hits / TRIALS


def replay(plan: Plan, pairs: Iterator[Pair], limit: int) -> Verdict:
    """The verdict that a gate with time for `limit` pairs gives on stored ones.

    Raises:
        ValueError: fewer than `limit` pairs and no verdict.
    """
    gate = Gate(plan)
    for taken, pair in enumerate(pairs, start=1):
        gate.add(pair)
        if (verdict := gate.decide(limit - taken)) is not None:
            return verdict
    raise ValueError(f"no verdict on fewer than {limit} pairs")


def resampled(
    pairs: Sequence[Pair], count: int, effect: float, swapped: bool, draws: np.random.Generator
) -> Iterator[Pair]:
    """`count` pairs drawn from `pairs` in blocks, sides `swapped` or not, the latencies of one longer by `effect`."""
    left = count
    while left:
        begin = int(draws.integers(max(len(pairs) - _BLOCK, 0) + 1))
        for pair in pairs[begin : begin + min(_BLOCK, left)]:
            sides = (pair.candidate, pair.baseline) if swapped else (pair.baseline, pair.candidate)
            yield Pair(sides[0], _slowed(sides[1], effect), pair.baseline_first)
            left -= 1


def _slowed(run: RunMetrics, effect: float) -> RunMetrics:
    values: Mapping[str, float] = {
        name: value * (1 + effect) ** _SLOWER.get(name, 0) for name, value in run.values.items()
    }
    return replace(run, values=values)
