"""One command runs Serving, a Locust master and workers in containers; what breaks on the way is said and counted.

The images' place is taken by a Debian image in which this checkout and its interpreter are mounted, Serving's by the
null server, so that nothing needs to be built.
"""

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from bench.analysis.run import analyse
from bench.bert.demo.client_files import CLIENT_FOLDER
from bench.load.setup.catalog import SCENARIOS
from bench.results.run_reader import Run, find_runs
from bench.server.running import free_ports
from tests.support.compose import compose_environment
from tests.support.debian_image import debian_image
from tests.support.docker_engine import engine_client
from tests.support.locust_process import wait_for
from tests.support.pages import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.long(360)]

SECONDS: Final = 240
SOCKET: Final = Path("/var/run/docker.sock")
# Not root's, so that the owner of the results shows.
USER: Final = 1234


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with engine_client() as client:
        yield client


@pytest.fixture(scope="module")
def image(engine: Any) -> str:
    return debian_image(engine, "trixie")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not one of pytest's, which other users may not enter."""
    with tempfile.TemporaryDirectory(prefix="bertbench-test-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@dataclass
class Test:
    """A load test that runs, and its containers."""

    __test__ = False
    engine: Any
    project: str
    process: "subprocess.Popen[str]"
    results: Path

    def containers(self, service: str = "", all: bool = False) -> list[Any]:
        labels = [f"com.docker.compose.project={self.project}"]
        if service:
            labels.append(f"com.docker.compose.service={service}")
        found: list[Any] = self.engine.containers.list(all=all, filters={"label": labels})
        return found

    def begun(self) -> Path:
        """Waits until requests are recorded; returns the run's folder."""

        def recorded() -> Path | None:
            assert self.process.poll() is None, self.process.communicate()[0]
            blocks = [path for path in self.results.glob("*/requests.blocks") if path.stat().st_size > 1000]
            return blocks[0].parent if blocks else None

        found: Path = wait_for(recorded, 300)
        return found

    def ended(self) -> tuple[int, str]:
        """Exit code and output, once it has ended by itself; nothing of it is left."""
        out = self.process.communicate(timeout=SECONDS)[0]
        filters = {"label": f"com.docker.compose.project={self.project}"}
        assert self.containers(all=True) == []
        assert self.engine.networks.list(filters=filters) == []
        assert self.engine.volumes.list(filters=filters) == []
        return self.process.returncode, out

    def accounted(self) -> Run:
        """The run, in which each request has one outcome, and whose files belong to the caller."""
        (run,) = find_runs([self.results])
        assert run.finished
        records = run.columns(["due"])["due"].size
        assert sum(run.file.counts.values()) == records == run.manifest.scheduled
        if os.geteuid() == 0:
            assert {path.stat().st_uid for path in self.results.rglob("*")} == {USER}
        return run


@contextlib.contextmanager
def load_test(engine: Any, image: str, folder: Path, words: Sequence[str] = ("rest",), **own: str) -> Iterator[Test]:
    # The short form of a volume would divide there.
    results = folder / "the:results"
    results.mkdir()
    results.chmod(0o777)
    (folder / "more.yml").write_text(yaml.safe_dump(stand_ins()))
    rest, grpc = free_ports(2)
    project = f"bertbench-test-{os.getpid()}-{time.monotonic_ns()}"
    environment = compose_environment() | {
        "LOAD_PROJECT": project,
        "MORE_COMPOSE": str(folder / "more.yml"),
        "RESULTS_DIR": str(results),
        "LOAD_IMAGE": image,
        "WORKER_IMAGE": image,
        "SERVING_IMAGE": image,
        "REST_PORT": str(rest),
        "GRPC_PORT": str(grpc),
        "WORKERS": "2",
        "RUN_TIME": "12s",
        "LOAD_OPTIONS": "--no-preflight --warmup 1s --drain 5s --request-timeout 4s --arrivals constant:rate=60",
        **own,
    }
    words = [str(ROOT / "docker" / "load-test.sh"), str(CLIENT_FOLDER), *words]
    if os.geteuid() == 0:
        groups = f"--groups={SOCKET.stat().st_gid}"
        words = ["setpriv", f"--reuid={USER}", f"--regid={USER}", groups, *words]
    # A shell cannot trap a signal that it was started without, as background jobs are without Ctrl-C.
    words = ["env", "--default-signal=INT,TERM,HUP", *words]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )
    test = Test(engine, project, process, results)
    try:
        yield test
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=SECONDS)
        for container in test.containers(all=True):
            container.remove(force=True, v=True)


