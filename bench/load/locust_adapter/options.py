"""The options of the scenarios, in Locust's parser and web form.

Locust prints its own `--help` before it loads the scenario; `--scenario-help` prints it with the scenario's options.

Each is a text or a switch, since Locust's web form can change no other types; `read_spec` parses them into a `RunSpec`.
"""

import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn

from bench.core.errors import UsageError, did_you_mean, did_you_mean_option, one_line
from bench.core.redaction import split_headers
from bench.core.units import (
    format_seconds,
    parse_bytes,
    parse_duration,
    parse_duration_or_zero,
    parse_fraction,
    parse_whole,
)
from bench.load.live.export_addresses import parse_collector_url, parse_listen_address
from bench.load.locust_adapter.header_options import GIVEN_HEADERS, KeepHeader, KeepHeaderList
from bench.load.setup.catalog import SCENARIOS, Scenario
from bench.load.setup.run_spec import RunSpec, given_spec
from bench.objectives.grammar import parse_objectives
from bench.objectives.until import measured_seconds, parse_until
from bench.serving.access import Access
from bench.serving.headers import Headers, read_headers
from bench.serving.target import Target, TargetKind, grpc_address, masked_address, parse_target, reach
from bench.serving.tls import TlsOptions
from bench.workload.arrivals import MOST_USERS, Arrivals, parse_arrivals
from bench.workload.workload import MOST_CHANNELS, MOST_SENTENCES, TRANSPORTS

_WARMUP_SHARE: Final = 0.1
_WARMUP_MOST: Final = 10.0


OPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "model_dir": ("", "exported model whose golden answers are sent and checked (default: the demo model)"),
    "model_name": ("bert", "the model's name on the server"),
    "signature": ("score", "score or serving_default"),
    "arrivals": (
        "",
        "closed, closed:users=8,think=100ms, poisson:rate=50, constant:rate=50, ramp:from=5,to=80, "
        "step:rates=10,20,40,hold=30s, burst:base=10,peak=80,every=20s,length=2s, trace:FILE",
    ),
    "transport": (
        "fast",
        "client: fast (the least work beside the server), or requests (REST) and grpcio (gRPC), the usual libraries; "
        "for both protocols: fast, fast+grpcio or requests+grpcio",
    ),
    "sentences_per_request": ("", "sentences per request"),
    "check_share": ("100%", "share of the answers that are compared with the golden ones"),
    "request_timeout": ("30s", "time that a request may take after it is sent"),
    "max_response": (
        "auto",
        "largest response that is read, decompressed, like 8MB; a larger one is an invalid response; "
        "auto: 1MB, or 16 times the largest request",
    ),
    "warmup": (
        "auto",
        "load before the measured part, within the run time; auto: a tenth of it, at most 10s, or more where latency "
        "and throughput settle later; 0: none",
    ),
    "drain": ("10s", "time after the end to send requests that are due, and to wait for answers"),
    "seed": ("0", "random seed of due times, sentences and all other choices"),
    "channels": ("1", "gRPC connections per process"),
    "headers": ("", "headers as for --header, separated by semicolons, which then no value may have"),
    "ca_cert": (
        "",
        "PEM file of the trusted certificate authorities, for https and grpcs (default: that of SSL_CERT_FILE, or the "
        "system's)",
    ),
    "client_cert": ("", "PEM file of the client's certificate"),
    "client_key": ("", "PEM file of the key of --client-cert"),
    "ready_timeout": (
        "auto",
        "time until the server must be ready; auto: 5s for a server elsewhere, 60s for one started here, 2m in Docker",
    ),
    "grpc_host": ("", "gRPC address of the same server beside its REST address, for scenarios of both protocols"),
    "server_cgroup": ("", "control group of a server on this machine, a folder; its CPU and memory are sampled"),
    "server_flags": ("", "flags for a server that the run starts, separated by spaces"),
    "slo": ("", "objectives, like p99<=250ms,errors<=0.1%,wrong=0: exit code 1 if one fails, 3 if one cannot be told"),
    "until": ("", "stop by itself: p99+-5%, when the 95% interval is that narrow, or decided, when the objectives are"),
    "max_duration": ("auto", "longest measured time with --until; auto: 10 times the run time"),
    "results": ("results", "folder of the run folders"),
    "traceparent": ("0%", "share of the requests that have a W3C traceparent header, for tracing of the server"),
    "metrics_port": (
        "",
        "port of a Prometheus page with the figures, on this machine; 0.0.0.0:9464: everywhere",
    ),
    "otlp_endpoint": ("", "OpenTelemetry collector that gets the figures of the run, like http://localhost:4318"),
}
"""Default and help by name; in the parser `--` and dashes."""

