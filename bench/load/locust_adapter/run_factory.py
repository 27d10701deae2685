"""The setup of each test that a Locust process starts: of its options, of the run of `bertbench run`, or of a web form.

Locust's own timers would end a test before its schedule does; `defer_timers` keeps them off.
"""

import logging
import math
from collections.abc import Iterable
from typing import Any, Final

from locust.runners import MasterRunner
from locust.user.task import filter_tasks_by_tags

from bench.core.errors import UsageError
from bench.core.units import pluralize
from bench.load.engine.collector import PATIENCE_SECONDS
from bench.load.live.metric_exports import Export, open_exports
from bench.load.locust_adapter.header_options import GIVEN_HEADERS
from bench.load.locust_adapter.options import read_option, read_spec, read_target, spec_for
from bench.load.locust_adapter.web_start import StartForm
from bench.load.setup.catalog import Scenario
from bench.load.setup.run_setup import RunSetup
from bench.load.setup.target_session import TargetSession

STOP_SECONDS: Final = 10.0
"""Users have this long to end what is in flight when a run is stopped early, or the drain if that is shorter."""
_SAFETY_SECONDS: Final = 60


class RunFactory:
    """Makes the setup of each run.

    Args:
        environment: Locust's.
        scenario: whose runs they are.

    Attributes:
        given: the run for which `bertbench run` started this process; None if a user started it.
        protocol: the scenario's.
    """

    def __init__(self, environment: Any, scenario: Scenario) -> None:
        self._environment = environment
        self._options = environment.parsed_options
        # Taken out of the options, which Locust sends to all workers.
        self._headers = vars(self._options).pop(GIVEN_HEADERS, ())
        self._scenario = scenario
        self.protocol = scenario.protocol
        self.given = spec_for(scenario)
        self._target = TargetSession()
        self._deferred_run_time: int | None = None

    def from_options(self, users: int) -> RunSetup:
        """The run that `bertbench run` gave, or that of Locust's options with `users` users.

        Raises:
            BenchError: it cannot start.
        """
        if self.given is not None:
            return RunSetup.make(self.given, self._target)
        run_time = self._options.run_time
        if not run_time:
            raise UsageError("the run needs a run time; give it like -t 60s")
        return self._make(vars(self._options), self._environment.host, users, run_time)

    def exports(self) -> list[Export]:
        """What others can watch of the runs of this process.

        Raises:
            UsageError: an option of it cannot be read or honoured.
        """
        if self.given is not None:
            return open_exports(self.given.metrics_port, self.given.otlp_endpoint)
        texts = vars(self._options)
        return open_exports(*(read_option(name, texts[name]) for name in ("metrics_port", "otlp_endpoint")))

    def from_form(self, form: StartForm) -> RunSetup:
        """The run that a user starts in the web page.

        Raises:
            BenchError: it cannot start.
        """
        runner = self._environment.runner
        if isinstance(runner, MasterRunner):
            workers = len(runner.clients.ready)
            if not workers:
                raise UsageError("no worker is connected; start one with locust --worker")
            check_workers(form.users, workers, "--users")
        if not form.run_time:
            raise UsageError("the run needs a run time; give it like 60s")
        return self._make({**vars(self._options), **form.options}, form.host, form.users, form.run_time)

    def check_host(self) -> None:
        """Refuses a host that no run can have, before the web page shows it: it may hold a password.

        Raises:
            UsageError: it is not a target.
        """
        read_target(self._environment.host, self._scenario.protocol)

    def defer_timers(self, setup: RunSetup | None) -> None:
        """Takes the end of the first test from Locust's timers: the collector finds it.

        Args:
            setup: of that test; None if it is not known yet.
        """
        options = self._options
        if options.headless:
            # As a safety net.
            ramp = options.num_users / options.spawn_rate
            longest = max(options.run_time, math.ceil(setup.spec.run_time if setup else 0.0))
            after = math.ceil(ramp + (setup.spec.drain if setup else 0.0) + STOP_SECONDS + 2 * PATIENCE_SECONDS)
            options.run_time = longest + after + _SAFETY_SECONDS
        else:
            # Its timer would also end a test that is started from the web page later.
            self._deferred_run_time, options.run_time = options.run_time, None
        logging.getLogger("locust.main").addFilter(lambda record: "ime limit set" not in record.getMessage())

    def restore_run_time(self) -> None:
        """Gives Locust its run time back, which the web form shows; to be called when a test starts."""
        if self._deferred_run_time is not None:
            self._options.run_time, self._deferred_run_time = self._deferred_run_time, None

    def close(self) -> None:
        """Stops the server that was started here."""
        self._target.close()

    def _make(self, values: dict[str, Any], host: str | None, users: int, run_time: int) -> RunSetup:
        spec = read_spec(values | {GIVEN_HEADERS: self._headers}, self._scenario, host, users, run_time)
        return RunSetup.make(spec, self._target)


def check_workers(users: int, workers: int, option: str) -> None:
    """Refuses fewer users than workers; `option` is how the user gives them.

    Raises:
        UsageError: there are fewer.
    """
    if users < workers:
        raise UsageError(f"{pluralize(users, 'user')} cannot be shared by {workers} workers; give more {option}")


def refuse_tags(user_classes: Iterable[Any], options: Any) -> None:
    """Refuses `--tags` and `--exclude-tags` that leave a user without a task.

    Raises:
        UsageError: they do.
    """
    tags, excluded = (set(given) if given else None for given in (options.tags, options.exclude_tags))
    if tags is None and excluded is None:
        return
    for user in user_classes:
        # A copy, since Locust removes the other tasks for good.
        copy: Any = type(user.__name__, (), {"tasks": list(user.tasks), "functions": True})
        filter_tasks_by_tags(copy, tags, excluded)
        if not copy.tasks:
            named = (("tags", tags), ("exclude-tags", excluded))
            given = " ".join(f"--{name} {' '.join(sorted(words))}" for name, words in named if words)
            raise UsageError(f"{given} leaves {user.__name__} no task; leave it out, or tag the scenario's tasks")
