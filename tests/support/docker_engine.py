"""What tests need of a Docker Engine; a test is skipped, with the reason, where none answers."""

from collections.abc import Iterator
from contextlib import contextmanager
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
