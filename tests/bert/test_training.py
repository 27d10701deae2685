"""Training on the Estimator: what it writes, and that a kill leaves no trace in it."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.bert.checkpoints.google import write_google_folder, write_variables
from bench.bert.checkpoints.prefix import PREFIX, renew_state
from bench.bert.checkpoints.resolve import open_checkpoint
from bench.bert.demo import default_sentences
from bench.bert.training.training import Evaluation, train
from bench.bert.training.training_config import MOST_BATCH_POSITIONS, TrainingConfig, check_folder
from bench.core.atomic_files import sole_use
from bench.core.errors import UsageError
from tests.bert.conftest import small_checkpoint

pytestmark = pytest.mark.long(80)

CONFIG = TrainingConfig(layers=1, vocab_size=400, steps=120, batch_positions=256, evaluations=2, learning_rate=3e-3)
OPTIONS = "--layers 1 --vocab-size 400 --steps 120 --batch-positions 256 --evaluations 2 --learning-rate 3e-3".split()  # noqa: SIM905
TEXT = default_sentences()


class RecordingListener:
    """Records what it gets."""

    def __init__(self) -> None:
        self.start: tuple[int, int, int, int] | None = None
        self.steps: list[tuple[int, float, int]] = []
        self.evaluations: list[Evaluation] = []

    def started(self, step: int, steps: int, trained: int, held_out: int) -> None:
        self.start = (step, steps, trained, held_out)

    def stepped(self, step: int, loss: float, pieces: int) -> None:
        self.steps.append((step, loss, pieces))

    def evaluated(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RecordingListener, Evaluation]:
    out = tmp_path_factory.mktemp("train") / "model"
    listener = RecordingListener()
    return out, listener, train(TEXT, out, CONFIG, listener)


def lasting(folder: Path) -> dict[str, bytes]:
    """Name and content of the files that a run leaves.

    Left out: logs for TensorBoard, which carry a time, and graph definitions, whose functions are named by a counter of
    the process, so that they depend on what was built in it before.
    """
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "tfevents" not in path.name and path.suffix not in (".pbtxt", ".meta")
    }


def test_it_learns_and_says_so(trained: tuple[Path, RecordingListener, Evaluation]) -> None:
    _, listener, last = trained
    assert listener.start == (0, 120, len(TEXT.read_text().splitlines()) - 10, 10)
    assert [step for step, _, _ in listener.steps] == list(range(1, 121))
    assert all(pieces > 0 for _, _, pieces in listener.steps)
    losses = [loss for _, loss, _ in listener.steps]
    assert np.mean(losses[:5]) > np.log(400) - 0.5
    assert np.mean(losses[-20:]) < np.mean(losses[:5]) - 0.4
    assert [evaluation.step for evaluation in listener.evaluations] == [60, 120]
    assert listener.evaluations[-1] == last
    assert last.loss < np.log(400) - 0.5


def test_the_folder_is_a_checkpoint_like_any_other(trained: tuple[Path, RecordingListener, Evaluation]) -> None:
    out, _, _ = trained
    checkpoint = open_checkpoint(out)
    assert checkpoint.config.num_hidden_layers == 1
    assert checkpoint.config.vocab_size == len(checkpoint.tokenizer.vocabulary) == 400
    assert checkpoint.tokenizer.options.do_lower_case
    assert sorted(path.name for path in out.glob("bert_model.ckpt*")) == [
        "bert_model.ckpt.data-00000-of-00001",
        "bert_model.ckpt.index",
    ]


def test_summaries_for_tensorboard(trained: tuple[Path, RecordingListener, Evaluation]) -> None:
    out, _, _ = trained
    assert list(out.glob("events.out.tfevents.*"))
    assert list((out / "eval").glob("events.out.tfevents.*"))


def test_a_finished_run_is_left_as_it_is(trained: tuple[Path, RecordingListener, Evaluation]) -> None:
    out, _, last = trained
    before = lasting(out)
    listener = RecordingListener()
    again = train(TEXT, out, CONFIG, listener)
    assert (again.step, listener.steps) == (120, [])
    assert again.loss == pytest.approx(last.loss, abs=1e-6)
    assert lasting(out) == before


def test_a_killed_run_goes_on_and_ends_with_the_same_files(
    trained: tuple[Path, RecordingListener, Evaluation], tmp_path: Path
) -> None:
    """Killed with SIGKILL after its first checkpoint, in the middle of a step or of writing, whatever comes."""
    undisturbed, _, _ = trained
    out = tmp_path / "model"
    command = [sys.executable, "-m", "bench", "train", str(TEXT), "--out", str(out), *OPTIONS, "--save-every", "1s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as first:
        wait_for_checkpoint(out, first)
        os.kill(first.pid, signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    assert not (out / "bert_model.ckpt.index").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "resuming at step" in done.stderr
    assert "export it with: bertbench export" in done.stdout
    assert lasting(out).keys() == lasting(undisturbed).keys()
    differing = [name for name, content in lasting(out).items() if content != lasting(undisturbed)[name]]
    assert differing == []


def wait_for_checkpoint(out: Path, process: subprocess.Popen[str]) -> None:
    """Returns when the run can be gone on with from a step after the first; fails when it ends before that."""
    state = out / "checkpoint"
    while not state.is_file() or '"model.ckpt-0"' in state.read_text():
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.01)


@pytest.mark.parametrize("state", [None, "/old/place/model.ckpt-120", "rubbish", "model.ckpt-7"])
def test_a_run_whose_folder_was_moved_goes_on(
    trained: tuple[Path, RecordingListener, Evaluation], tmp_path: Path, state: str | None
) -> None:
    """The state file is lost, or names what is gone: what is there is gone on with, not deleted."""
    out, listener = tmp_path / "moved", RecordingListener()
    shutil.copytree(trained[0], out)
    (out / "checkpoint").unlink()
    if state is not None:
        (out / "checkpoint").write_text(state if state == "rubbish" else f'model_checkpoint_path: "{state}"\n')
    (out / "model.ckpt-999.index").write_bytes(b"cut")
    train(TEXT, out, CONFIG, listener)
    assert (listener.start[0], listener.steps) == (120, [])
    assert lasting(out).keys() == lasting(trained[0]).keys()
    assert open_checkpoint(out).digest == open_checkpoint(trained[0]).digest


@pytest.mark.parametrize("name", ["m[1]", "m*", "m?", "m\\1"])
def test_a_folder_whose_name_is_a_pattern_is_refused_and_left_as_it_is(
    trained: tuple[Path, RecordingListener, Evaluation], tmp_path: Path, name: str
) -> None:
    """TensorFlow finds no checkpoint there: one that does not count as the newest would be removed."""
    out = tmp_path / name
    with pytest.raises(UsageError, match="for a pattern; rename the folder"):
        train(TEXT, out, CONFIG, RecordingListener())
    assert not out.exists()
    shutil.copytree(trained[0], out)
    before = lasting(out)
    with pytest.raises(UsageError, match="for a pattern; rename the folder"):
        train(TEXT, out, CONFIG, RecordingListener())
    with pytest.raises(UsageError, match="for a pattern; rename the folder"):
        renew_state(out, "model.ckpt")
    assert lasting(out) == before


def test_a_damaged_checkpoint_ends_training_in_one_line(
    trained: tuple[Path, RecordingListener, Evaluation], tmp_path: Path
) -> None:
    out = tmp_path / "damaged"
    shutil.copytree(trained[0], out)
    data = out / "model.ckpt-120.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    (out / "evaluation.tsv").unlink()
    with pytest.raises(UsageError, match="damaged.* failed") as caught:
        train(TEXT, out, CONFIG, RecordingListener())
    assert "\n" not in str(caught.value)


def test_training_goes_on_from_a_checkpoint(
    trained: tuple[Path, RecordingListener, Evaluation], tmp_path: Path
) -> None:
    """With a learning rate next to nothing the weights stay what they were."""
    out, listener = tmp_path / "more", RecordingListener()
    training_config = TrainingConfig(checkpoint=str(trained[0]), steps=1, evaluations=1, learning_rate=1e-12)
    train(TEXT, out, training_config, listener)
    before, after = open_checkpoint(trained[0]), open_checkpoint(out)
    assert after.tokenizer.digest == before.tokenizer.digest
    assert after.config == before.config
    for name, value in before.variables.items():
        np.testing.assert_allclose(after.variables[name], value, atol=1e-9)
    assert listener.evaluations[0].loss == pytest.approx(trained[1].evaluations[-1].loss, abs=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 1}, "another seed"), ({"steps": 9}, r"another steps \(120 there, 9 now\)")],
)
def test_a_folder_of_another_run_is_refused(
    trained: tuple[Path, RecordingListener, Evaluation], change: Any, message: str
) -> None:
    training_config = TrainingConfig(**{name: getattr(CONFIG, name) for name in TrainingConfig.__slots__} | change)
    with pytest.raises(UsageError, match=message):
        train(TEXT, trained[0], training_config, RecordingListener())


def test_a_folder_of_a_run_that_goes_on_is_refused(trained: tuple[Path, RecordingListener, Evaluation]) -> None:
    """Both would write and remove the same checkpoints."""
    with sole_use(trained[0]), pytest.raises(UsageError, match="still at work"):
        train(TEXT, trained[0], CONFIG, RecordingListener())


def test_a_folder_of_another_text_is_refused(
    trained: tuple[Path, RecordingListener, Evaluation], tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text(TEXT.read_text() + "One more line.\n")
    with pytest.raises(UsageError, match="another text"):
        train(other, trained[0], CONFIG, RecordingListener())


SHORT: dict[str, Any] = {"steps": 1, "evaluations": 1}


def google_folder(folder: Path, **config: Any) -> Path:
    checkpoint = small_checkpoint()
    write_google_folder(
        folder, dataclasses.replace(checkpoint, config=dataclasses.replace(checkpoint.config, **config))
    )
    return folder


def with_another_config(folder: Path) -> None:
    google_folder(folder, hidden_act="relu")


def with_another_tokenizer(folder: Path) -> None:
    path = folder / "vocab.txt"
    path.write_text(path.read_text().replace("cat\ndog\n", "dog\ncat\n"))


def with_other_weights(folder: Path) -> None:
    write_google_folder(folder, small_checkpoint(seed=2))


def with_another_shape(folder: Path) -> None:
    write_google_folder(folder, small_checkpoint(layers=1))


@pytest.mark.parametrize(
    "change", [with_another_config, with_another_tokenizer, with_other_weights, with_another_shape]
)
def test_a_checkpoint_that_was_changed_is_refused(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """The run may have ended; no file of it is touched."""
    source, out = google_folder(tmp_path / "source"), tmp_path / "out"
    training_config = TrainingConfig(checkpoint=str(source), **SHORT)
    train(TEXT, out, training_config, RecordingListener())
    before = lasting(out)
    change(source)
    with pytest.raises(UsageError, match=r"out was started with another checkpoint \(.*source was changed\); give"):
        train(TEXT, out, training_config, RecordingListener())
    assert lasting(out) == before


def test_a_vocabulary_that_was_changed_is_refused(
    trained: tuple[Path, RecordingListener, Evaluation], tmp_path: Path
) -> None:
    out = tmp_path / "swapped"
    shutil.copytree(trained[0], out)
    pieces = (out / "vocab.txt").read_text().splitlines()
    pieces[-2:] = reversed(pieces[-2:])
    (out / "vocab.txt").write_text("\n".join(pieces) + "\n")
    with pytest.raises(UsageError, match=r"another vocabulary \(vocab\.txt was changed\)"):
        train(TEXT, out, CONFIG, RecordingListener())


def test_a_run_of_the_first_format_is_resumed(
    trained: tuple[Path, RecordingListener, Evaluation], tmp_path: Path
) -> None:
    """It does not say what it started from."""
    out = tmp_path / "older"
    shutil.copytree(trained[0], out)
    record = json.loads((out / "training.json").read_text())
    older = {name: value for name, value in record.items() if name not in ("start_sha256", "init_head")}
    (out / "training.json").write_text(json.dumps(older | {"format": 1}))
    assert train(TEXT, out, CONFIG, RecordingListener()).step == 120
    assert json.loads((out / "training.json").read_text()) == record


def test_a_checkpoint_without_a_head_needs_a_word(tmp_path: Path) -> None:
    source, out = google_folder(tmp_path / "source"), tmp_path / "out"
    variables = small_checkpoint().variables
    write_variables(source / PREFIX, {name: variables[name] for name in variables if not name.startswith("cls")})
    with pytest.raises(UsageError, match="has no masked-LM head .*--init-head"):
        train(TEXT, out, TrainingConfig(checkpoint=str(source), **SHORT), RecordingListener())
    assert not out.exists()
    train(TEXT, out, TrainingConfig(checkpoint=str(source), init_head=True, **SHORT), RecordingListener())
    assert open_checkpoint(out).config == small_checkpoint().config


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    with pytest.raises(UsageError, match="is not empty and holds no training run"):
        train(TEXT, tmp_path, CONFIG, RecordingListener())


def test_what_a_kill_before_the_first_file_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "training.json.tmp").write_text("{")
    check_folder(tmp_path, CONFIG, "0" * 64)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UsageError, match="is not empty"):
        check_folder(tmp_path, CONFIG, "0" * 64)


def test_a_text_that_is_too_small_ends_clearly_and_leaves_nothing(tmp_path: Path) -> None:
    text = tmp_path / "small.txt"
    text.write_text("".join(TEXT.read_text().splitlines(keepends=True)[:99]))
    with pytest.raises(UsageError, match=r"small\.txt has 99 sentences; training needs at least 100"):
        train(text, tmp_path / "out", CONFIG, RecordingListener())
    assert not (tmp_path / "out").exists()


def test_the_positions_of_a_batch_have_a_bound() -> None:
    assert dataclasses.replace(CONFIG, batch_positions=MOST_BATCH_POSITIONS).batch_positions == MOST_BATCH_POSITIONS
    with pytest.raises(UsageError, match="a batch has 1000000 positions at most, not 1000001"):
        dataclasses.replace(CONFIG, batch_positions=MOST_BATCH_POSITIONS + 1)
