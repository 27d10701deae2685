"""The worker's image is built from wheels, and is what the guide says: small, not root's, read-only, without secrets.

Building it takes minutes: `make test-image` does, `make test` does not. The first run downloads the wheels for the
image's Python, 70 MB, into the cache folder.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench.core.cache import make_cache_dir
from bench.load.setup.catalog import FILES
from bench.server.embedded.config.flags import Flags
from tests.support.debian import one_process
from tests.support.debian_image import debian_image
from tests.support.docker_engine import engine_client
from tests.support.pages import GUIDE, ROOT, blocks

# Its Python is 3.11, as that of the checkout: the wheels are the same.
RELEASE: Final = "bookworm"
VARIABLE: Final = "BERTBENCH_TEST_IMAGE"
NAME: Final = "bertbench-test/image"
MOST_BYTES: Final = 150_000_000
SECRET: Final = "planted-secret"
BUILD_TOOLS: Final = ("cyclonedx-bom", "pip-licenses", "setuptools>=77", "wheel")


@dataclass(frozen=True)
class Built:
    """An image, its documents, and the image it is based on."""

    image: Any
    base: Any
    documents: Path

    def run(self, *words: str) -> str:
        """The output of Python in a container as the guide runs them."""
        options = ["--rm", "--read-only", "--tmpfs", "/tmp", "--user", "4321:4321", "--network", "none"]
        command = ["docker", "run", *options, "--entrypoint", "python", self.image.tags[0], *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def packages(self) -> dict[str, str]:
        code = "import importlib.metadata, json\n"
        code += "print(json.dumps({d.name: d.version for d in importlib.metadata.distributions()}))"
        found = json.loads(self.run("-c", code))
        return {canonicalize_name(name): version for name, version in found.items()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    if not os.environ.get(VARIABLE):
        pytest.skip(f"building an image takes minutes; make test-image sets {VARIABLE}")
    with engine_client() as engine:
        base = debian_image(engine, RELEASE)
        documents = tmp_path_factory.mktemp("documents")
        own = {
            "IMAGE": NAME,
            "PYTHON_IMAGE": base,
            "WHEELHOUSE": str(wheelhouse()),
            "DOCUMENTS": str(documents),
            "PIP_ARGS": f"--index-url http://user:{SECRET}@127.0.0.1:9/simple",
        }
        done = subprocess.run(
            [str(ROOT / "docker" / "build.sh"), "worker"],
            env=os.environ | own,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        name = f"{NAME}:worker"
        yield Built(engine.images.get(name), engine.images.get(base), documents)
        # Its layers stay as the builder's cache.
        engine.images.remove(name, noprune=True)


def wheelhouse() -> Path:
    """A folder of what the worker's image installs."""
    requirements = (ROOT / "requirements" / "worker.txt").read_text() + (ROOT / "constraints.txt").read_text()
    with one_process("wheels"):
        folder = make_cache_dir() / f"test-wheels-{hashlib.sha256(requirements.encode()).hexdigest()[:16]}"
        if not (folder / "complete").exists():
            words = ["download", "--quiet", "--python-version", "3.11", "--only-binary=:all:", "--dest", str(folder)]
            words += [
                "-c",
                str(ROOT / "constraints.txt"),
                "-r",
                str(ROOT / "requirements" / "worker.txt"),
                *BUILD_TOOLS,
            ]
            done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"the wheels cannot be downloaded: {done.stderr.strip().splitlines()[-1:]}")
            (folder / "complete").touch()
    return folder


@pytest.mark.docker
def test_it_is_small_and_not_root_s(built: Built) -> None:
    config = built.image.attrs["Config"]
    assert config["User"] == "1000:1000"
    assert config["Healthcheck"]["Test"][-1] == "/usr/local/bin/healthcheck"
    assert built.image.attrs["Size"] - built.base.attrs["Size"] <= MOST_BYTES


@pytest.mark.docker
def test_no_secret_is_in_its_history(built: Built) -> None:
    history = json.dumps(built.image.history()) + json.dumps(built.image.attrs)
    assert SECRET not in history
    assert "PIP_ARGS" not in history


@pytest.mark.docker
def test_a_worker_starts_for_any_user_on_a_read_only_root(built: Built) -> None:
    out = built.run("-m", "locust", "-f", "/scenarios/rest.py", "--version")
    assert out.startswith("locust ")
    code = "import bench.load.scenario, sys; print([n for n in ('pyarrow', 'scipy', 'tensorflow') if n in sys.modules])"
    assert built.run("-c", code).endswith("[]\n")


@pytest.mark.docker
def test_any_user_reads_what_is_in_it_and_stores_runs(built: Built) -> None:
    code = "import os; print([oct(os.stat(path).st_mode) for path in %r])"
    paths = ["/scenarios", "/scenarios/rest.py", "/usr/local/bin/healthcheck", "/runs"]
    modes = [int(mode, 8) for mode in re.findall(r"0o\d+", built.run("-c", code % paths))]
    assert all(mode & 0o004 for mode in modes)
    assert modes[-1] & 0o7777 == 0o1777


