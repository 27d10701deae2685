"""One door to every kind of server."""

from bench.server.container import docker
from bench.server.process import binary, embedded
from bench.server.running import RunningServer

__all__ = ["RunningServer", "binary", "docker", "embedded"]
