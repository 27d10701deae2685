"""The other default port of a server elsewhere: nobody gave it, and another program may have it."""

from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

import pytest

from bench.core.errors import TargetError, UsageError
from bench.load.locust_adapter.options import add_options, read_spec
from bench.load.setup.catalog import Scenario
from bench.load.setup.remote_server import remote_server
from bench.load.setup.run_spec import RunSpec
from bench.server import lifecycle
from bench.server.lifecycle import open_target
from bench.server.running import RunningServer, free_ports
from bench.serving.access import Access
from bench.serving.headers import Headers
from bench.serving.messages import GetModelStatusResponse
from bench.serving.target import Target, parse_target
from tests.serving.test_endpoint_probe import PAGE, STATUS
from tests.support.programmed_servers import grpc_server, rest_server

ACCESS = Access(headers=Headers((("authorization", "Bearer planted"),)))
STATUSES = GetModelStatusResponse(model_version_status=[{"version": 1, "state": 30}]).SerializeToString()


def spec(target: Target, protocol: str) -> RunSpec:
    scenario, parser = Scenario(name=protocol, protocol=protocol), ArgumentParser()
    add_options(parser, scenario)
    return replace(read_spec(vars(parser.parse_args([])), scenario, str(target), 8, 60.0), target=target)


def opened(target: Target) -> RunningServer:
    with open_target(target, None) as server:
        return server


@pytest.fixture
def seen() -> list[dict[str, str]]:
    return []


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


@pytest.mark.parametrize(
    ("status", "body", "known"),
    [
        (200, PAGE, False),
        (404, b'{"error": "Not Found"}', False),
        (401, b"", False),
        (200, b"{}", False),
        (200, STATUS, True),
    ],
)
@pytest.mark.parametrize("command", ["verify", "run"])
def test_only_serving_is_taken_for_the_rest_port(
    command: str, status: int, body: bytes, known: bool, seen: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended `verify`, and got the headers."""

    def answer(method: str, path: str, sent: bytes, handler: Any) -> tuple[int, bytes]:
        seen.append({name.lower(): value for name, value in handler.headers.items()})
        return status, body

    with rest_server(answer) as rest, grpc_server(lambda *_: STATUSES) as grpc:
        monkeypatch.setattr(lifecycle, "REST_PORT", port_of(rest))
        monkeypatch.setattr(lifecycle, "GRPC_PORT", port_of(grpc))
        target = replace(parse_target(f"grpc://{grpc}"), access=ACCESS)
        server = opened(target) if command == "verify" else remote_server(spec(target, "grpc"))
    assert (server.grpc, server.rest) == (grpc, rest if known else None)
    assert seen
    if not known:
        assert not any("authorization" in headers for headers in seen)


@pytest.mark.parametrize(("answer", "known"), [(b"\xff\xff", False), (b"", False), (STATUSES, True)])
@pytest.mark.parametrize("command", ["verify", "run"])
def test_only_serving_is_taken_for_the_grpc_port(
    command: str, answer: bytes, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def called(method: str, message: bytes, context: Any) -> bytes:
        seen.append(dict(context.invocation_metadata()))
        return answer

    with rest_server(lambda *_: (200, STATUS)) as rest, grpc_server(called) as grpc:
        monkeypatch.setattr(lifecycle, "REST_PORT", port_of(rest))
        monkeypatch.setattr(lifecycle, "GRPC_PORT", port_of(grpc))
        target = replace(parse_target(rest), access=ACCESS)
        if command == "verify":
            assert opened(target).grpc == (grpc if known else None)
        elif known:
            assert remote_server(spec(target, "both")).grpc == grpc
        else:
            with pytest.raises(UsageError, match="gRPC address is not known"):
                remote_server(spec(target, "both"))
    assert seen
    assert not any("authorization" in metadata for metadata in seen)


@pytest.mark.parametrize("protocol", ["grpc", "both"])
def test_a_server_that_is_not_there_is_named_and_not_its_other_port(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest, grpc = free_ports(2)
    monkeypatch.setattr(lifecycle, "REST_PORT", rest)
    monkeypatch.setattr(lifecycle, "GRPC_PORT", grpc)
    with pytest.raises(TargetError, match=f"does not answer: nothing listens at 127.0.0.1:{rest}; start the server"):
        remote_server(spec(parse_target(f"http://127.0.0.1:{rest}"), protocol))
