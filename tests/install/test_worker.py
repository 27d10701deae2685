"""`requirements/worker.txt`: it is up to date, small, and all that a worker of a distributed run needs."""

import re
import runpy
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bench.results.run_reader import find_runs
from bench.server.lifecycle import RunningServer
from tests.support.installation import ROOT, Installation, install
from tests.support.locust_process import command, environment, free_port

LIST = ROOT / "requirements" / "worker.txt"
MOST_BYTES = 150e6


@pytest.fixture(scope="module")
def worker(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An environment with the list and the wheel alone."""
    lines = [Requirement(line) for line in LIST.read_text().splitlines() if not line.startswith("#")]
    names = {line.name for line in lines if line.marker is None or line.marker.evaluate()}
    return install(tmp_path_factory.mktemp("worker") / "env", names, wheel)


def test_the_list_is_what_the_target_makes() -> None:
    """`make worker-requirements` is due when this fails: worker.in, constraints.txt or a package changed."""
    made = runpy.run_path(str(ROOT / "requirements" / "worker_requirements.py"))["worker_requirements"]()
    assert LIST.read_text() == made


def test_a_worker_is_small(worker: Installation) -> None:
    assert worker.size <= MOST_BYTES
    installed = {path.name.partition("-")[0].lower() for path in worker.packages.glob("*.dist-info")}
    assert not installed & {"pyarrow", "scipy", "matplotlib", "pandas", "tensorflow", "grpcio", "pytest", "docker"}
    assert {"bertbench", "locust", "numpy"} <= installed


def distributed(
    worker: Installation, server: RunningServer, folder: Path, *words: str
) -> "subprocess.CompletedProcess[str]":
    """A run over both protocols: the master has the whole installation, its only worker has the list."""
    port = str(free_port())
    master = subprocess.Popen(
        [
            *command("compare.py", "--master", "--master-bind-port", port, "--expect-workers", "1"),
            *("--headless", "--only-summary", "-u", "8", "-t", "4s", "--arrivals", "constant:rate=30"),
            *("--host", str(server.rest), "--grpc-host", str(server.grpc), *words),
        ],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        copied = worker.run("bertbench", "scenario", "copy", "compare", cwd=folder)
        assert copied.returncode == 0, copied.stderr
        done = worker.run("locust", "-f", "compare.py", "--worker", "--master-port", port, cwd=folder)
        assert "Traceback" not in done.stderr, done.stderr
        out, err = master.communicate(timeout=120)
    finally:
        if master.poll() is None:
            master.kill()
            master.communicate()
    return subprocess.CompletedProcess(master.args, master.returncode, out, err)


def test_the_list_is_enough_for_a_distributed_run(
    worker: Installation, demo_server: RunningServer, tmp_path: Path
) -> None:
    done = distributed(worker, demo_server, tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = find_runs([tmp_path / "results"])
    counts = {name: count for name, count in run.file.counts.items() if count}
    assert set(counts) == {"ok"}
    assert counts["ok"] == run.manifest.scheduled > 100
    assert run.manifest.workload.check_share == 1.0


def test_a_transport_that_the_list_lacks_is_refused_in_one_line(
    worker: Installation, demo_server: RunningServer, tmp_path: Path
) -> None:
    done = distributed(worker, demo_server, tmp_path, "--transport", "fast+grpcio")
    assert done.returncode == 2, done.stderr
    assert "the transport grpcio needs grpc, which is not installed; run: pip install grpcio" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [("bertbench", "run", "grpc", "--target", "grpc://localhost:1"), ("locust", "-f", "rest.py", "--headless")]
)
def test_what_a_worker_cannot_do_is_refused_in_one_line(
    worker: Installation, tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert worker.run("bertbench", "scenario", "copy", "rest", cwd=tmp_path).returncode == 0
    done = worker.run(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(
        r"^bertbench: this needs \w+, which the installation of a worker lacks; install bertbench as a whole$",
        done.stderr,
        re.MULTILINE,
    )