@pytest.mark.docker
def test_its_packages_are_those_of_the_constraints(built: Built) -> None:
    lines = [line.partition("#")[0].strip() for line in constraints().splitlines()]
    pinned = [Requirement(line) for line in lines if line]
    python = {"python_version": "3.11", "python_full_version": "3.11.2"}
    here = [entry for entry in pinned if entry.marker is None or entry.marker.evaluate(python)]
    pins = {canonicalize_name(entry.name): str(entry.specifier).removeprefix("==") for entry in here}
    packages = built.packages()
    assert packages.pop("bertbench") == importlib.metadata.version("bertbench")
    assert packages.items() <= pins.items()
    assert not packages.keys() & {"tensorflow", "pyarrow", "pip"}


@pytest.mark.docker
def test_the_bill_of_materials_and_the_licences_name_every_package(built: Built) -> None:
    (bill,) = (json.loads(path.read_text()) for path in built.documents.glob("*.cdx.json"))
    (licences,) = (json.loads(path.read_text()) for path in built.documents.glob("*.licences.json"))
    packages = built.packages()
    assert {canonicalize_name(part["name"]): part["version"] for part in bill["components"]} == packages
    named = {canonicalize_name(entry["Name"]): entry["License"] for entry in licences}
    assert named.keys() == packages.keys()
    assert "UNKNOWN" not in named.values()


def constraints() -> str:
    return (ROOT / "constraints.txt").read_text()


def test_modes_of_the_checkout_do_not_reach_the_image() -> None:
    """Under a umask of 077 its files are for their owner only; images run as another user."""
    text = (ROOT / "docker" / "Dockerfile").read_text()
    build, final = text.split("\nFROM ")[1:]
    copied = re.findall(r"^COPY (.*)$", final, re.MULTILINE)
    assert copied
    assert all(words.startswith("--from=build ") for words in copied)
    opened = re.search(r"^RUN chmod -R a\+rX,go-w (.*)$", build, re.MULTILINE)[1].split()
    sources = [words.split()[1] for words in copied if words.split()[1].startswith("/src/")]
    assert {source.split("/")[2] for source in sources} == set(opened)
    assert "mkdir -m 1777 /runs" in final


def test_images_have_each_scenario_by_its_name() -> None:
    """`SCENARIO` is a part of a path there."""
    text = (ROOT / "docker" / "Dockerfile").read_text()
    links = {name: file for file, name in re.findall(r"\bln -s (\S+\.py) (\S+\.py)", text)}
    assert links == {f"{name}.py": file for name, file in FILES.items() if file != f"{name}.py"}


def test_documented_containers_store_runs_as_the_caller() -> None:
    """A mounted folder belongs to the caller, who is not always user 1000."""
    for page in GUIDE:
        for block in blocks(page, "sh", "console"):
            for words in block.commands():
                if words[:2] == ["docker", "run"] and any(word.endswith(":/runs/results") for word in words):
                    assert words[words.index("--user") + 1] == "$(id -u):$(id -g)"


def test_the_build_context_has_no_more_than_the_image_needs() -> None:
    """Both ways of building: that of build.sh, and `docker build .`, which `.dockerignore` limits."""
    script = (ROOT / "docker" / "build.sh").read_text()
    parts = set(re.search(r"^parts=\(([^)]*)\)", script, re.MULTILINE)[1].split())
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert lines.index("*") < min(lines.index(f"!{name}") for name in allowed)
    assert parts - {"docker/Dockerfile"} == allowed - {"wheels"}
    assert all((ROOT / name).exists() for name in parts)


@pytest.mark.parametrize(
    ("words", "own", "code", "says"),
    [
        (["analysis"], {}, 2, "there is no image analysis; give worker, load, full or serving"),
        (["worker"], {"WHEELHOUSE": "/nowhere"}, 2, "WHEELHOUSE /nowhere is not a folder"),
        pytest.param(
            ["worker"], {"DOCKER_HOST": "unix:///nowhere.sock"}, 4, "no Docker Engine answers", marks=pytest.mark.docker
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: list[str], own: dict[str, str], code: int, says: str) -> None:
    if "DOCKER_HOST" in own and not shutil.which("docker"):
        pytest.skip("no docker command here")
    command = [str(ROOT / "docker" / "build.sh"), *words]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert line.startswith("build.sh: ")
    assert done.returncode == code
    assert says in line


def test_the_server_s_image_takes_the_flags_that_the_embedded_server_has() -> None:
    text = (ROOT / "docker" / "Dockerfile.serving").read_text()
    flags = set(re.findall(r"--(\w+)=", text))
    assert flags == {"bind_address", "port", "rest_api_port", "model_name", "model_base_path"}
    assert flags <= {entry.name for entry in dataclasses.fields(Flags)}


@pytest.mark.parametrize("image", ["worker", "load", "full"])
def test_the_requirements_of_each_image(image: str) -> None:
    command = [sys.executable, "docker/requirements.py", image]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = {re.split(r"[=<>\[; ]", line)[0] for line in done.stdout.splitlines()}
    assert "locust" in names
    assert "bertbench" not in names
    assert ("tensorflow" in names) == (image == "full")
    assert ("pyarrow" in names) == (image != "worker")
