"""The part of a Locust process that plans and collects: the master, or the only process.

A local runner is master and worker at once: it hands its own messages to itself, so that one code serves all.
"""

import logging
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import gevent
from gevent.event import Event
from locust.runners import STATE_MISSING, MasterRunner

from bench.core.errors import BenchError, UsageError, exit_code_of, one_line
from bench.core.units import format_apart, format_number, format_seconds
from bench.load.engine.collector import PATIENCE_SECONDS, Collector, start_times
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.engine.worker_session import start_message
from bench.load.locust_adapter.locust_stages import Stages
from bench.load.locust_adapter.options import UnchosenCode, read_spec, spec_for
from bench.load.locust_adapter.start_checks import WebStart, refuse_tags
from bench.load.locust_adapter.worker import FAILED, PLAN, REPORT, START, STOP
from bench.load.monitor.sampling import Gpu, ServerSampler
from bench.load.setup.catalog import Scenario
from bench.load.setup.run_context import option_name
from bench.load.setup.run_setup import RunSetup
from bench.load.setup.run_spec import RunSpec
from bench.load.setup.target_session import TargetSession

if TYPE_CHECKING:
    from bench.load.setup.run_outcome import RunOutcome

logger = logging.getLogger(__name__)

# Between the moment a run's folder is begun and the moment its clock is 0.
_LEAD_SECONDS: Final = 0.15
# Users get this long to end what is in flight when a run is stopped before its time, or the drain if that is shorter.
_STOP_SECONDS: Final = 10.0


