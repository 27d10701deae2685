"""The part of a Locust process that plans and collects: the master, or the only process.

A local runner is master and worker at once: it sends its messages to itself, so that both cases share this code.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.event import Event
from gevent.util import wrap_errors
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner

from bench.core.errors import BenchError, TargetError, UsageError, one_line
from bench.load.live.live_figures import LiveFigures
from bench.load.live.metric_exports import Export
from bench.load.live.snapshot_pipe import SnapshotPipe
from bench.load.locust_adapter.fixed_workers import FixedWorkers
from bench.load.locust_adapter.locust_stages import Stages
from bench.load.locust_adapter.outcome_reporter import OutcomeReporter
from bench.load.locust_adapter.run_factory import RunFactory, refuse_tags
from bench.load.locust_adapter.running_test import RunningTest
from bench.load.locust_adapter.web_guard import WebGuard
from bench.load.locust_adapter.web_start import StartForm, WebStart
from bench.load.locust_adapter.web_tab import WebTab, described_host
from bench.load.locust_adapter.worker import CLOCK, FAILED, REPORT
from bench.load.setup.catalog import Scenario
from bench.load.setup.refusals import REFUSALS, refusal
from bench.load.setup.run_setup import RunSetup
from bench.load.setup.storing import load_storing

logger = logging.getLogger(__name__)

_ALL_LOST: Final = (
    "all workers were lost before the load began (they ended, or were silent for 3 s); see how they ended, or give "
    "each a core of its own, and run again"
)


class Master:
    """Turns Locust's starts and stops into runs.

    Args:
        environment: Locust's.
        scenario: whose runs they are.
        stages: what signals do.

    Attributes:
        watchers: called each second of a run with its newest figures, and once more with the final ones.
    """

    def __init__(self, environment: Any, scenario: Scenario, stages: Stages) -> None:
        self._environment = environment
        self._options = environment.parsed_options
        self._runner = environment.runner
        self._stages = stages
        self._factory = RunFactory(environment, scenario)
        self._reporter = OutcomeReporter(environment, stages)
        self._setup: RunSetup | None = None
        self._test: RunningTest | None = None
        self._beginning: gevent.Greenlet | None = None
        # Whether the last start ended with an error, which was printed.
        self._aborted = False
        self._stored = Event()
        self._stored.set()
        self.watchers: list[Callable[[LiveFigures], None]] = []
        if (given := self._factory.given) is not None and given.live_fd is not None:
            self.watchers.append(SnapshotPipe(given.live_fd))
        self._exports: list[Export] = []
        self._tab: WebTab | None = None
        self._runner.register_message(REPORT, self._on_report)
        self._runner.register_message(FAILED, self._on_failed)
        if isinstance(self._runner, MasterRunner):
            self._runner.register_message(CLOCK, self._on_clock)
            environment.dispatcher_class = FixedWorkers(lambda: self._test is not None)
        events = environment.events
        events.worker_connect.add_listener(self._on_worker_connect)
        events.test_start.add_listener(self._on_test_start)
        events.spawning_complete.add_listener(self._on_spawned)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.test_stop.add_listener(self._on_test_stop)
        events.quitting.add_listener(self._on_quitting)
        events.quit.add_listener(self._on_quit)

    def prepare(self) -> None:
        """Sets up the run of a process that starts by itself; what cannot start ends the process with one line."""
        starts_by_itself = self._options.headless or self._options.autostart
        try:
            refuse_tags(self._environment.user_classes, self._options)
            self._factory.check_host()
            self._exports = self._factory.exports()
            self.watchers += self._exports
            load_storing("bench.results.parquet", "bench.load.setup.run_outcome")
            if starts_by_itself:
                self._setup = self._factory.from_options(self._options.num_users)
        except (BenchError, OSError) as error:
            self.close()
            print(f"bertbench: {one_line(error)}", file=sys.stderr)
            sys.exit(self._reporter.exit_code(error))
        except KeyboardInterrupt:
            self.close()
            self._stages.leave()
        if starts_by_itself:
            self._factory.defer_timers(self._setup)
        if self._environment.web_ui is not None:
            WebGuard(self._environment, self._factory.protocol)
            WebStart(self._environment, self._set_up, self._changing)
            self._tab = WebTab(self._environment, described_host(self._options.model_dir))
            self.watchers.append(self._tab)

    def close(self) -> None:
        """Stops the server that was started here, and what others watch."""
        self._factory.close()
        while self._exports:
            self._exports.pop().close()

    def _set_up(self, form: StartForm) -> None:
        self._setup = self._factory.from_form(form)

    def _changing(self) -> bool:
        """Whether a run is starting, or is over and not stored yet: another one would take its place."""
        runner, test = self._runner, self._test
        if runner.state in (STATE_SPAWNING, STATE_RUNNING):
            return test is not None and test.ending
        # Workers of the last run may still be ending it.
        busy = isinstance(runner, MasterRunner) and bool(runner.clients.spawning or runner.clients.running)
        return test is not None or not self._stored.is_set() or busy

    def _on_test_start(self, **_: Any) -> None:
        self._aborted, self._test, self._beginning = False, None, None
        try:
            if self._setup is None:
                self._setup = self._factory.from_options(self._runner.target_user_count)
            self._factory.restore_run_time()
            self._test = RunningTest(self._environment, self._setup)
            self._test.distribute_plans()
            self._test.prepare_looks()
        except Exception as error:
            if not isinstance(error, REFUSALS):
                logger.exception("the run cannot be made")
            self._abort(error)
            test, self._test = self._test, None
            if test is not None:
                test.close()
            # Locust goes on to spawn users after its listeners, unless this greenlet ends.
            raise gevent.GreenletExit from error

    def _on_spawned(self, **_: Any) -> None:
        """Starts the clock, once, when all users exist; also called whenever their number or the workers change."""
        if (web := self._environment.web_ui) is not None:
            # The timer of the form's run time, which counts from now and would cut the end off.
            web._cancel_run_time_timer()
        if self._test is None or self._beginning is not None:
            return
        self._stored.clear()
        # In a greenlet of its own: Locust ends this one if the number of users changes meanwhile.
        self._beginning = gevent.spawn(wrap_errors(Exception, self._begin), self._test)
        if isinstance(fault := self._beginning.get(), Exception):
            raise fault

    def _begin(self, test: RunningTest) -> None:
        try:
            path = test.begin(self._on_over, self._on_second)
        except REFUSALS as error:
            self._stored.set()
            self._abort(error)
        except BaseException:
            # Locust only logs what its listeners raise: nothing would ever end the run, or let a signal end it.
            self._stored.set()
            gevent.spawn(self._runner.quit if self._options.headless else self._runner.stop)
            raise
        else:
            if self._tab is not None:
                self._tab.begin(test.title, path)

    def _on_second(self, figures: LiveFigures) -> None:
        for watcher in self.watchers:
            watcher(figures)
        if self._test is not None:
            self._test.look(figures)

    def _on_report(self, environment: Any, msg: Any, **_: Any) -> None:
        if self._test is not None and self._test.collector is not None and msg.data["run"] == self._test.run:
            self._test.collector.report(msg.data)

    def _on_clock(self, environment: Any, msg: Any, **_: Any) -> None:
        if self._test is not None and msg.data["run"] == self._test.run:
            self._test.compare_clock(msg.data)

    def _on_worker_connect(self, client_id: str, **_: Any) -> None:
        if self._test is not None:
            self._test.joined(client_id)

    def _on_failed(self, environment: Any, msg: Any, **_: Any) -> None:
        if self._test is None or msg.data["run"] != self._test.run:
            return
        self._test.refuse(msg.data["error"])
        if isinstance(self._runner, MasterRunner):
            self._abort(UsageError(msg.data["error"]))

    def _on_over(self) -> None:
        gevent.spawn(self._runner.quit if self._options.headless else self._stop_web_test)

    def _stop_web_test(self) -> None:
        """Ends a run of a process with a web page; `--autoquit` then ends the process that `--autostart` began."""
        self._runner.stop()
        if self._options.autostart and self._options.autoquit >= 0:
            gevent.sleep(self._options.autoquit)
            self._runner.quit()
            self._environment.web_ui.stop()

    def _on_test_stopping(self, **_: Any) -> None:
        test = self._begun_test()
        if test is not None and test.collector is not None and not test.collector.over.is_set():
            if isinstance(self._runner, MasterRunner) and not self._runner.worker_count:
                # Locust stops a test whose last worker ended.
                test.await_interrupt()
            test.stop_early()
            test.wait_for_workers()

    def _begun_test(self) -> RunningTest | None:
        """The test, once it has begun if it is beginning: what stops it would not reach what the beginning starts."""
        if self._beginning is not None:
            self._beginning.join()
        return self._test

    def _on_test_stop(self, **_: Any) -> None:
        test, self._test = self._test, None
        if not self._options.headless:
            self._setup = None
        if test is None:
            return
        try:
            self._end(test)
        except REFUSALS as error:
            self._reporter.failed(refusal(error))
        finally:
            self._stored.set()

    def _end(self, test: RunningTest) -> None:
        """Stores a test that is over, and reports on it."""
        test.close()
        if test.collector is None:
            self._explain_no_load()
            return
        test.leave_warmup_out()
        outcome = test.finish()
        self._reporter.finished(outcome, test.collector.path, test.request_names)
        if self._tab is not None:
            self._tab.finished((*outcome.lines, *filter(None, [outcome.error])))
        self._linger()

    def _explain_no_load(self) -> None:
        """Ends a test whose workers were all lost while users were created: Locust stops it, and waits for its end."""
        quiet = self._aborted or self._stages.number is not None
        if not quiet and isinstance(self._runner, MasterRunner) and not self._runner.worker_count:
            self._abort(TargetError(_ALL_LOST))

    def _linger(self) -> None:
        """Lets others have the final figures, before a process without a web page ends."""
        if self._stages.number is None:
            waiting = [gevent.spawn(export.linger) for export in self._exports]
            if self._options.headless:
                gevent.joinall(waiting)

    def _on_quitting(self, **_: Any) -> None:
        """Ends the run on Ctrl-C and SIGTERM, while the process's exit code can still be set."""
        if (test := self._begun_test()) is not None and test.collector is not None:
            # At once: Locust sends its workers its own stop only later.
            test.stop_early()
            if isinstance(self._runner, MasterRunner):
                self._runner.stop(send_stop_to_client=False)
            else:
                self._runner.stop()
        # A run that has just ended may still be written, by the greenlet that found it over.
        self._stored.wait()

    def _on_quit(self, **_: Any) -> None:
        """Comes last of all, after Locust's tables."""
        self.close()
        self._reporter.print_last()

    def _abort(self, error: Exception) -> None:
        """Ends the test that is starting or running, and without a web page the process too."""
        self._aborted = True
        self._reporter.failed(refusal(error))
        gevent.spawn(self._runner.quit if self._options.headless else self._runner.stop)
