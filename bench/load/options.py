"""The options of every scenario: in Locust's `--help` and web form, and what they lead to.

Each is a text or a switch, because that is what Locust's web form can change; `Settings.read` makes values of them.
"""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from bench.errors import UsageError, did_you_mean
from bench.load.told import option_name
from bench.results.arrivals import Arrivals, ClosedLoop, parse_arrivals
from bench.results.workload import TRANSPORTS
from bench.serving.target import Target, TargetKind, grpc_address, parse_target
from bench.serving.tls import TlsOptions
from bench.units import format_seconds, parse_bytes, parse_duration, parse_duration_or_zero, parse_fraction, parse_whole

_WARMUP_SHARE: Final = 0.1
_WARMUP_MOST: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRule:
    """How many requests, and for how long, a benchmark's rules ask for.

    Args:
        source: where the rule stands.
        requests: least number of measured requests (for several sentences a request: of sentences, if `per_sentence`).
        seconds: least measured time.
        per_sentence: whether `requests` counts sentences.
    """

    source: str
    requests: int
    seconds: float
    per_sentence: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A workload and its defaults; an option given by the user wins.

    Args:
        name: short name, for run folders.
        protocol: `rest`, `grpc` or `both`.
        arrivals: when requests are due; `closed` alone takes Locust's users.
        users: size of the pool, the most requests in flight.
        run_time: how long load runs, warm-up included.
        sentences: sentences a request.
        options: defaults of other options, by the names in `OPTIONS`.
        rule: sample sizes that it asks for; fewer are a warning.
    """

    name: str
    protocol: str
    arrivals: str = "closed"
    users: int = 8
    run_time: str = "60s"
    sentences: int = 1
    options: Mapping[str, str] = field(default_factory=dict)
    rule: SampleRule | None = None


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
        "client: fast (the least work beside the server); or requests (REST), grpcio (gRPC), as most people use; "
        "of both: fast, fast+grpcio or requests+grpcio",
    ),
    "sentences_per_request": ("", "sentences in a request"),
    "check_share": ("100%", "share of the answers compared with the golden ones"),
    "request_timeout": ("30s", "time a request may take, from its send"),
    "max_response": ("8MB", "largest response that is read, unpacked; a larger one is an invalid response"),
    "warmup": ("auto", "load before the measured part, within the run time; auto: a tenth of it, at most 10s; 0: none"),
    "drain": ("10s", "time after the end for what is due and unsent to go, and for answers to come"),
    "seed": ("0", "of due times, sentences, and everything else that is drawn"),
    "channels": ("1", "gRPC connections a process"),
    "headers": ("", "request headers (gRPC: metadata), NAME: VALUE; several divided by semicolons"),
    "ca_cert": ("", "PEM file of trusted authorities, for https and grpcs"),
    "client_cert": ("", "PEM file of the client's certificate"),
    "client_key": ("", "PEM file of its key"),
    "grpc_host": ("", "gRPC address of a server whose REST address is --host, for scenarios that drive both"),
    "server_flags": ("", "flags for a server started here, divided by blanks"),
    "results": ("results", "folder that run folders are made in"),
}
"""Default and help by name; in the parser `--` and dashes."""

SWITCHES: Final[Mapping[str, str]] = {
    "padded": "pad sentences to 128 positions and 20 slots, as the article does (serving_default only)",
    "compressed": "gzip REST request bodies",
}


class UnchosenCode(int):
    """The default of Locust's `--exit-code-on-error`, to tell it from the same number given by the user."""


def add_options(parser: Any, scenario: Scenario) -> None:
    """Adds the options to Locust's parser, and the scenario's defaults for Locust's own."""
    parser.error = lambda message: _refuse(parser, message)
    group = parser.add_argument_group(f"Scenario options ({scenario.name})")
    defaults = {"arrivals": scenario.arrivals, "sentences_per_request": str(scenario.sentences), **scenario.options}
    for name, (default, text) in OPTIONS.items():
        value = defaults.get(name, default)
        shown = f"{text} (default: {value})" if value and "default" not in text else text
        option = f"--{name.replace('_', '-')}"
        _in_web_form(group.add_argument(option, default=value, metavar="<text>", help=shown.replace("%", "%%")))
    for name, text in SWITCHES.items():
        _in_web_form(group.add_argument(f"--{name}", action="store_true", help=text))
    parser.set_defaults(
        num_users=scenario.users, spawn_rate=100.0, run_time=scenario.run_time, exit_code_on_error=UnchosenCode(1)
    )


