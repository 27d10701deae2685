"""The parts of a scenario file: `install` with a `Scenario`, one's own or of `SCENARIOS`, and a subclass of `BertUser`.

Importing this imports Locust, which patches the standard library for gevent; only Locust's processes do that.
"""

import logging
import sys
from typing import Any, Final, NoReturn

from locust import User, constant, events, task
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner
from locust.user.task import LOCUST_STATE_STOPPING

from bench.core.errors import UsageError
from bench.core.extras import missing_extra
from bench.core.logs import log_as_parent
from bench.core.operating_system import require_supported_system
from bench.core.output import accept_all
from bench.load.locust_adapter.bounds import bound_options
from bench.load.locust_adapter.locust_stages import Stages
from bench.load.locust_adapter.options import add_options
from bench.load.locust_adapter.settings import take_settings
from bench.load.locust_adapter.worker import Worker
from bench.load.setup.catalog import SCENARIOS, SampleRule, Scenario

__all__ = ["SCENARIOS", "BertUser", "SampleRule", "Scenario", "install"]

_installed: Final[list[Scenario]] = []
_workers: Final[dict[int, Worker]] = {}


class BertUser(User):
    """One user of the pool that sends due requests. Subclasses need nothing but a name."""

    abstract = True
    wait_time = constant(0)
    # Distinguishes these users from those of other classes in the file.
    sends_schedule = True

    @task
    def drive(self) -> None:
        """Sends requests until none is left."""
        session = _workers[id(self.environment)].session
        if session is not None:
            session.drive(lambda: self._state == LOCUST_STATE_STOPPING)
        raise StopUser

    def stop(self, force: bool = False) -> bool:
        """Stops the user, as Locust asks for when it removes it: a request in flight ends first, and nothing else."""
        killed: bool = super().stop(force)
        session = _workers[id(self.environment)].session
        if killed or session is None or session.leave(self.greenlet):
            return killed
        return bool(super().stop(force=True))


def install(scenario: Scenario) -> Scenario:
    """Makes the process's Locust run `scenario`, with its options; returns it."""
    try:
        require_supported_system()
        if _installed:
            raise UsageError(f"one scenario at a time; -f has both {_installed[0].name} and {scenario.name}")
    except UsageError as error:
        _refuse(error)
    _installed.append(scenario)
    events.init_command_line_parser.add_listener(lambda parser, **_: _add_options(parser, scenario))
    events.init.add_listener(lambda environment, **_: _join(environment, scenario))
    return scenario


def _add_options(parser: Any, scenario: Scenario) -> None:
    add_options(parser, scenario)
    bound_options(parser)
    take_settings(parser, scenario)


def _join(environment: Any, scenario: Scenario) -> None:
    log_as_parent()
    _accept_all()
    master: Any = None
    stages = Stages(environment, lambda: master and master.close())
    # The worker's listeners come first: a test that stops must send its last records before the master stores them.
    if not isinstance(environment.runner, MasterRunner):
        _workers[id(environment)] = Worker(environment)
    if isinstance(environment.runner, WorkerRunner):
        _suppress_json(environment.parsed_options)
    else:
        master = _master_class()(environment, scenario, stages)
        master.prepare()
    stages.initialized()


def _master_class() -> Any:
    """Imported here: a worker starts sooner without it, and does not have all that it needs."""
    try:
        from bench.load.locust_adapter.master import Master
    except ModuleNotFoundError as error:
        refused = missing_extra(error)
        if refused is None:
            raise
        _refuse(refused)
    return Master


def _refuse(error: UsageError) -> NoReturn:
    print(f"bertbench: {error}", file=sys.stderr)
    sys.exit(int(error.exit_code))


def _accept_all() -> None:
    """Makes terminal and log file accept all characters, whatever their encoding."""
    for stream in (sys.stdout, sys.stderr):
        accept_all(stream)
    for logger in (logging.getLogger(), logging.getLogger("locust"), logging.getLogger("locust.stats_logger")):
        for handler in logger.handlers:
            accept_all(getattr(handler, "stream", None))


def _suppress_json(options: Any) -> None:
    """A worker of `--processes` has its master's options, but only the master prints statistics."""
    if options.processes:
        options.json, options.json_file = False, None
