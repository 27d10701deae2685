"""A tab of Locust's web page with the figures of the run in progress, and a line on what is tested without a host.

Locust shows tabs that `template_args["extended_tabs"]` names, and leaves their content to the page. The script of this
folder's `web/` draws it from the JSON of a route here.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import gevent.lock
import msgspec
from flask import Blueprint, Response, make_response, render_template, request, send_file
from flask_login import current_user

from bench.config.own_command import own_command, own_environment
from bench.core import interrupts
from bench.load.live.live_figures import KEPT_SECONDS, LiveFigures
from bench.load.live.snapshot import Snapshot

TAB: Final = "bertbench"
_WEB: Final = Path(__file__).parent / "web"
# Answers that come late change the seconds in which their requests were due.
_REVISED_SECONDS: Final = 30
_REPORT: Final = "report.html"


class TabState(msgspec.Struct, frozen=True, kw_only=True):
    """What the tab shows.

    Args:
        target: what is tested.
        run: name of the run folder; "" before the first run.
        snapshot: the figures; None before the first run's first second.
        outcome: lines of the outcome of a run that has ended.
        report: whether there is a report to ask for.
    """

    target: str
    run: str
    snapshot: Snapshot | None
    outcome: Sequence[str]
    report: bool


class WebTab:
    """The tab; called with the newest figures.

    Args:
        environment: Locust's, with a web page.
        empty_host: what is tested where the host field is empty.
    """

    def __init__(self, environment: Any, empty_host: str) -> None:
        self._environment = environment
        self._web = environment.web_ui
        self._empty_host = empty_host
        self._target = ""
        self._path: Path | None = None
        self._figures: LiveFigures | None = None
        self._outcome: tuple[str, ...] | None = None
        self._writing = gevent.lock.BoundedSemaphore()
        self._web.template_args["extended_tabs"] = [{"title": TAB, "key": TAB}]
        prefix = self._web.app.blueprints["locust"].url_prefix or ""
        blueprint = Blueprint(TAB, __name__, url_prefix=f"{prefix}/{TAB}")
        for rule, view in (("figures", self._state), ("tab.js", self._script), ("report", self._report)):
            blueprint.add_url_rule(f"/{rule}", rule.partition(".")[0], self._web.auth_required_if_enabled(view))
        self._web.app.register_blueprint(blueprint)
        self._web.app.before_request(self._index)

    def begin(self, target: str, path: Path) -> None:
        """A run begins: what it tests, and its folder."""
        self._target, self._path, self._figures, self._outcome = target, path, None, None

    def __call__(self, figures: LiveFigures) -> None:
        """Takes the newest figures."""
        self._figures = figures

    def finished(self, lines: Sequence[str]) -> None:
        """The run has ended and is stored; `lines` are its outcome."""
        self._outcome = tuple(lines)

    def _index(self) -> Any:
        """Locust's page with the tab's script; None for any other page."""
        if request.endpoint != "locust.index" or (self._web.web_login and not current_user.is_authenticated):
            return None
        self._web.update_template_args()
        # Its warning of a missing host is wrong here: `empty_host` says what is tested.
        page = render_template("index.html", template_args={**self._web.template_args, "missing_host_warning": False})
        given = {"emptyHost": self._empty_host, "tab": TAB, "keptSeconds": KEPT_SECONDS}
        text = msgspec.json.encode(given).decode().replace("<", "\\u003c")
        script = f'<script>window.bertbench = {text}</script><script type="module" src="./{TAB}/tab.js"></script>'
        return page.replace("</body>", f"{script}</body>")

    def _script(self) -> Response:
        return send_file(_WEB / "tab.js", mimetype="text/javascript", max_age=0)

    def _state(self) -> Response:
        """The figures as JSON; `after` is the last second that the page has."""
        try:
            after = int(request.args.get("after", 0))
        except ValueError:
            return make_response("after is a number of seconds", 400)
        snapshot = None
        if self._figures is not None:
            more = self._figures.complete - after + _REVISED_SECONDS
            snapshot = self._figures.snapshot(min(max(more, 1), KEPT_SECONDS))
        state = TabState(
            target=self._target,
            run=self._path.name if self._path else "",
            snapshot=snapshot,
            outcome=self._outcome or (),
            report=self._outcome is not None,
        )
        return Response(msgspec.json.encode(state), mimetype="application/json")

    def _report(self) -> Response:
        """The report of the last run, written when it is first asked for, by a process of its own: it is heavy."""
        if self._path is None or self._outcome is None:
            return make_response("no run has ended yet; its report is here then", 404)
        folder = self._path.resolve()
        page = folder / _REPORT
        with self._writing:
            if not page.is_file():
                # Settings are for the reports that the user asks for: this one has its place.
                done = subprocess.run(
                    interrupts.launched(own_command(["report", str(folder)])),
                    env=own_environment(),
                    capture_output=True,
                    text=True,
                    errors="replace",
                    check=False,
                )
                if done.returncode:
                    return make_response(done.stderr or "the report cannot be written", 500)
        return send_file(page, max_age=0)


def described_host(model_dir: str) -> str:
    """What is tested where the host field is empty.

    Args:
        model_dir: the export that the user gave; "" for the demo model.
    """
    model = model_dir or "the demo model"
    return f"Host empty: bertbench starts its embedded server on {model}, and tests that."
