"""A test that a user starts in Locust's web page: its form as typed values, and a refusal as the page's reply."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import request
from flask_login import current_user
from locust import LoadTestShape
from locust.runners import STATE_RUNNING, STATE_SPAWNING
from locust.util.timespan import parse_timespan

from bench.core.errors import BenchError, one_line
from bench.load.locust_adapter.options import OPTIONS, SWITCHES
from bench.load.locust_adapter.web_guard import refusal


@dataclass(frozen=True, slots=True)
class StartForm:
    """What the web page's form asks for.

    Args:
        users: number of users.
        run_time: seconds of load; None if the field is empty.
        host: what to drive; None or "" is the embedded server.
        options: the scenario's options that the form has, by name: texts, and booleans for switches.
    """

    users: int
    run_time: int | None
    host: str | None
    options: Mapping[str, str | bool]

    @classmethod
    def read(cls, form: Mapping[str, str], host: str | None, shape: LoadTestShape | None = None) -> "StartForm | None":
        """The form as Locust reads it; None where Locust itself refuses it, for a number that it cannot read.

        Args:
            form: texts by field.
            host: Locust's host, for a form without one.
            shape: what sets the number of users instead of the form.
        """
        try:
            run_time = parse_timespan(form["run_time"]) if form.get("run_time") else None
            if shape is None:
                float(form["spawn_rate"])
                users = int(form["user_count"])
            else:
                users = _first_users(shape)
        except (KeyError, ValueError):
            return None
        texts = {name: form[name] for name in OPTIONS.keys() & form.keys()}
        switches = {name: form[name] == "true" for name in SWITCHES.keys() & form.keys()}
        return cls(users, run_time, form.get("host", host), {**texts, **switches})


def _first_users(shape: LoadTestShape) -> int:
    """The number of users that a shape begins with; 0 for one that ends at once."""
    # A copy: the test's own clock and calls begin later.
    copied = copy.copy(shape)
    copied.reset_time()
    tick = copied.tick()
    return 0 if tick is None else int(tick[0])


class WebStart:
    """Checks each start in the web page before Locust does, and refuses in the page's reply what cannot start.

    Args:
        environment: Locust's.
        prepare: sets up the run that a form asks for; raises a BenchError or an OSError if it cannot start.
        changing: whether a run is starting, or is over and not stored yet.
    """

    def __init__(self, environment: Any, prepare: Callable[[StartForm], None], changing: Callable[[], bool]) -> None:
        self._environment = environment
        self._prepare = prepare
        self._changing = changing
        self._busy = False
        environment.web_ui.app.before_request(self._check)

    def _check(self) -> Any:
        environment = self._environment
        if request.endpoint != "locust.swarm":
            return None
        if environment.web_ui.web_login and not current_user.is_authenticated:
            return None
        if self._busy or self._changing():
            return refusal(environment, "another run is starting, or is being stopped and stored; wait for it")
        shape = self._shape()
        if environment.runner.state in (STATE_RUNNING, STATE_SPAWNING):
            # Locust would only say that it does not let a shape's users be changed.
            return refusal(environment, "a load shape sets the number of users; stop the run first") if shape else None
        form = StartForm.read(request.form, environment.host, shape)
        if form is None:
            return None
        self._busy = True
        try:
            self._prepare(form)
        except (BenchError, OSError) as error:
            return refusal(environment, one_line(error))
        finally:
            self._busy = False
        return None

    def _shape(self) -> LoadTestShape | None:
        """The load shape that a start would use: the file's, or the one that the form chooses."""
        environment = self._environment
        if not environment.web_ui.userclass_picker_is_active:
            shape: LoadTestShape | None = environment.shape_class
            return shape
        chosen = (environment.available_shape_classes or {}).get(request.form.get("shape_class", "Default"))
        return chosen if isinstance(chosen, LoadTestShape) else None