def _refuse(parser: Any, message: str) -> NoReturn:
    """Ends Locust's process with one line; an option that is not known is named with the nearest one."""
    found = re.match(r"unrecognized arguments: (.*)", message)
    words = found[1].split() if found else []
    unknown = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
    if unknown is not None:
        known = parser._option_string_actions
        message = f"there is no {unknown}" + did_you_mean("--" + unknown.lstrip("-"), known)
    end = "" if message.endswith("?") else ";"
    parser.exit(int(UsageError.exit_code), f"{parser.prog}: {message}{end} see {parser.prog} -f FILE --help\n")
    raise AssertionError("not reached")


def _in_web_form(action: Any) -> None:
    """Locust's parser marks the options that its web form shows, but not those in a group."""
    action.include_in_web_ui = True
    action.is_secret = action.is_required = action.is_multiple = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of one run, read and checked.

    Args:
        scenario: the scenario.
        model_dir: the export; None for the demo model.
        model_name: its name on the server.
        signature: signature asked.
        arrivals: when requests are due.
        users: size of the pool.
        run_time: seconds of load, warm-up included.
        warmup: seconds of it that are not measured.
        drain: seconds after its end for what is open.
        transport: the client.
        sentences: sentences a request.
        check_share: share of answers that are checked.
        timeout: seconds a request may take.
        max_response: largest response that is read, bytes.
        seed: of all random choices.
        channels: gRPC connections a process.
        headers: sent with each request.
        tls: certificates, None for the system's.
        target: what is driven.
        grpc: the gRPC address given beside a REST target; None if there is none.
        server_flags: flags for a server started here.
        results: folder of runs.
        padded: whether requests are padded to the article's shape.
        compressed: whether REST bodies are gzipped.
        users_named: whether the arrivals themselves say how many users there are.
    """

    scenario: Scenario
    model_dir: Path | None
    model_name: str
    signature: str
    arrivals: Arrivals
    users: int
    run_time: float
    warmup: float
    drain: float
    transport: str
    sentences: int
    check_share: float
    timeout: float
    max_response: int
    seed: int
    channels: int
    headers: Mapping[str, str]
    tls: TlsOptions | None
    target: Target
    grpc: Target | None
    server_flags: Sequence[str]
    results: Path
    padded: bool
    compressed: bool
    users_named: bool

    @classmethod
    def read(
        cls, options: argparse.Namespace, scenario: Scenario, host: str | None, users: int, run_time: float
    ) -> "Settings":
        """The settings in Locust's parsed options.

        Args:
            options: the options, or what the web form made of them.
            scenario: whose run it is.
            host: Locust's host: an address or any other target; None or "" is the embedded server.
            users: Locust's number of users.
            run_time: seconds of load.

        Raises:
            UsageError: an option that makes no sense, or options that contradict each other.
        """
        text = {name: str(getattr(options, name) or "").strip() for name in OPTIONS}
        arrivals = read_arrivals(text["arrivals"], users)
        return cls(
            scenario=scenario,
            model_dir=Path(text["model_dir"]) if text["model_dir"] else None,
            model_name=text["model_name"],
            signature=text["signature"],
            arrivals=arrivals,
            users=users,
            run_time=run_time,
            warmup=warmup_seconds(text["warmup"], run_time),
            drain=read_option("drain", text["drain"]),
            transport=read_option("transport", text["transport"]),
            sentences=read_option("sentences_per_request", text["sentences_per_request"]),
            check_share=read_option("check_share", text["check_share"]),
            timeout=read_option("request_timeout", text["request_timeout"]),
            max_response=read_option("max_response", text["max_response"]),
            seed=read_option("seed", text["seed"]),
            channels=read_option("channels", text["channels"]),
            headers=read_option("headers", text["headers"]),
            tls=_tls(text),
            target=_target(host, scenario.protocol),
            grpc=read_option("grpc_host", text["grpc_host"]) if text["grpc_host"] else None,
            server_flags=tuple(text["server_flags"].split()),
            results=Path(text["results"]),
            padded=bool(options.padded),
            compressed=bool(options.compressed),
            users_named="users" in text["arrivals"],
        )


def read_arrivals(text: str, users: int) -> Arrivals:
    """The arrivals in `text`; a closed loop that names no users takes those of Locust's pool.

    Raises:
        UsageError: arrivals that cannot be read, or other users than the pool's.
    """
    kind, colon, rest = text.partition(":")
    if kind.strip().lower() == "closed" and "users" not in rest:
        return parse_arrivals(f"closed:users={users}" + (f",{rest}" if colon and rest else ""))
    arrivals = parse_arrivals(text)
    if isinstance(arrivals, ClosedLoop) and arrivals.users != users:
        option = option_name("--users")
        raise UsageError(
            f"{text} and {option} {users} contradict each other; give {option} {arrivals.users}, or just closed"
        )
    return arrivals


def warmup_seconds(text: str, run_time: float) -> float:
    """Seconds of a run of `run_time` that `--warmup TEXT` takes.

    Raises:
        UsageError: no duration, or one that leaves nothing to measure.
    """
    seconds = min(_WARMUP_SHARE * run_time, _WARMUP_MOST) if text == "auto" else parse_duration_or_zero(text)
    if seconds >= run_time:
        whole, warm = format_seconds(run_time), format_seconds(seconds)
        raise UsageError(f"a warm-up of {warm} leaves nothing of a run of {whole}; make the run longer")
    return seconds


def read_option(name: str, text: str) -> Any:
    """The value of an option of `OPTIONS`; its text where any text will do.

    Raises:
        UsageError: what the option does not take; the message names it.
    """
    try:
        return READERS[name](text) if name in READERS else text
    except UsageError as error:
        raise UsageError(f"--{name.replace('_', '-')}: {error}") from error


def _headers(text: str) -> dict[str, str]:
    headers = {}
    for part in filter(None, (entry.strip() for entry in text.split(";"))):
        name, colon, value = part.partition(":")
        if not colon or not name.strip() or not part.isprintable() or not part.isascii():
            raise UsageError(f"{part!r} is not a header; write it in ASCII, like X-Team: search")
        headers[name.strip()] = value.strip()
    return headers


def _tls(text: Mapping[str, str]) -> TlsOptions | None:
    given = {"ca": text["ca_cert"], "cert": text["client_cert"], "key": text["client_key"]}
    if not any(given.values()):
        return None
    return TlsOptions(**{name: Path(path) for name, path in given.items() if path})


def _target(host: str | None, protocol: str) -> Target:
    text = (host or "").strip()
    if not text:
        return Target(TargetKind.EMBEDDED)
    plain = ":" not in text or text.partition(":")[0] in ("docker", "binary")
    scheme = "grpc" if protocol == "grpc" else "http"
    target = parse_target(text if plain or "://" in text else f"{scheme}://{text}")
    if not target.remote and not target.managed:
        raise UsageError(f"{text!r} is not a server; give an address like http://localhost:8501, or nothing")
    return target


def _transport(text: str) -> str:
    """Which of them goes with a protocol is the workload's to say."""
    known = sorted({name for names in TRANSPORTS.values() for name in names})
    if text not in known:
        raise UsageError(f"{text!r} is not one of {', '.join(known)}{did_you_mean(text, known)}")
    return text


READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "transport": _transport,
    "sentences_per_request": lambda text: parse_whole(text, 1, 100_000),
    "check_share": parse_fraction,
    "request_timeout": parse_duration,
    "max_response": parse_bytes,
    "drain": parse_duration_or_zero,
    "warmup": lambda text: None if text == "auto" else parse_duration_or_zero(text),
    "seed": lambda text: parse_whole(text, 0, 2**32 - 1),
    "channels": lambda text: parse_whole(text, 1, 1000),
    "headers": _headers,
    "grpc_host": grpc_address,
}
"""What makes values of the options that do not take any text."""
