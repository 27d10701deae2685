"""What the program runs for itself is the same, whatever the user has set."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.config.own_command import own_command, own_environment

SHOW = ("config", "show", "run", "--json")


def origins(command: Sequence[str], environment: dict[str, str] | None) -> dict[str, str]:
    """Where the value of each option of `bertbench run` comes from."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    return {option["option"]: option["origin"] for option in json.loads(done.stdout)["options"]}


def test_no_setting_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bertbench.toml").write_text("users = 3\n")
    monkeypatch.setenv("BERTBENCH_RUN_SEED", "5")
    given = origins([sys.executable, "-m", "bench", *SHOW], None)
    assert (given["users"], given["seed"]) == ("file", "variable")
    assert set(origins(own_command(SHOW), own_environment()).values()) == {"default"}


def test_nor_does_a_file_that_is_named_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTBENCH_CONFIG", str(tmp_path / "none.toml"))
    assert set(origins(own_command(SHOW), own_environment()).values()) == {"default"}
