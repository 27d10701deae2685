"""The pool of users: every due request ends in exactly one outcome, and latency counts from when it was due."""

import gc
import time
import weakref
from dataclasses import astuple, dataclass, field
from typing import Any

import gevent
import numpy as np
import pytest

from bench.bert.contract.golden_checker import GoldenChecker
from bench.load.engine.checker import Checker
from bench.load.engine.dispatcher import Dispatcher, Handling, Limits, outcome_of
from bench.load.engine.jobs import ClosedJobs, ScheduledJobs, partition_schedule
from bench.load.engine.pacer import Pacer
from bench.load.engine.payloads import build_payloads, request_sentences
from bench.load.engine.recorder import Recorder
from bench.results.blocks import NO_BYTES, OUTCOME_CODES, RecordBuffer, parse_block
from bench.results.records import Ended, Outcome, WrongKind
from bench.serving import errors, json_codec
from bench.serving.headers import NO_HEADERS, Headers
from bench.workload.arrivals import ClosedLoop, OpenLoop, parse_arrivals
from bench.workload.workload import Workload
from tests.support.toy_golden import toy_golden

GOLDEN = toy_golden(10)


class FakeTransport:
    """Answers rightly after `seconds`; `answer(body)` may say something else."""

    def __init__(self, answers: Any, seconds: float = 0.0, change: Any = None) -> None:
        self.answers = answers
        self.seconds = seconds
        self.change = change
        self.timeouts: list[Any] = []
        self.traceparents: list[str | None] = []

    def exchange(self, body: bytes, timeout: Any, traceparent: str | None = None) -> Any:
        self.traceparents.append(traceparent)
        self.timeouts.append(timeout)
        if self.seconds:
            gevent.sleep(self.seconds)
        answer = self.answers[body]
        return self.change(answer) if self.change else answer

    def close(self) -> None:
        pass


