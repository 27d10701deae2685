"""One door to every kind of server: a target in, a running server out, stopped at the end."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.server.container import docker
from bench.server.process import binary, embedded
from bench.server.running import RunningServer

__all__ = ["RunningServer", "binary", "docker", "embedded"]
