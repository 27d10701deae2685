"""What a visitor of Locust's web page may ask for; the routes here stand in for Locust's, whose names they have."""

from types import SimpleNamespace
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient

from bench.core.errors import UsageError
from bench.load.locust_adapter.options import NOT_IN_FORM, OPTIONS, SWITCHES
from bench.load.locust_adapter.web_guard import Given, WebGuard, check_form, from_elsewhere

FIELDS = frozenset(OPTIONS.keys() - NOT_IN_FORM | SWITCHES.keys())
GIVEN = Given("rest", "http://h:8501", "poisson:rate=5", FIELDS)
HOME = {"Host": "127.0.0.1:8089"}


def refused(form: dict[str, str], given: Given = GIVEN) -> str:
    """Why a form is refused; "" if it is not."""
    try:
        check_form(form, given)
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"user_count": "4", "spawn_rate": "100", "run_time": "2s", "host": "", "seed": "3", "padded": "true"},
        {"host": "http://other:8501", "arrivals": "closed", "headers": "X-Team: a; X-Key: b:@c"},
        {"host": "embedded", "user_count": "100000"},
        {"user_count": "many"},
        {"user_classes": "RestUser", "shape_class": "Default", "profile": ""},
    ],
)
def test_a_visitor_chooses_the_load(form: dict[str, str]) -> None:
    assert refused(form) == ""


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"run_time": "99999999999999999999s"}, "a duration of '99999999999999999999s' is longer than a year"),
        *(
            ({name: "x"}, f"the web page cannot set --{name.replace('_', '-')}; start Locust with it")
            for name in sorted(NOT_IN_FORM)
        ),
        ({"user_count": "100001"}, "the web page starts 100,000 users at most; give fewer"),
        *(
            ({"user_count": "1", "spawn_rate": rate}, f"the spawn rate {rate} is out of range; give a number from")
            for rate in ("0", "-1", "1e-9", "5e-324", "1e10")
        ),
        *(
            ({"user_count": "1", "spawn_rate": rate}, f"the spawn rate {rate!r} is not a number; give a number from")
            for rate in ("nan", "inf", "fast")
        ),
        ({"spawn_rate": "9" * 999}, "9…' is not a number"),
        ({"html_file": "/tmp/x"}, "the web page has no field 'html_file'; leave it out"),
        ({"csv_prefix": "/tmp/x"}, "no field 'csv_prefix'"),
        ({"x" * 999: ""}, f"no field '{'x' * 40}'"),
        ({"host": "binary:/bin/sh"}, "the web page cannot start 'binary:/bin/sh'; give a server's address"),
        ({"host": "bin<ary:/bin/sh"}, "the web page cannot start 'binary:/bin/sh'"),
        ({"host": " docker:cpu"}, "the web page cannot start 'docker:cpu'"),
        ({"host": "estimator"}, "'estimator' is not a server"),
        ({"arrivals": "trace:/etc/hosts"}, "the web page cannot choose the file of a trace"),
        ({"arrivals": " TRACE :/etc/hosts"}, "the web page cannot choose the file of a trace"),
        ({"headers": "X-A: b; X-Key: @/etc/hosts"}, "the header 'X-Key' of the web page names a variable or a file"),
        ({"headers": "X-Key:env:HOME"}, "the header 'X-Key' of the web page names a variable or a file"),
    ],
)
def test_a_visitor_chooses_no_file_program_or_flag(form: dict[str, str], reason: str) -> None:
    assert reason in refused(form)
    assert len(refused(form)) < 200


def test_what_the_user_gave_at_the_start_may_be_repeated() -> None:
    given = Given("rest", "binary:/opt/server", "trace:due.csv", FIELDS)
    assert refused({"host": "binary:/opt/server", "arrivals": "trace:due.csv"}, given) == ""


@pytest.mark.parametrize(
    ("headers", "elsewhere"),
    [
        ({}, False),
        ({"Origin": "http://127.0.0.1:8089"}, False),
        ({"Origin": "https://proxy.example", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Origin": "http://site.example"}, True),
        ({"Origin": "http://127.0.0.1:3000"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "http://127.0.0.1:8089", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "none"}, False),
    ],
)
def test_pages_of_other_origins_are_told_apart(headers: dict[str, str], elsewhere: bool) -> None:
    assert from_elsewhere(headers, "127.0.0.1:8089") is elsewhere


def guarded(picker: bool = False) -> FlaskClient:
    """A page whose form changes the options as Locust's does."""
    app = flask.Flask(__name__)
    routes = flask.Blueprint("locust", __name__)
    routes.add_url_rule("/swarm", "swarm", lambda: {"success": True}, methods=["POST"])
    routes.add_url_rule("/user", "update_user", dict, methods=["POST"])
    routes.add_url_rule("/logs", "logs", lambda: {"master": []})
    routes.add_url_rule("/", "index", lambda: "the page")
    web: Any = SimpleNamespace(
        app=app, template_args={"extra_options": dict.fromkeys(FIELDS)}, userclass_picker_is_active=picker
    )
    options = SimpleNamespace(arrivals="")
    WebGuard(SimpleNamespace(web_ui=web, host=None, parsed_options=options), "rest")
    app.register_blueprint(routes)
    return app.test_client()


def test_a_crafted_form_does_not_reach_locust() -> None:
    client = guarded()
    assert client.post("/swarm", data={"user_count": "1"}, headers=HOME).json == {"success": True}
    reply = client.post("/swarm", data={"results": "/etc"}, headers=HOME).json
    assert reply == {
        "success": False,
        "message": "the web page cannot set --results; start Locust with it",
        "host": None,
    }


@pytest.mark.parametrize(("path", "method"), [("/swarm", "post"), ("/logs", "get"), ("/user", "post")])
def test_a_page_of_another_origin_neither_starts_nor_reads(path: str, method: str) -> None:
    client = guarded(picker=True)
    ask = getattr(client, method)
    assert ask(path, headers=HOME).status_code == 200
    assert ask(path, headers={**HOME, "Origin": "http://site.example"}).status_code == 403


def test_a_link_to_the_page_works_and_an_image_of_it_does_not() -> None:
    """Browsers send no origin with either."""
    client, elsewhere = guarded(), {**HOME, "Sec-Fetch-Site": "cross-site"}
    following = {**elsewhere, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=following).text == "the page"
    assert client.get("/logs", headers=following).status_code == 200
    assert client.post("/swarm", data={"user_count": "1"}, headers=following).status_code == 403
    for other in ({"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}):
        assert client.get("/", headers={**following, **other}).status_code == 403
    assert client.get("/logs", headers=elsewhere).status_code == 403


def test_user_classes_change_only_where_they_can_be_picked() -> None:
    assert guarded().post("/user", headers=HOME).status_code == 403
    assert guarded(picker=True).post("/user", headers=HOME).status_code == 200
