"""What a scenario file is made of: `install(Scenario(...))` or one of `SCENARIOS`, and a class derived from `BertUser`.

Importing this imports Locust, which patches the standard library for gevent: only Locust's processes do.
"""

import logging
import sys
from typing import Any, Final

from locust import User, constant, events, task
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner
from locust.user.task import LOCUST_STATE_STOPPING

from bench.core.output import accept_all
from bench.load.locust_adapter.locust_stages import Stages
from bench.load.locust_adapter.options import add_options
from bench.load.locust_adapter.worker import Worker
from bench.load.setup.catalog import SCENARIOS, SampleRule, Scenario

__all__ = ["SCENARIOS", "BertUser", "SampleRule", "Scenario", "install"]

_installed: Final[list[Scenario]] = []
_workers: Final[dict[int, Worker]] = {}


class BertUser(User):
    """One of the pool that sends what is due. Derived classes need nothing but a name."""

    abstract = True
    wait_time = constant(0)
    # By which the master tells these users from others that a file may have beside them.
    sends_schedule = True

    @task
    def drive(self) -> None:
        """Sends until nothing is left, then ends."""
        session = _workers[id(self.environment)].session
        if session is not None:
            session.drive(lambda: self._state == LOCUST_STATE_STOPPING)
        raise StopUser


def install(scenario: Scenario) -> Scenario:
    """Makes the process's Locust run `scenario`: its options, and all that a run needs beside the users."""
    if _installed:
        print(
            f"bertbench: one scenario at a time; {_installed[0].name} and {scenario.name} were both given to -f",
            file=sys.stderr,
        )
        sys.exit(2)
    _installed.append(scenario)
    events.init_command_line_parser.add_listener(lambda parser, **_: add_options(parser, scenario))
    events.init.add_listener(lambda environment, **_: _join(environment, scenario))
    return scenario


def _join(environment: Any, scenario: Scenario) -> None:
    _accept_all()
    master: Any = None
    stages = Stages(environment, lambda: master and master.close())
    # The worker's listeners come first: a test that stops hands over its last records before they are put away.
    if not isinstance(environment.runner, MasterRunner):
        _workers[id(environment)] = Worker(environment)
    if isinstance(environment.runner, WorkerRunner):
        _say_nothing_of_a_part(environment.parsed_options)
    else:
        # Here and not above: a worker starts sooner without it.
        from bench.load.locust_adapter.master import Master

        master = Master(environment, scenario, stages)
        master.prepare()
    stages.prepared()


def _accept_all() -> None:
    """Whatever encoding the terminal and the log file have."""
    for stream in (sys.stdout, sys.stderr):
        accept_all(stream)
    for logger in (logging.getLogger(), logging.getLogger("locust"), logging.getLogger("locust.stats_logger")):
        for handler in logger.handlers:
            accept_all(getattr(handler, "stream", None))


def _say_nothing_of_a_part(options: Any) -> None:
    """A worker of `--processes` has its master's options; the statistics of all are the master's to show."""
    if options.processes:
        options.json, options.json_file = False, None
