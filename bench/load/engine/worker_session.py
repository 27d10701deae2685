"""One run in a load-generating process, from its plan to its last record."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import gevent

from bench.bert.contract.golden import GoldenFile
from bench.load.engine.dispatcher import Limits, Listener
from bench.load.engine.driver import Driver
from bench.load.engine.jobs import ClosedJobs, Jobs, ScheduledJobs
from bench.load.engine.pacer import Pacer
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.monitor.sampling import ClientSampler, UserCount
from bench.load.transports.balanced_pool import BalancedPool
from bench.load.transports.pool import Transport, TransportPool

# Seconds. Clocks of one machine agree; an epoch that is further off is of another machine's clock.
_CLOCK_TOLERANCE: Final = 2.0
_LEAST_SLEEP: Final = 0.001

Send = Callable[[dict[str, Any]], None]


class WorkerSession:
    """One run in one process: created from the plan, begun by the master.

    It is over when no user is here and nothing is left to send. Users may come and go before, all of them, too.

    Args:
        plan: the process's part of the run.
        send: sends a report to the master: `{"run", "worker", "block", "sample", "lacks", "failures", "over", "ends"}`.
            The last one is `over`; what was due by `ends`, in seconds since the run began, then has a record.
        listener: called for each request.
        transports: creates the users' transports; None for the plan's endpoint.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        send: Send,
        listener: Listener,
        transports: TransportPool | BalancedPool | None = None,
    ) -> None:
        workload = plan.workload
        pool = transports or TransportPool(plan.endpoint, workload.clients)
        self._plan = plan
        self._send = send
        self._driver = Driver(GoldenFile.of(plan.golden).golden, workload, pool, listener, plan.worker)
        self._driver.measure_from(plan.begins)
        self._pacer = Pacer()
        limits = Limits(plan.begins, plan.ends, workload.drain, workload.timeout, plan.think)
        jobs = _jobs(plan, len(self._driver.payloads))
        self._dispatcher = self._driver.dispatcher(jobs, limits, self._pacer, plan.traces)
        self._here = 0
        self._users = UserCount()
        self._begun = False
        self._over = False
        self._reporter: gevent.Greenlet | None = None
        self._release: gevent.Greenlet | None = None
        self._ender: gevent.Greenlet | None = None

    @property
    def run(self) -> str:
        """Name of the run."""
        return self._plan.run

    @property
    def stop_seconds(self) -> float:
        """How long requests in flight may take when the run is stopped early."""
        return self._plan.stop_seconds

    def begin(self, start: dict[str, Any]) -> None:
        """Starts the run's clock from a `start_message`, and releases the users."""
        epoch = epoch_of(start)
        self._begun = True
        self._users.begin(epoch)
        self._dispatcher.begin(epoch)
        self._reporter = gevent.spawn(self._report_each_second, epoch)
        self._ender = gevent.spawn(self._end_without_users)
        # All may have been stopped while they waited for the start.
        self._end_if_done()

    def drive(self, leaving: Callable[[], bool] = lambda: False) -> None:
        """Runs one user; returns when nothing is left to send, or between two requests if `leaving`."""
        if self._over:
            return
        self._here += 1
        self._users.change(1)
        # A user that finds nothing left to send counts to the end; only users that are removed reduce the number.
        taken = True
        transports: dict[str, Transport] = {}
        try:
            transports |= self._driver.user_transports()
            self._dispatcher.drive(transports, leaving)
            taken = leaving()
        finally:
            self._here -= 1
            if taken and not self._dispatcher.over:
                self._users.change(-1)
            for transport in transports.values():
                transport.close()
            self._end_if_done()

    def leave(self, greenlet: gevent.Greenlet) -> bool:
        """Lets a user that is `leaving` return at once if it waits for a due time; a request in flight ends first.

        Returns:
            Whether that is possible; before the run has begun it is not, and the user can be killed.
        """
        if self._begun:
            self._dispatcher.release(greenlet)
        return self._begun

    def stop(self) -> None:
        """Stops the run early; users return when their requests in flight have ended."""
        self._dispatcher.stop()
        self._end_if_done()

    def abandon(self) -> None:
        """Stops the run in this process, which was given up: nothing more is sent; requests in flight may end."""
        self._dispatcher.abandon()
        self._end_if_done()

    def end_at(self, moment: float) -> None:
        """Ends the load at `moment`, seconds since the run began, as if that had been planned."""
        self._dispatcher.end_at(moment)
        self._release = gevent.spawn(self._release_waiting)

    def _release_waiting(self) -> None:
        self._sleep_until_over()
        self._dispatcher.release_waiting()
        self._end_if_done()

    def close(self) -> None:
        """Ends the run in this process, in any state. All users must have returned."""
        self._end()

    def _end_if_done(self) -> None:
        if self._begun and not self._here and self._dispatcher.exhausted:
            self._end()

    def _end_without_users(self) -> None:
        """Ends a run whose users have all left, when its load ends."""
        self._sleep_until_over()
        self._end_if_done()

    def _sleep_until_over(self) -> None:
        # Again and again: the event loop's timers are early by what it was busy for when they were set.
        while not self._dispatcher.over:
            gevent.sleep(max(self._dispatcher.ends - self._dispatcher.now, _LEAST_SLEEP))

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._dispatcher.finish()
        for greenlet in (self._reporter, self._release, self._ender):
            if greenlet is not None and greenlet is not gevent.getcurrent():
                greenlet.kill(block=False)
        self._report(None, over=True)
        self._pacer.close()
        self._driver.close()

    def _report_each_second(self, epoch: float) -> None:
        """Reports at whole seconds since the run began, so that the workers' samples match."""
        sampler = ClientSampler(self._plan.worker)
        try:
            while True:
                now = time.perf_counter() - epoch
                gevent.sleep(math.floor(now) + 1.0 - now)
                dispatcher = self._dispatcher
                sample = sampler.sample(dispatcher.now, dispatcher.in_flight, dispatcher.waiting, self._users.take())
                self._report(asdict(sample))
        finally:
            sampler.close()

    def _report(self, sample: dict[str, Any] | None, over: bool = False) -> None:
        report = {"run": self.run, "worker": self._plan.worker, "block": self._driver.take(), "sample": sample}
        # All so far, so that none is missing after a report that is lost.
        lacks = {str(lack): count for lack, count in self._dispatcher.lacks.items()}
        failures = [(entry.outcome, entry.text, entry.count) for entry in self._driver.failures.found()]
        self._send({**report, "lacks": lacks, "failures": failures, "over": over, "ends": self._dispatcher.ends})