SWITCHES: Final[Mapping[str, str]] = {
    "padded": "pad sentences to 128 positions and 20 slots, as in the article (serving_default only)",
    "compressed": "gzip REST request bodies",
    "no_overload_stop": "go on when an open loop asks for more than the server carries, so that its backlog only grows",
    "no_preflight": "do not ask a server elsewhere for a few golden sentences first, to see whether it holds the model",
}

HEADER: Final = (
    "NAME:VALUE",
    "request header (gRPC: metadata); VALUE is the value itself, env:VARIABLE or @FILE, which stay out of the process "
    "list; repeatable",
)
"""Metavar and help of `--header`."""

ACCESS: Final = frozenset({"headers", "ca_cert", "client_cert", "client_key", "ready_timeout"})
"""The options that say how a target is reached; commands of `bertbench` have them with `--target`."""

NOT_IN_FORM: Final = frozenset(
    {
        *("model_dir", "results", "ca_cert", "client_cert", "client_key"),
        *("server_flags", "server_cgroup"),
        *("metrics_port", "otlp_endpoint"),
    }
)
"""Files and flags, which a visitor of the web page is not to choose, and what is the process's and not a test's."""

# Locust listens on all interfaces; who can reach its web page can send load to any address.
LOOPBACK: Final = "127.0.0.1"


class UnchosenCode(int):
    """The default of Locust's `--exit-code-on-error`, to distinguish it from the same number given by the user."""


def add_options(parser: Any, scenario: Scenario) -> None:
    """Adds the options to Locust's parser, and sets the scenario's defaults of Locust's own options."""
    parser.error = lambda message: _refuse(parser, message)
    group = parser.add_argument_group(f"Scenario options ({scenario.name})")
    for name, value in defaults(scenario).items():
        text = OPTIONS[name][1]
        shown = f"{text} (default: {value})" if value and "default" not in text else text
        settings: dict[str, Any] = {"default": value, "metavar": "<text>", "help": shown.replace("%", "%%")}
        if name == "headers":
            settings |= {"default": "", "action": KeepHeaderList}
        action = group.add_argument(f"--{name.replace('_', '-')}", **settings)
        if name not in NOT_IN_FORM:
            _in_web_form(action, secret=name == "headers")
    metavar, text = HEADER
    group.add_argument("--header", action=KeepHeader, metavar=metavar, help=text.replace("%", "%%"))
    for name, text in SWITCHES.items():
        _in_web_form(group.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text))
    group.add_argument(
        "--scenario-help", action="help", help="show this message, with the scenario's options, and exit"
    )
    spec = spec_for(scenario)
    parser.set_defaults(
        num_users=spec.users if spec else scenario.users,
        spawn_rate=100.0,
        run_time=math.ceil(spec.run_time) if spec else scenario.run_time,
        exit_code_on_error=UnchosenCode(1),
        web_host=LOOPBACK,
        master_bind_host=LOOPBACK,
    )


def spec_for(scenario: Scenario) -> RunSpec | None:
    """The run for which `bertbench run` started this process; None if a user started it.

    Ends the process with one line if the run is of another scenario.
    """
    try:
        spec = given_spec()
        if spec is not None and SCENARIOS.get(spec.scenario) != scenario:
            raise UsageError(
                f"the file's scenario is not {spec.scenario} of bertbench run; run the file with locust -f"
            )
    except UsageError as error:
        print(f"bertbench: {one_line(error)}", file=sys.stderr)
        sys.exit(int(error.exit_code))
    return spec


