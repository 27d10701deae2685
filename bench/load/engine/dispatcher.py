"""Sends requests when they are due, and records their outcomes.

Users are a pool: each takes the next job, waits until it is due, sends it and records it. A user that is late sends at
once, and latency counts from the due time. Requests that were due and never sent are recorded as dropped, so that the
number of requests due is exactly the sum over the outcomes.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gevent.event import Event

from bench.core.errors import one_line
from bench.core.units import format_seconds
from bench.load.engine.checker import Checker
from bench.load.engine.jobs import Job, Jobs
from bench.load.engine.pacer import Pacer
from bench.load.engine.payloads import Payload
from bench.load.engine.recorder import Recorder
from bench.load.transports.pool import Transport
from bench.results.failures import FailureTexts
from bench.results.records import Ended, Outcome
from bench.serving.errors import (
    ConnectFailed,
    DeadlineExceeded,
    InvalidResponse,
    Lack,
    OwnLimit,
    Rejected,
    ServerFailed,
    ServingError,
    Unavailable,
)
from bench.workload.due_times import UNAVAILABLE_PAUSE
from bench.workload.trace_context import TraceContexts

_OUTCOMES: Final[Sequence[tuple[type[ServingError], Outcome]]] = (
    (DeadlineExceeded, Outcome.TIMEOUT),
    (ConnectFailed, Outcome.UNAVAILABLE),
    (Unavailable, Outcome.UNAVAILABLE),
    (InvalidResponse, Outcome.INVALID_RESPONSE),
    # The server answered with an error, so there is no answer to check.
    (Rejected, Outcome.REJECTED),
    (ServerFailed, Outcome.REJECTED),
    (ServingError, Outcome.UNAVAILABLE),
)
# Timeout of what is sent just before the end of the drain.
_LEAST_TIMEOUT: Final = 0.001


def outcome_of(error: ServingError) -> Outcome:
    """The outcome of a request that raised `error`."""
    return next(outcome for cls, outcome in _OUTCOMES if isinstance(error, cls))


Listener = Callable[[str, Ended, ServingError | None], None]
"""Called for each request with its protocol, its end, and the error that it failed with."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends, and how long its requests may take.

    Args:
        begins: requests due before this belong to the warm-up, seconds since the run began.
        ends: nothing is due at or after this.
        drain: seconds after `ends` in which due requests may still be sent, and sent ones answered.
        timeout: seconds that one request may take, from its send.
        think: closed loop: seconds between an answer and the next request; None in open loop.
    """

    begins: float
    ends: float
    drain: float
    timeout: float
    think: float | None = None


@dataclass(frozen=True, slots=True)
class Handling:
    """The parts that process each request.

    Args:
        payloads: prepared requests.
        protocols: the run's protocols, which a job's `protocol_index` counts into.
        checker: checks answers.
        recorder: takes a record of each request.
        listener: called for each request after it was recorded.
        redact: takes the values of headers out of an error, before anyone sees it.
        traces: the requests' trace contexts; None for none.
        failures: counts the texts of the errors of failed requests.
    """

    payloads: Sequence[Payload]
    protocols: Sequence[str]
    checker: Checker
    recorder: Recorder
    listener: Listener
    redact: Callable[[ServingError], ServingError]
    traces: TraceContexts | None = None
    failures: FailureTexts = field(default_factory=FailureTexts)


class Dispatcher:
    """Sends one process's part of a run.

    Args:
        jobs: the requests to send.
        handling: the parts that process each request.
        limits: when it ends.
        pacer: waits for due times.

    Attributes:
        lacks: requests that failed because this machine lacked something, by what.
    """

    def __init__(self, jobs: Jobs, handling: Handling, limits: Limits, pacer: Pacer) -> None:
        self._jobs = jobs
        self._payloads = handling.payloads
        self._protocols = handling.protocols
        self._checker = handling.checker
        self._recorder = handling.recorder
        self._listener = handling.listener
        self._redact = handling.redact
        self._traces = handling.traces
        self._failures = handling.failures
        self._limits = limits
        self._pacer = pacer
        self._epoch = 0.0
        self._begun = Event()
        self._ends = limits.ends
        self.in_flight = 0
        self.lacks: Counter[Lack] = Counter()

    def begin(self, epoch: float) -> None:
        """Releases the users; `epoch` is when the run's clock is 0, on the clock of `time.perf_counter`."""
        self._epoch = epoch
        self._begun.set()

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._epoch

    @property
    def ends(self) -> float:
        """When the load ends, seconds since the run began: what is due by then is sent here, or recorded as dropped."""
        return self._ends

    @property
    def over(self) -> bool:
        """Whether the time of the last due request has passed."""
        return self.now >= self._ends

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left that a user could send."""
        return self.over or self._jobs.exhausted(self.now)

    @property
    def waiting(self) -> int:
        """Requests due and not sent; what would have been due after the end is not."""
        return self._jobs.waiting(min(self.now, self._ends)) if self._begun.is_set() else 0

    def stop(self) -> None:
        """Stops the run early: nothing is due from now on; requests already due may still be sent and answered."""
        self._ends = min(self._ends, self.now if self._begun.is_set() else -math.inf)
        self._begun.set()
        self._pacer.stop()

    def abandon(self) -> None:
        """Sends nothing more, not even what is due; requests in flight may be answered."""
        self._ends = -math.inf
        self._begun.set()
        self._pacer.stop()

    def end_at(self, moment: float) -> None:
        """Nothing is due after `moment`, seconds since the run began; what is due before is still sent and answered.

        Users that wait for later requests return when `release_waiting` is called.
        """
        self._ends = min(self._ends, moment)

    def release_waiting(self) -> None:
        """Ends the waits of users, whose next requests are due after the end."""
        self._pacer.stop()

    def drive(self, transports: Mapping[str, Transport], leaving: Callable[[], bool] = lambda: False) -> None:
        """Runs one user; returns when nothing is left to send.

        Args:
            transports: the user's transports, by protocol.
            leaving: whether the user must stop; called between requests, so that none is cut off. After it has become
                true, `release` ends a wait of the user's.
        """
        self._begun.wait()
        if not self._pacer.wait_until(self._epoch):
            return
        while (job := self._next_due(leaving)) is not None:
            outcome = self._send(job, transports)
            if self._limits.think is not None and not self._think(self._limits.think, outcome):
                return

    def release(self, greenlet: Any) -> None:
        """Ends the wait of a user's greenlet for a due time, or its pause; a request in flight goes on."""
        self._pacer.release(greenlet)

    def finish(self) -> None:
        """Records requests that were due and never sent as dropped. All users must have returned."""
        for job in self._jobs.left(self._ends):
            self._listener(self._protocols[job.protocol_index], self._recorder.drop(job), None)

    def _next_due(self, leaving: Callable[[], bool]) -> Job | None:
        """Waits until the next job is due; None if the user must end. The users that wait hold the first jobs."""
        while not leaving() and (job := self._jobs.take(self.now)) is not None:
            going, ended = False, True
            try:
                if job.due > self._ends or self.now > self._ends + self._limits.drain:
                    return None
                in_time = self._pacer.wait_until(self._epoch + job.due)
                # The user may have been asked to leave, and the run may have been stopped, meanwhile.
                ended = leaving()
                going = in_time and not ended and job.due <= self._ends
                if going:
                    return job
                if in_time or self._pacer.stopped:
                    return None
            finally:
                # Also when the user is killed while it waits.
                if not going:
                    self._give_back(job, hand_over=ended)
        return None

    def _give_back(self, job: Job, hand_over: bool) -> None:
        """Returns a job to the queue; `hand_over` has it taken at once by the user whose own one is due last."""
        first = self._jobs.give_back(job)
        if hand_over and first <= self._ends:
            self._pacer.release_latest(self._epoch + first)

    def _think(self, seconds: float, outcome: Outcome) -> bool:
        """Pauses in closed loop; False if the run was stopped meanwhile."""
        if outcome is Outcome.UNAVAILABLE:
            seconds = max(seconds, UNAVAILABLE_PAUSE)
        return seconds == 0 or self._pacer.pause(seconds)

    def _reported(self, failure: ServingError, timeout: float) -> ServingError:
        """The failure; one that the end of the run cut short always has the same text, as texts are counted."""
        if not isinstance(failure, DeadlineExceeded) or timeout >= self._limits.timeout:
            return failure
        drain = format_seconds(self._limits.drain)
        text = f"no answer by the end of the run and the {drain} that it may drain; allow more time or send less"
        return DeadlineExceeded(text, failure.code)

    def _send(self, job: Job, transports: Mapping[str, Transport]) -> Outcome:
        """Sends one request, waits for the answer, checks and records it."""
        clock, epoch = time.perf_counter, self._epoch
        protocol = self._protocols[job.protocol_index]
        payload = self._payloads[job.request]
        body = payload.rest if protocol == "rest" else payload.grpc
        traceparent = None if self._traces is None else self._traces.traceparent(job.due, job.request, protocol)
        answer: bytes | None = None
        error: ServingError | None = None
        self.in_flight += 1
        sent = clock()
        timeout = min(self._limits.timeout, epoch + self._ends + self._limits.drain - sent)
        try:
            answer = transports[protocol].exchange(body, max(timeout, _LEAST_TIMEOUT), traceparent)
            done = clock()
            outcome = Outcome.OK
        except ServingError as failure:
            done = clock()
            error, outcome = self._reported(failure, timeout), outcome_of(failure)
            if isinstance(failure, OwnLimit):
                self.lacks[failure.lack] += 1
        except MemoryError:
            done = clock()
            error, outcome = OwnLimit("the server", Lack.MEMORY), Outcome.UNAVAILABLE
            self.lacks[Lack.MEMORY] += 1
        except BaseException:
            # The user was killed while it waited: no answer in the request's time.
            done = clock()
            ended = Ended(job.due, sent - epoch, done - epoch, Outcome.TIMEOUT)
            self._recorder.add(job, ended)
            self._listener(protocol, ended, None)
            raise
        finally:
            self.in_flight -= 1
        kind, version, parse = None, None, None
        if answer is not None and job.checked:
            try:
                kind, version = self._checker.check(protocol, job.request, answer)
                if kind is not None:
                    outcome = Outcome.WRONG_ANSWER
            except InvalidResponse as failure:
                error, outcome = failure, Outcome.INVALID_RESPONSE
            except MemoryError:
                error, outcome = OwnLimit("the server", Lack.MEMORY), Outcome.UNAVAILABLE
                self.lacks[Lack.MEMORY] += 1
            parse = clock() - done
        size = None if answer is None else len(answer)
        ended = Ended(job.due, sent - epoch, done - epoch, outcome, kind, size, parse, version)
        self._recorder.add(job, ended)
        if error is not None:
            error = self._redact(error)
            self._failures.add(outcome, one_line(error))
        self._listener(protocol, ended, error)
        # Its traceback holds this frame and so the answer, until cycles are looked for.
        error = None
        return outcome