def _jobs(plan: WorkerPlan, payloads: int) -> Jobs:
    if plan.shard is not None:
        return ScheduledJobs(plan.shard)
    return ClosedJobs(plan.workload, payloads, plan.worker, plan.ends)


def start_message(run: str, epoch: float, there: float | None = None) -> dict[str, Any]:
    """The message that starts a run.

    Args:
        run: its name.
        epoch: when its clock is 0, on this machine's `time.perf_counter`.
        there: the same moment on the worker's, where the clocks were compared.
    """
    return {"run": run, "epoch": epoch, "there": there, "in": epoch - time.perf_counter(), "boot": _boot_id()}


def epoch_of(start: dict[str, Any]) -> float:
    """The same moment on this process's clock.

    Where the clocks were not compared: processes of one machine share a clock; on another machine the run begins as
    long after the arrival of the message as `start_message` planned after its sending, later by the transmission.
    """
    if start["there"] is not None:
        return float(start["there"])
    here = time.perf_counter() + float(start["in"])
    epoch = float(start["epoch"])
    same_machine = bool(start["boot"]) and start["boot"] == _boot_id()
    return epoch if same_machine and abs(epoch - here) < _CLOCK_TOLERANCE else here


def _boot_id() -> str:
    """The kernel's id of this boot; empty where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