def _refuse(parser: Any, message: str) -> NoReturn:
    """Ends Locust's process with one line; for an unknown option, with the nearest one."""
    found = re.match(r"unrecognized arguments: (.*)", message)
    words = found[1].split() if found else []
    unknown = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
    if unknown is not None:
        known = parser._option_string_actions
        message = f"unknown option {unknown}" + did_you_mean_option(unknown, known)
    end = "" if message.endswith("?") else ";"
    parser.exit(int(UsageError.exit_code), f"{parser.prog}: {message}{end} see {parser.prog} -f FILE --scenario-help\n")
    raise AssertionError("not reached")


def _in_web_form(action: Any, secret: bool = False) -> None:
    """Shows an option in the web form, which Locust's parser does only for options outside groups."""
    action.include_in_web_ui = True
    action.is_secret = secret
    action.is_required = action.is_multiple = False


def read_spec(texts: Mapping[str, Any], scenario: Scenario, host: str | None, users: int, run_time: float) -> RunSpec:
    """The run in Locust's parsed options, or in its web form.

    Args:
        texts: the values of `OPTIONS`, whether each of `SWITCHES` is on, and `GIVEN_HEADERS`; other names are ignored.
            Headers of the web form replace those given of the same name.
        scenario: whose run it is.
        host: Locust's host: an address or any other target; None or "" is the embedded server.
        users: Locust's number of users.
        run_time: seconds of load.

    Raises:
        UsageError: an option that cannot be read, or options that contradict each other.
    """
    if not 1 <= users <= MOST_USERS:
        raise UsageError(f"--users: {users} is out of range; give a whole number from 1 to {MOST_USERS}")
    values = {name: read_option(name, (texts[name] or "").strip()) for name in OPTIONS}
    values |= {name: bool(texts[name]) for name in SWITCHES}
    own = split_headers(defaults(scenario)["headers"])
    given = read_headers(own).replaced_by(read_headers(texts.get(GIVEN_HEADERS) or ()))
    access = read_access(values, given.replaced_by(values["headers"]))
    target = replace(read_target(host, scenario.protocol), access=access)
    values = {name: value for name, value in values.items() if name not in ACCESS}
    return make_spec(scenario, values, target, users, run_time)


def read_access(values: Mapping[str, Any], headers: Headers) -> Access:
    """How to reach a target, from the values of `ACCESS`.

    Raises:
        UsageError: certificate files that are not there, or not together.
    """
    tls = TlsOptions(values["ca_cert"], values["client_cert"], values["client_key"])
    return Access(headers, tls, values["ready_timeout"])


def make_spec(scenario: Scenario, given: Mapping[str, Any], target: Target, users: int, run_time: float) -> RunSpec:
    """The run of a scenario.

    Args:
        scenario: its defaults apply to what is not given.
        given: values by the names in `OPTIONS` and `SWITCHES`; those of `ACCESS` are in `target`.
        target: the server under load, and how to reach it.
        users: size of the pool.
        run_time: seconds of load.

    Raises:
        UsageError: values contradict each other, or certificates have no effect on the target.
    """
    options = defaults(scenario).items()
    values = {name: read_option(name, text) for name, text in options if name not in ACCESS and name not in given}
    values |= dict.fromkeys(SWITCHES, False) | dict(given)
    arrivals = values.pop("arrivals")
    requested = values.pop("warmup")
    warmup = warmup_seconds(requested, run_time)
    duration = measured_seconds(values["until"], values.pop("max_duration"), run_time - warmup)
    preflight, stop_overload = not values.pop("no_preflight"), not values.pop("no_overload_stop")
    target, *others = reach(filter(None, (target, values.pop("grpc_host"))), target.access)
    return RunSpec(
        scenario=scenario.name,
        protocol=scenario.protocol,
        arrivals=read_arrivals(arrivals, users),
        users=users,
        users_named="users" in arrivals,
        duration=duration,
        warmup=warmup,
        find_warmup=requested is None,
        target=target,
        grpc=next(iter(others), None),
        rule=scenario.rule,
        preflight=preflight,
        stop_overload=stop_overload,
        **{_FIELDS.get(name, name): value for name, value in values.items()},
    )


def defaults(scenario: Scenario) -> dict[str, str]:
    """The options' defaults in a scenario, as texts."""
    own = {"arrivals": scenario.arrivals, "sentences_per_request": str(scenario.sentences), **scenario.options}
    return {name: own.get(name, default) for name, (default, _) in OPTIONS.items()}


