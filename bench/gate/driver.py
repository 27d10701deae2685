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
from bench.gate.ab_servers import ABServers, TimeOver
from bench.gate.decision import Gate
from bench.gate.types import Pair, Verdict, VerdictKind

# A gate should have time for so many pairs, with fresh processes before each: a clear answer takes ten to twenty.
_FRESH_PAIRS: Final = 20

# The confirmation may take so much of the time, at its shortest.
_CONFIRMATION_SHARE: Final = 0.6

# A candidate passes only if its process has answered for so many seconds at a stretch, where there is time for it.
_SOAK_SECONDS: Final = 20.0


class RestartSchedule(StrEnum):
    """When both servers are started anew."""

    EACH_PAIR = "before each pair"
    EACH_CONFIRMING_PAIR = "before each pair of a confirmation"
    EACH_CONFIRMATION = "before a confirmation"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """What time allows.

    Args:
        schedule: when servers are started anew.
        restart_seconds: what that takes.
    """

    schedule: RestartSchedule
    restart_seconds: float = 0.0

    @classmethod
    def choose(
        cls, restart_seconds: float | None, pair_seconds: float, max_time: float, min_confirm_pairs: int
    ) -> "RestartPolicy":
        """As often as leaves time for the pairs that a gate needs.

        Args:
            restart_seconds: what fresh processes take; None where the servers were not started here.
            pair_seconds: what a pair takes.
            max_time: of the gate.
            min_confirm_pairs: pairs of the shortest confirmation.
        """
        if restart_seconds is None:
            return cls(RestartSchedule.NEVER)
        each = restart_seconds + pair_seconds
        if each * _FRESH_PAIRS <= max_time:
            return cls(RestartSchedule.EACH_PAIR, restart_seconds)
        if each * min_confirm_pairs <= _CONFIRMATION_SHARE * max_time:
            return cls(RestartSchedule.EACH_CONFIRMING_PAIR, restart_seconds)
        return cls(RestartSchedule.EACH_CONFIRMATION, restart_seconds)

    def restarts_before(self, confirming: bool, confirmed_pairs: int) -> bool:
        """Whether the next pair gets fresh processes; `confirmed_pairs` are those of the confirmation so far."""
        if self.schedule is RestartSchedule.EACH_CONFIRMATION:
            return confirming and confirmed_pairs == 0
        return self.schedule is RestartSchedule.EACH_PAIR or (
            confirming and self.schedule is RestartSchedule.EACH_CONFIRMING_PAIR
        )

    def pairs_left(self, seconds: float, pair_seconds: float) -> int:
        """Pairs that `seconds` are enough for, at what those of a confirmation take."""
        renewed = self.schedule in (RestartSchedule.EACH_PAIR, RestartSchedule.EACH_CONFIRMING_PAIR)
        return max(int(seconds / (pair_seconds + (self.restart_seconds if renewed else 0.0))), 0)

    @property
    def scope(self) -> str:
        """What the bound of false alarms covers."""
        if self.schedule is RestartSchedule.EACH_PAIR:
            return "chance and the differences between processes of one server: each pair has its own"
        if self.schedule is RestartSchedule.EACH_CONFIRMING_PAIR:
            return (
                "chance and the differences between processes of one server: each pair of a confirmation has its own, "
                "and only these are relied on"
            )
        return "chance within these processes only, not the lasting differences between processes of one server"

    @property
    def warning(self) -> str | None:
        """What a reader of the verdict must know."""
        lasting = "two processes of one server can differ for as long as they live, and here that counts as a change"
        if self.schedule is RestartSchedule.NEVER:
            return f"one process a side, as the servers were not started here: {lasting}"
        if self.schedule is RestartSchedule.EACH_CONFIRMATION:
            return f"fresh servers take {format_seconds(self.restart_seconds)}, too long for each pair: {lasting}"
        return None


