"""One run in one process, whose users come and go."""

import time
from typing import Any

import gevent
import numpy as np
import pytest

from bench.load.engine.jobs import partition_schedule
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.engine.worker_session import WorkerSession, start_message
from bench.load.transports.endpoint import Endpoint
from bench.results.blocks import OUTCOME_CODES, parse_block
from bench.results.records import Outcome
from bench.serving.errors import ServingError
from bench.workload.arrivals import OpenLoop, parse_arrivals
from bench.workload.workload import Workload
from tests.support.toy_golden import toy_golden, write_model_dir

OK, DROPPED = OUTCOME_CODES[Outcome.OK], OUTCOME_CODES[Outcome.DROPPED]


class Answering:
    """A transport whose server answers at once; nobody looks at the answers."""

    def exchange(self, body: bytes, timeout: float, traceparent: str | None = None) -> bytes:
        gevent.sleep(0)
        return b""

    def close(self) -> None:
        pass


class Pool:
    def make(self, protocol: str) -> Answering:
        return Answering()

    def redacted(self, error: ServingError) -> ServingError:
        return error

    def close(self) -> None:
        pass


class Rig:
    """A session of `seconds`, and its reports."""

    def __init__(self, golden: bytes, arrivals: str, seconds: float) -> None:
        workload = Workload(
            protocol="rest", transport="fast", signature="score", users=2, duration=seconds, drain=1.0, check_share=0.0
        )
        parsed = parse_arrivals(arrivals)
        shard, think = None, 0.01
        if isinstance(parsed, OpenLoop):
            _, (shard,) = partition_schedule(parsed, workload, 1, 1)
        plan = WorkerPlan("r", 0, golden, workload, Endpoint(), shard, None if shard else think, 0.0, seconds)
        self.reports: list[dict[str, Any]] = []
        self.session = WorkerSession(plan, self.reports.append, lambda *_: None, Pool())  # type: ignore[arg-type]
        self.users: list[gevent.Greenlet] = []
        self.leaving: set[Any] = set()

    def come(self, users: int) -> None:
        drive = self.session.drive
        for _ in range(users):
            self.users.append(gevent.spawn(lambda: drive(lambda: gevent.getcurrent() in self.leaving)))
        gevent.sleep(0)

    def begin(self) -> None:
        self.session.begin(start_message("r", time.perf_counter()))

    def leave(self) -> None:
        """All users are asked to leave, and do."""
        self.leaving |= {*self.users}
        assert all(self.session.leave(user) for user in self.users)
        gevent.joinall(self.users, timeout=5, raise_error=True)
        assert all(user.dead for user in self.users)
        self.users = []

    @property
    def over(self) -> bool:
        return any(report["over"] for report in self.reports)

    def rows(self) -> Any:
        """Waits until the session is over; the records."""
        with gevent.Timeout(10):
            while not self.over:
                gevent.sleep(0.01)
        assert sum(report["over"] for report in self.reports) == 1
        return np.concatenate([parse_block(report["block"]).rows for report in self.reports if report["block"]])


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = write_model_dir(tmp_path_factory.mktemp("model"), toy_golden(1))
    (path,) = folder.rglob("golden.json")
    return path.read_bytes()


@pytest.mark.parametrize("arrivals", ["constant:rate=20", "closed:users=2"])
def test_a_pool_that_is_empty_for_a_moment_ends_nothing(golden: bytes, arrivals: str) -> None:
    """As where a load shape or the web page removes all users: the rest was recorded as due and dropped, at once."""
    rig = Rig(golden, arrivals, 1.5)
    rig.come(2)
    rig.begin()
    gevent.sleep(0.3)
    rig.leave()
    gevent.sleep(0.3)
    assert not rig.over
    rig.come(2)
    rows = rig.rows()
    assert (rows["outcome"] == OK).all()
    assert rows["due"].max() > 1.0
    if arrivals.startswith("constant"):
        assert rows.size == 30


def test_users_that_never_come_back_drop_what_is_due_when_the_load_ends(golden: bytes) -> None:
    rig = Rig(golden, "constant:rate=20", 3.0)
    rig.come(1)
    rig.begin()
    gevent.sleep(0.31)
    rig.leave()
    began = time.perf_counter()
    rows = rig.rows()
    assert time.perf_counter() - began > 0.3
    assert rows.size == 60
    assert 6 <= (rows["outcome"] == OK).sum() < 60
    assert {*rows["outcome"].tolist()} == {OK, DROPPED}


def test_a_stop_without_users_ends_it_there(golden: bytes) -> None:
    rig = Rig(golden, "constant:rate=20", 30.0)
    rig.come(1)
    rig.begin()
    gevent.sleep(0.2)
    rig.leave()
    gevent.sleep(0.2)
    rig.session.stop()
    assert rig.over
    rows = rig.rows()
    # Nothing that was not due yet.
    assert rows["due"].max() <= rig.reports[-1]["ends"] < 5.0
    assert (rows["outcome"] == DROPPED).sum() >= 3


def test_an_end_without_users_ends_it_there(golden: bytes) -> None:
    rig = Rig(golden, "constant:rate=20", 30.0)
    rig.come(1)
    rig.begin()
    gevent.sleep(0.1)
    rig.leave()
    rig.session.end_at(0.5)
    rows = rig.rows()
    assert rows.size == 11
    assert rig.reports[-1]["ends"] == 0.5


def test_an_end_that_is_told_in_a_busy_moment_is_no_earlier(golden: bytes) -> None:
    """The event loop's clock stood still meanwhile: what was due until then was not sent, and the run never over."""
    rig = Rig(golden, "constant:rate=20", 30.0)
    rig.come(2)
    rig.begin()
    gevent.sleep(0.1)
    time.sleep(0.2)
    rig.session.end_at(0.6)
    rows = rig.rows()
    assert rows.size == 13
    assert (rows["outcome"] == OK).all()


def test_it_is_over_as_soon_as_nothing_is_left(golden: bytes) -> None:
    """The last request is due long before the end."""
    rig = Rig(golden, "constant:rate=0.1", 9.0)
    rig.come(2)
    rig.begin()
    began = time.perf_counter()
    assert rig.rows().size == 1
    assert time.perf_counter() - began < 5.0


def test_what_is_given_up_sends_nothing_more(golden: bytes) -> None:
    rig = Rig(golden, "constant:rate=20", 30.0)
    rig.come(1)
    rig.begin()
    gevent.sleep(0.2)
    rig.session.abandon()
    rows = rig.rows()
    assert (rows["outcome"] == OK).all()
    assert rig.reports[-1]["ends"] == -np.inf


def test_before_the_start_a_user_can_be_killed(golden: bytes) -> None:
    rig = Rig(golden, "constant:rate=20", 30.0)
    rig.come(1)
    assert not rig.session.leave(rig.users[0])
    rig.users[0].kill()
    rig.session.close()
    assert rig.over
