"""What tests need of a Docker Engine and of Debian's packages; a test is skipped, with the reason, where one lacks."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException


@contextmanager
def engine_client() -> Iterator[Any]:
    """A client of the Engine that answers here."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        pytest.skip(f"no Docker Engine answers: {error}")
    try:
        yield client
    finally:
        client.close()


def debian_package(name: str, folder: Path) -> Path:
    """The folder of one of Debian's packages, unpacked without installing it."""
    if not shutil.which("apt-get"):
        pytest.skip(f"no apt-get here to fetch {name} with")
    folder.mkdir(exist_ok=True)
    command = f"apt-get -q update && apt-get -q download {name} && dpkg-deb -x {name}_*.deb ."
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{name} cannot be fetched: {done.stderr.strip().splitlines()[-1:]}")
    return folder