def drive(
    servers: ABServers,
    gate: Gate,
    warmup: float,
    run_time: float | None,
    max_time: float,
    started: float,
    notify: Callable[[str], None] = lambda state: None,
) -> tuple[Verdict, float]:
    """Takes pairs until there is a verdict.

    Args:
        servers: the servers.
        gate: decides; it is empty.
        warmup: seconds of load on each side before anything counts.
        run_time: length of a run; None chooses.
        max_time: seconds that the gate may take, since `started`.
        started: reading of `time.monotonic`.
        notify: told what is being done, one line.

    Returns:
        The verdict, and the seconds that a pair took, fresh processes included.

    Raises:
        ArmsFailed: a server does not come up again or ends.
    """
    notify("warming up")
    until = started + max_time
    warm = servers.interleaving.warm_up(warmup, run_time, max_time)
    servers.check()
    begun = time.monotonic()
    policy = RestartPolicy(RestartSchedule.NEVER)
    try:
        verdict = gate.probe(warm) or _probe_silent(servers, gate, warm)
        if verdict is None:
            policy = _choose_policy(servers, gate, max_time, until)
            verdict = _measure(servers, gate, policy, until, notify)
    except TimeOver as error:
        verdict = time_over(gate, error)
    pair_seconds = (time.monotonic() - begun) / max(len(gate.pairs), 1)
    if verdict.kind is VerdictKind.PASS:
        verdict = soak_verdict(servers, gate, until, notify) or verdict
    return _with_notes(verdict, servers, policy), pair_seconds


def time_over(gate: Gate, error: TimeOver | None = None) -> Verdict:
    """The verdict on what there is."""
    verdict = gate.decide(0)
    assert verdict is not None
    return verdict if error is None else replace(verdict, warnings=(*verdict.warnings, str(error)))


def _measure(
    servers: ABServers, gate: Gate, policy: RestartPolicy, until: float, notify: Callable[[str], None]
) -> Verdict:
    """Takes pairs until there is a verdict, which there is when it is `until`."""
    measuring = 0.0
    while time.monotonic() < until:
        if gate.pairs and policy.restarts_before(gate.alarm is not None, gate.confirming_pairs):
            servers.restart()
        began = time.monotonic()
        pair = servers.interleaving.run_pair()
        servers.check()
        gate.add(pair)
        # Before others take their place: processes that stopped answering must not be forgotten.
        if (failed := _probe_silent(servers, gate, pair)) is not None:
            return failed
        now = time.monotonic()
        measuring += now - began
        verdict = gate.decide(policy.pairs_left(until - now, measuring / len(gate.pairs)))
        if verdict is not None:
            return verdict
        notify(_state(gate))
    return time_over(gate)


def soak_verdict(servers: ABServers, gate: Gate, until: float, notify: Callable[[str], None]) -> Verdict | None:
    """The verdict on a candidate that does not answer for `_SOAK_SECONDS`, as far as time allows; None if it does.

    Where each pair has new processes, a server that fails after some seconds would else get through.

    Raises:
        ArmsFailed: its process ends.
    """
    seconds = min(_SOAK_SECONDS - servers.age, until - time.monotonic())
    if seconds <= 0:
        return None
    notify("letting the candidate live for longer than a pair")
    lived = servers.interleaving.soak(seconds)
    servers.check()
    return gate.probe(servers.interleaving.probe() if lived.candidate.silence else lived)


def _probe_silent(servers: ABServers, gate: Gate, pair: Pair) -> Verdict | None:
    """The verdict on a side whose last requests in `pair` failed and that does not answer now; else None.

    Raises:
        ArmsFailed: a process has ended.
    """
    if not (pair.baseline.silence or pair.candidate.silence):
        return None
    found = gate.probe(servers.interleaving.probe())
    servers.check()
    return found


def _state(gate: Gate) -> str:
    confirming = f", confirming {', '.join(gate.alarm.metrics)}" if gate.alarm else ""
    return f"{pluralize(len(gate.pairs), 'pair')}{confirming}"


def _choose_policy(servers: ABServers, gate: Gate, max_time: float, until: float) -> RestartPolicy:
    """Starts the servers anew once, to see what it takes, and tells the gate what its alarms are worth."""
    if servers.restartable and time.monotonic() < until:
        servers.restart()
    pair_seconds = 2 * servers.interleaving.size.seconds
    policy = RestartPolicy.choose(servers.restart_seconds, pair_seconds, max_time, gate.plan.min_confirm_pairs)
    fresh_alarms = policy.schedule is not RestartSchedule.EACH_CONFIRMING_PAIR
    gate.plan = replace(gate.plan, fresh_alarms=fresh_alarms, scope=policy.scope)
    return policy


def _with_notes(verdict: Verdict, servers: ABServers, policy: RestartPolicy) -> Verdict:
    """Adds what the pace means, and what the first failed request of each side said."""
    found = [policy.warning] if policy.warning and verdict.false_alarms is not None else []
    found += [
        f"{name}: {arm.errors[0]}"
        for name, arm in zip(("baseline", "candidate"), servers.arms, strict=True)
        if arm.errors
    ]
    return replace(verdict, warnings=(*verdict.warnings, *found))