def read_arrivals(text: str, users: int) -> Arrivals:
    """The arrivals in `text`; a closed loop without a number of users takes that of the pool.

    Raises:
        UsageError: the arrivals are invalid.
    """
    kind, colon, rest = text.partition(":")
    if kind.strip().lower() == "closed" and "users" not in rest:
        return parse_arrivals(f"closed:users={users}" + (f",{rest}" if colon and rest else ""))
    return parse_arrivals(text)


def warmup_seconds(requested: float | None, run_time: float) -> float:
    """Seconds of warm-up in a run of `run_time`.

    Args:
        requested: seconds; None for `auto`.
        run_time: seconds of load.

    Raises:
        UsageError: nothing is left to measure.
    """
    seconds = min(_WARMUP_SHARE * run_time, _WARMUP_MOST) if requested is None else requested
    if seconds >= run_time:
        whole, warm = format_seconds(run_time), format_seconds(seconds)
        raise UsageError(f"a warm-up of {warm} leaves nothing of a run of {whole}; give a longer run time")
    return seconds


def read_option(name: str, text: str) -> Any:
    """The value of an option of `OPTIONS`.

    Raises:
        UsageError: the value is invalid; the message names the option.
    """
    if not text and name in _NOTHING:
        return _NOTHING[name]
    try:
        return READERS[name](text)
    except UsageError as error:
        raise UsageError(f"--{name.replace('_', '-')}: {error}") from error


def read_target(host: str | None, protocol: str) -> Target:
    """The target in Locust's `--host`, for a scenario of `protocol`.

    Raises:
        UsageError: it is neither a server's address nor a server to start.
    """
    text = (host or "").strip()
    if not text:
        return Target(TargetKind.EMBEDDED)
    plain = ":" not in text or text.partition(":")[0] in ("docker", "binary")
    scheme = "grpc" if protocol == "grpc" else "http"
    target = parse_target(text if plain or "://" in text else f"{scheme}://{text}")
    if not target.remote and not target.managed:
        raise UsageError(
            f"{masked_address(text)!r} is not a server; give an address like http://localhost:8501, or leave it out"
        )
    return target


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _transport(text: str) -> str:
    """The workload checks that it is one of the protocol's."""
    known = sorted({name for names in TRANSPORTS.values() for name in names})
    if text not in known:
        raise UsageError(f"{text!r} is not one of {', '.join(known)}{did_you_mean(text, known)}")
    return text


READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "model_dir": _path,
    "model_name": str,
    "signature": str,
    # `make_spec` parses them, since the number of users may be that of the pool.
    "arrivals": str,
    "transport": _transport,
    "sentences_per_request": lambda text: parse_whole(text, 1, MOST_SENTENCES),
    "check_share": parse_fraction,
    "request_timeout": parse_duration,
    "max_response": lambda text: None if text == "auto" else parse_bytes(text),
    "drain": parse_duration_or_zero,
    "warmup": lambda text: None if text == "auto" else parse_duration_or_zero(text),
    "seed": lambda text: parse_whole(text, 0, 2**32 - 1),
    "channels": lambda text: parse_whole(text, 1, MOST_CHANNELS),
    "headers": lambda text: read_headers(split_headers(text)),
    "ca_cert": _path,
    "client_cert": _path,
    "client_key": _path,
    "ready_timeout": lambda text: None if text == "auto" else parse_duration(text),
    "grpc_host": grpc_address,
    "server_cgroup": _path,
    "server_flags": lambda text: tuple(text.split()),
    "slo": parse_objectives,
    "until": parse_until,
    "max_duration": lambda text: None if text == "auto" else parse_duration(text),
    "results": Path,
    "traceparent": parse_fraction,
    "metrics_port": lambda text: parse_listen_address(text) if text else None,
    "otlp_endpoint": lambda text: parse_collector_url(text) if text else None,
}
"""The parser of each option's text."""

# What is meant by no text, where the parser takes none.
_NOTHING: Final[Mapping[str, Any]] = {"grpc_host": None, "slo": (), "until": None}
# Fields of `RunSpec` whose options have another name.
_FIELDS: Final = {
    "sentences_per_request": "sentences",
    "request_timeout": "timeout",
    "slo": "objectives",
    "traceparent": "trace_share",
}
