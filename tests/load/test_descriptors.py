"""Room for the connections of a load-generating process among its open files."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from bench.core.errors import UsageError
from bench.load.engine.descriptors import make_room
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.selftest.null_server import null_server
from bench.load.transports.endpoint import Endpoint
from bench.workload.workload import Workload
from tests.support.toy_golden import write_model_dir


class Limits:
    """A process with 10 open files, and its limits."""

    def __init__(self, soft: int, hard: int, most: int | None = None) -> None:
        self.now = (soft, hard)
        self.most = most

    def set(self, kind: int, limits: tuple[int, int]) -> None:
        assert kind == resource.RLIMIT_NOFILE
        if self.most is not None and limits[0] > self.most:
            raise ValueError("current limit exceeds maximum limit")
        self.now = limits


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Limits:
    limits = Limits(*request.param)
    monkeypatch.setattr("psutil.Process.num_fds", lambda _: 10)
    monkeypatch.setattr("resource.getrlimit", lambda _: limits.now)
    monkeypatch.setattr("resource.setrlimit", limits.set)
    return limits


@pytest.mark.parametrize(
    ("limited", "becomes"),
    [
        ((1024, 4096), (1024, 4096)),
        ((100, 4096), (542, 4096)),
        ((542, 542), (542, 542)),
        ((100, resource.RLIM_INFINITY), (542, resource.RLIM_INFINITY)),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)),
    ],
    indirect=["limited"],
)
def test_the_limit_is_raised_where_that_helps(limited: Limits, becomes: tuple[int, int]) -> None:
    make_room(500, 500)
    assert limited.now == becomes


@pytest.mark.parametrize(
    ("limited", "most"),
    [((24, 24), 24), ((100, 541), 541), ((256, resource.RLIM_INFINITY, 300), 256)],
    indirect=["limited"],
)
def test_more_connections_than_files_are_refused(limited: Limits, most: int) -> None:
    with pytest.raises(UsageError) as refused:
        make_room(500, 500)
    assert str(refused.value) == (
        f"500 users in one process need 542 open files, and the limit is {most}; raise it (ulimit -n), or give fewer "
        "users"
    )


@pytest.mark.parametrize("limited", [(1024, 1024)], indirect=True)
def test_a_process_that_has_used_all_has_no_room(limited: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("psutil.Process.num_fds", none_left)
    with pytest.raises(UsageError, match=r"need 1,057 open files, and the limit is 1,024"):
        make_room(1, 1)


@pytest.mark.parametrize(("protocol", "connections"), [("rest", 40), ("grpc", 3), ("both", 43)])
def test_connections_of_a_plan(protocol: str, connections: int) -> None:
    workload = Workload(protocol=protocol, transport="fast", signature="score", users=80, duration=3.0)
    plan = WorkerPlan("r", 0, b"", workload, Endpoint(channels=3), None, 0.0, 0.0, 3.0, users=40)
    assert plan.connections == connections


@pytest.mark.parametrize(("scenario", "limit"), [("rest", 70), ("grpc", 30)])
@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["one-process", "workers"])
def test_a_run_that_needs_more_open_files_than_are_allowed_is_refused(
    tmp_path: Path, scenario: str, limit: int, processes: tuple[str, ...]
) -> None:
    model_dir = write_model_dir(tmp_path / "model")
    with null_server(model_dir) as server:
        target = server["rest"] if scenario == "rest" else f"grpc://{server['grpc']}"
        command = [sys.executable, "-m", "bench", "run", scenario, "--target", target, "--model-dir", model_dir]
        command += ["--users", "120", "--arrivals", "constant:rate=10", "--duration", "1s", "--out", tmp_path / "out"]
        command += processes
        ended = subprocess.run(
            ["bash", "-c", f'ulimit -n {limit}; exec "$@"', "bash", *map(str, command)],
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert ended.returncode == 2, ended.stderr
    assert f"open files, and the limit is {limit}; raise it (ulimit -n), or give fewer users" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "out").glob("*/run.json"))
