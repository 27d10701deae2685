"""The command line as a whole."""

import io
import subprocess
import sys

import pytest

from bench.cli import COMMANDS, main


def call(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(words, out, err), out.getvalue(), err.getvalue()


@pytest.mark.parametrize("words", [[], ["frobnicate"], ["score"], ["score", "--format", "xml", "f"], ["export"]])
def test_wrong_words_are_one_line_and_exit_2(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "bench", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert not done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert "see bertbench" in done.stderr


def test_a_mistyped_option_is_named_where_its_value_could_be_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gate", "--baseline", "embedded", "--min-efect", "3%"])
    assert ended.value.code == 2
    assert "there is no --min-efect; did you mean --min-effect?" in capsys.readouterr().err


def test_a_mistyped_command_is_named_and_not_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["gat", "--baseline", "embedded"])
    assert "'gat' is not one of train, export" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert command in capsys.readouterr().out


def test_a_missing_file_is_one_line(tmp_path: object) -> None:
    code, out, err = call("score", f"{tmp_path}/nothing.tsv")
    assert (code, out) == (2, "")
    assert err.startswith("bertbench: no file ")
    assert len(err.splitlines()) == 1


def test_a_closed_standard_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `score - <&-` starts it."""
    monkeypatch.setattr(sys, "stdin", None)
    line = "bertbench: standard input is closed; give a text file, or a pipe\n"
    assert call("score", "-") == (2, "", line)
