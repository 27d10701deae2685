"""The part of a Locust process that plans and collects: the master, or the only process.

A local runner is coordinator and worker at once: it hands its own messages to itself, so that one code serves all.
"""

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import gevent
from gevent.event import Event
from locust.runners import STATE_MISSING, MasterRunner

from bench.errors import BenchError, UsageError
from bench.load.collector import PATIENCE_SECONDS, Collector, start_times
from bench.load.options import Scenario, Settings
from bench.load.plan import WorkerPlan
from bench.load.prepared import PreparedRun
from bench.load.sampling import Gpu, ServerSampler
from bench.load.session import start_message
from bench.load.told import option_name
from bench.load.under_test import ServerUnderTest
from bench.load.worker_side import FAILED, PLAN, REPORT, START, STOP
from bench.units import format_apart, format_number, format_seconds

if TYPE_CHECKING:
    from bench.load.ending import RunEnd

logger = logging.getLogger(__name__)

# Between the moment a run's folder is begun and the moment its clock is 0.
_LEAD_SECONDS: Final = 0.15
# Users get this long to end what is in flight when a run is stopped before its time, or the drain if that is shorter.
_STOP_SECONDS: Final = 10.0


class CoordinatorSide:
    """Turns Locust's starts and stops into runs.

    Args:
        environment: Locust's.
        scenario: whose runs they are.
    """

    def __init__(self, environment: Any, scenario: Scenario) -> None:
        self._environment = environment
        self._options = environment.parsed_options
        self._scenario = scenario
        self._runner = environment.runner
        self._under_test = ServerUnderTest()
        self._gpu = Gpu.find()
        self._prepared: PreparedRun | None = None
        self._plans: list[WorkerPlan] = []
        self._clients: dict[int, str] = {}
        self._collector: Collector | None = None
        self._end: RunEnd | None = None
        self._refused = ""
        self._run_time: float | None = None
        # When the measured part begins, seconds since 1970.
        self._measured_from = 0.0
        self._put_away = Event()
        self._put_away.set()
        self._runner.register_message(REPORT, self._on_report)
        self._runner.register_message(FAILED, self._on_failed)
        events = environment.events
        events.test_start.add_listener(self._on_test_start)
        events.spawning_complete.add_listener(self._on_spawned)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.test_stop.add_listener(self._on_test_stop)
        events.quitting.add_listener(self._on_quitting)
        events.quit.add_listener(self._on_quit)

    def prepare(self) -> None:
        """Headless: everything that can go wrong before Locust starts goes wrong here, and ends the process."""
        if not (self._options.headless or self._options.autostart):
            return
        self._run_time = float(self._options.run_time)
        # Locust's own timer stays behind as a safety net: the end of a run is found by the collector.
        ramp = self._options.num_users / self._options.spawn_rate
        self._options.run_time = int(self._run_time + ramp + _STOP_SECONDS + 2 * PATIENCE_SECONDS) + 60
        logging.getLogger("locust.main").addFilter(lambda record: "ime limit set" not in record.getMessage())
        if self._options.headless:
            try:
                settings = self._settings(self._options.num_users)
                self._prepared = PreparedRun.make(settings, self._under_test, self._gpu)
            except (BenchError, OSError) as error:
                self._under_test.close()
                print(f"bertbench: {error}", file=sys.stderr)
                sys.exit(int(error.exit_code) if isinstance(error, BenchError) else int(UsageError.exit_code))

    def _settings(self, users: int) -> Settings:
        given = self._options.run_time if self._run_time is None else self._run_time
        if not given:
            raise UsageError(f"a run needs a length; give it like {option_name('-t')} 60s")
        return Settings.read(self._options, self._scenario, self._environment.host, users, float(given))

    def _on_test_start(self, **_: Any) -> None:
        try:
            if self._prepared is None:
                settings = self._settings(self._runner.target_user_count)
                self._prepared = PreparedRun.make(settings, self._under_test, self._gpu)
            self._hand_out(self._prepared)
        except (BenchError, OSError) as error:
            self._abort(error)
            # Locust goes on to spawn users after its listeners, unless this greenlet ends.
            raise gevent.GreenletExit from error

    def _hand_out(self, prepared: PreparedRun) -> None:
        """A plan for every worker."""
        self._clients = {0: "local"}
        if isinstance(self._runner, MasterRunner):
            self._clients = dict(enumerate(client.id for client in self._runner.clients.ready))
        settings = prepared.settings
        if settings.users < len(self._clients):
            few = f"{settings.users} users cannot be shared by {len(self._clients)} workers"
            raise UsageError(f"{few}; give more {option_name('--users')}")
        self._environment.stop_timeout = min(settings.drain, _STOP_SECONDS)
        self._refused = ""
        self._plans = prepared.plans(len(self._clients), uuid4().hex)
        for plan in self._plans:
            self._runner.send_message(PLAN, plan.to_message(), self._clients[plan.worker])
        if self._refused:
            raise UsageError(self._refused)

    def _on_spawned(self, **_: Any) -> None:
        """All users are there: the clock starts. Fires again when somebody changes the users of a running test."""
        prepared, plans = self._prepared, self._plans
        if prepared is None or not plans or self._collector is not None:
            return
        web = self._environment.web_ui
        if web is not None:
            # The web form's run time, which would count from now and cut the end off.
            web._cancel_run_time_timer()
        try:
            server = prepared.server
            sampler = ServerSampler(server.rest, server.model, server.pid, self._gpu)
            epoch, started = start_times(_LEAD_SECONDS)
            header = prepared.header(plans, started, self._sending())
            results = prepared.settings.results
            self._collector = Collector(
                results, header, epoch, plans, prepared.payloads, sampler, self._alive, self._on_all_over
            )
        except (BenchError, OSError) as error:
            self._abort(error)
            return
        self._put_away.clear()
        workload = prepared.workload
        self._measured_from = started.timestamp() + workload.warmup
        self._leave_warmup_out()
        left_out = ", which Locust's own statistics leave out"
        warmup = f"{format_seconds(workload.warmup)} of it warm-up{left_out}" if workload.warmup else "no warm-up"
        logger.info(
            "%s on %s for %s (%s), then at most %s to drain; run folder %s",
            header.arrivals,
            prepared.settings.target,
            format_seconds(workload.warmup + workload.duration),
            warmup,
            format_seconds(workload.drain),
            self._collector.path,
        )
        if header.ceiling and header.requested_rate and header.requested_rate > header.ceiling:
            logger.warning(
                "%s requests/s asked, this load generator's ceiling is %s: the client will be the limit",
                *format_apart(header.requested_rate, header.ceiling, format_number),
            )
        for plan in plans:
            self._runner.send_message(START, start_message(plan.run, epoch), self._clients[plan.worker])

    def _leave_warmup_out(self) -> None:
        """Requests/s in Locust's own statistics count from here; workers' reports may bring an earlier moment."""
        total = self._runner.stats.total
        total.start_time = max(total.start_time, self._measured_from)

    def _sending(self) -> int:
        """Users that send the scenario's requests: Locust shares its users among all user classes."""
        counts = self._runner.target_user_classes_count
        sends = {kind.__name__ for kind in self._environment.user_classes if hasattr(kind, "sends_schedule")}
        return sum(count for name, count in counts.items() if name in sends)

    def _alive(self) -> set[int]:
        if not isinstance(self._runner, MasterRunner):
            return set(self._clients)
        known = self._runner.clients
        return {
            worker
            for worker, client in self._clients.items()
            if client in known and known[client].state != STATE_MISSING
        }

    def _on_report(self, environment: Any, msg: Any, **_: Any) -> None:
        if self._collector is not None and self._plans and msg.data["run"] == self._plans[0].run:
            self._collector.report(msg.data)

    def _on_failed(self, environment: Any, msg: Any, **_: Any) -> None:
        if not self._plans or msg.data["run"] != self._plans[0].run:
            return
        self._refused = msg.data["error"]
        if isinstance(self._runner, MasterRunner):
            self._abort(UsageError(self._refused))

    def _on_all_over(self) -> None:
        gevent.spawn(self._runner.quit if self._options.headless else self._runner.stop)

    def _on_test_stopping(self, **_: Any) -> None:
        collector = self._collector
        if collector is not None and not collector.over.is_set():
            self._stop_early(collector)
            if isinstance(self._runner, MasterRunner):
                collector.over.wait(_STOP_SECONDS + PATIENCE_SECONDS)

    def _stop_early(self, collector: Collector) -> None:
        collector.stop()
        for plan in self._plans:
            self._runner.send_message(STOP, {"run": plan.run}, self._clients[plan.worker])

    def _on_test_stop(self, **_: Any) -> None:
        collector, prepared = self._collector, self._prepared
        self._collector, self._plans = None, []
        self._leave_warmup_out()
        if not self._options.headless:
            self._prepared = None
        if collector is None or prepared is None:
            return
        try:
            self._finish(collector, prepared)
        finally:
            self._put_away.set()

    def _finish(self, collector: Collector, prepared: PreparedRun) -> None:
        """The folder's final form, and what there is to say."""
        # Here and not above: it loads pyarrow and scipy, which no process should carry while it sends.
        from bench.load.ending import describe_end

        try:
            self._end = describe_end(collector.finish(), prepared.model_dir, self._scenario.rule)
        except (BenchError, OSError) as error:
            self._fail(error)
            return
        if self._end.exit_code:
            self._environment.process_exit_code = int(self._end.exit_code)
        if not self._options.headless:
            self._tell(self._end, logger.info)

    def _on_quitting(self, **_: Any) -> None:
        """Ctrl-C and SIGTERM: the run ends now, while its exit code can still be given."""
        if self._collector is not None:
            # At once: Locust's own stopping takes a while before it tells anybody.
            self._stop_early(self._collector)
            if isinstance(self._runner, MasterRunner):
                self._runner.stop(send_stop_to_client=False)
            else:
                self._runner.stop()
        # A run that has just come to its end may still be written, by the greenlet that found it over.
        self._put_away.wait()

    def _on_quit(self, **_: Any) -> None:
        """Last of all, after Locust's tables."""
        self._under_test.close()
        if self._end is not None and self._options.headless:
            self._tell(self._end, print)

    @staticmethod
    def _tell(end: "RunEnd", write: Callable[[str], None]) -> None:
        for line in end.lines:
            write(line)
        sys.stdout.flush()
        if end.error:
            print(f"bertbench: {end.error}", file=sys.stderr)

    def _abort(self, error: BenchError | OSError) -> None:
        """Ends the test that is starting or running, and headless the process too."""
        self._fail(error)
        gevent.spawn(self._runner.quit if self._options.headless else self._runner.stop)

    def _fail(self, error: BenchError | OSError) -> None:
        code = error.exit_code if isinstance(error, BenchError) else UsageError.exit_code
        self._environment.process_exit_code = int(code)
        print(f"bertbench: {error}", file=sys.stderr)
