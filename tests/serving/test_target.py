from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UsageError
from bench.serving.container_limits import ContainerLimits
from bench.serving.target import Target, TargetKind, grpc_address, parse_target, rest_address


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("embedded", Target(TargetKind.EMBEDDED)),
        ("estimator", Target(TargetKind.ESTIMATOR)),
        ("http://host:8501", Target(TargetKind.REST, "http://host:8501")),
        ("http://host:8501/", Target(TargetKind.REST, "http://host:8501")),
        ("https://host", Target(TargetKind.REST, "https://host", secure=True)),
        ("https://host/a/b%20c/", Target(TargetKind.REST, "https://host/a/b%20c", secure=True)),
        ("https://host/%41%7e/b%2fc%c3%bc", Target(TargetKind.REST, "https://host/A~/b%2Fc%C3%BC", secure=True)),
        ("http://[::1]:8501", Target(TargetKind.REST, "http://[::1]:8501")),
        ("http://Bücher.example:80/a", Target(TargetKind.REST, "http://xn--bcher-kva.example:80/a")),
        ("http://my_service.:8501", Target(TargetKind.REST, "http://my_service.:8501")),
        ("grpc://host:8500", Target(TargetKind.GRPC, "host:8500")),
        ("grpc://пример.рф:8500", Target(TargetKind.GRPC, "xn--e1afmkfd.xn--p1ai:8500")),
        ("grpc://[fe80::1%eth0]:8500", Target(TargetKind.GRPC, "[fe80::1%eth0]:8500")),
        ("grpcs://host:443", Target(TargetKind.GRPC, "host:443", secure=True)),
        ("docker:cpu", Target(TargetKind.DOCKER, device="cpu")),
        ("docker:gpu", Target(TargetKind.DOCKER, device="gpu")),
        ("docker:cpu,cpus=1.5", Target(TargetKind.DOCKER, device="cpu", limits=ContainerLimits(cpus=1.5))),
        (
            "docker:gpu,memory=2GB,cpuset=0-1,3",
            Target(TargetKind.DOCKER, device="gpu", limits=ContainerLimits(memory=2_000_000_000, cpuset="0-1,3")),
        ),
        ("binary:/usr/bin/server", Target(TargetKind.BINARY, path=Path("/usr/bin/server"))),
    ],
)
def test_the_known_forms(text: str, target: Any) -> None:
    assert parse_target(text) == target
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "embeded",
        "docker",
        "docker:tpu",
        "docker:cpu,",
        "docker:cpu,cpu=1",
        "docker:cpu,cpus=0",
        "binary:",
        "host:8501",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://host:99999",
        "http://host:" + "9" * 5000,
        "http://host:8501/v1/models/bert",
        "http://user@host:1",
        "http://host:8501/a?key=x",
        "http://host:8501/a/../b",
        "http://host:8501/a/%2E%2e/b",
        "http://host:8501/%76%31/models",
        "http://host:8501/a//b",
        "http://host:8501/ä",
        "http://host:8501/%zz",
        "http://ho st:1",
        "grpc://host",
        "grpc://host:8500/x",
        "http://[::1",
        "http://[fe80::1%eth0]:8501",
        "http://" + "ü" * 63,
    ],
)
def test_anything_else_is_refused_on_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(text)
    assert "\n" not in str(caught.value)
    assert "write" in str(caught.value)


def test_what_locust_calls_a_host() -> None:
    assert (
        grpc_address("localhost:8500") == grpc_address("grpc://localhost:8500") == parse_target("grpc://localhost:8500")
    )
    assert rest_address("http://localhost:8501") == rest_address("localhost:8501")
    with pytest.raises(UsageError, match="gRPC address"):
        grpc_address("http://localhost:8501")
    with pytest.raises(UsageError, match="REST address"):
        rest_address("grpc://localhost:8501")


def test_who_starts_the_server() -> None:
    assert [parse_target(text).managed for text in ("embedded", "docker:cpu", "binary:x", "http://h", "estimator")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert parse_target("grpc://h:1").remote
    assert not parse_target("estimator").remote
