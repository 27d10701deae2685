import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UsageError
from bench.load.setup.catalog import SampleRule
from bench.load.setup.run_context import VARIABLE, started_by_bertbench
from bench.load.setup.run_spec import RunSpec, address_of, given_spec
from bench.server.running import RunningServer
from bench.serving.access import Access
from bench.serving.headers import Headers
from bench.serving.target import parse_target
from bench.serving.tls import TlsOptions
from bench.workload.arrivals import ClosedLoop, Poisson, parse_arrivals

SERVER = RunningServer("http://h:1", "h:2", "bert", "embedded", 5)


def spec(**changed: Any) -> RunSpec:
    given = {"scenario": "rest", "protocol": "rest", "arrivals": Poisson(0.1), "users": 8, "duration": 1 / 3}
    return RunSpec(**{**given, **changed})


def test_a_process_that_a_user_started_has_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert given_spec() is None
    assert not started_by_bertbench()


def everything(folder: Path) -> RunSpec:
    (folder / "ca.pem").touch()
    headers = Headers([("X-Team", "search"), ("X-Key", 'a;b,c: d"\\')])
    access = Access(headers, TlsOptions(ca=folder / "ca.pem"), 7.5)
    return spec(
        protocol="both",
        arrivals=parse_arrivals("closed:users=3,think=100ms"),
        users=3,
        users_named=True,
        warmup=0.1,
        target=parse_target("https://h:8501/prefix", access),
        grpc=parse_target("grpcs://h:8500", access),
        servers=(SERVER, replace(SERVER, secure=True, access=access)),
        policy="two-choices",
        server_flags=("--a=1",),
        target_name="null",
        model_dir=folder,
        transport="requests+grpcio",
        rule=SampleRule(source="a rule", requests=1, seconds=2.0),
        group="g",
        repeat=3,
        command=("bertbench", "run"),
    )


def test_a_run_arrives_in_the_child_and_nowhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = dict(os.environ)
    monkeypatch.setenv("LOCUST_USERS", "3")
    for sent in (spec(), everything(tmp_path)):
        environment = sent.child_environment()
        assert VARIABLE not in os.environ
        assert "LOCUST_USERS" not in environment
        assert before.keys() - os.environ.keys() == set()
        with monkeypatch.context() as child:
            child.setenv(VARIABLE, environment[VARIABLE])
            assert given_spec() == sent
            assert started_by_bertbench()


def test_no_run_sends_figures_to_an_address_with_a_password() -> None:
    with pytest.raises(UsageError, match="OTEL_EXPORTER_OTLP_HEADERS") as caught:
        spec(otlp_endpoint="http://bench:planted@collector:4318")
    assert "planted" not in str(caught.value)


def test_json_is_one_line(tmp_path: Path) -> None:
    sent = everything(tmp_path)
    assert b"\n" not in sent.to_json()
    assert RunSpec.from_json(sent.to_json()) == sent


def test_file_names_that_the_locale_cannot_decode_survive() -> None:
    sent = spec(results=Path(os.fsdecode(b"r\xff")), target=parse_target("binary:/b\udcff"))
    assert RunSpec.from_json(sent.to_json()) == sent


@pytest.mark.parametrize("text", ["x", "{}", "[]", '{"format": 1}', '{"format": 3, "users": 1}', '{"format": 4}'])
def test_something_else(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(UsageError, match="unset"):
        given_spec()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"arrivals": ClosedLoop(3)}, "closed:users=3 and --users 8 contradict each other; give --users 3"),
        ({"users": 0}, "users must be 1 or more and at most 100,000, not 0"),
        ({"users": 100_001}, "users must be 1 or more and at most 100,000, not 100001"),
        ({"channels": 1001}, "channels must be 1 or more and at most 1,000, not 1001"),
        ({"seed": 1 << 63}, "seed must be 0 or more and at most 9223372036854775807, not 9223372036854775808"),
        ({"trace_share": 1.5}, "trace_share is 1.5; it must be 0 to 1$"),
        ({"repeat": -1}, "repeat is -1; it must be 0 to 10,000$"),
        ({"duration": 0.0}, "duration must be above 0 and at most"),
        ({"warmup": -1.0}, "warmup must be 0 to"),
        ({"transport": "grpcio"}, "transport of rest must be fast or requests"),
        ({"protocol": "soap"}, "protocol must be one of rest, grpc, both"),
        ({"signature": ""}, "signature is empty"),
        ({"check_share": 1.5}, "check share must lie between 0 and 1"),
        ({"policy": "best"}, "the policy is one of random, round-robin"),
        ({"max_response": 0}, "largest response"),
        ({"compressed": True, "protocol": "grpc"}, "--compressed has no effect on a scenario over gRPC; leave it out"),
        ({"channels": 8, "protocol": "rest"}, "--channels 8 has no effect on a scenario over REST; leave it out"),
    ],
)
def test_values_are_checked_where_a_run_is_made(changed: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        spec(**changed)


@pytest.mark.parametrize(
    ("server", "protocol", "address"),
    [
        (SERVER, "rest", "http://h:1"),
        (SERVER, "both", "http://h:1"),
        (SERVER, "grpc", "grpc://h:2"),
        (RunningServer("http://h:1", None, "bert", "remote"), "grpc", "http://h:1"),
        (RunningServer(None, "h:2", "bert", "remote", secure=True), "grpc", "grpcs://h:2"),
    ],
)
def test_the_address_of_a_server_that_was_opened_elsewhere(server: Any, protocol: str, address: str) -> None:
    assert str(address_of(server, protocol)) == address
