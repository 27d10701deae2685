"""The command line as a whole."""

import io
import os
import resource
import subprocess
import sys
from pathlib import Path

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
    assert "unknown option --min-efect; did you mean --min-effect?" in capsys.readouterr().err


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


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"], ["gate", "history", "--help"]])
def test_help_that_cannot_be_written_is_one_line(words: list[str], tmp_path: Path) -> None:
    """A limit on file sizes, as a full disk does it."""
    with (tmp_path / "output").open("w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "bench", *words],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            # What measures the branches of subprocesses could not write its file either.
            env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("bertbench: cannot write the output: the file grows larger than is allowed; ")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"]])
def test_help_without_a_standard_output_is_nowhere(words: list[str]) -> None:
    """As other output is then."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        preexec_fn=lambda: os.close(1),
    )
    assert (done.returncode, done.stderr) == (0, "")
