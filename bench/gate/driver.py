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

from bench.core.units import format_seconds, pluralize
from bench.gate.ab_servers import Duel, TimeOver
from bench.gate.decision import Gate
from bench.gate.types import Pair, Verdict, VerdictKind

# A gate should have time for so many pairs, with fresh processes before each: a clear answer takes ten to twenty.
_FRESH_PAIRS: Final = 20

# The confirmation may take so much of the time, at its shortest.
_CONFIRMATION_SHARE: Final = 0.6

# A candidate passes only if its process has answered for so many seconds at a stretch, where there is time for it.
_LIFE: Final = 20.0


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
    def scope(self) -> str:
        """What the bound of false alarms covers."""
        if self.renewal is Renewal.EACH_PAIR:
            return "chance and the differences between processes of one server: each pair has its own"
        if self.renewal is Renewal.EACH_CONFIRMING:
            return (
                "chance and the differences between processes of one server: each pair of a confirmation has its own, "
                "and only these are relied on"
            )
        return "chance within these processes only, not the lasting differences between processes of one server"

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
    told: Callable[[str], None] = lambda state: None,
) -> tuple[Verdict, float]:
    """Takes pairs until there is a verdict.

    Args:
        both: the servers.
        gate: decides; it is empty.
        warmup: seconds of load on each side before anything counts.
        run_time: length of a run; None chooses.
        max_time: seconds that the gate may take, since `started`.
        started: reading of `time.monotonic`.
        told: told what is being done, one line.

    Returns:
        The verdict, and the seconds that a pair took, fresh processes included.

    Raises:
        SidesFailed: a server does not come up again or ends.
    """
    told("warming up")
    until = started + max_time
    warm = both.pairing.warm_up(warmup, run_time, max_time)
    both.check()
    begun = time.monotonic()
    pace = Pace(Renewal.NEVER)
    try:
        verdict = gate.probe(warm) or _asked_again(both, gate, warm)
        if verdict is None:
            pace = _pace(both, gate, max_time, until)
            verdict = _measure(both, gate, pace, until, told)
    except TimeOver as error:
        verdict = time_over(gate, error)
    pair_seconds = (time.monotonic() - begun) / max(len(gate.pairs), 1)
    if verdict.kind is VerdictKind.PASS:
        verdict = outlived(both, gate, until, told) or verdict
    return _with_notes(verdict, both, pace), pair_seconds


def time_over(gate: Gate, error: TimeOver | None = None) -> Verdict:
    """The verdict on what there is."""
    verdict = gate.decide(0)
    assert verdict is not None
    return verdict if error is None else replace(verdict, warnings=(*verdict.warnings, str(error)))


def _measure(both: Duel, gate: Gate, pace: Pace, until: float, told: Callable[[str], None]) -> Verdict:
    """Takes pairs until there is a verdict, which there is when it is `until`."""
    measuring = 0.0
    while time.monotonic() < until:
        if gate.pairs and pace.renews(gate.alarm is not None, gate.confirming_pairs):
            both.renew()
        began = time.monotonic()
        pair = both.pairing.run_pair()
        both.check()
        gate.add(pair)
        # Before others take their place: processes that stopped answering must not be forgotten.
        if (failed := _asked_again(both, gate, pair)) is not None:
            return failed
        now = time.monotonic()
        measuring += now - began
        verdict = gate.decide(pace.pairs_left(until - now, measuring / len(gate.pairs)))
        if verdict is not None:
            return verdict
        told(_state(gate))
    return time_over(gate)


def outlived(both: Duel, gate: Gate, until: float, told: Callable[[str], None]) -> Verdict | None:
    """The verdict on a candidate that does not answer for `_LIFE` seconds, as far as time allows; None if it does.

    Where each pair has new processes, a server that fails after some seconds would else get through.

    Raises:
        SidesFailed: its process ends.
    """
    seconds = min(_LIFE - both.age, until - time.monotonic())
    if seconds <= 0:
        return None
    told("letting the candidate live for longer than a pair")
    lived = both.pairing.endure(seconds)
    both.check()
    return gate.probe(both.pairing.probe() if lived.candidate.silence else lived)


def _asked_again(both: Duel, gate: Gate, pair: Pair) -> Verdict | None:
    """The verdict on a side whose last requests in `pair` failed and that does not answer now; else None.

    Raises:
        SidesFailed: a process has ended.
    """
    if not (pair.baseline.silence or pair.candidate.silence):
        return None
    found = gate.probe(both.pairing.probe())
    both.check()
    return found


def _state(gate: Gate) -> str:
    confirming = f", confirming {', '.join(gate.alarm.metrics)}" if gate.alarm else ""
    return f"{pluralize(len(gate.pairs), 'pair')}{confirming}"


def _pace(both: Duel, gate: Gate, max_time: float, until: float) -> Pace:
    """Starts the servers anew once, to see what it takes, and tells the gate what its alarms are worth."""
    if both.renewable and time.monotonic() < until:
        both.renew()
    pair_seconds = 2 * both.pairing.size.seconds
    pace = Pace.choose(both.renew_seconds, pair_seconds, max_time, gate.plan.least_confirm)
    fresh_alarms = pace.renewal is not Renewal.EACH_CONFIRMING
    gate.plan = replace(gate.plan, fresh_alarms=fresh_alarms, scope=pace.scope)
    return pace


def _with_notes(verdict: Verdict, both: Duel, pace: Pace) -> Verdict:
    """Adds what the pace means, and what the first failed request of each side said."""
    found = [pace.warning] if pace.warning and verdict.false_alarms is not None else []
    found += [
        f"{name}: {side.errors[0]}"
        for name, side in zip(("baseline", "candidate"), both.sides, strict=True)
        if side.errors
    ]
    return replace(verdict, warnings=(*verdict.warnings, *found))
