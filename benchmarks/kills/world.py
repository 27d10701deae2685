"""What all commands that are killed work with: servers, models, texts, runs, containers."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from bench.bert.demo.demo_model import demo_model_dir
from bench.load.selftest.null_server import null_server
from bench.server.container import IMAGE_VARIABLES
from benchmarks.verdicts import note
from tests.support.docker_engine import engine_client
from tests.support.queue_server import queue_server
from tests.support.serving_image import stand_in_image
from tests.support.synthetic_runs import simulate, write_run
from tests.support.toy_golden import write_model_dir


@dataclass(frozen=True)
class World:
    """What all commands work with.

    Args:
        folder: for everything.
        model_dir: the model whose golden answers are sent.
        targets: of two null servers, by protocol.
        queue: URL of a server that carries some 200 requests/s.
        engine: client of the Docker Engine; None without containers.
    """

    folder: Path
    model_dir: Path
    targets: dict[str, tuple[str, str]]
    queue: str
    engine: Any = None

    @cached_property
    def demo(self) -> Path:
        """The demo model, for servers that a command starts."""
        return demo_model_dir()

    @property
    def text(self) -> Path:
        """Sentences to train on and to score."""
        return self.folder / "text.tsv"

    @property
    def few(self) -> Path:
        """Sentences of golden answers."""
        return self.folder / "few.tsv"

    @property
    def runs(self) -> Path:
        """Two runs to report."""
        return self.folder / "runs"

    @property
    def older_runs(self) -> Path:
        """Others of the same names."""
        return self.folder / "older"


@contextlib.contextmanager
def open_world(containers: bool) -> Iterator[World]:
    """Servers, models, texts and runs.

    Args:
        containers: whether a Docker Engine is wanted.
    """
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        model_dir = write_model_dir(folder / "model")
        servers = [stack.enter_context(null_server(model_dir)) for _ in range(2)]
        targets = {
            "rest": (servers[0]["rest"], servers[1]["rest"]),
            "grpc": (f"grpc://{servers[0]['grpc']}", f"grpc://{servers[1]['grpc']}"),
        }
        queue = stack.enter_context(queue_server(model_dir, servers=2))
        engine = _containers(folder, stack) if containers else None
        world = World(folder, model_dir, targets, queue, engine)
        lines = [f"The old house number {number} is here.\n" for number in range(1500)]
        world.text.write_text("".join(lines))
        world.few.write_text("".join(lines[:8]))
        for root, services in ((world.runs, 1), (world.older_runs, 2)):
            for slug in ("first", "second"):
                write_run(root, simulate(servers=services), slug=slug)
        yield world


def _containers(folder: Path, stack: contextlib.ExitStack) -> Any:
    """The Docker Engine, with a small image that commands take for Serving's; None, and a note why, without one."""
    try:
        engine = stack.enter_context(engine_client())
        image = stack.enter_context(stand_in_image(engine, f"bertbench-kills/serving:{os.getpid()}", folder / "image"))
    except pytest.skip.Exception as skipped:
        note(f"no containers: {skipped}")
        return None
    stack.enter_context(patch.dict(os.environ, {IMAGE_VARIABLES["cpu"]: image}))
    return engine
