"""The wheel of this checkout, built once for all test processes."""

from pathlib import Path

import pytest

from tests.support.installation import build_wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.getbasetemp().parent / "wheel")
