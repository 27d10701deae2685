"""The watcher's process, and the greenlet that looks at a run through it and stops the run."""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Final, TypeVar

import gevent
import msgspec
from gevent import subprocess

from bench.core.errors import TargetError
from bench.core.units import format_seconds
from bench.load.engine.collector import Collector
from bench.load.setup.run_spec import RunSpec
from bench.load.watch.protocol import ENCODER, LookRequest, Prediction, Reply, Task, decoder_of
from bench.objectives.stopping import StoppingRule
from bench.objectives.until import Until
from bench.results.manifest import Stopping

LEAD_SECONDS: Final = 1.0
"""Between the decision to stop and the end of the load: every worker hears of it before."""
_ANSWER_SECONDS: Final = 120.0
_END_SECONDS: Final = 5.0
# After a second has ended, until its records have arrived.
_ARRIVAL_SECONDS: Final = 0.5
# Measured seconds from which looks are told, and how much more than at the last time is worth another line.
_SAY_FROM: Final = 3.0
_SAY_GROWTH: Final = 1.25

Line = TypeVar("Line")


class Watcher:
    """A process that computes looks.

    Args:
        task: the run.

    Raises:
        TargetError: it ended by itself, or does not answer.
    """

    def __init__(self, task: Task) -> None:
        command = [sys.executable, "-m", "bench.load.watch.main"]
        # In a session of its own: Ctrl-C reaches the run, which closes the watcher's input.
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=dict(os.environ)
        )
        self.prediction = self._ask(task, Prediction).text

    def look(self, request: LookRequest) -> Reply:
        """Looks at the run.

        Raises:
            TargetError: the process ended by itself, or does not answer.
        """
        return self._ask(request, Reply)

    def close(self) -> None:
        """Ends the process."""
        # What a killed one did not read is still in the buffer.
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def _ask(self, message: object, kind: type[Line]) -> Line:
        line = b""
        with gevent.Timeout(_ANSWER_SECONDS, False):
            try:
                self._child.stdin.write(ENCODER.encode(message) + b"\n")
                self._child.stdin.flush()
                line = self._child.stdout.readline()
            except BrokenPipeError:
                pass
        try:
            answer = decoder_of(kind).decode(line)
        except msgspec.DecodeError as error:
            raise TargetError("the process that looks at the run in progress ended or does not answer") from error
        assert isinstance(answer, kind)
        return answer


class RunWatch:
    """Looks at one run, and ends its load when its rule says so.

    Args:
        spec: the run.
        until: when it may stop.
        say: takes lines on how the run stands.

    Raises:
        TargetError: the watcher does not start.
    """

    def __init__(self, spec: RunSpec, until: Until, say: Callable[[str], None]) -> None:
        self._spec = spec
        self._until = until
        self._say = say
        self._rule = StoppingRule(until, spec.objectives, spec.duration)
        self._greenlet: gevent.Greenlet | None = None
        name = spec.target_name or str(spec.target)
        task = Task(
            spec.results.absolute(), spec.scenario, str(spec.arrivals), name, until, spec.objectives, spec.duration
        )
        self._watcher = Watcher(task)
        say(self._watcher.prediction)

    def begin(self, collector: Collector, end: Callable[[float], None]) -> None:
        """Starts looking.

        Args:
            collector: of the run, which has begun.
            end: ends the load of the run in all processes at a moment, seconds since the run began.
        """
        self._note(collector)
        self._greenlet = gevent.spawn(self._watch, collector, end)

    def close(self) -> None:
        """Ends the looks; the run is over."""
        if self._greenlet is not None:
            self._greenlet.kill()
        self._watcher.close()

    def _watch(self, collector: Collector, end: Callable[[float], None]) -> None:
        warmup, said = self._spec.warmup, _SAY_FROM
        while (due := self._rule.next_time) is not None:
            moment = warmup + due + _ARRIVAL_SECONDS
            if collector.over.wait(max(moment - collector.now, 0.0)):
                return
            try:
                reply = self._watcher.look(LookRequest(collector.path.absolute(), collector.now, self._rule.confidence))
            except TargetError as error:
                collector.warn(f"{error}; the run goes on for {format_seconds(self._spec.duration)}")
                return
            if reply.error or not reply.look.seconds:
                self._rule.skip(due)
                continue
            standing = self._rule.take(reply.look)
            # A look may have taken longer than the time to the next one.
            self._rule.skip(collector.now - warmup - _ARRIVAL_SECONDS)
            self._note(collector)
            if self._rule.reason or reply.look.seconds >= _SAY_GROWTH * said:
                said = reply.look.seconds
                self._say(f"{format_seconds(said)} measured: {standing}")
            if self._rule.reason:
                self._say(f"stops: {self._rule.reason}")
                end(collector.now + LEAD_SECONDS)

    def _note(self, collector: Collector) -> None:
        """Keeps the looks for the run's folder."""
        rule = self._rule
        collector.stopping = Stopping(
            planned=self._spec.duration,
            looks=rule.looks,
            reason=rule.reason,
            decided=rule.decided,
            confidence=rule.final_confidence,
        )
