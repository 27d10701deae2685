"""Every command that takes a model folder looks at it before anything starts, and says what to give instead."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.cli import main
from tests.support.toy_golden import write_model_dir


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server and no load: whoever gets as far has not looked. Libraries may ask the machine about itself."""
    popen = subprocess.Popen

    class Watched(popen):  # type: ignore[misc,valid-type]
        def __init__(self, words: list[str], *more: object, **given: object) -> None:
            assert words[0] != sys.executable, "a process was started"
            super().__init__(words, *more, **given)

    monkeypatch.setattr(subprocess, "Popen", Watched)


def call(*words: str) -> tuple[int, str]:
    err = io.StringIO()
    code = main(words, io.StringIO(), err)
    assert err.getvalue().count("\n") == 1
    return code, err.getvalue()


COMMANDS = [
    ("serve", ("serve", "{}")),
    ("run rest", ("run", "rest", "--model-dir", "{}", "--out", "{out}")),
    ("run grpc", ("run", "grpc", "--model-dir", "{}", "--out", "{out}")),
    ("score", ("score", "{text}", "--model-dir", "{}")),
    ("verify", ("verify", "--model-dir", "{}")),
    ("capacity", ("capacity", "--model-dir", "{}", "--out", "{out}")),
    ("calibrate", ("calibrate", "--model-dir", "{}")),
    ("demo", ("demo", "--model-dir", "{}", "--out", "{out}")),
    ("gate", ("gate", "--baseline", "embedded", "--candidate", "embedded", "--model-dir", "{}")),
]
# Those that need nothing of an export but what a server loads and what is checked.
SERVED = [entry for entry in COMMANDS if entry[0] in ("serve", "run rest", "run grpc", "capacity")]


def said(words: tuple[str, ...], model_dir: Path, tmp_path: Path) -> tuple[int, str]:
    text = tmp_path / "text.tsv"
    text.write_text("One sentence.\n")
    return call(*(word.format(model_dir, out=tmp_path / "out", text=text) for word in words))


@pytest.mark.parametrize(("name", "words"), COMMANDS, ids=[name for name, _ in COMMANDS])
@pytest.mark.usefixtures("nothing_starts")
def test_what_is_not_a_model_folder(name: str, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    whole = write_model_dir(tmp_path / "whole")
    for given, reason in (
        (tmp_path / "nowhere", "no model folder"),
        (tmp_path / "empty", "holds no version folder"),
        (tmp_path / "file", "is not a folder"),
        (whole / "1", f"is one version of a model; give the folder above it: {whole}"),
    ):
        (whole / "1" / "saved_model.pb").write_bytes(b"x")
        code, err = said(words, given, tmp_path)
        assert (code, reason in err) == (2, True), err


@pytest.mark.parametrize(("name", "words"), COMMANDS[1:], ids=[name for name, _ in COMMANDS[1:]])
@pytest.mark.parametrize(
    ("golden", "reason"), [(b"", "golden.json is empty"), (b"{", "golden.json is not JSON"), (None, "no golden")]
)
@pytest.mark.usefixtures("nothing_starts")
def test_golden_answers_that_cannot_be_read(
    name: str, words: tuple[str, ...], golden: bytes | None, reason: str, tmp_path: Path
) -> None:
    whole = write_model_dir(tmp_path / "whole")
    path = whole / "1" / "assets.extra" / "golden.json"
    path.unlink() if golden is None else path.write_bytes(golden)
    code, err = said(words, whole, tmp_path)
    assert (code, reason in err) == (2, True), err


@pytest.mark.parametrize(("name", "words"), SERVED, ids=[name for name, _ in SERVED])
@pytest.mark.usefixtures("nothing_starts")
def test_a_model_without_its_graph_or_weights(name: str, words: tuple[str, ...], tmp_path: Path) -> None:
    whole = write_model_dir(tmp_path / "whole")
    code, err = said(words, whole, tmp_path)
    assert (code, "has no saved_model.pb" in err) == (4, True), err
    (whole / "1" / "saved_model.pb").write_bytes(b"x")
    code, err = said(words, whole, tmp_path)
    assert (code, "has no folder variables" in err) == (4, True), err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--backend", "embedded", "--binary", "x"), "--binary goes with --backend binary, not with embedded"),
        (("--cpus", "2"), "--cpus goes with --backend docker, not with embedded"),
        (("--backend", "binary", "--binary", "x", "--memory", "2GB"), "--memory goes with --backend docker"),
        (("--backend", "docker", "--cpuset", "all"), "cpuset=all is not a list of cores"),
        (("--device", "gpu"), "--device gpu goes with --backend docker, not with embedded"),
        (("--backend", "binary"), "needs --binary"),
    ],
)
def test_options_of_serve_that_do_not_go_together(words: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    code, err = call("serve", str(tmp_path), *words)
    assert (code, reason in err) == (2, True), err


def test_an_output_that_is_the_input_is_refused(demo_model: ExportedModel, tmp_path: Path) -> None:
    """It would be emptied before it is read; a link to it too."""
    text, link = tmp_path / "text.tsv", tmp_path / "link.tsv"
    text.write_text("One sentence.\n")
    link.hardlink_to(text)
    for out in (text, link):
        code, err = call("score", str(text), "--model-dir", str(demo_model.model_dir), "--out", str(out))
        assert (code, "which the command needs too" in err) == (2, True), err
    assert text.read_text() == "One sentence.\n"