class Master:
    """Turns Locust's starts and stops into runs.

    Args:
        environment: Locust's.
        scenario: whose runs they are.
        stages: what signals do.
    """

    def __init__(self, environment: Any, scenario: Scenario, stages: Stages) -> None:
        self._environment = environment
        self._stages = stages
        self._options = environment.parsed_options
        self._scenario = scenario
        self._given = spec_for(scenario)
        self._runner = environment.runner
        self._target = TargetSession()
        self._gpu = Gpu.find()
        self._prepared: RunSetup | None = None
        self._plans: list[WorkerPlan] = []
        self._clients: dict[int, str] = {}
        self._collector: Collector | None = None
        self._end: RunOutcome | None = None
        self._refused = ""
        self._run_time: float | None = None
        # When the measured part begins, seconds since 1970.
        self._measured_from = 0.0
        self._stop_seconds = _STOP_SECONDS
        self._json_of_file = False
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
        """Everything that can go wrong before Locust starts goes wrong here, and ends the process with one line."""
        by_itself = self._options.headless or self._options.autostart
        try:
            refuse_tags(self._environment.user_classes, self._options)
            if by_itself:
                self._prepared = self._make(self._spec(self._options.num_users))
        except (BenchError, OSError) as error:
            self.close()
            print(f"bertbench: {one_line(error)}", file=sys.stderr)
            sys.exit(int(exit_code_of(error)))
        except KeyboardInterrupt:
            self.close()
            self._stages.leave()
        if self._options.headless:
            # Locust's own timer stays behind as a safety net: the end of a run is found by the collector.
            self._run_time = float(self._options.run_time)
            ramp = self._options.num_users / self._options.spawn_rate
            self._options.run_time = int(self._run_time + ramp + _STOP_SECONDS + 2 * PATIENCE_SECONDS) + 60
        elif self._options.autostart:
            # None: its timer would end a test that is started from the web page later. The first start puts it back.
            self._run_time, self._options.run_time = float(self._options.run_time), None
        # Locust's JSON empties its statistics: of two, the second would hold nothing.
        self._json_of_file = bool(self._options.json and self._options.json_file)
        self._options.json = self._options.json and not self._json_of_file
        if by_itself:
            logging.getLogger("locust.main").addFilter(lambda record: "ime limit set" not in record.getMessage())
        if self._environment.web_ui is not None:
            WebStart(self._environment, self._prepare_start).install()

    def close(self) -> None:
        """Ends the server that was started here."""
        self._target.close()

    def _make(self, spec: RunSpec) -> RunSetup:
        return RunSetup.make(spec, self._target, self._gpu)

    def _prepare_start(self, options: Namespace, host: str | None) -> None:
        """Prepares the run that somebody starts in the web page.

        Raises:
            BenchError: it cannot be begun.
        """
        if isinstance(self._runner, MasterRunner):
            workers = len(self._runner.clients.ready)
            if not workers:
                raise UsageError("no worker is connected; start one with locust --worker")
            _check_workers(options.num_users, workers, "--users")
        if not options.run_time:
            raise UsageError("a run needs a length; give a run time, like 60s")
        spec = read_spec(options, self._scenario, host, options.num_users, float(options.run_time))
        self._prepared = self._make(spec)

    def _spec(self, users: int) -> RunSpec:
        """The run that `bertbench run` gave, or that of Locust's options."""
        if self._given is not None:
            return self._given
        given = self._options.run_time if self._run_time is None else self._run_time
        if not given:
            raise UsageError("a run needs a length; give it like -t 60s")
        return read_spec(self._options, self._scenario, self._environment.host, users, float(given))

    def _on_test_start(self, **_: Any) -> None:
        try:
            if self._prepared is None:
                self._prepared = self._make(self._spec(self._runner.target_user_count))
            if not self._options.headless and self._run_time is not None:
                self._options.run_time, self._run_time = int(self._run_time), None
            self._hand_out(self._prepared)
        except (BenchError, OSError) as error:
            self._abort(error)
            # Locust goes on to spawn users after its listeners, unless this greenlet ends.
            raise gevent.GreenletExit from error

    def _hand_out(self, prepared: RunSetup) -> None:
        """A plan for every worker."""
        self._clients = {0: "local"}
        if isinstance(self._runner, MasterRunner):
            self._clients = dict(enumerate(client.id for client in self._runner.clients.ready))
        spec = prepared.spec
        _check_workers(spec.users, len(self._clients), option_name("--users", spec.command))
        self._stop_seconds = float(self._options.stop_timeout or min(spec.drain, _STOP_SECONDS))
        self._environment.stop_timeout = self._stop_seconds
        self._refused = ""
        self._plans = prepared.plans(len(self._clients), uuid4().hex)
        for plan in self._plans:
            self._runner.send_message(PLAN, plan.to_message(), self._clients[plan.worker])
        if self._refused:
            raise UsageError(self._refused)

    def _on_spawned(self, **_: Any) -> None:
        """All users are there: the clock starts. Fires again when somebody changes the users of a running test."""
        web = self._environment.web_ui
        if web is not None:
            # The web form's run time, which would count from now and cut the end off.
            web._cancel_run_time_timer()
        prepared, plans = self._prepared, self._plans
        if prepared is None or not plans or self._collector is not None:
            return
        try:
            server = prepared.server
            sampler = ServerSampler(server.rest, server.model, server.pid, self._gpu)
            epoch, started = start_times(_LEAD_SECONDS)
            header = prepared.header(plans, started, self._sending())
            self._collector = Collector(
                prepared.writer(header), epoch, plans, prepared.payloads, sampler, self._alive, self._on_all_over
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
            prepared.spec.target,
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
        gevent.spawn(self._runner.quit if self._options.headless else self._stop_and_maybe_quit)

    def _stop_and_maybe_quit(self) -> None:
        """The end of a run with the web page: `--autoquit` ends the process after the run that `--autostart` began."""
        self._runner.stop()
        if self._options.autostart and self._options.autoquit >= 0:
            gevent.sleep(self._options.autoquit)
            self._runner.quit()
            self._environment.web_ui.stop()

    def _on_test_stopping(self, **_: Any) -> None:
        collector = self._collector
        if collector is not None and not collector.over.is_set():
            self._stop_early(collector)
            if isinstance(self._runner, MasterRunner):
                collector.over.wait(self._stop_seconds + PATIENCE_SECONDS)

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

    def _finish(self, collector: Collector, prepared: RunSetup) -> None:
        """The folder's final form, and what there is to say."""
        # Here and not above: it loads pyarrow and scipy, which no process should carry while it sends.
        from bench.load.setup.run_outcome import describe_outcome

        try:
            self._end = describe_outcome(
                collector.finish(), prepared.model_dir, prepared.spec.rule, collector.lost, prepared.spec.command
            )
        except (BenchError, OSError) as error:
            self._fail(error)
            return
        self._stages.note = f"what was measured is in {collector.path}"
        code = int(self._end.exit_code)
        chosen = self._options.exit_code_on_error
        if self._end.failed and not isinstance(chosen, UnchosenCode):
            code = chosen
        if code:
            self._environment.process_exit_code = code
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
        self.close()
        if self._json_of_file:
            print(Path(f"{self._options.json_file}.json").read_text())
        if self._end is not None and self._options.headless:
            # Standard output is Locust's JSON alone where that was asked for.
            alone = self._options.json or self._json_of_file
            self._tell(self._end, partial(print, file=sys.stderr if alone else sys.stdout))

    def _tell(self, end: "RunOutcome", write: Callable[[str], None]) -> None:
        for line in end.lines:
            write(line)
        sys.stdout.flush()
        if end.error and self._stages.number is None:
            self._say(end.error)

    def _abort(self, error: BenchError | OSError) -> None:
        """Ends the test that is starting or running, and headless the process too."""
        self._fail(error)
        gevent.spawn(self._runner.quit if self._options.headless else self._runner.stop)

    def _fail(self, error: BenchError | OSError) -> None:
        """Says it where the user looks; a start that the web page refused does not change how the session ends."""
        if self._options.headless or self._options.autostart:
            self._environment.process_exit_code = int(exit_code_of(error))
        self._say(one_line(error))

    def _say(self, line: str) -> None:
        if self._environment.web_ui is None:
            print(f"bertbench: {line}", file=sys.stderr)
        else:
            # The web page shows the log.
            logger.error("bertbench: %s", line)


def _check_workers(users: int, workers: int, option: str) -> None:
    if users < workers:
        few = f"{users} users cannot be shared by {workers} workers"
        raise UsageError(f"{few}; give more {option}")
