"""A live gate: pair after pair until there is a verdict or the time is over, on fresh server processes where it pays.

Two processes of one server differ by some per cent for as long as they live: where their memory landed, which thread
got which core. Pairs on the same two processes all carry that difference, and no number of them averages it out. So
each pair has processes of its own, or at least each pair of the confirmation, which decides.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bench.analysis.gate import Gate
from bench.analysis.gate_types import Verdict
from bench.load.duel import Duel
from bench.units import format_seconds

# A gate should have time for so many pairs, with fresh processes before each: a clear answer takes ten to twenty.
_FRESH_PAIRS: Final = 20

# The confirmation may take so much of the time, at its shortest.
_CONFIRMATION_SHARE: Final = 0.6


class Renewal(StrEnum):
    """When both servers are started anew."""

    EACH_PAIR = "before each pair"
    EACH_CONFIRMING = "before each pair of a confirmation"
    EACH_CONFIRMATION = "before a confirmation"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Pace:
    """What time allows.

    Args:
        renewal: when servers are started anew.
        renew_seconds: what that takes.
    """

    renewal: Renewal
    renew_seconds: float = 0.0

    @classmethod
    def choose(cls, renew_seconds: float | None, pair_seconds: float, max_time: float, least_confirm: int) -> "Pace":
        """As often as leaves time for the pairs that a gate needs.

        Args:
            renew_seconds: what fresh processes take; None where the servers were not started here.
            pair_seconds: what a pair takes.
            max_time: of the gate.
            least_confirm: pairs of the shortest confirmation.
        """
        if renew_seconds is None:
            return cls(Renewal.NEVER)
        each = renew_seconds + pair_seconds
        if each * _FRESH_PAIRS <= max_time:
            return cls(Renewal.EACH_PAIR, renew_seconds)
        if each * least_confirm <= _CONFIRMATION_SHARE * max_time:
            return cls(Renewal.EACH_CONFIRMING, renew_seconds)
        return cls(Renewal.EACH_CONFIRMATION, renew_seconds)

    def renews(self, confirming: bool, confirmed_pairs: int) -> bool:
        """Whether the next pair gets fresh processes; `confirmed_pairs` are those of the confirmation so far."""
        if self.renewal is Renewal.EACH_CONFIRMATION:
            return confirming and confirmed_pairs == 0
        return self.renewal is Renewal.EACH_PAIR or (confirming and self.renewal is Renewal.EACH_CONFIRMING)

    def pairs_left(self, seconds: float, pair_seconds: float) -> int:
        """Pairs that `seconds` are enough for, at what those of a confirmation take."""
        renewed = self.renewal in (Renewal.EACH_PAIR, Renewal.EACH_CONFIRMING)
        return max(int(seconds / (pair_seconds + (self.renew_seconds if renewed else 0.0))), 0)

    @property
    def warning(self) -> str | None:
        """What a reader of the verdict must know."""
        lasting = "two processes of one server can differ for as long as they live, and here that counts as a change"
        if self.renewal is Renewal.NEVER:
            return f"one process a side, as the servers were not started here: {lasting}"
        if self.renewal is Renewal.EACH_CONFIRMATION:
            return f"fresh servers take {format_seconds(self.renew_seconds)}, too long for each pair: {lasting}"
        return None


def drive(
    both: Duel,
    gate: Gate,
    warmup: float,
    run_time: float | None,
    max_time: float,
    started: float,
    told: Callable[[float], None] = lambda elapsed: None,
) -> tuple[Verdict, float]:
    """Takes pairs until there is a verdict.

    Args:
        both: the servers.
        gate: decides; it is empty.
        warmup: seconds of load on each side before anything counts.
        run_time: length of a run; None chooses.
        max_time: seconds that the gate may take, since `started`.
        started: reading of `time.monotonic`.
        told: told the seconds since then after each pair.

    Returns:
        The verdict, and the seconds that a pair took, fresh processes included.

    Raises:
        TargetError: a server does not come up or ends.
    """
    both.pairing.warm_up(warmup, run_time, max_time)
    begun, measuring = time.monotonic(), 0.0
    pace = _pace(both, gate, max_time)
    while True:
        alarm = gate.alarm
        if gate.pairs and pace.renews(alarm is not None, gate.confirming_pairs):
            both.renew()
        began = time.monotonic()
        gate.add(both.pairing.run_pair())
        now = time.monotonic()
        measuring += now - began
        left = pace.pairs_left(started + max_time - now, measuring / len(gate.pairs))
        verdict = gate.decide(left)
        told(now - started)
        if verdict is not None:
            return _with_notes(verdict, both, pace), (now - begun) / len(gate.pairs)


def _pace(both: Duel, gate: Gate, max_time: float) -> Pace:
    """Starts the servers anew once, to see what it takes, and tells the gate what its alarms are worth."""
    if both.renewable:
        both.renew()
    pair_seconds = 2 * both.pairing.size.seconds
    pace = Pace.choose(both.renew_seconds, pair_seconds, max_time, gate.plan.least_confirm)
    gate.plan = replace(gate.plan, fresh_alarms=pace.renewal is not Renewal.EACH_CONFIRMING)
    return pace


def _with_notes(verdict: Verdict, both: Duel, pace: Pace) -> Verdict:
    """Adds what the pace means, and what the first failed request of each side said."""
    found = [pace.warning] if pace.warning else []
    found += [
        f"{name}: {side.errors[0]}"
        for name, side in zip(("baseline", "candidate"), both.sides, strict=True)
        if side.errors
    ]
    return replace(verdict, warnings=(*verdict.warnings, *found))
