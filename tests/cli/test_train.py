"""`bertbench train`: options, bad input, what it prints. Training itself: tests/bert/test_training.py."""

import argparse
import io
import os
from pathlib import Path

import pytest

from bench.bert.training.training_config import TrainingConfig
from bench.cli import main, train
from bench.cli.arguments.train import add_arguments
from bench.cli.train_progress import TrainingProgress
from bench.core.errors import ExitCode

GOOD = "".join(f"This is line number {number}.\n" for number in range(120)).encode()


def run(*words: str) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main(["train", *words], out, err)
    assert out.getvalue() == ""
    return code, err.getvalue()


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(GOOD)
    return path


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "no file"),
        (b"", "holds no sentence"),
        (GOOD + b"caf\xe9\n", "line 121 is not UTF-8"),
        (b"One line.\n\nAnd another.\n", "has 2 sentences; training needs at least 100"),
    ],
)
def test_bad_text_is_one_line_and_exit_code_2(tmp_path: Path, text: Path, data: bytes | None, message: str) -> None:
    text.unlink() if data is None else text.write_bytes(data)
    code, err = run(str(text), "--out", str(tmp_path / "out"))
    assert code == ExitCode.USAGE
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["-", "pipe", "device"])
def test_a_text_that_cannot_be_read_again_is_refused(tmp_path: Path, kind: str) -> None:
    """Training reads it for its digest, its vocabulary and its pieces; a pipe is not even waited for."""
    path = {"-": "-", "pipe": str(tmp_path / "pipe"), "device": "/dev/zero"}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    code, err = run(path, "--out", str(tmp_path / "out"))
    assert code == ExitCode.USAGE
    assert "cannot be read again" in err
    assert err.endswith("; write the text into a file\n")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "0"], "--steps: 0 is out of range"),
        (["--epochs", "0"], "--epochs: 0 is out of range; give a number above 0"),
        (["--dropout", "1"], "--dropout: 1 is out of range"),
        (["--max-length", "4"], "--max-length: 4 is out of range; give a whole number from 8"),
        (["--learning-rate", "-1"], "--learning-rate: -1 is out of range"),
        (["--vocab-size", "20"], "too small for the alphabet"),
        (["--layers", "-1"], "--layers: -1 is out of range"),
        (["--checkpoint", "demo", "--preset", "tiny"], "--preset is for a model from scratch"),
        (["--checkpoint", "demo", "--dropout", "0"], "--dropout is for a model from scratch"),
        (["--checkpoint", "demo", "--cased"], "--cased is for a model from scratch"),
        (["--checkpoint", "/nowhere/at/all"], "no checkpoint folder"),
        (["--init-head"], "--init-head is for a --checkpoint without a head"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(tmp_path: Path, text: Path, options: list[str], message: str) -> None:
    code, err = run(str(text), "--out", str(tmp_path / "out"), *options)
    assert code == ExitCode.USAGE
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_options_become_a_recipe() -> None:

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = "text --out out --preset mini --layers 3 --vocab-size 900 --cased --max-length 64 --dropout 0 --steps 7"
    more = "--learning-rate 1e-4 --warmup-share 0.2 --batch-positions 99 --evaluations 2 --seed 5"
    args = parser.parse_args([*words.split(), *more.split()])
    assert train._training_config(args) == TrainingConfig(
        preset="mini",
        layers=3,
        vocab_size=900,
        do_lower_case=False,
        max_length=64,
        dropout=0.0,
        steps=7,
        warmup_share=0.2,
        learning_rate=1e-4,
        batch_positions=99,
        evaluations=2,
        seed=5,
    )
    assert train._training_config(parser.parse_args(["text", "--out", "out"])) == TrainingConfig()
    words = "text --out out --checkpoint demo --init-head"
    assert train._training_config(parser.parse_args(words.split())) == TrainingConfig(checkpoint="demo", init_head=True)


def test_progress_off_a_terminal_is_a_line_an_evaluation() -> None:
    from bench.bert.training.training import Evaluation

    err = io.StringIO()
    with TrainingProgress(err) as progress:
        progress.started(3, 10, 1000, 20)
        progress.stepped(4, 5.0, 600)
        progress.stepped(5, 4.0, 600)
        progress.evaluated(Evaluation(5, 4.5, 0.25))
    lines = err.getvalue().splitlines()
    assert lines[0] == "resuming at step 3: 10 steps on 1000 lines, 20 held out"
    assert lines[1].startswith("step 5: training loss 4.980, ")
    assert lines[1].endswith(" pieces/s; held-out loss 4.500, accuracy 25 %")
    assert len(lines) == 2
