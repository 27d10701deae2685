"""Who may ask Locust's web page for what: a visitor chooses the load, but no file, program or flag of this machine.

Locust itself takes each of its options as a field of the form, among them the paths of files that it writes; it lets
pages of any origin use its own; and it sets attributes of the user classes.
"""

import contextlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Response, jsonify, make_response, request

from bench.core.errors import UsageError, one_line
from bench.core.redaction import BLANKS, is_reference, split_headers
from bench.load.locust_adapter.bounds import check_spawn_rate, check_timespan
from bench.load.locust_adapter.options import OPTIONS, read_target
from bench.serving.target import TargetKind

logger = logging.getLogger(__name__)

# The fields of Locust's form beside the options that it shows.
_OF_LOCUST: Final = frozenset(
    {"user_count", "spawn_rate", "run_time", "host", "user_classes", "shape_class", "profile"}
)
_MOST_SHOWN: Final = 40
_MOST_USERS: Final = 100_000
"""More than a machine has room for: each is a greenlet, and over REST a connection."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the user gave when Locust was started, and the form may therefore repeat.

    Args:
        protocol: the scenario's.
        host: Locust's host; "" is the embedded server.
        arrivals: the arrivals, which may name a file.
        fields: names of the options that the form shows.
    """

    protocol: str
    host: str
    arrivals: str
    fields: Collection[str]


def check_form(form: Mapping[str, str], given: Given) -> None:
    """Refuses what only the user who starts Locust may choose.

    Raises:
        UsageError: a field that the form does not show, a host that is a program or a container, arrivals of a file,
            a header whose value is to be read from a variable or a file, more users than there is room for, or
            a spawn rate or a run time that no test can have.
    """
    for name in form:
        if name not in given.fields and name not in _OF_LOCUST:
            raise UsageError(_unknown(name))
    with contextlib.suppress(ValueError):
        # Locust refuses what is not a number.
        if int(form.get("user_count", "0")) > _MOST_USERS:
            raise UsageError(f"the web page starts {_MOST_USERS:,} users at most; give fewer")
    check_timespan(form.get("run_time", ""))
    if rate := form.get("spawn_rate"):
        try:
            check_spawn_rate(rate)
        except UsageError as error:
            raise UsageError(f"the spawn rate {error}") from error
    # As Locust will store it.
    host = form.get("host", "").replace("<", "").replace(">", "").strip()
    if host != given.host.strip():
        target = read_target(host, given.protocol)
        if target.managed and target.kind is not TargetKind.EMBEDDED:
            raise UsageError(
                f"the web page cannot start {str(target)[:_MOST_SHOWN]!r}; give a server's address, or start Locust "
                "with --host"
            )
    arrivals = form.get("arrivals", "").strip()
    if arrivals.partition(":")[0].strip().lower() == "trace" and arrivals != given.arrivals.strip():
        raise UsageError("the web page cannot choose the file of a trace; start Locust with --arrivals trace:FILE")
    for header in split_headers(form.get("headers", "")):
        name, _, value = header.partition(":")
        if is_reference(value.strip(BLANKS)):
            raise UsageError(
                f"the header {name.strip()[:_MOST_SHOWN]!r} of the web page names a variable or a file; "
                "type its value, or start Locust with --header"
            )


def _unknown(name: str) -> str:
    if name in OPTIONS:
        return f"the web page cannot set --{name.replace('_', '-')}; start Locust with it"
    return f"the web page has no field {name[:_MOST_SHOWN]!r}; leave it out"


def from_elsewhere(headers: Mapping[str, str], host: str) -> bool:
    """Whether a page of another origin asks, by what browsers send with each request.

    Args:
        headers: the request's headers.
        host: host and port of the page, as asked for.
    """
    # A proxy may change the host, and leaves this header of the Fetch standard as it is. An image has no origin.
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != host


def is_link(method: str, headers: Mapping[str, str]) -> bool:
    """Whether the user follows a link to a page, as one to a login and back: what it shows is for the user alone.

    Args:
        method: of the request; those that change something are posted.
        headers: its headers; those of the Fetch standard tell a page of its own from one in a frame.
    """
    wanted = headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")
    return method == "GET" and wanted == ("navigate", "document")


class WebGuard:
    """Refuses requests to the web page before Locust sees them.

    Args:
        environment: Locust's, with a web page, as the user started it.
        protocol: the scenario's.
    """

    def __init__(self, environment: Any, protocol: str) -> None:
        self._environment = environment
        fields = environment.web_ui.template_args["extra_options"].keys()
        options = environment.parsed_options
        self._given = Given(protocol, environment.host or "", options.arrivals or "", frozenset(fields))
        environment.web_ui.app.before_request(self._check)

    def _check(self) -> Response | None:
        if from_elsewhere(request.headers, request.host) and not is_link(request.method, request.headers):
            return make_response("a page of another origin cannot use this one", 403)
        if request.endpoint == "locust.update_user" and not self._environment.web_ui.userclass_picker_is_active:
            return make_response("user classes can be changed with --class-picker only", 403)
        if request.endpoint == "locust.swarm":
            try:
                check_form(request.form, self._given)
            except UsageError as error:
                return refusal(self._environment, one_line(error))
        return None


def refusal(environment: Any, reason: str) -> Response:
    """The reply of the form to a start that is refused; the reason is logged too."""
    logger.error("bertbench: %s", reason)
    return jsonify({"success": False, "message": reason, "host": environment.host})
