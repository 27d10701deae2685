"""Fixtures that several folders share: the demo model and a server on it, made once a session."""

from collections.abc import Iterator

import hypothesis
import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.demo.demo_model import demo_model_dir
from bench.server.lifecycle import RunningServer, embedded

# The same examples on every machine and in every run; `pytest --hypothesis-profile=search` draws new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("search", deadline=None, max_examples=5000)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def demo_model() -> ExportedModel:
    """The demo model, exported into the user's cache if it is not there."""
    return ExportedModel.open(demo_model_dir())


@pytest.fixture(scope="session")
def demo_server(demo_model: ExportedModel) -> Iterator[RunningServer]:
    """The embedded server on the demo model."""
    with embedded(demo_model.model_dir) as server:
        yield server
