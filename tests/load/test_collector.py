"""From reports to a run folder, workers lost on the way included."""

import dataclasses
import errno
import math
import os
from pathlib import Path
from typing import Any, NoReturn

import gevent
import numpy as np
import pytest

from bench.core.errors import one_line
from bench.load.engine.collector import Callbacks, Collector, start_times
from bench.load.engine.jobs import ScheduledJobs, partition_schedule
from bench.load.engine.payloads import build_payloads
from bench.load.engine.recorder import Recorder
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.monitor.sampling import ServerSampler
from bench.load.transports.endpoint import Endpoint
from bench.results.blocks import RecordBuffer
from bench.results.environment import this_environment
from bench.results.failures import FailureText
from bench.results.manifest import Origin, Stopping, describe
from bench.results.records import Ended, Outcome
from bench.results.run_folder import RunWriter
from bench.results.run_reader import open_run
from bench.server.running import RunningServer
from bench.serving.errors import Lack
from bench.workload.arrivals import OpenLoop, parse_arrivals
from bench.workload.workload import Workload
from tests.support.toy_golden import toy_golden

GOLDEN = toy_golden(10)
WORKLOAD = Workload(
    protocol="rest", transport="fast", signature="score", users=4, duration=2.0, drain=0.5, scenario="rest", seed=1
)
PAYLOADS = build_payloads(GOLDEN, WORKLOAD, ("rest",))
NOTHING: dict[str, Any] = {"sample": None, "lacks": {}, "failures": []}
"""The parts of a report that has nothing to say."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is gone is given up after a second."""
    monkeypatch.setattr("bench.load.engine.collector.SILENCE_SECONDS", 0.1)


class Rig:
    def __init__(self, root: Any, arrivals: Any = "constant:rate=10", workers: Any = 2, watch: Any = None) -> None:
        parsed = parse_arrivals(arrivals)
        shards, scheduled = (None,) * workers, None
        if isinstance(parsed, OpenLoop):
            schedule, shards = partition_schedule(parsed, WORKLOAD, len(PAYLOADS), workers)
            scheduled = schedule.due.size
        plans = [
            WorkerPlan("r", worker, b"", WORKLOAD, Endpoint(), shard, None if shard else 0.0, 0.0, 2.0)
            for worker, shard in enumerate(shards)
        ]
        epoch, started = start_times(0.0)
        manifest = describe(
            WORKLOAD,
            parsed,
            Origin(
                target="http://host:1",
                environment=this_environment(),
                workers=workers,
                started=started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            ),
            scheduled,
        )
        self.alive = set(range(workers))
        self.ended: list[Any] = []
        self.gone: list[int] = []
        self.plans = plans
        self.collector = Collector(
            RunWriter.create(root, "rest", manifest, sync_every=None),
            epoch,
            plans,
            PAYLOADS,
            ServerSampler(RunningServer(None, None, "bert", "remote"), None),
            Callbacks(lambda: set(self.alive), lambda: self.ended.append(True), watch, self.gone.append),
        )
        self.recorders = {
            worker: Recorder(RecordBuffer(worker), PAYLOADS, ("rest",), "score", 0.0) for worker in range(workers)
        }

    def send(
        self,
        worker: Any,
        until: Any,
        over: Any = False,
        sample: Any = None,
        since: Any = -1.0,
        lacks: Any = None,
        failures: Any = None,
        ends: Any = 2.0,
    ) -> None:
        """Reports of a worker that answered everything due after `since` and up to `until` within a millisecond."""
        jobs = ScheduledJobs(self.plans[worker].shard)
        for job in jobs.left(until):
            if job.due > since:
                self.recorders[worker].add(job, Ended(job.due, job.due, job.due + 0.001, Outcome.OK, bytes_in=5))
        self.collector.report(
            {
                "worker": worker,
                "block": self.recorders[worker].take(),
                "sample": sample,
                "lacks": lacks or {},
                "failures": failures or [],
                "over": over,
                "ends": ends,
            }
        )

    def finish(self) -> Any:
        return open_run(self.collector.finish())


