"""The wheel of this checkout, built once for all processes of a test run."""

import os
from pathlib import Path

import pytest

from tests.support.installation import build_wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.getbasetemp()
    # With pytest-xdist each process has a folder in that of the run.
    return build_wheel((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "wheel")
