"""What is refused before a test starts: by the web page's own reply, and tags that leave nothing to do."""

import logging
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import jsonify, request
from flask_login import current_user
from locust.runners import STATE_RUNNING, STATE_SPAWNING
from locust.user.task import filter_tasks_by_tags
from locust.util.timespan import parse_timespan

from bench.core.errors import BenchError, UsageError, one_line

logger = logging.getLogger(__name__)


class WebStart:
    """Answers a start in the web page that cannot be begun with the reason, where Locust would say that it has begun.

    Args:
        environment: Locust's.
        prepare: prepares a run of the options and the host in the form.
    """

    def __init__(self, environment: Any, prepare: Callable[[Namespace, str | None], None]) -> None:
        self._environment = environment
        self._prepare = prepare
        self._busy = False

    def install(self) -> None:
        """Looks at each start before Locust does."""
        self._environment.web_ui.app.before_request(self._check)

    def _check(self) -> Any:
        environment = self._environment
        if request.endpoint != "locust.swarm" or environment.runner.state in (STATE_RUNNING, STATE_SPAWNING):
            return None
        if environment.web_ui.web_login and not current_user.is_authenticated:
            return None
        options = _with_form(environment.parsed_options, request.form)
        if options is None:
            # A number that is none: Locust says so.
            return None
        if self._busy:
            return self._refusal("a start is under way; wait for it")
        self._busy = True
        try:
            self._prepare(options, request.form.get("host", environment.host))
        except (BenchError, OSError) as error:
            return self._refusal(one_line(error))
        finally:
            self._busy = False
        return None

    def _refusal(self, reason: str) -> Any:
        logger.error("bertbench: %s", reason)
        return jsonify({"success": False, "message": reason, "host": self._environment.host})


def _with_form(options: Namespace, form: Mapping[str, str]) -> Namespace | None:
    """The options as Locust's start reads them from its form; None where it refuses them itself."""
    found = dict(vars(options))
    try:
        found["num_users"], _ = int(form["user_count"]), float(form["spawn_rate"])
        found["run_time"] = parse_timespan(form["run_time"]) if form.get("run_time") else None
    except (KeyError, ValueError):
        return None
    for name in form.keys() & found.keys() - {"run_time", "num_users", "spawn_rate"}:
        found[name] = form[name] == "true" if isinstance(found[name], bool) else form[name]
    return Namespace(**found)


def refuse_tags(user_classes: Iterable[Any], options: Any) -> None:
    """Looks whether `--tags` and `--exclude-tags` leave each user something to do.

    Raises:
        UsageError: they do not.
    """
    tags, excluded = (set(given) if given else None for given in (options.tags, options.exclude_tags))
    if tags is None and excluded is None:
        return
    for user in user_classes:
        # What is left is looked for in a copy, as Locust takes the others away for good.
        copy: Any = type(user.__name__, (), {"tasks": list(user.tasks), "functions": True})
        filter_tasks_by_tags(copy, tags, excluded)
        if not copy.tasks:
            given = [
                f"--{name} {' '.join(sorted(words))}"
                for name, words in (("tags", tags), ("exclude-tags", excluded))
                if words
            ]
            raise UsageError(
                f"{' '.join(given)} leaves {user.__name__} no task; leave it out, or tag the scenario's tasks"
            )
