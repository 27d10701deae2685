"""The base installation in a container of another Debian release, with that release's Python and without TensorFlow.

The release's file system is made with debootstrap, as root, and kept as an image (`docker rmi` of it makes the next run
build it again); the wheels of the dependencies, and what pip installs of them, are kept in the cache folder. Only the
first run needs a network: a mirror of Debian, and the package index that pip is configured for.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import docker
import pytest

from bench.core.cache import make_cache_dir
from bench.results.run_reader import find_runs
from bench.server.lifecycle import RunningServer
from tests.support.debian_image import debian_image
from tests.support.docker_engine import engine_client
from tests.support.installation import ROOT, dependencies

pytestmark = [pytest.mark.docker, pytest.mark.long(130)]

RELEASE: Final = "trixie"
MOST_BYTES: Final = 600e6
PACKED: Final = "/wheels/installed.tar.gz"
PIP_INSTALL: Final = (
    *("/opt/pip/bin/pip", "--python", "/opt/bertbench/bin/python", "install", "--quiet"),
    *("--no-index", "--find-links", "/wheels", "-c", "constraints.txt"),
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with engine_client() as client:
        yield client


@pytest.fixture(scope="module")
def image(engine: Any) -> str:
    """The release with Python and pip, built if the Engine does not have it yet."""
    return debian_image(engine, RELEASE)


class Container:
    """A container that runs commands until the test ends; `/data` is a folder of the test."""

    def __init__(self, container: Any) -> None:
        self._container = container

    @property
    def image(self) -> str:
        """The id of its image."""
        return str(self._container.image.id)

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output and errors of a command."""
        done = self._container.exec_run(list(words), workdir="/data", demux=True)
        out, err = ((text or b"").decode() for text in done.output)
        return done.exit_code, out, err

    def succeed(self, *words: str) -> str:
        """The output of a command that must succeed."""
        code, out, err = self.run(*words)
        assert code == 0, f"{' '.join(words)}: {err[-2000:]}"
        return out


@pytest.fixture
def container(engine: Any, image: str, wheel: Path, tmp_path: Path) -> Iterator[Container]:
    """The network of the host, where the server listens; the environment of pip's configuration."""
    wheels = make_cache_dir() / "test-wheels"
    wheels.mkdir(exist_ok=True)
    shutil.copy2(ROOT / "constraints.txt", tmp_path)
    shutil.copy2(wheel, tmp_path)
    (tmp_path / "requirements.txt").write_text("\n".join(dependencies()))
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    authorities = [pip["PIP_CERT"]] if "PIP_CERT" in pip else []
    made = engine.containers.run(
        image,
        ["sleep", "infinity"],
        detach=True,
        init=True,
        network_mode="host",
        environment=pip,
        volumes=[f"{tmp_path}:/data", f"{wheels}:/wheels", *(f"{path}:{path}:ro" for path in authorities)],
        mounts=[docker.types.Mount("/opt", None, type="volume")],
    )
    try:
        yield Container(made)
    finally:
        made.exec_run(["chown", "-R", f"{os.getuid()}:{os.getgid()}", "/data", "/wheels"])
        made.remove(force=True, v=True)


def install_dependencies(container: Container, folder: Path) -> None:
    """Installs pip and the dependencies below `/opt`; an earlier run for the same ones left both, packed."""
    wheels = make_cache_dir() / "test-wheels"
    wanted = hashlib.sha256(b"".join((folder / name).read_bytes() for name in ("requirements.txt", "constraints.txt")))
    wanted.update(container.image.encode())
    stamp = wheels / "requirements.sha256"
    if stamp.is_file() and stamp.read_text() == wanted.hexdigest():
        container.succeed("tar", "--extract", "--gzip", "--file", PACKED, "--directory", "/opt")
        return
    for path in wheels.iterdir():
        path.unlink()
    # pip has an environment of its own, and is no part of what is measured.
    container.succeed("python3", "-m", "venv", "/opt/pip")
    container.succeed("python3", "-m", "venv", "--without-pip", "/opt/bertbench")
    words = ("--quiet", "--only-binary=:all:", "-r", "requirements.txt", "-c", "constraints.txt", "-d", "/wheels")
    code, _, err = container.run("/opt/pip/bin/pip", "download", *words)
    if code:
        pytest.skip(f"the wheels cannot be downloaded: {err.strip().splitlines()[-1:]}")
    container.succeed(*PIP_INSTALL, "-r", "requirements.txt")
    container.succeed(
        "tar", "--create", "--use-compress-program=gzip -1", "--file", PACKED, "--directory", "/opt", "pip", "bertbench"
    )
    stamp.write_text(wanted.hexdigest())


def test_load_report_and_gate_work_in_another_release(
    container: Container, wheel: Path, demo_server: RunningServer, tmp_path: Path
) -> None:
    install_dependencies(container, tmp_path)
    # What the wheel itself asks for must be there, or among the downloads.
    container.succeed(*PIP_INSTALL, wheel.name)
    size = int(container.succeed("du", "--summarize", "--block-size=1", "/opt/bertbench").split()[0])
    assert size <= MOST_BYTES, f"{size / 1e6:.0f} MB"
    assert "No module named 'tensorflow'" in container.run("/opt/bertbench/bin/python", "-c", "import tensorflow")[2]

    bertbench = "/opt/bertbench/bin/bertbench"
    targets = {"rest": str(demo_server.rest), "grpc": f"grpc://{demo_server.grpc}"}
    for scenario, target in targets.items():
        load = ("--target", target, "--arrivals", "constant:rate=20", "--duration", "3s", "--warmup", "1s")
        assert " ok" in container.succeed(bertbench, "run", scenario, *load)
    runs = find_runs([tmp_path / "results"])
    assert {run.manifest.workload.protocol for run in runs} == set(targets)
    for run in runs:
        assert {name for name, count in run.file.counts.items() if count} == {"ok"}
        assert run.manifest.workload.check_share == 1.0
        assert run.manifest.environment.python >= "3.12"
        assert run.manifest.environment.container == "docker"
    container.succeed(bertbench, "report", "results")
    assert all((run.path / "report.html").is_file() for run in runs)

    both = ("--baseline", targets["grpc"], "--candidate", targets["grpc"])
    code, out, err = container.run(bertbench, "gate", *both, "--warmup", "1s", "--max-time", "9s")
    assert (code, "error ratio" in out) == (3, True), err
