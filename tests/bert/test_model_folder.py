"""What is not a model folder is said before anything starts, with the folder to give where that can be told."""

import os
from pathlib import Path

import pytest

from bench.bert.contract.golden import read_golden
from bench.bert.contract.model_folder import check_servable, latest_version
from bench.core.errors import TargetError, UsageError


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A folder with all that an export has, without anything in it that could be loaded."""
    version = tmp_path / "models" / "bert" / "3"
    for name in ("variables", "assets", "assets.extra"):
        (version / name).mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"graph")
    (version / "variables" / "variables.index").write_bytes(b"index")
    (version / "variables" / "variables.data-00000-of-00001").write_bytes(b"data")
    return version.parent


def test_the_highest_version_counts(whole: Path) -> None:
    for name in ("12", "0007", "x13", "²", "5.5", "9223372036854775808", "9" * 250):
        (whole / name).mkdir()
    (whole / "99").write_bytes(b"a file")
    assert latest_version(whole) == whole / "12"


def test_a_whole_folder_is_good(whole: Path) -> None:
    check_servable(whole)
    assert latest_version(whole) == whole / "3"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("nowhere", "no model folder .*nowhere; make one with: bertbench export"),
        ("models/bert/3", r"3 is one version of a model; give the folder above it: .*/models/bert$"),
        ("models", r"models holds no version folder like .*/1; did you mean .*/models/bert\?"),
        ("models/bert/3/assets", "holds no version folder"),
        ("models/bert/3/saved_model.pb", r"is a file of a model; give the folder above its versions: .*/models/bert$"),
        ("models/bert/3/saved_model.pb/x", "is not a folder; give the folder above the versions"),
        ("checkpoint", "holds a checkpoint, not an export; make one with: bertbench export --checkpoint .*checkpoint"),
        ("pages", "holds no version folder"),
    ],
)
def test_another_folder(tmp_path: Path, whole: Path, given: str, reason: str) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "bert_config.json").write_text("{}")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "model.md").write_text("about the model")
    with pytest.raises(UsageError, match=reason) as caught:
        check_servable(tmp_path / given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ("saved_model.pb", "has no saved_model.pb, so it is not a SavedModel"),
        ("variables/variables.index", "has no variables.index"),
        ("variables/variables.data-00000-of-00001", "has no variables.data-... file with the weights"),
        ("variables", "has no folder variables, so the model has no weights"),
    ],
)
def test_a_damaged_export(whole: Path, gone: str, reason: str) -> None:
    path = whole / "3" / gone
    path.rename(whole / "moved")
    with pytest.raises(TargetError, match=reason):
        check_servable(whole)


def test_empty_files_are_named(whole: Path) -> None:
    (whole / "3" / "variables" / "variables.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(TargetError, match="has no variables.data"):
        check_servable(whole)
    (whole / "3" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(TargetError, match=r"saved_model.pb is empty; export the model again"):
        check_servable(whole)


def test_a_foreign_model_may_have_no_variables(whole: Path) -> None:
    (whole / "3" / "variables").rename(whole / "moved")
    with pytest.raises(TargetError, match="has no folder variables"):
        check_servable(whole)
    (whole / "3" / "assets.extra").rmdir()
    check_servable(whole)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "no golden answers .*golden.json"),
        (b"", "golden.json is empty"),
        (b" \n", "golden.json is empty"),
        (b"{", "golden.json is not JSON .*; export the model again"),
        (b"[1]", "golden.json is not a golden file of bertbench"),
        (b"null", "golden.json is not a golden file of bertbench"),
        (b'{"format": 1}', "golden.json is not a valid golden file .checkpoint_digest is missing."),
        (b'{"format": 1, "sentences": []}', "not a valid golden file .checkpoint_digest is missing."),
        (b'{"format": 99, "sentences": []}', "has golden file format 99, this version reads 1; update bertbench"),
        (b"\xff\xfe", "golden.json is not JSON"),
    ],
)
def test_golden_answers_that_cannot_be_read(whole: Path, data: bytes | None, reason: str) -> None:
    if data is not None:
        (whole / "3" / "assets.extra" / "golden.json").write_bytes(data)
    with pytest.raises(UsageError, match=reason) as caught:
        read_golden(whole)
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_place_of_the_golden_answers(whole: Path) -> None:
    (whole / "3" / "assets.extra" / "golden.json").mkdir()
    with pytest.raises(UsageError, match="golden.json cannot be read"):
        read_golden(whole)


def test_a_pipe_among_the_shards_is_not_waited_for(whole: Path) -> None:
    os.mkfifo(whole / "3" / "variables" / "variables.data-00001-of-00002")
    with pytest.raises(TargetError, match="data-00001-of-00002 is not a file, so the weights"):
        check_servable(whole)
