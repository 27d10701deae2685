"""A live gate: takes pairs of runs on both servers until there is a verdict or the time is over, and reports."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.core import interrupts
from bench.gate.aa_test_store import known_aa_test
from bench.gate.ab_servers import ABServers, ArmsFailed, TimeOver, open_ab_servers
from bench.gate.artifacts import GateRuns
from bench.gate.decision import Gate
from bench.gate.restarts import RestartPolicy
from bench.gate.spec import GateSpec
from bench.gate.types import ARMS, GateReport, Pair, Verdict, VerdictKind

SOAK_SECONDS: Final = 20.0
"""A candidate passes only if its process has answered for so many seconds at a stretch, where there is time for it."""


def run_gate(spec: GateSpec, notify: Callable[[str], None] = lambda state: None) -> GateReport:
    """Runs a live gate.

    A server that fails, too little time, and a signal do not raise: they are verdicts.

    Args:
        spec: what is compared, under which load, and for how long.
        notify: gets what is being done, one line, whenever that changes.

    Raises:
        UsageError: options that do not go together, models whose golden files hold other sentences, or a smallest
            effect that this machine is known not to show within the time given.
    """
    known = known_aa_test(spec)
    report = LiveGate(spec, notify).run()
    return replace(report, measured=None if known is None else str(known))


def gate_folder(out: Path, started: datetime) -> Path:
    """The folder of a gate that began at `started`, UTC, among those in `out`."""
    return out / f"{started:%Y%m%dT%H%M%SZ}-gate"


class LiveGate:
    """One live gate; its time starts when this is made.

    Args:
        spec: what is compared, under which load, and for how long.
        notify: gets what is being done, one line, whenever that changes.

    Attributes:
        pair_seconds: what a pair took on average, restarts included; 0 before the first.
    """

    def __init__(self, spec: GateSpec, notify: Callable[[str], None] = lambda state: None) -> None:
        self._spec = spec
        self._notify = notify
        self._started = datetime.now(UTC)
        self._start = time.monotonic()
        self._until = self._start + spec.max_time
        self._gate = Gate(spec.plan)
        self._restarts = RestartPolicy()
        self.pair_seconds = 0.0
        out = spec.out
        self._folder = None if out is None else gate_folder(out, self._started)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs so far, INVALID ones too."""
        return self._gate.pairs

    def run(self) -> GateReport:
        """Runs it to its verdict.

        Raises:
            UsageError: as `run_gate`.
        """
        spec, gate = self._spec, self._gate
        verdict, signal = None, None
        try:
            with open_ab_servers(spec, self._until) as servers:
                verdict = self._evaluate(servers)
        except ArmsFailed as error:
            verdict = gate.fail(error.failures, earlier=verdict)
        except TimeOver as error:
            verdict = gate.decide_now(str(error))
        except KeyboardInterrupt:
            signal = interrupts.accept()
            verdict = gate.interrupt(interrupts.name_of(signal))
        if spec.baseline.same_server(spec.candidate):
            note = "both sides are the same server with the same flags: the gate compares it with itself"
            verdict = replace(verdict, warnings=(*verdict.warnings, note))
        return GateReport(
            verdict,
            spec.baseline.label,
            spec.candidate.label,
            str(spec),
            time.monotonic() - self._start,
            folder=None if self._folder is None else str(self._folder),
            signal=signal,
        )

    def _evaluate(self, servers: ABServers) -> Verdict:
        """The verdict on two servers that are up, one that fails included, with what was measured stored."""
        with GateRuns(self._folder, servers, self._started, self._spec.max_time) as runs:
            try:
                verdict = self._drive(servers, runs)
            except ArmsFailed as error:
                verdict = self._gate.fail(error.failures)
            except KeyboardInterrupt:
                if runs.begun:
                    runs.finish()
                raise
            runs.finish()
            return verdict

    def _drive(self, servers: ABServers, runs: GateRuns) -> Verdict:
        """Warms up, takes pairs, and soaks a candidate that would pass.

        Raises:
            ArmsFailed: a server ends, or does not restart.
        """
        self._notify("warming up")
        warm = servers.interleaving.warm_up(self._spec.warmup, self._spec.run_time, self._spec.max_time)
        runs.begin()
        begun = time.monotonic()
        try:
            verdict = self._gate.probe(warm) or self._probe_silent(servers, warm) or self._take_pairs(servers)
        except TimeOver as error:
            verdict = self._gate.decide_now(str(error))
        self.pair_seconds = (time.monotonic() - begun) / max(len(self._gate.pairs), 1)
        if verdict.kind is VerdictKind.PASS:
            verdict = self.soak(servers) or verdict
        warnings = [self._restarts.warning] if self._restarts.warning and verdict.false_alarms is not None else []
        # The most frequent error of each arm says what to look at.
        arms = zip(ARMS, servers.arms, strict=True)
        warnings += [f"{name}: {arm.failures[0].text}" for name, arm in arms if arm.failures]
        return replace(verdict, warnings=(*verdict.warnings, *warnings))

    def _take_pairs(self, servers: ABServers) -> Verdict:
        """Takes pairs until there is a verdict, which there is when the time is over."""
        gate = self._gate
        # Once, to see what it takes.
        if servers.restartable and time.monotonic() < self._until:
            servers.restart()
        self._restarts = self._choose_restarts(servers)
        gate.scope_to(self._restarts)
        measuring = 0.0
        while time.monotonic() < self._until:
            # The first pair has the processes of the trial restart.
            if gate.pairs and self._restarts.restarts_before(gate.alarm is not None, gate.confirming_pairs):
                servers.restart()
            began = time.monotonic()
            pair = servers.interleaving.run_pair()
            gate.add(pair)
            # Before a restart, which would hide that these processes stopped answering.
            if (failed := self._probe_silent(servers, pair)) is not None:
                return failed
            now = time.monotonic()
            measuring += now - began
            verdict = gate.decide(self._restarts.pairs_left(self._until - now, measuring / len(gate.pairs)))
            if verdict is not None:
                return verdict
            self._notify(gate.state)
        return gate.decide_now()

    def _choose_restarts(self, servers: ABServers) -> RestartPolicy:
        spec = self._spec
        pair_seconds = 2 * servers.interleaving.size.seconds
        return RestartPolicy.choose(servers.restart_seconds, pair_seconds, spec.max_time, spec.plan.min_confirm_pairs)

    def _probe_silent(self, servers: ABServers, pair: Pair) -> Verdict | None:
        """The verdict on an arm whose last requests in `pair` failed and that does not answer now; else None.

        Raises:
            ArmsFailed: a process has ended.
        """
        if not (pair.baseline.silence or pair.candidate.silence):
            return None
        return self._gate.probe(servers.interleaving.probe())

    def soak(self, servers: ABServers) -> Verdict | None:
        """The verdict on a candidate that does not answer for `SOAK_SECONDS`, as far as time allows; None if it does.

        Where each pair has new processes, a server that fails after some seconds would otherwise pass.

        Raises:
            ArmsFailed: its process ends.
        """
        seconds = min(SOAK_SECONDS - servers.age, self._until - time.monotonic())
        if seconds <= 0:
            return None
        self._notify("soaking the candidate: it has to answer for longer than a pair")
        soaked = servers.interleaving.soak(seconds)
        return self._gate.probe(servers.interleaving.probe() if soaked.candidate.silence else soaked)
