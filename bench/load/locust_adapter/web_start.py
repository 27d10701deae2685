"""A test that a user starts in Locust's web page: its form as typed values, and a refusal as the page's reply."""

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flask import Response, request
from flask_login import current_user
from locust import LoadTestShape
from locust.runners import STATE_RUNNING, STATE_SPAWNING
from locust.util.timespan import parse_timespan
from werkzeug.datastructures import ImmutableMultiDict, MultiDict

from bench.core.errors import BenchError, one_line
from bench.load.locust_adapter.options import OPTIONS, SWITCHES
from bench.load.locust_adapter.web_guard import refusal

_OF_RUNNING: Final = frozenset({"user_count", "spawn_rate"})
"""Fields that change a running test."""


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


def changed_fields(form: MultiDict[str, str], now: Mapping[str, Any], at_start: Mapping[str, Any]) -> list[str]:
    """The fields of a form, beside the number of users, that have neither the running test's value nor the page's own.

    Args:
        form: texts by field.
        now: values of the running test, by field; what is not in it is no option.
        at_start: those of the options that the page shows after a reload.
    """
    return [
        name
        for name in form
        if name not in _OF_RUNNING
        and name in now
        and not any(_says(form.getlist(name), value) for value in (now[name], at_start.get(name, now[name])))
    ]


def _says(texts: Sequence[str], value: Any) -> bool:
    """Whether the texts of a field stand for a value."""
    if isinstance(value, list):
        return sorted(texts) == sorted(map(str, value)) or texts == [",".join(map(str, value))]
    text = texts[0].strip()
    if isinstance(value, bool):
        return (text == "true") == value
    if isinstance(value, int) and not text.isdigit():
        with contextlib.suppress(ValueError):
            return bool(parse_timespan(text) == value)
    return text == ("" if value is None else str(value))


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
            return self._check_running(shape)
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

    def _check_running(self, shape: LoadTestShape | None) -> Response | None:
        """Lets the running test have another number of users, and nothing else, which Locust would take for the next.

        The form shows the other options too: after a reload with their values at the start of Locust.
        """
        environment = self._environment
        if shape:
            # Locust would only say that it does not let a shape's users be changed.
            return refusal(environment, "a load shape sets the number of users; stop the run first")
        names = [kind.__name__ for kind in environment.user_classes]
        now = {**vars(environment.parsed_options), "host": environment.host, "user_classes": names}
        shown = environment.web_ui.template_args["extra_options"]
        at_start = {name: option["default_value"] for name, option in shown.items()}
        if changed := changed_fields(request.form, now, at_start):
            return refusal(environment, f"{', '.join(changed)} cannot be changed in a running test; stop it first")
        request.form = ImmutableMultiDict((name, request.form[name]) for name in _OF_RUNNING & request.form.keys())
        return None

    def _shape(self) -> LoadTestShape | None:
        """The load shape that a start would use: the file's, or the one that the form chooses."""
        environment = self._environment
        if not environment.web_ui.userclass_picker_is_active:
            shape: LoadTestShape | None = environment.shape_class
            return shape
        chosen = (environment.available_shape_classes or {}).get(request.form.get("shape_class", "Default"))
        return chosen if isinstance(chosen, LoadTestShape) else None