def test_what_the_workers_machines_lacked_is_stored_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    # Each report has all so far.
    rig.send(0, 1.0, lacks={"open files": 2})
    rig.send(0, 2.0, over=True, since=1.0, lacks={"open files": 3, "memory": 1})
    rig.send(1, 2.0, over=True, lacks={"open files": 4})
    assert rig.finish().file.lacks == {Lack.FILES: 7, Lack.MEMORY: 1}


def test_what_failed_requests_said_is_stored_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.send(0, 1.0, failures=[("rejected", "no such model", 2)])
    rig.send(0, 2.0, over=True, since=1.0, failures=[("rejected", "no such model", 3), ("timeout", "late", 9)])
    rig.send(1, 2.0, over=True, failures=[("rejected", "no such model", 40)])
    assert rig.finish().file.failures == (
        FailureText(Outcome.REJECTED, "no such model", 43),
        FailureText(Outcome.TIMEOUT, "late", 9),
    )


def test_a_run_whose_records_find_no_memory_ends_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise MemoryError

    rig = Rig(tmp_path)
    monkeypatch.setattr(RunWriter, "add_block", fail)
    rig.send(0, 1.0)
    assert rig.ended == [True]
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)) as failed:
        rig.collector.finish()
    assert one_line(failed.value) == (
        f"cannot open {rig.collector.path}: there is not enough memory; close some programs"
    )


def test_a_second_whose_figures_cannot_be_shown_is_not_the_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[int] = []

    def show(figures: object) -> None:
        shown.append(1)
        if len(shown) == 1:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    rig = Rig(tmp_path, watch=show)
    with gevent.Timeout(60):
        while len(shown) < 2:
            gevent.sleep(0.05)
    for worker in (0, 1):
        rig.send(worker, 2.0, over=True)
    rig.finish()
    assert "the figures of this second were not shown (too many files are open in this process)" in caplog.text


