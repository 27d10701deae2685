"""What a scenario file is made of: `install(Scenario(...))`, and a user class derived from `BertUser`.

Importing this imports Locust, which patches the standard library for gevent: only Locust's processes do.
"""

import signal
import sys
from typing import Any, Final

import gevent
from locust import User, constant, events, task
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner
from locust.user.task import LOCUST_STATE_STOPPING

from bench.load.options import SampleRule, Scenario, add_options
from bench.load.worker_side import WorkerSide

__all__ = ["BertUser", "SampleRule", "Scenario", "install"]

_installed: Final[list[Scenario]] = []
_workers: Final[dict[int, WorkerSide]] = {}


class BertUser(User):
    """One of the pool that sends what is due. Derived classes need nothing but a name."""

    abstract = True
    wait_time = constant(0)
    # By which the coordinator tells these users from others that a file may have beside them.
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
    _interrupt_only_main()
    # The worker's listeners come first: a test that stops hands over its last records before they are put away.
    if not isinstance(environment.runner, MasterRunner):
        _workers[id(environment)] = WorkerSide(environment)
    if not isinstance(environment.runner, WorkerRunner):
        # Here and not above: a worker starts sooner without it.
        from bench.load.coordinator_side import CoordinatorSide

        CoordinatorSide(environment, scenario).prepare()


def _interrupt_only_main() -> None:
    """Ctrl-C goes to Locust's main greenlet, never to a user in the middle of a request, as a signal otherwise may."""
    main = gevent.getcurrent()
    hub = gevent.get_hub()
    gevent.signal_handler(signal.SIGINT, lambda: hub.loop.run_callback(main.throw, KeyboardInterrupt))
