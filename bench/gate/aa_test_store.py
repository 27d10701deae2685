"""The results of A/A tests on this machine: gates of a server against itself, stored by load.

Format history of `gate-calibration.json`:
    1: first.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench.bert.contract.golden import read_golden
from bench.core.cache import read_measured, replaced_measured, write_measured
from bench.core.cores import allowed_cores
from bench.core.errors import UsageError
from bench.core.units import format_seconds
from bench.core.versioned_json import VersionedJson
from bench.gate.spec import GateSpec
from bench.gate.types import GateMetric, Plan
from bench.stats.proportion import upper_bound

FILE_NAME: Final = "gate-calibration.json"

SLOWER: Final = {"p50": 1, "p95": 1, "p99": 1, "throughput": -1}
"""By metric, the sign with which an A/A test slows it: it says nothing of the others."""


@dataclass(frozen=True, slots=True)
class AATestResult:
    """What gates of a server against itself showed.

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

    def __post_init__(self) -> None:
        if not (0 <= self.alarms <= self.gates and 0 <= self.inconclusive <= self.gates and self.gates > 0):
            raise ValueError(f"{self.alarms} alarms and {self.inconclusive} inconclusive of {self.gates} gates")
        if not (0 < self.max_time < math.inf and 0 <= self.pair_seconds < math.inf):
            raise ValueError(f"max_time {self.max_time} and pair_seconds {self.pair_seconds} are out of range")

    @property
    def alarms_bound(self) -> float:
        """Upper bound of the rate of false alarms, at 95 %."""
        return upper_bound(self.alarms, self.gates)

    def __str__(self) -> str:
        count = f"{self.alarms} of {self.gates} gates without a change on this machine"
        return f"{count}, at most {self.alarms_bound:.1%} (95 %)"


def load_key(spec: GateSpec) -> str:
    """The key of a result: it holds for one load by one client, on one kind of server with its flags and one model."""
    digest = read_golden(spec.baseline.model_dir).golden.identity
    target = spec.baseline.target
    server = " ".join(filter(None, (target.kind.value, target.device, str(target.limits), *spec.baseline.flags)))
    load = f"{spec.protocol}{'-fast' if spec.protocol == 'grpc' else ''} {spec.signature} {spec.arrivals}"
    return f"{load} {digest} {server}"


def read_aa_test(key: str) -> AATestResult | None:
    """The result stored under `key` for this machine; None if there is none.

    Raises:
        UsageError: a file that cannot be read.
    """
    return _read().get(key)


def store_aa_test(key: str, result: AATestResult) -> None:
    """Stores a result for this machine."""
    write_measured(_FILE, FILE_NAME, _Stored(len(allowed_cores()), {**_replaced(), key: result}))


def store_most_gates(key: str, result: AATestResult) -> int:
    """Stores the result of an A/A test that was cut short, unless one of more gates is stored.

    Returns:
        The number of gates of the result that is stored now.
    """
    known = _replaced().get(key)
    if known is not None and known.gates > result.gates:
        return known.gates
    store_aa_test(key, result)
    return result.gates


def known_aa_test(spec: GateSpec) -> AATestResult | None:
    """The result for gates like this one on this machine; None if there is none.

    Raises:
        UsageError: a smallest effect that is known not to be found in the time given.
    """
    found = read_aa_test(load_key(spec))
    metric = _strictest(spec.plan)
    if found is None or metric is None or spec.max_time > found.max_time:
        return found
    asked = spec.plan.min_effects[metric.name]
    smallest = None if found.smallest is None else found.smallest * metric.scale
    # A scale of 4 makes 0.12 of 0.03, and 0.28 of 0.07000000000000001.
    if smallest is not None and asked >= smallest * (1 - 1e-9):
        return found
    known, advice = " (none was found)", "calibrate again on a quieter machine, or give a longer --max-time"
    if smallest is not None:
        known, advice = f" of {100 * smallest:.3g} %", "give that or more, or a longer --max-time"
    named = "" if metric.name == "p50" else f"{metric.name}="
    raise UsageError(
        f"--min-effect {named}{100 * asked:.3g}% is below the smallest effect{known} that this machine shows in "
        f"{format_seconds(found.max_time)}; {advice}"
    )


def _strictest(plan: Plan) -> GateMetric | None:
    """The metric whose smallest effect is held against what was found: the median, or without it the smallest in its
    own scale; None if no metric of the plan is one that the A/A test slows down."""
    judged = [metric for metric in plan.metrics if metric.name in SLOWER]
    if not judged:
        return None
    return min(judged, key=lambda metric: (metric.name != "p50", plan.min_effects[metric.name] / metric.scale))


@dataclass(frozen=True, slots=True)
class _Stored:
    """The file: logical cores of the machine, and results by load."""

    cores: int | None
    loads: Mapping[str, AATestResult]


_FILE: Final = VersionedJson(_Stored, 1, name="gate calibration", cure="run bertbench gate calibrate again")


def _read() -> Mapping[str, AATestResult]:
    found = read_measured(_FILE, FILE_NAME)
    return {} if found is None else found.loads


def _replaced() -> Mapping[str, AATestResult]:
    """What is known of the file that is about to be written."""
    found = replaced_measured(_FILE, FILE_NAME)
    return {} if found is None else found.loads
