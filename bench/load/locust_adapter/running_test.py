"""One test in Locust's master, or in its only process: from the workers' plans to the stored run."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import gevent
from locust.runners import STATE_MISSING, MasterRunner

from bench.core.errors import UsageError
from bench.core.units import format_apart, format_number, format_seconds
from bench.load.engine.clock_comparison import WorkerClock, difference, question
from bench.load.engine.collector import PATIENCE_SECONDS, Callbacks, Collector, start_times
from bench.load.engine.worker_session import start_message
from bench.load.live.live_figures import LiveFigures
from bench.load.live.overload import find_overload
from bench.load.locust_adapter.fixed_workers import LateWorkers
from bench.load.locust_adapter.run_factory import STOP_SECONDS, check_workers
from bench.load.locust_adapter.worker import ABANDON, CLOCK, END, PLAN, START, STOP, request_names
from bench.load.setup.run_context import option_name, started_by_bertbench
from bench.load.setup.run_setup import RunSetup
from bench.load.watch.watcher import RunWatch
from bench.results.manifest import RunManifest
from bench.results.overload import Overload
from bench.serving.target import TargetKind

if TYPE_CHECKING:
    from bench.load.setup.run_outcome import RunOutcome

logger = logging.getLogger(__name__)

# Between the moment a run's folder is created and the moment its clock is 0.
_LEAD_SECONDS: Final = 0.15
# Between comparisons of clocks: of the first, before the start, and in the run.
_QUICK_SECONDS: Final = 0.02
_CLOCK_SECONDS: Final = 1.0
_LEAVE_SECONDS: Final = 1.0
"""What a user that is removed has beyond the longest request."""
_MOST_CLOCK_SECONDS: Final = 1.0
"""Longest wait for the first comparisons."""


class RunningTest:
    """One test.

    Args:
        environment: Locust's; its workers have connected.
        setup: the run.

    Attributes:
        run: name of the run, which every message of it bears.
        collector: stores the run; None until `begin`.

    Raises:
        UsageError: there are fewer users than workers.
    """

    def __init__(self, environment: Any, setup: RunSetup) -> None:
        self._environment = environment
        self._runner = environment.runner
        self._setup = setup
        self._distributed = isinstance(self._runner, MasterRunner)
        names = (client.id for client in self._runner.clients.ready) if self._distributed else ("local",)
        self._clients = dict(enumerate(names))
        spec = setup.spec
        check_workers(spec.users, len(self._clients), option_name("--users", spec.command))
        given = environment.parsed_options.stop_timeout
        self._stop_seconds = float(given or min(spec.drain, STOP_SECONDS))
        # Of users that are removed from the running test: their requests end as all others.
        environment.stop_timeout = float(given or spec.timeout + _LEAVE_SECONDS)
        self.run = uuid4().hex
        plans = setup.plans(len(self._clients), self.run)
        self._plans = [replace(plan, stop_seconds=self._stop_seconds) for plan in plans]
        self._refusal = ""
        self._measured_from = 0.0
        self._watch: RunWatch | None = None
        self.collector: Collector | None = None
        self._clocks = {worker: WorkerClock() for worker in self._clients} if self._distributed else {}
        self._comparing: gevent.Greenlet | None = None
        self._late = LateWorkers()

    @property
    def title(self) -> str:
        """The run in one line: what is tested, and how."""
        spec = self._setup.spec
        model = f"the embedded server on {self._setup.model_dir}" if spec.target.kind is TargetKind.EMBEDDED else ""
        target = spec.target_name or model or str(spec.target)
        return f"{target}, {spec.protocol}, {spec.arrivals}, {format_seconds(spec.run_time)} of load"

    @property
    def request_names(self) -> Collection[tuple[str, str]]:
        """Method and name of its requests in Locust's statistics."""
        return request_names(self._plans[0]).values()

    @property
    def ending(self) -> bool:
        """Whether the run is over, or stops."""
        return self.collector is not None and self.collector.ending

    def distribute_plans(self) -> None:
        """Sends each worker its plan.

        Raises:
            UsageError: this process, as its own worker, refuses its plan.
        """
        for plan in self._plans:
            self._send(PLAN, plan.to_message(), plan.worker)
        if self._refusal:
            raise UsageError(self._refusal)
        if self._clocks:
            self._comparing = gevent.spawn(self._compare_clocks)

    def compare_clock(self, message: Mapping[str, Any]) -> None:
        """Takes a worker's answer to the question for its time, at once."""
        self._clocks[message["worker"]].add(difference(message))

    def prepare_looks(self) -> None:
        """Starts what looks at a run that may stop by itself, and tells how long it will probably take.

        Raises:
            TargetError: it does not start.
        """
        spec = self._setup.spec
        if spec.until is not None:
            self._watch = RunWatch(spec, spec.until, _say)

    def joined(self, client: str) -> None:
        """Takes note of a worker that has just connected; it has no plan and gets no users before the next run."""
        if client not in self._clients.values():
            self._late.joined(client, None if self.collector is None else self.collector.now)

    def refuse(self, reason: str) -> None:
        """Takes a worker's refusal of its plan."""
        self._refusal = reason

    def begin(self, on_over: Callable[[], None], on_second: Callable[[LiveFigures], None]) -> Path:
        """Creates the run's folder and starts its clock in all processes.

        Args:
            on_over: called once, when every worker has finished or is lost.
            on_second: called each second with the newest figures, and once more with the final ones.

        Returns:
            The folder.

        Raises:
            UsageError: the users do not fit the arrivals.
            OSError: the folder cannot be created.
        """
        setup = self._setup
        sampler = setup.sampler()
        self._await_clocks()
        epoch, started = start_times(_LEAD_SECONDS)
        manifest = setup.manifest(self._plans, started, self._sending_users())
        writer = setup.writer(manifest)
        callbacks = Callbacks(self._alive, on_over, on_second, self._abandon)
        self.collector = Collector(writer, epoch, self._plans, setup.payloads, sampler, callbacks)
        self._measured_from = started.timestamp() + setup.workload.warmup
        self.leave_warmup_out()
        _log_start(setup, manifest, writer.path)
        for plan in self._plans:
            clock = self._clocks.get(plan.worker)
            there = clock.moment(epoch) if clock is not None and clock.known else None
            self._send(START, start_message(self.run, epoch, there), plan.worker)
        if self._watch is not None:
            self._watch.begin(self.collector, self.end_at)
        return writer.path

    def end_at(self, moment: float) -> None:
        """Ends the load in all processes at `moment`, seconds since the run began, as if that had been planned."""
        assert self.collector is not None
        self.collector.end_at(moment)
        for plan in self._plans:
            self._send(END, {"run": self.run, "ends": moment}, plan.worker)

    def leave_warmup_out(self) -> None:
        """Lets Locust's own requests/s count from the measured part; workers' reports may set an earlier moment."""
        total = self._runner.stats.total
        total.start_time = max(total.start_time, self._measured_from)

    def stop_early(self, overload: Overload | None = None) -> None:
        """Ends the run now, in all processes; requests that were due may still be answered.

        Args:
            overload: why, if it asks for more than the server carries.
        """
        assert self.collector is not None
        self.collector.stop(overload)
        for plan in self._plans:
            self._send(STOP, {"run": self.run}, plan.worker)

    def await_interrupt(self) -> None:
        """Waits until workers that ended by themselves are lost, or the interrupt that ended them stops the run."""
        assert self.collector is not None
        while self.collector.quitters:
            gevent.sleep(_QUICK_SECONDS)

    def look(self, figures: LiveFigures) -> None:
        """Stops the run if the server will not catch up with it any more."""
        if self._setup.spec.stop_overload and (overload := find_overload(figures)) is not None:
            logger.warning("stopping: %s", overload)
            self.stop_early(overload)

    def wait_for_workers(self) -> None:
        """Waits until the workers of a run that was stopped early have sent their last records."""
        assert self.collector is not None
        if self._distributed:
            self.collector.over.wait(self._stop_seconds + PATIENCE_SECONDS)

    def finish(self) -> "RunOutcome":
        """Writes the run folder's final form and evaluates it.

        Raises:
            BenchError: the folder cannot be read.
            OSError: it cannot be written.
        """
        # Imported here: a worker has no pyarrow and scipy. The process that stores has loaded them before the load.
        from bench.load.setup.run_outcome import describe_outcome

        assert self.collector is not None
        spec = self._setup.spec
        self.close()
        for worker, clock in self._clocks.items():
            if note := clock.note(f"worker {worker}"):
                self.collector.warn(note)
        for note in self._late.notes():
            self.collector.warn(note)
        path = self.collector.finish()
        return describe_outcome(path, self._setup.model_dir, spec.rule, self.collector.lost, spec.command)

    def _compare_clocks(self) -> None:
        """Asks all workers for their time, a few times in quick succession and then each second."""
        quick = True
        while True:
            for worker, clock in self._clocks.items():
                if not (quick and clock.asked):
                    clock.asked = True
                    self._send(CLOCK, question(self.run, worker), worker)
            gevent.sleep(_QUICK_SECONDS if quick else _CLOCK_SECONDS)
            quick = self.collector is None

    def _await_clocks(self) -> None:
        """Waits for the first comparisons; a worker that does not answer holds nothing up for long."""
        end = time.monotonic() + _MOST_CLOCK_SECONDS
        while not all(clock.settled for clock in self._clocks.values()) and time.monotonic() < end:
            gevent.sleep(_QUICK_SECONDS)

    def close(self) -> None:
        """Ends the looks at the run, and the comparison of clocks."""
        if self._comparing is not None:
            self._comparing.kill()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _send(self, message: str, data: Any, worker: int) -> None:
        self._runner.send_message(message, data, self._clients[worker])

    def _abandon(self, worker: int) -> None:
        self._send(ABANDON, {"run": self.run}, worker)

    def _sending_users(self) -> int:
        """Users that send the scenario's requests: Locust shares its users among all user classes."""
        counts = self._runner.target_user_classes_count
        sends = {kind.__name__ for kind in self._environment.user_classes if hasattr(kind, "sends_schedule")}
        return sum(count for name, count in counts.items() if name in sends)

    def _alive(self) -> set[int]:
        """Indexes of the workers that Locust does not miss."""
        if not self._distributed:
            return set(self._clients)
        known = self._runner.clients
        return {
            worker
            for worker, client in self._clients.items()
            if client in known and known[client].state != STATE_MISSING
        }


def _log_start(setup: RunSetup, manifest: RunManifest, path: Path) -> None:
    workload = setup.workload
    warmup = f"{format_seconds(workload.warmup)} of it warm-up, which Locust's own statistics leave out"
    until = f"until {manifest.until}, at most " if manifest.until is not None else "for "
    logger.info(
        "%s on %s %s%s (%s), then at most %s to drain; run folder %s",
        manifest.arrivals,
        setup.spec.target,
        until,
        format_seconds(workload.warmup + workload.duration),
        warmup if workload.warmup else "no warm-up",
        format_seconds(workload.drain),
        path,
    )
    if manifest.ceiling and manifest.requested_rate and manifest.requested_rate > manifest.ceiling:
        logger.warning(
            "%s requests/s requested, this load generator's ceiling is %s: the client will be the limit",
            *format_apart(manifest.requested_rate, manifest.ceiling, format_number),
        )


def _say(line: str) -> None:
    """Tells the user how the run stands: where `bertbench run` shows it, or in Locust's log, which has the web page."""
    if started_by_bertbench():
        print(line, flush=True)
    else:
        logger.info(line)
