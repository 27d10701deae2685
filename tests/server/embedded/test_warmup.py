"""Recorded requests that run before a version serves."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.server.embedded.base.status import StatusError
from bench.server.embedded.manager.warmup import FILE_NAME, warm_up
from bench.serving.protos import prediction_log_pb2
from tests.server.embedded.test_tfrecord import record


def test_a_session_run_is_not_replayed(tmp_path: Path) -> None:
    """The binary does not load such a version (saved_model_warmup.cc)."""
    (tmp_path / "assets.extra").mkdir()
    log = prediction_log_pb2.PredictionLog()
    log.session_run_log.SetInParent()
    (tmp_path / "assets.extra" / FILE_NAME).write_bytes(record(log.SerializeToString()))
    servable: Any = SimpleNamespace(path=tmp_path)
    with pytest.raises(StatusError) as refused:
        warm_up(servable, 1)
    assert str(refused.value) == "UNIMPLEMENTED: Unsupported log_type for warmup: 5"