def test_reports_become_a_finished_run(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    sample = {"time": 1.0, "worker": 0, "cpu": 0.5, "rss": 1e8, "loop_lag": 0.001}
    rig.send(0, 1.0, sample={**sample, "in_flight": 1, "waiting": 0, "machine_cpu": 1.0})
    rig.send(0, 2.0, over=True, since=1.0)
    assert not rig.ended
    rig.send(1, 2.0, over=True)
    assert rig.ended == [True]
    run = rig.finish()
    assert run.finished
    assert not run.file.interrupted
    assert run.file.counts["ok"] == sum(run.file.counts.values()) == 20
    assert run.client_samples()["cpu"].tolist() == [0.5]
    assert run.file.elapsed == 2.0


def test_who_watches_sees_each_second_and_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    rig = Rig(tmp_path, watch=lambda figures: seen.append((figures.complete, sum(figures.requests.values()))))
    rig.send(0, 1.0, sample={"time": 1.0, "worker": 0})
    rig.send(1, 1.0, sample={"time": 1.0, "worker": 1})
    gevent.sleep(1.5)
    assert seen
    assert seen[-1] == (1, 11)
    rig.send(0, 2.0, over=True, since=1.0)
    rig.alive.discard(1)
    gevent.sleep(1.3)
    run = rig.finish()
    assert seen[-1][1] == sum(run.file.counts.values()) == 20
    assert run.file.counts["dropped"] == 5


def test_a_run_that_cannot_be_stored_ends_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle: the run ends at once, its folder stays unfinished and can be read."""
    rig = Rig(tmp_path)
    rig.send(0, 0.5)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "requests.blocks")

    monkeypatch.setattr("bench.results.run_folder.append_all", full)
    rig.send(1, 1.0)
    rig.send(0, 1.0, since=0.5)
    assert rig.ended == [True]
    with pytest.raises(OSError, match="No space left on device"):
        rig.collector.finish()
    run = open_run(rig.collector.path)
    assert not run.finished
    assert run.columns(("due",))["due"].max() <= 0.5
    assert run.columns(("due",))["due"].size == rig.collector.counts["ok"] > 0


def test_a_repeated_report_is_stored_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    recorder = rig.recorders[0]
    for job in ScheduledJobs(rig.plans[0].shard).left(1.0):
        recorder.add(job, Ended(job.due, job.due, job.due, Outcome.OK))
    report = {
        "worker": 0,
        "block": recorder.take(),
        **NOTHING,
        "over": False,
        "ends": 2.0,
    }
    rig.collector.report(report)
    rig.collector.report(report)
    assert rig.collector.counts["ok"] == 6
    rig.finish()


def test_a_lost_worker_s_requests_are_dropped_and_the_others_all_there(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.send(0, 0.5)
    rig.alive.discard(0)
    gevent.sleep(1.3)
    rig.send(1, 2.0, over=True)
    assert rig.ended == [True]
    run = rig.finish()
    columns = run.columns(["worker", "due", "outcome"])
    assert run.file.counts == {**dict.fromkeys(run.file.counts, 0), "ok": 13, "dropped": 7}
    assert sorted(columns["due"].tolist()) == pytest.approx(np.arange(20) / 10)
    assert (columns["worker"] == 1).sum() == 10
    assert any("worker 0 was lost" in warning and "7 of its requests" in warning for warning in run.manifest.warnings)
    assert not any("left no record" in warning for warning in run.manifest.warnings)


def test_a_worker_that_is_only_slow_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust calls a worker missing after three silent seconds, which a busy machine can cause."""
    monkeypatch.setattr("bench.load.engine.collector.SILENCE_SECONDS", 5.0)
    rig = Rig(tmp_path)
    rig.alive.discard(0)
    gevent.sleep(1.3)
    rig.send(0, 2.0, over=True)
    rig.send(1, 2.0, over=True)
    assert rig.finish().file.counts["ok"] == 20


def test_a_lost_worker_of_a_closed_loop_is_said(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "closed:users=4")
    rig.collector.report({"worker": 1, "block": b"", **NOTHING, "over": True, "ends": 2.0})
    run = rig.finish()
    assert any("worker 0 was lost" in warning for warning in run.manifest.warnings)


def test_workers_that_never_end_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load.engine.collector.PATIENCE_SECONDS", -10.0)
    rig = Rig(tmp_path)
    gevent.sleep(1.3)
    assert rig.ended == [True]
    assert rig.finish().file.counts["dropped"] == 20


def test_a_run_that_was_stopped_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.collector.stop()
    rig.send(0, rig.collector.now, over=True)
    rig.send(1, rig.collector.now, over=True)
    run = rig.finish()
    assert run.file.interrupted
    assert run.file.elapsed < 1.0
    assert run.file.counts["dropped"] == 0


def test_a_run_that_ends_by_itself_is_a_finished_run_of_that_length(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.collector.end_at(1.0)
    rig.collector.end_at(1.5)
    rig.collector.stopping = Stopping(planned=2.0, looks=3, reason="known well enough")
    for worker in (0, 1):
        rig.send(worker, 1.0, over=True)
    run = rig.finish()
    assert not run.file.interrupted
    assert run.file.elapsed == 1.0
    assert run.manifest.workload.duration == 1.0
    assert run.manifest.scheduled == sum(run.file.counts.values()) == run.file.counts["ok"] == 11
    assert run.file.stopping == Stopping(planned=2.0, looks=3, reason="known well enough")


def test_a_worker_lost_before_the_end_has_dropped_what_was_due_until_then(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.collector.end_at(1.0)
    rig.send(0, 1.0, over=True)
    rig.alive.discard(1)
    rig.collector.over.wait(5)
    run = rig.finish()
    assert run.file.counts["ok"] + run.file.counts["dropped"] == run.manifest.scheduled == 11


def test_what_a_worker_that_was_given_up_has_sent_is_not_dropped(tmp_path: Path) -> None:
    """It was only paused, and comes back: it is told to send nothing more, and its late report counts."""
    rig = Rig(tmp_path)
    rig.alive.discard(0)
    gevent.sleep(1.3)
    assert rig.gone == [0]
    rig.send(0, 1.4, over=True, ends=-math.inf)
    rig.send(1, 2.0, over=True)
    run = rig.finish()
    assert (run.file.counts["ok"], run.file.counts["dropped"]) == (18, 2)
    assert np.sort(run.columns(["due"])["due"]) == pytest.approx(np.arange(20) / 10)
    # It has told of all that it sent.
    (warning,) = [warning for warning in run.manifest.warnings if "worker 0 was lost" in warning]
    assert warning.endswith(": 2 of its requests count as dropped")
    assert not any("left no record" in warning for warning in run.manifest.warnings)


def test_a_lost_worker_s_requests_after_an_early_stop_were_not_due(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.alive.discard(0)
    gevent.sleep(1.3)
    rig.collector.stop()
    run_stopped = rig.collector.now
    rig.send(1, run_stopped, over=True, ends=run_stopped)
    run = rig.finish()
    assert run.file.counts["dropped"] > 0
    assert run.columns(["due"])["due"].max() <= run.file.elapsed < 2.0


def test_a_worker_that_ends_by_itself_is_lost(tmp_path: Path) -> None:
    """As one that Kubernetes evicts: what was due then and later has no other to send it."""
    rig = Rig(tmp_path)
    rig.send(0, 0.5, over=True, ends=0.5)
    rig.send(1, 2.0, over=True)
    assert not rig.ended
    rig.collector.over.wait(5)
    run = rig.finish()
    assert run.file.counts == {**dict.fromkeys(run.file.counts, 0), "ok": 13, "dropped": 7}
    (lost,) = rig.collector.lost
    assert lost.startswith("worker 0 was lost")
    assert any(warning.endswith(": 7 of its requests count as dropped") for warning in run.manifest.warnings)
    assert not run.file.interrupted


def test_a_worker_of_a_closed_loop_that_ends_by_itself_is_lost(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "closed:users=4")
    for worker, ends in ((0, 0.5), (1, 2.0)):
        report = {
            "worker": worker,
            "block": b"",
            **NOTHING,
            "over": True,
            "ends": ends,
        }
        rig.collector.report(report)
    rig.collector.over.wait(5)
    rig.finish()
    (lost,) = rig.collector.lost
    assert lost.startswith("worker 0 was lost")


def test_a_run_ends_with_its_last_worker(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for worker in (0, 1):
        rig.send(worker, 0.2, over=True, ends=0.2)
    rig.collector.over.wait(5)
    run = rig.finish()
    assert len(rig.collector.lost) == 2
    assert run.file.interrupted
    assert run.columns(["due"])["due"].max() <= run.file.elapsed < 2.0
    assert run.file.counts["ok"] == 3
    assert run.file.counts["dropped"] > 0


def test_an_interrupt_may_reach_the_workers_first(tmp_path: Path) -> None:
    """Ctrl-C reaches all processes: no worker is lost, and the run ends where the first one heard of it."""
    rig = Rig(tmp_path)
    rig.send(0, 0.5, over=True, ends=0.5)
    rig.collector.stop()
    rig.send(1, 0.6, over=True, ends=0.6)
    assert rig.ended == [True]
    run = rig.finish()
    assert (run.file.elapsed, run.file.interrupted, rig.collector.lost) == (pytest.approx(0.0, abs=0.5), True, [])
    assert run.file.counts["dropped"] == 0


def test_a_worker_that_was_lost_before_a_stop_does_not_date_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.send(0, 0.1, over=True, ends=0.1)
    with gevent.Timeout(30):
        while not rig.gone:
            gevent.sleep(0.05)
    rig.send(1, 1.0)
    asked = rig.collector.now
    rig.collector.stop()
    rig.send(1, 1.0, over=True, ends=1.0, since=1.0)
    run = rig.finish()
    assert rig.gone == [0]
    assert run.file.interrupted
    assert run.file.elapsed >= asked
    # Those of the lost worker that came due until the stop are dropped; none of the other's leaves the run.
    assert run.file.counts["ok"] == 1 + 5
    assert run.file.counts["dropped"] >= 4


def test_figures_do_not_wait_for_what_a_lost_worker_will_never_send(tmp_path: Path) -> None:
    """Its requests would look like the backlog of an overloaded server."""
    seen: list[Any] = []
    rig = Rig(tmp_path, watch=seen.append)
    rig.send(0, 0.5)
    rig.alive.discard(0)
    gevent.sleep(1.5)
    assert seen[-1].due_by(2.0) == 13
    rig.send(1, 2.0, over=True)
    rig.finish()
    assert seen[-1].due_by(2.0) == 20
    assert seen[-1].requests["dropped"] == 7


def test_the_header_names_what_could_not_be_sampled(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    run = rig.finish()
    assert any("REST address is unknown" in warning for warning in run.manifest.warnings)
    assert dataclasses.is_dataclass(run.manifest)
