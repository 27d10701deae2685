"""How the demo model is exported: the same for every folder and command of a user."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.bert.demo.demo_model import demo_model_dir
from bench.core.errors import TargetError


def test_no_setting_of_the_user_s_changes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[Sequence[str], dict[str, str]]] = []

    def run(command: Sequence[str], env: Any = None, **_: Any) -> "subprocess.CompletedProcess[str]":
        started.append((command, dict(os.environ) if env is None else env))
        return subprocess.CompletedProcess(command, 2, "", "bertbench: not now\n")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("BERTBENCH_EXPORT_TOP_K", "5")
    monkeypatch.setattr("bench.bert.demo.demo_model.subprocess.run", run)
    with pytest.raises(TargetError, match="not now"):
        demo_model_dir()
    ((command, environment),) = started
    assert list(command[command.index("--config") :]) == ["--config", os.devnull]
    assert "XDG_CACHE_HOME" in environment
    assert not [name for name in environment if name.startswith("BERTBENCH_")]
