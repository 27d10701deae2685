"""The part of a Locust process that sends load: a worker, or the only process."""

import sys
import time
from typing import Any, Final

from locust.runners import MASTER_HEARTBEAT_TIMEOUT, WorkerRunner

from bench.core.errors import ExitCode, one_line
from bench.core.output import fit_locale
from bench.load.engine.clock_comparison import answer
from bench.load.engine.descriptors import make_room
from bench.load.engine.dispatcher import Listener
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.engine.worker_session import WorkerSession
from bench.load.setup.refusals import REFUSALS, refusal
from bench.results.records import Ended, Outcome
from bench.serving.errors import ServingError

# Names of the messages between Locust's master and its workers.
PLAN: Final = "bertbench_plan"
START: Final = "bertbench_start"
STOP: Final = "bertbench_stop"
ABANDON: Final = "bertbench_abandon"
END: Final = "bertbench_end"
REPORT: Final = "bertbench_report"
FAILED: Final = "bertbench_failed"
CLOCK: Final = "bertbench_clock"


class RequestFailure(Exception):
    """A failed request in Locust's statistics."""

    def __repr__(self) -> str:
        return str(self)


def request_names(plan: WorkerPlan) -> dict[str, tuple[str, str]]:
    """Method and name of a run's requests in Locust's statistics, by protocol."""
    signature = plan.workload.signature
    return {"rest": ("POST", f"{plan.endpoint.path} {signature}"), "grpc": ("gRPC", f"Predict {signature}")}


class Worker:
    """Turns messages into a session, and the session's requests into Locust's events.

    Args:
        environment: Locust's.
    """

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._runner = environment.runner
        self.session: WorkerSession | None = None
        self._runner.register_message(PLAN, self._on_plan)
        self._runner.register_message(START, self._on_start)
        self._runner.register_message(STOP, self._on_stop)
        self._runner.register_message(ABANDON, self._on_abandon)
        self._runner.register_message(END, self._on_end)
        if isinstance(self._runner, WorkerRunner):
            self._runner.register_message(CLOCK, self._on_clock)
        environment.events.test_stopping.add_listener(self._on_test_stopping)
        environment.events.test_stop.add_listener(self._on_test_stop)
        if isinstance(self._runner, WorkerRunner):
            environment.events.quitting.add_listener(self._on_quitting)

    def _on_plan(self, environment: Any, msg: Any, **_: Any) -> None:
        try:
            plan = WorkerPlan.from_message(msg.data)
            make_room(plan.users, plan.connections)
            self.session = WorkerSession(plan, self._report, self._listener(request_names(plan), plan.begins))
        except Exception as error:
            # Whatever it is, the master waits for this worker, and Locust only logs what its listeners raise.
            refused = refusal(error)
            self._runner.send_message(FAILED, {"run": msg.data["run"], "error": one_line(refused)})
            if not isinstance(error, REFUSALS):
                raise

    def _on_start(self, environment: Any, msg: Any, **_: Any) -> None:
        if self.session is not None and self.session.run == msg.data["run"]:
            self.session.begin(msg.data)

    def _on_stop(self, environment: Any, msg: Any, **_: Any) -> None:
        if self.session is not None and self.session.run == msg.data["run"]:
            self.session.stop()

    def _on_abandon(self, environment: Any, msg: Any, **_: Any) -> None:
        if self.session is not None and self.session.run == msg.data["run"]:
            self.session.abandon()

    def _on_end(self, environment: Any, msg: Any, **_: Any) -> None:
        if self.session is not None and self.session.run == msg.data["run"]:
            self.session.end_at(float(msg.data["ends"]))

    def _on_clock(self, environment: Any, msg: Any, **_: Any) -> None:
        self._runner.send_message(CLOCK, answer(msg.data))

    def _on_test_stopping(self, environment: Any, **_: Any) -> None:
        if self.session is not None:
            # Until now it was the time of users that are removed from a running test.
            environment.stop_timeout = self.session.stop_seconds
            self.session.stop()

    def _on_test_stop(self, environment: Any, **_: Any) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None
        if isinstance(self._runner, WorkerRunner):
            # Locust's worker would sleep that long before it is ready again, though no users are left.
            environment.stop_timeout = 0.0

    def _on_quitting(self, environment: Any, **_: Any) -> None:
        """Sends the last records before the connection closes; Ctrl-C reaches workers too."""
        last_heartbeat = self._runner.last_heartbeat_timestamp
        if last_heartbeat and last_heartbeat < time.time() - MASTER_HEARTBEAT_TIMEOUT:
            print("bertbench: the master stopped responding; see how it ended and start the run again", file=sys.stderr)
            environment.process_exit_code = int(ExitCode.TARGET_FAILED)
        if self.session is not None:
            self.session.stop()
            self._runner.stop()

    def _report(self, report: dict[str, Any]) -> None:
        if report["over"] and isinstance(self._runner, WorkerRunner):
            # Locust sends its statistics every three seconds, but its master waits only half a second for the last.
            statistics: dict[str, Any] = {}
            self._environment.events.report_to_master.fire(client_id=self._runner.client_id, data=statistics)
            self._runner.send_message("stats", statistics)
        self._runner.send_message(REPORT, report)

    def _listener(self, names: dict[str, tuple[str, str]], begins: float) -> Listener:
        fire = self._environment.events.request.fire

        def fire_event(protocol: str, ended: Ended, error: ServingError | None) -> None:
            """Adds the latency from due to Locust's own statistics, without the warm-up."""
            if ended.due < begins:
                return
            request_type, name = names[protocol]
            fire(
                request_type=request_type,
                name=name,
                response_time=None if ended.done is None else (ended.done - ended.due) * 1e3,
                response_length=ended.bytes_in or 0,
                exception=None if ended.outcome is Outcome.OK else _failure(ended, error),
                context={},
            )

        return fire_event


def _failure(ended: Ended, error: ServingError | None) -> RequestFailure:
    detail = ended.wrong_kind or error
    text = f"{ended.outcome}: {detail}" if detail else str(ended.outcome)
    # Locust opens its CSV files in the locale's encoding.
    return RequestFailure(fit_locale(text))
