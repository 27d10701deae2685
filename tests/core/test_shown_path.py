"""Paths as people read them."""

from pathlib import Path

import pytest

from bench.core.shown_path import shown_path


def test_a_path_is_shown_from_where_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, home = tmp_path / "home" / "work", tmp_path / "home"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    assert shown_path(here / "results" / "one") == "results/one"
    assert shown_path(Path("results/one")) == "results/one"
    assert shown_path(home / ".cache" / "model") == "~/.cache/model"
    assert shown_path(tmp_path / "other") == str(tmp_path / "other")
    here.rmdir()
    assert shown_path(home / ".cache") == "~/.cache"
