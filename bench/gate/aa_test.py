"""A/A tests: gates of a server against itself count false alarms and show the smallest effect that is found in time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from bench.core import interrupts
from bench.core.errors import InconclusiveError, TargetError
from bench.core.seeds import Stream, generator
from bench.gate.aa_test_store import SLOWER, AATestResult
from bench.gate.decision import Gate
from bench.gate.live_gate import LiveGate
from bench.gate.spec import GateSpec
from bench.gate.types import Pair, Plan, RunMetrics, Verdict, VerdictKind, default_plan

EFFECTS: Final = (0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Smallest effects that are tried."""
DETECTED: Final = 0.8
"""An effect counts as found if at least this share of gates calls it a REGRESSION."""
FALSE: Final = 0.05
"""...and if no more gates than this call REGRESSION without it."""
TRIALS: Final = 60
_BLOCK: Final = 5


class AATest:
    """Gates of a server against itself, one after the other, each with a seed and server processes of its own.

    Args:
        spec: the gate, whose variants are the same server.
    """

    def __init__(self, spec: GateSpec) -> None:
        self._spec = spec
        self._kinds: list[VerdictKind] = []
        self._series: list[Sequence[Pair]] = []
        self._pair_seconds: list[float] = []

    @property
    def gates(self) -> int:
        """How many were run."""
        return len(self._kinds)

    def run_gate(self, notify: Callable[[str], None] = lambda state: None) -> Verdict:
        """Runs the next gate.

        Args:
            notify: gets what is being done, one line, whenever that changes.

        Raises:
            TargetError: the server does not become ready, ends, or does not answer.
            InconclusiveError: the time of a gate is too short for a pair.
            Interrupted: a signal came.
        """
        gate = LiveGate(replace(self._spec, seed=self._spec.seed + self.gates), notify)
        report = gate.run()
        verdict = report.verdict
        if report.signal is not None:
            raise interrupts.Interrupted(report.signal)
        if verdict.false_alarms is None and verdict.kind in (VerdictKind.REGRESSION, VerdictKind.TARGET_FAILED):
            raise TargetError(f"a server that fails cannot be compared with itself: {verdict.reason}")
        if not gate.pairs:
            raise InconclusiveError(f"no pair in the time given: {verdict.reason}")
        self._kinds.append(verdict.kind)
        self._series.append(gate.pairs)
        self._pair_seconds.append(gate.pair_seconds)
        return verdict

    def result(self) -> AATestResult:
        """What the gates so far show; there has to be one."""
        spec = self._spec
        pair_seconds = sum(self._pair_seconds) / len(self._pair_seconds)
        limit = max(int((spec.max_time - 4 * spec.warmup) / pair_seconds), 1)
        return AATestResult(
            gates=self.gates,
            alarms=self._kinds.count(VerdictKind.REGRESSION),
            inconclusive=self._kinds.count(VerdictKind.INCONCLUSIVE),
            max_time=spec.max_time,
            smallest=smallest_effect(self._series, default_plan, limit, spec.seed),
            pair_seconds=pair_seconds,
            measured=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        )


def smallest_effect(
    series: Sequence[Sequence[Pair]], plan_of: Callable[[float], Plan], limit: int, seed: int
) -> float | None:
    """The smallest of `EFFECTS` that gates on pairs like these find, each as its own `--min-effect`.

    Gates are resampled from the measured pairs, each from one series, so that the lasting difference between two
    processes of one server is part of them: blocks of neighbouring pairs, arms swapped at random, and the effect added
    to every latency of one arm. Without the effect at most `FALSE` of the gates may say REGRESSION.

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
    """`count` pairs drawn from `pairs` in blocks, arms `swapped` or not, the latencies of one longer by `effect`."""
    left = count
    while left:
        begin = int(draws.integers(max(len(pairs) - _BLOCK, 0) + 1))
        for pair in pairs[begin : begin + min(_BLOCK, left)]:
            first, second = (pair.candidate, pair.baseline) if swapped else (pair.baseline, pair.candidate)
            yield Pair(first, _slowed(second, effect), pair.baseline_first)
            left -= 1


def _slowed(run: RunMetrics, effect: float) -> RunMetrics:
    values: Mapping[str, float] = {
        name: value * (1 + effect) ** SLOWER.get(name, 0) for name, value in run.values.items()
    }
    return replace(run, values=values)
