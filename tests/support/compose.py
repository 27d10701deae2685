"""Docker Compose 2 for tests: the installed plugin, or that of a newer Debian release, unpacked beside it.

The first use of the latter downloads 30 MB.
"""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

from tests.support.debian import one_process

RELEASE: Final = "trixie"
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
PLUGIN: Final = "usr/libexec/docker/cli-plugins/docker-compose"


def compose_environment() -> dict[str, str]:
    """An environment in which `docker compose` is version 2; skips the test where it cannot be had."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("COMPOSE_")}
    if _has_compose(environment):
        return environment
    with one_process("compose"):
        # Not in the user's cache folder: other users run it too.
        folder = Path(tempfile.gettempdir()) / f"bertbench-test-{os.getuid()}-compose"
        plugins = folder / "config" / "cli-plugins"
        if not (plugins / "docker-compose").exists():
            _unpack(folder)
            plugins.mkdir(parents=True, exist_ok=True)
            (plugins / "docker-compose").symlink_to(folder / PLUGIN)
    environment["DOCKER_CONFIG"] = str(folder / "config")
    if not _has_compose(environment):
        pytest.skip("no docker command here that takes the Compose plugin")
    return environment


def _has_compose(environment: dict[str, str]) -> bool:
    try:
        done = subprocess.run(
            ["docker", "compose", "version", "--short"], env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0 and int(done.stdout.lstrip("v").partition(".")[0] or 0) >= 2


def _unpack(folder: Path) -> None:
    """Downloads and unpacks the package by apt, with lists of its own: nothing is installed."""
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] http://deb.debian.org/debian {RELEASE} main\n")
    (folder / "status").touch()
    own = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/nonexistent",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
    }
    options = " ".join(f"-o {name}={value}" for name, value in own.items())
    script = f"apt-get -q {options} update && apt-get -q {options} download docker-compose && dpkg-deb -x *.deb ."
    done = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"Docker Compose 2 cannot be fetched: {done.stderr.strip().splitlines()[-1:]}")
