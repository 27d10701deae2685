"""The docker backend against a real Engine, with a small image in the place of Serving's."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound

from bench.core.errors import TargetError
from bench.load.monitor.control_group import GroupUsage
from bench.server.container import IMAGE_VARIABLES
from bench.server.lifecycle import open_target
from bench.serving.target import parse_target
from tests.support.docker_engine import engine_client
from tests.support.locust_process import wait_for
from tests.support.serving_image import stand_in_image

pytestmark = pytest.mark.docker

TAG = "bertbench-test/serving:stand-in"


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with engine_client() as client:
        yield client


@pytest.fixture(scope="module")
def image(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with stand_in_image(engine, TAG, tmp_path_factory.mktemp("busybox")) as tag:
        yield tag


def test_a_container_is_ready_inside_and_gone_after(
    engine: Any, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IMAGE_VARIABLES["cpu"], image)
    (tmp_path / "1").mkdir()
    with open_target(parse_target("docker:cpu"), tmp_path, "bert", startup_timeout=30) as server:
        assert server.grpc is not None
        host, _, port = server.grpc.rpartition(":")
        socket.create_connection((host, int(port)), timeout=2).close()
        assert server.container is not None
        assert engine.containers.get(server.container).status == "running"
    with pytest.raises(NotFound):
        engine.containers.get(server.container)


OWNER = """
import pathlib, sys
from bench.server.container import Device, docker
with docker(Device("cpu"), pathlib.Path(sys.argv[1])) as server:
    print(server.container, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_container_is_left_by_an_owner_that_is_killed(
    number: signal.Signals, engine: Any, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IMAGE_VARIABLES["cpu"], image)
    (tmp_path / "1").mkdir()
    words = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        assert owner.stdout is not None
        container = engine.containers.get(owner.stdout.readline().strip())
        assert container.labels["bertbench.server"] == str(owner.pid)
        owner.send_signal(number)
    assert wait_for(lambda: is_gone(engine, container.id), 60)


def is_gone(engine: Any, container: str) -> bool:
    try:
        engine.containers.get(container)
    except NotFound:
        return True
    return False


def test_the_container_s_cpu_and_memory_are_sampled(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IMAGE_VARIABLES["cpu"], image)
    (tmp_path / "1").mkdir()
    with open_target(parse_target("docker:cpu,cpus=0.5,memory=64MB"), tmp_path, startup_timeout=60) as server:
        if server.container_pid is None:
            pytest.skip("the Engine is not on this machine")
        assert server.container is not None
        usage = GroupUsage.of_container(server.container_pid, server.container)
        time.sleep(0.2)
        cores, memory = usage.look()
    assert 0 <= cores < 4
    assert 0 < memory < 64_000_000


def test_a_container_that_ends_is_told_with_its_last_line(
    engine: Any, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IMAGE_VARIABLES["cpu"], image)
    with (
        pytest.raises(TargetError, match="no version under /models/bert"),
        open_target(parse_target("docker:cpu"), tmp_path, "bert", startup_timeout=30),
    ):
        pass


def test_why_a_model_does_not_load_is_told_while_the_container_goes_on_trying(
    engine: Any, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IMAGE_VARIABLES["cpu"], image)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "cut").write_bytes(b"")
    with (
        pytest.raises(
            TargetError, match="docker server did not start: model 'bert' of .* does not load: DATA_LOSS: cut;"
        ),
        open_target(parse_target("docker:cpu"), tmp_path, "bert", startup_timeout=120),
    ):
        pass


def test_no_engine_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with (
        pytest.raises(TargetError, match="no Docker Engine answers .it is not running.; start it") as failed,
        open_target(parse_target("docker:cpu"), tmp_path),
    ):
        pass
    assert "\n" not in str(failed.value)


def test_an_image_that_is_not_to_be_had_is_one_line_that_names_the_variable(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IMAGE_VARIABLES["cpu"], "127.0.0.1:9/none:1")
    with pytest.raises(TargetError) as failed, open_target(parse_target("docker:cpu"), tmp_path):
        pass
    assert "SERVING_IMAGE" in str(failed.value)
    assert "\n" not in str(failed.value)