@dataclass
class Rig:
    """A dispatcher with everything around it, and what came of it."""

    arrivals: str
    duration: float
    users: int = 4
    drain: float = 1.0
    timeout: float = 5.0
    warmup: float = 0.0
    check_share: float = 1.0
    seconds: float = 0.0
    change: object = None
    headers: Headers = NO_HEADERS
    reported: list[tuple[str, Ended, errors.ServingError | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        arrivals = parse_arrivals(self.arrivals)
        self.workload = Workload(
            protocol="rest",
            transport="fast",
            signature="score",
            users=self.users,
            duration=self.duration - self.warmup,
            warmup=self.warmup,
            check_share=self.check_share,
            seed=3,
        )
        payloads = build_payloads(GOLDEN, self.workload, ("rest",))
        key = GoldenChecker(GOLDEN, request_sentences(GOLDEN, 1), "score")
        answers = {
            payload.rest: json_codec.dumps({"predictions": key.outputs(payload.index)["log_prob"]})
            for payload in payloads
        }
        self.transport = FakeTransport(answers, self.seconds, self.change)
        self.buffer = RecordBuffer(0)
        think = None
        jobs: ScheduledJobs | ClosedJobs
        if isinstance(arrivals, OpenLoop):
            _, (shard,) = partition_schedule(arrivals, self.workload, len(payloads), 1)
            jobs = ScheduledJobs(shard)
            self.scheduled = len(jobs)
        else:
            jobs = ClosedJobs(self.workload, len(payloads), 0, self.duration)
            assert isinstance(arrivals, ClosedLoop)
            think = arrivals.think
        self.pacer = Pacer()
        recorder = Recorder(self.buffer, payloads, ("rest",), "score", self.warmup)
        handling = Handling(
            payloads,
            ("rest",),
            Checker(key),
            recorder,
            lambda *heard: self.reported.append(heard),
            lambda error: error.without(self.headers),
        )
        self.failures = handling.failures
        limits = Limits(self.warmup, self.duration, self.drain, self.timeout, think)
        self.dispatcher = Dispatcher(jobs, handling, limits, self.pacer)
        self.greenlets: list[Any] = []

    def start(self) -> None:
        self.greenlets = [gevent.spawn(self.dispatcher.drive, {"rest": self.transport}) for _ in range(self.users)]
        gevent.sleep(0)
        self.dispatcher.begin(time.perf_counter())

    def drive_user(self, gone: set[Any]) -> None:
        """One user, until it is among those that are to go."""
        self.dispatcher.drive({"rest": self.transport}, lambda: gevent.getcurrent() in gone)

    def rows(self) -> Any:
        """Waits for the users, then the records."""
        gevent.joinall(self.greenlets, timeout=20, raise_error=True)
        assert all(greenlet.dead for greenlet in self.greenlets)
        self.dispatcher.finish()
        self.pacer.close()
        assert len(self.reported) == len(self.buffer)
        data = self.buffer.take()
        return parse_block(data).rows if data else np.empty(0)

    def run(self) -> Any:
        self.start()
        return self.rows()


def outcomes(rows: Any) -> Any:
    names = {code: str(name) for name, code in OUTCOME_CODES.items()}
    values, counts = np.unique(rows["outcome"], return_counts=True)
    return {names[value]: int(count) for value, count in zip(values, counts, strict=True)}


@pytest.mark.parametrize("failure", [errors.OwnLimit("h:1", errors.Lack.FILES), MemoryError()])
def test_failures_for_which_this_machine_is_to_blame_are_counted(failure: Exception) -> None:
    asked: list[int] = []

    def change(answer: bytes) -> bytes:
        asked.append(1)
        if len(asked) <= 3:
            raise failure
        return answer

    rig = Rig("constant:rate=20", 0.5, change=change)
    assert outcomes(rig.run()) == {"ok": 7, "unavailable": 3}
    lack = errors.Lack.MEMORY if isinstance(failure, MemoryError) else errors.Lack.FILES
    assert rig.dispatcher.lacks == {lack: 3}
    assert [type(error) for _, _, error in rig.reported if error is not None] == [errors.OwnLimit] * 3


@pytest.mark.parametrize(
    ("arrivals", "users"), [("constant:rate=20", 4), ("closed:users=1", 1)], ids=["open loop", "closed loop"]
)
@pytest.mark.parametrize(
    ("failure", "outcome", "lacks"),
    [
        (OverflowError("int too large"), "invalid_response", {}),
        (MemoryError(), "unavailable", {errors.Lack.MEMORY: 2}),
    ],
)
def test_answers_whose_check_fails_in_any_way_have_a_record(
    failure: Exception, outcome: str, lacks: dict[errors.Lack, int], arrivals: str, users: int, monkeypatch: Any
) -> None:
    """And their user goes on."""
    check, asked = GoldenChecker.check, []

    def fail_twice(*given: Any) -> Any:
        asked.append(given)
        if len(asked) <= 2:
            raise failure
        return check(*given)

    monkeypatch.setattr(GoldenChecker, "check", fail_twice)
    rig = Rig(arrivals, 0.5, users=users, seconds=0.01)
    rows = rig.run()
    found = outcomes(rows)
    assert found == {"ok": len(rows) - 2, outcome: 2}
    assert found["ok"] > 0
    assert rig.dispatcher.lacks == lacks
    texts = [str(error) for _, _, error in rig.reported if error is not None]
    if not lacks:
        assert texts == ["the answer cannot be checked (OverflowError: int too large); report this"] * 2


@pytest.mark.parametrize("value", ["planted-5f3a9c27", "planted-" + "5f3a" * 200])
@pytest.mark.parametrize("fault", ["an answer that is none", "an answer that cannot be checked", "a failed request"])
def test_no_error_has_a_value_of_a_header(fault: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds the error, and whatever has been cut from it: texts of errors are stored, and shown everywhere."""

    def fail(*_: Any) -> Any:
        raise errors.Rejected(value, "400", value) if "request" in fault else ValueError(f"{'x' * 100} {value}")

    if "checked" in fault:
        monkeypatch.setattr(GoldenChecker, "check", fail)
    answer = fail if "request" in fault else lambda body: body if "checked" in fault else f"no {value}".encode()
    rig = Rig("constant:rate=20", 0.2, change=answer, headers=Headers([("X-Api-Key", value)]))
    rig.run()
    texts = [f"{error} {error.details}" for _, _, error in rig.reported if error is not None]
    stored = [entry.text for entry in rig.failures.found()]
    assert texts
    assert stored
    for text in (*texts, *stored):
        assert "<redacted>" in text
        assert "planted" not in text
        assert "5f3a" not in text


def test_everything_due_is_sent_checked_and_recorded() -> None:
    rig = Rig("poisson:rate=200", 0.5, warmup=0.2)
    rows = rig.run()
    assert outcomes(rows) == {"ok": rig.scheduled}
    assert (rows["sent"] >= rows["due"]).all()
    assert (rows["done"] >= rows["sent"]).all()
    assert rows["checked"].all()
    assert (rows["warmup"] == (rows["due"] < 0.2)).all()
    assert (rows["bytes_in"] != NO_BYTES).all()
    assert (rows["words"] > 0).all()
    assert {ended.outcome for _, ended, _ in rig.reported} == {Outcome.OK}


def test_a_late_request_counts_from_when_it_was_due() -> None:
    """One user, 30 ms of service, one request each 10 ms: each waits for those before it."""
    rig = Rig("constant:rate=100", 0.2, users=1, drain=5.0, seconds=0.03)
    rows = rig.run()
    assert outcomes(rows) == {"ok": 20}
    latency = np.sort(rows, order="due")["done"] - np.sort(rows, order="due")["due"]
    assert (latency >= 0.03 * np.arange(1, 21) - 0.01 * np.arange(20) - 0.002).all()
    assert ((rows["done"] - rows["sent"]) < latency[-1] / 2).all()


def test_what_could_not_go_before_the_end_of_the_drain_is_dropped() -> None:
    rig = Rig("constant:rate=100", 0.3, users=1, drain=0.1, seconds=0.05)
    rows = rig.run()
    found = outcomes(rows)
    assert sum(found.values()) == rig.scheduled == 30
    assert found["dropped"] > 10
    dropped = rows[rows["outcome"] == OUTCOME_CODES[Outcome.DROPPED]]
    assert np.isnan(dropped["sent"]).all()
    assert np.isnan(dropped["done"]).all()
    assert (dropped["bytes_out"] == NO_BYTES).all()
    assert not dropped["checked"].any()


def test_timeouts_do_not_outlast_the_drain() -> None:
    rig = Rig("constant:rate=20", 0.2, drain=0.5, timeout=60.0)
    rig.run()
    assert max(rig.transport.timeouts) <= 0.7 + 0.01


def test_timeouts_that_the_drain_cut_short_have_one_text() -> None:
    """Failures are listed by their text: one that says what was left of the time is another for each request."""

    def late(answer: bytes) -> bytes:
        raise errors.DeadlineExceeded(f"no answer within {rig.transport.timeouts[-1]} s")

    rig = Rig("constant:rate=20", 0.2, drain=0.5, timeout=60.0, change=late)
    rig.run()
    texts = {str(error) for _, _, error in rig.reported}
    assert len(rig.reported) == rig.scheduled > 1
    assert texts == {"no answer by the end of the run and the 500 ms that it may drain; allow more time or send less"}


def test_a_timeout_of_its_own_length_keeps_its_text() -> None:
    def late(answer: bytes) -> bytes:
        raise errors.DeadlineExceeded("no answer within 0.1 s")

    rig = Rig("constant:rate=20", 0.2, timeout=0.1, change=late)
    rig.run()
    assert {str(error) for _, _, error in rig.reported} == {"no answer within 0.1 s"}


def test_early_stop_sends_what_was_due_and_nothing_more() -> None:
    rig = Rig("constant:rate=50", 10.0, users=2)
    rig.start()
    gevent.sleep(0.5)
    rig.dispatcher.stop()
    stopped = rig.dispatcher.now
    rows = rig.rows()
    assert outcomes(rows) == {"ok": len(rows)}
    assert len(rows) == int(np.floor(stopped * 50)) + 1
    assert rows["due"].max() <= stopped


def test_what_is_abandoned_sends_nothing_more_and_has_no_record() -> None:
    """Not even what was due before: one user, whose request in flight is answered, has a backlog."""
    rig = Rig("constant:rate=50", 10.0, users=1, seconds=0.3)
    rig.start()
    gevent.sleep(0.2)
    assert rig.dispatcher.waiting >= 9
    rig.dispatcher.abandon()
    assert rig.dispatcher.waiting == 0
    assert outcomes(rig.rows()) == {"ok": 1}
    assert len(rig.transport.timeouts) == 1
    assert rig.dispatcher.ends == -np.inf


def test_an_end_that_is_told_before_cuts_the_schedule_there() -> None:
    """Users that wait for a request after the end return; what was due before it is all sent."""
    rig = Rig("constant:rate=50", 10.0, users=2)
    rig.start()
    gevent.sleep(0.1)
    rig.dispatcher.end_at(0.5)
    gevent.spawn_later(0.5 - rig.dispatcher.now, rig.dispatcher.release_waiting)
    rows = rig.rows()
    assert outcomes(rows) == {"ok": 26}
    assert rows["due"].max() == 0.5


def test_an_end_that_is_told_too_late_for_a_user_leaves_its_request_out() -> None:
    rig = Rig("constant:rate=2", 10.0, users=1)
    rig.start()
    gevent.sleep(0.1)
    # The only user waits for the request that is due at 0.5 s.
    rig.dispatcher.end_at(0.2)
    rig.dispatcher.release_waiting()
    assert outcomes(rig.rows()) == {"ok": 1}


def test_a_closed_loop_ends_there_too() -> None:
    rig = Rig("closed:users=2", 10.0, users=2, seconds=0.02)
    rig.start()
    rig.dispatcher.end_at(0.2)
    rows = rig.rows()
    assert outcomes(rows) == {"ok": len(rows)}
    assert (rows["due"] <= 0.2).all()


def test_stopped_before_it_began() -> None:
    rig = Rig("constant:rate=50", 10.0)
    rig.greenlets = [gevent.spawn(rig.dispatcher.drive, {"rest": rig.transport})]
    gevent.sleep(0)
    rig.dispatcher.stop()
    assert len(rig.rows()) == 0


def test_killed_users_leave_no_gap() -> None:
    """A user killed in the middle of a request leaves a timeout; what others cannot send any more is dropped."""
    rig = Rig("constant:rate=20", 1.0, users=2, seconds=0.4)
    rig.start()
    gevent.sleep(0.2)
    rig.dispatcher.stop()
    gevent.killall(rig.greenlets)
    rows = rig.rows()
    found = outcomes(rows)
    assert found["timeout"] == 2
    assert sum(found.values()) == int((rows["due"] <= 0.25).sum()) >= 4


def test_a_user_killed_while_it_waits_leaves_its_request_to_another() -> None:
    rig = Rig("constant:rate=10", 0.5, users=2)
    rig.start()
    gevent.sleep(0.02)
    rig.greenlets.pop().kill()
    assert outcomes(rig.rows()) == {"ok": 5}


@pytest.mark.parametrize("killed", [True, False])
def test_users_that_leave_make_no_request_late(killed: bool) -> None:
    """Half the users go, who hold the first requests, and come back later: idle ones send these in time."""
    rig = Rig("constant:rate=50", 2.0, users=40)
    gone: set[Any] = set()
    rig.greenlets = [gevent.spawn(rig.drive_user, gone) for _ in range(40)]
    gevent.sleep(0)
    rig.dispatcher.begin(time.perf_counter())
    gevent.sleep(0.31)
    for user in rig.greenlets[:20]:
        gone.add(user)
        if killed:
            user.kill(block=False)
        else:
            rig.dispatcher.release(user)
    gevent.sleep(0.5)
    assert all(user.dead for user in rig.greenlets[:20])
    rig.greenlets += [gevent.spawn(rig.drive_user, gone) for _ in range(20)]
    rows = np.sort(rig.rows(), order="due")
    assert outcomes(rows) == {"ok": 100}
    # The next user to be free was seconds away.
    assert (rows["sent"] - rows["due"]).max() < 0.3


def test_a_request_in_flight_is_not_cut_off_by_a_release() -> None:
    rig = Rig("constant:rate=5", 0.4, users=1, seconds=0.1)
    rig.start()
    gevent.sleep(0.05)
    rig.dispatcher.release(rig.greenlets[0])
    assert outcomes(rig.rows()) == {"ok": 2}


def test_a_released_user_of_a_closed_loop_does_not_think_on() -> None:
    rig = Rig("closed:users=1,think=60s", 60.0, users=1)
    rig.start()
    gevent.sleep(0.1)
    rig.dispatcher.release(rig.greenlets[0])
    assert outcomes(rig.rows()) == {"ok": 1}


def test_closed_loop_users_send_when_they_are_free() -> None:
    rig = Rig("closed:users=3", 0.3, users=3, seconds=0.02)
    rows = rig.run()
    assert outcomes(rows) == {"ok": len(rows)}
    assert 3 <= len(rows) <= 3 * 16
    assert (rows["due"] < 0.3).all()
    in_flight = [int(((rows["sent"] <= moment) & (rows["done"] > moment)).sum()) for moment in rows["sent"]]
    assert max(in_flight) == 3


def test_closed_loop_users_think() -> None:
    rows = np.sort(Rig("closed:users=1,think=50ms", 0.4, users=1).run(), order="due")
    assert 2 <= len(rows) <= 9
    assert (rows["due"][1:] - rows["done"][:-1] >= 0.049).all()


def test_a_refused_connection_is_not_tried_thousands_of_times() -> None:
    def refuse(answer: Any) -> None:
        raise errors.ConnectFailed("nobody")

    rows = Rig("closed:users=2", 0.5, users=2, change=refuse).run()
    assert outcomes(rows) == {"unavailable": len(rows)}
    assert len(rows) <= 2 * 6


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (errors.DeadlineExceeded, Outcome.TIMEOUT),
        (errors.ConnectFailed, Outcome.UNAVAILABLE),
        (errors.Unavailable, Outcome.UNAVAILABLE),
        (errors.Rejected, Outcome.REJECTED),
        (errors.ServerFailed, Outcome.REJECTED),
        (errors.InvalidResponse, Outcome.INVALID_RESPONSE),
        (errors.ServingError, Outcome.UNAVAILABLE),
    ],
)
def test_failures_are_outcomes(error: Any, outcome: Any) -> None:
    assert outcome_of(error("x")) is outcome

    def fail(answer: Any) -> None:
        raise error("x")

    rig = Rig("constant:rate=50", 0.1, change=fail)
    rows = rig.run()
    assert outcomes(rows) == {str(outcome): 5}
    assert (rows["bytes_in"] == NO_BYTES).all()
    assert not np.isnan(rows["done"]).any()
    assert all(isinstance(found, error) for _, _, found in rig.reported)
    ((found, text, count),) = map(astuple, rig.failures.found())
    # Timeouts that the drain cut short have a text of their own.
    assert (found, count, text == "x") == (outcome, 5, error is not errors.DeadlineExceeded)


def test_a_failed_request_leaves_nothing_to_the_garbage_collector() -> None:
    def fail(answer: bytes) -> bytes:
        raise errors.Unavailable("gone")

    rig = Rig("constant:rate=100", 0.1, change=fail)
    gc.disable()
    try:
        rig.run()
        failed = [weakref.ref(error) for _, _, error in rig.reported if error is not None]
        rig.reported.clear()
        assert [error() for error in failed] == [None] * 10
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("change", "outcome", "kind"),
    [
        (lambda answer: answer.replace(b"-", b"", 1), Outcome.WRONG_ANSWER, WrongKind.DRIFT),
        (lambda answer: b'{"predictions": []}', Outcome.WRONG_ANSWER, WrongKind.TRUNCATED),
        (lambda answer: answer[:-3], Outcome.INVALID_RESPONSE, None),
        (lambda answer: b'{"outputs": {}}', Outcome.INVALID_RESPONSE, None),
    ],
)
def test_answers_that_are_wrong_or_unreadable(change: Any, outcome: Any, kind: str) -> None:
    rig = Rig("constant:rate=50", 0.1, change=change)
    rows = rig.run()
    assert outcomes(rows) == {str(outcome): 5}
    assert {ended.wrong_kind for _, ended, _ in rig.reported} == {kind}
    assert rows["checked"].all()


def test_unchecked_answers_are_not_looked_at() -> None:
    rig = Rig("constant:rate=50", 0.2, check_share=0.0, change=lambda answer: b"anything")
    rows = rig.run()
    assert outcomes(rows) == {"ok": 10}
    assert not rows["checked"].any()
    assert np.isnan(rows["parse"]).all()
