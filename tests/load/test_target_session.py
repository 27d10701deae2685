"""The server of a run at an address: whatever else is there is named in one plain sentence, with the user's options."""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bench.core.errors import TargetError, UsageError
from bench.load.locust_adapter.options import add_options, read_spec
from bench.load.setup.catalog import Scenario
from bench.load.setup.run_context import VARIABLE
from bench.load.setup.run_spec import RunSpec
from bench.load.setup.target_session import TargetSession, require_served
from bench.server.lifecycle import at_address
from bench.server.running import free_ports
from bench.serving.access import Access
from bench.serving.errors import ConnectFailed
from bench.serving.target import parse_target
from bench.serving.types import ServingClient, VersionStatus
from tests.serving.test_endpoint_probe import PAGE, STATUS, plain_rest, raw_server, sends, tls_rest_server
from tests.support.programmed_servers import grpc_server
from tests.support.toy_golden import toy_golden

DEAD = STATUS.replace(b"AVAILABLE", b"END").replace(b'"OK"', b'"INTERNAL", "error_message": "No room"')


def spec(host: str, protocol: str = "rest", *words: str) -> RunSpec:
    scenario = Scenario(name=protocol, protocol=protocol)
    parser = argparse.ArgumentParser()
    add_options(parser, scenario)
    return read_spec(vars(parser.parse_args(list(words))), scenario, host, 8, 60.0)


def opened(host: str, protocol: str = "rest", command: tuple[str, ...] = ()) -> None:
    TargetSession().open(replace(spec(host, protocol), command=command), Path(), toy_golden())


OTHERS: list[tuple[str, Callable[[], AbstractContextManager[str]], str, str]] = [
    ("gRPC", lambda: grpc_server(lambda *_: b""), "http", "{} speaks gRPC, not REST; give grpc://{}"),
    (
        "a page",
        lambda: plain_rest(200, PAGE, {"Content-Type": "text/html"}),
        "http",
        "is a web server (HTTP 200, text/html)",
    ),
    ("a redirect", lambda: plain_rest(302, b"", {"Location": "/x"}), "http", "redirects to /x (HTTP 302)"),
    ("a proxy", lambda: plain_rest(502, PAGE), "http", "answers HTTP 502: a proxy"),
    (
        "SSH",
        lambda: raw_server(sends(b"SSH-2.0-x\r\n")),
        "http",
        "{} answers 'SSH-2.0-x', which is not TensorFlow Serving",
    ),
    ("nothing", lambda: raw_server(lambda connection: None), "http", "{} closes connections without an answer"),
    ("TLS", tls_rest_server, "http", "{} speaks TLS; give https://{}"),
    ("no TLS", lambda: plain_rest(200, STATUS), "https", "{} speaks REST without TLS; give http://{}"),
    ("a stranger", tls_rest_server, "https", "{} has a certificate that is not trusted"),
    (
        "another path",
        lambda: plain_rest(404, PAGE),
        "http",
        "has no TensorFlow Serving under the path /prefix (HTTP 404, no content type); check the path",
    ),
    ("another path of JSON", lambda: plain_rest(404, b'{"error": "?"}'), "http", "or correct the path /prefix"),
    ("a path left out", lambda: plain_rest(404, PAGE), "http", "check the port, or give the path prefix that it is"),
    ("another model", lambda: plain_rest(404, b'{"error": "no bert"}'), "http", "does not serve a model named 'bert'"),
    (
        "no version",
        lambda: plain_rest(200, b'{"model_version_status": []}'),
        "http",
        "has no version; check its folder on the server",
    ),
    (
        "a dead model",
        lambda: plain_rest(200, DEAD),
        "http",
        "is END (No room); look at the server",
    ),
]