def stand_ins() -> dict[str, Any]:
    """A Compose file with programs of this checkout and its environment, by the interpreter that runs the tests."""
    if sys.base_prefix == "/usr":
        pytest.skip("an interpreter among the system's files cannot be mounted into another system")
    packages = sysconfig.get_path("purelib")
    here = {
        "volumes": [
            f"{sys.base_prefix}:/interpreter:ro",
            f"{packages}:{packages}:ro",
            f"{ROOT}:{ROOT}:ro",
            f"{ROOT}/scenarios:/scenarios:ro",
        ],
        "environment": {"HOME": "/tmp", "PYTHONPATH": f"{ROOT}:{packages}", "LD_LIBRARY_PATH": "/interpreter/lib"},
    }
    python = f"/interpreter/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    null = [python, "-m", "bench.load.selftest.null_server", "/models/bert", "--bind=0.0.0.0"]
    serving = {"entrypoint": [*null, "--rest-port=8501", "--grpc-port=8500"], "command": []}
    load = {"entrypoint": [python, "-m", "locust"]}
    return {"services": {"serving": here | serving, "master": here | load, "worker": here | load}}


def test_each_protocol_is_run_and_nothing_is_left_but_the_results(engine: Any, image: str, folder: Path) -> None:
    with load_test(engine, image, folder, ("rest", "grpc_api"), RUN_TIME="4s", WORKERS="3") as test:
        code, out = test.ended()
    assert code == 0, out
    runs = find_runs([test.results])
    assert {run.manifest.workload.protocol for run in runs} == {"rest", "grpc"}
    for run in runs:
        assert {name for name, count in run.file.counts.items() if count} == {"ok"}
        assert run.manifest.workers == 3
        assert run.manifest.environment.container == "docker"
        # Of Serving's container, from its control group.
        assert not any("process is unknown" in warning for warning in analyse(run).warnings)


def test_a_server_that_is_killed(engine: Any, image: str, folder: Path) -> None:
    with load_test(engine, image, folder) as test:
        test.begun()
        (serving,) = test.containers("serving")
        serving.kill()
        code, out = test.ended()
    counts = test.accounted().file.counts
    assert code == 1, out
    assert counts["ok"] > 0
    assert counts["unavailable"] + counts["dropped"] > 100
    assert "failed requests" in out


def test_a_server_that_is_paused_for_5_s(engine: Any, image: str, folder: Path) -> None:
    """Open loop: the requests that were due in the pause count, with the time that they waited."""
    with load_test(engine, image, folder, LOAD_OPTIONS=long_timeout(), USERS="200") as test:
        test.begun()
        (serving,) = test.containers("serving")
        serving.pause()
        time.sleep(5)
        serving.unpause()
        code, out = test.ended()
    run = test.accounted()
    assert code == 0, out
    due = run.columns(["due", "done"])
    assert (due["done"] - due["due"]).max() > 4.0


def test_a_worker_that_is_cut_off_for_10_s_and_returns(engine: Any, image: str, folder: Path) -> None:
    with load_test(engine, image, folder, RUN_TIME="20s") as test:
        test.begun()
        worker = test.containers("worker")[0]
        (network,) = engine.networks.list(names=[f"{test.project}_default"])
        network.disconnect(worker, force=True)
        time.sleep(10)
        network.connect(worker, aliases=["worker"])
        code, out = test.ended()
    run = test.accounted()
    assert code in (1, 4), out
    assert {name for name, count in run.file.counts.items() if count} >= {"ok"}
    assert not analyse(run).validity.valid
    assert "worker" in out


def test_a_worker_that_is_killed(engine: Any, image: str, folder: Path) -> None:
    with load_test(engine, image, folder) as test:
        test.begun()
        test.containers("worker")[0].kill()
        code, out = test.ended()
    run = test.accounted()
    assert code == 4, out
    assert run.file.counts["dropped"] > 0
    assert "was lost" in out


def test_a_master_that_is_killed_leaves_an_unfinished_run(engine: Any, image: str, folder: Path) -> None:
    with load_test(engine, image, folder) as test:
        unfinished = test.begun()
        test.containers("master")[0].kill()
        code, out = test.ended()
    assert code == 4, out
    assert "the master was killed" in out
    (run,) = find_runs([unfinished])
    assert not run.finished


def test_ctrl_c_stores_what_was_measured(engine: Any, image: str, folder: Path) -> None:
    with load_test(engine, image, folder, RUN_TIME="60s") as test:
        test.begun()
        os.killpg(test.process.pid, signal.SIGINT)
        code, out = test.ended()
    assert code == 130, out
    (run,) = find_runs([test.results])
    assert run.file.interrupted


def long_timeout() -> str:
    return "--no-preflight --warmup 1s --drain 10s --request-timeout 20s --arrivals constant:rate=20"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "give the model folder"),
        (["nowhere"], 2, "the model folder nowhere does not exist"),
        (["."], 2, "has no version folder"),
        ([str(CLIENT_FOLDER), "fast"], 2, f"there is no scenario fast; give one of {' '.join(sorted(SCENARIOS))}"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(words: list[str], code: int, says: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / "docker" / "load-test.sh"), *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert line.startswith("load-test.sh: ")
    assert says in line
