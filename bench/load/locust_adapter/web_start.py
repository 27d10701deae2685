"""A test that a user starts in Locust's web page: its form as typed values, and a refusal as the page's reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import request
from flask_login import current_user
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
    def read(cls, form: Mapping[str, str], host: str | None) -> "StartForm | None":
        """The form as Locust reads it; None where Locust itself refuses it, for a number that it cannot read.

        Args:
            form: texts by field.
            host: Locust's host, for a form without one.
        """
        try:
            float(form["spawn_rate"])
            run_time = parse_timespan(form["run_time"]) if form.get("run_time") else None
            users = int(form["user_count"])
        except (KeyError, ValueError):
            return None
        texts = {name: form[name] for name in OPTIONS.keys() & form.keys()}
        switches = {name: form[name] == "true" for name in SWITCHES.keys() & form.keys()}
        return cls(users, run_time, form.get("host", host), {**texts, **switches})


class WebStart:
    """Checks each start in the web page before Locust does, and refuses in the page's reply what cannot start.

    Args:
        environment: Locust's.
        prepare: sets up the run that a form asks for; raises a BenchError or an OSError if it cannot start.
    """

    def __init__(self, environment: Any, prepare: Callable[[StartForm], None]) -> None:
        self._environment = environment
        self._prepare = prepare
        self._busy = False
        environment.web_ui.app.before_request(self._check)

    def _check(self) -> Any:
        environment = self._environment
        if request.endpoint != "locust.swarm" or environment.runner.state in (STATE_RUNNING, STATE_SPAWNING):
            return None
        if environment.web_ui.web_login and not current_user.is_authenticated:
            return None
        form = StartForm.read(request.form, environment.host)
        if form is None:
            return None
        if self._busy:
            return refusal(environment, "another start is in progress; wait for it")
        self._busy = True
        try:
            self._prepare(form)
        except (BenchError, OSError) as error:
            return refusal(environment, one_line(error))
        finally:
            self._busy = False
        return None
