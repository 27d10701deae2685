"""Fixtures that several folders share: the demo model and a server on it, made once a session."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.demo.demo_model import demo_model_dir
from bench.server.lifecycle import RunningServer, embedded
from tests.support.order import long_first, turned

# The same examples on every machine and in every run; `pytest --hypothesis-profile=search` draws new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("search", deadline=None, max_examples=5000)
hypothesis.settings.load_profile("repeatable")


HERE = Path(__file__).parent
WORKER_BYTES = 1.5e9


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two processes a core, since tests wait for a third of their time, as far as memory reaches.

    Each process has TensorFlow and may have a server. More of them would spend their time on collecting the tests.
    """
    return max(1, min(2 * len(os.sched_getaffinity(0)), int(psutil.virtual_memory().available / WORKER_BYTES)))


def pytest_configure(config: pytest.Config) -> None:
    """One of several processes, which collect at the same time, begins in a folder of its own."""
    worker = getattr(config, "workerinput", None)
    if worker and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        entries = sorted(
            str(path) for path in HERE.iterdir() if (path / "__init__.py").is_file() or path.match("test_*.py")
        )
        config.args[:] = turned(entries, int(worker["workerid"].removeprefix("gw")), worker["workercount"])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several processes get the long modules first; a single one keeps the order of the files."""
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes > 1:
        items.sort(key=_module)
        items[:] = long_first(items, processes, _module, _seconds)


def _module(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _seconds(item: pytest.Item) -> float:
    mark = item.get_closest_marker("long")
    return float(mark.args[0]) if mark else 0.0


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """The demo model, exported into the user's cache if it is not there, by one of the test processes."""
    with (tmp_path_factory.getbasetemp().parent / "demo-model.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return ExportedModel.open(demo_model_dir())


@pytest.fixture(scope="session")
def demo_server(demo_model: ExportedModel) -> Iterator[RunningServer]:
    """The embedded server on the demo model."""
    with embedded(demo_model.model_dir) as server:
        yield server
