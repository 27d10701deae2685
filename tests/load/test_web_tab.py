"""The report that the tab of Locust's web page shows; the blueprint here stands in for Locust's."""

from pathlib import Path
from types import SimpleNamespace

import flask
import pytest
from flask.testing import FlaskClient

from bench.load.locust_adapter.web_tab import WebTab
from bench.results.run_reader import Run
from tests.support.synthetic_runs import simulate, write_run


def page_of(run: Run) -> FlaskClient:
    """A page whose last run is `run`."""
    app = flask.Flask(__name__)
    app.register_blueprint(flask.Blueprint("locust", __name__))
    web = SimpleNamespace(app=app, template_args={}, web_login=False, auth_required_if_enabled=lambda view: view)
    tab = WebTab(SimpleNamespace(web_ui=web), "")
    tab.begin("a target", run.path)
    tab.finished(["1,000 ok"])
    return app.test_client()


def test_the_report_is_the_run_s_own_whatever_the_user_has_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = write_run(Path("runs"), simulate())
    Path("bertbench.toml").write_text("[report]\nout = 'of-the-file'\n")
    monkeypatch.setenv("BERTBENCH_REPORT_OUT", "of-the-variable")
    with page_of(run).get("/bertbench/report") as reply:
        assert reply.status_code == 200, reply.text
        assert run.name in reply.text
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "bertbench.toml"}
    assert (run.path / "report.html").is_file()