@pytest.mark.parametrize(
    ("server", "scheme", "reason"), [entry[1:] for entry in OTHERS], ids=[entry[0] for entry in OTHERS]
)
def test_what_is_at_the_address(
    server: Callable[[], AbstractContextManager[str]], scheme: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with server() as address, pytest.raises(TargetError) as failed:
        opened(f"{scheme}://{address}{'/prefix' if '/prefix' in reason else ''}")
    assert reason.format(address, address) in str(failed.value)
    assert str(failed.value).isprintable()


def test_nobody_and_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    (port,) = free_ports(1)
    with pytest.raises(
        TargetError, match=f"http://127.0.0.1:{port} does not answer: nothing listens at 127.0.0.1:{port}"
    ):
        opened(f"http://127.0.0.1:{port}")
    with pytest.raises(TargetError, match=r"the host no-such-host.invalid is not known; check its name"):
        opened("http://no-such-host.invalid:1")


@pytest.mark.parametrize(
    ("host", "protocol", "reason"),
    [
        ("http://h:1", "grpc", "the server's gRPC address is not known from http://h:1; give {} grpc://HOST:PORT"),
        ("grpc://h:1", "rest", "the server's REST address is not known from grpc://h:1; give {} http://HOST:PORT"),
        ("http://h:1", "both", "give {} http://HOST:PORT and --grpc-host HOST:PORT"),
    ],
)
@pytest.mark.parametrize(("command", "option"), [(None, "--host"), ("run", "--target"), ("capacity", "--target")])
def test_the_other_address_is_requested_with_the_command_s_own_option(
    host: str, protocol: str, reason: str, command: str | None, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UsageError) as failed:
        opened(host, protocol, ("bertbench", command) if command else ())
    assert reason.format(option) in str(failed.value)


@pytest.mark.parametrize("target", ["embedded", "docker:cpu", "binary:/server"])
def test_a_control_group_is_one_of_a_server_elsewhere(target: str) -> None:
    with pytest.raises(
        UsageError, match=rf"^--server-cgroup has no effect on {target}, whose process is known; leave it"
    ):
        spec(target, "rest", "--server-cgroup", "/sys/fs/cgroup/system.slice/serving.service")


def test_the_control_group_of_a_server_that_is_there() -> None:
    with plain_rest(200, STATUS) as url:
        asked = spec(url, "rest", "--no-preflight", "--server-cgroup", "/sys/fs/cgroup/serving")
        assert TargetSession().open(asked, Path(), toy_golden()).control_group == Path("/sys/fs/cgroup/serving")
        assert TargetSession().open(spec(url, "rest", "--no-preflight"), Path(), toy_golden()).control_group is None


LOADING, AVAILABLE, LOST = (
    VersionStatus(1, "LOADING"),
    VersionStatus(1, "AVAILABLE"),
    VersionStatus(1, "END", "INTERNAL", "x"),
)


def served(answers: list[VersionStatus | Exception], ready_timeout: float | None) -> int:
    """How often a server with these states, of which the last one stays, was asked until it was taken."""
    asked = 0

    def status(model: str, timeout: float) -> tuple[VersionStatus, ...]:
        nonlocal asked
        answer = answers[min(asked, len(answers) - 1)]
        asked += 1
        if isinstance(answer, Exception):
            raise answer
        return (answer,)

    target = parse_target("http://127.0.0.1:1", Access(ready_timeout=ready_timeout))
    client = cast("ServingClient", SimpleNamespace(status=status, protocol="rest"))
    require_served(client, at_address(target, None, "bert"), target)
    return asked


def test_a_model_that_loads_is_waited_for() -> None:
    refused = ConnectFailed("refused")
    assert served([LOADING, LOADING, AVAILABLE], None) == 3
    assert served([refused, LOADING, refused, AVAILABLE], 60.0) == 4


def test_what_will_not_be_served_is_not_waited_for() -> None:
    with pytest.raises(TargetError, match="END"):
        served([LOADING, LOST], 600.0)
    with pytest.raises(TargetError, match="does not answer"):
        served([ConnectFailed("refused"), AVAILABLE], None)
    with pytest.raises(TargetError, match="LOADING; wait until it is loaded"):
        served([LOADING], 0.01)
    with pytest.raises(TargetError, match="does not answer"):
        served([ConnectFailed("refused")], 0.01)
