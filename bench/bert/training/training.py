"""TF: masked-LM training on the Estimator, from a text file to a checkpoint folder.

All random draws come from the seed and the step, so a run that was killed and restarted with
the same options ends with the same files as one that was not: see `Batches` and `backbone.dropout`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import tensorflow as tf

from bench.bert.checkpoints.google import read_variables, write_google_folder
from bench.bert.checkpoints.prefix import renew_state
from bench.bert.checkpoints.resolve import open_checkpoint
from bench.bert.checkpoints.types import Checkpoint
from bench.bert.checkpoints.variables import Variables, digest_model
from bench.bert.config import GOOGLE_FILE, BertConfig
from bench.bert.graph.estimator import make_estimator
from bench.bert.graph.optimizer import TrainingHyperparameters
from bench.bert.text.text_file import read_sentences
from bench.bert.text.tokenizer import VOCAB_FILE, Tokenizer, TokenizerOptions
from bench.bert.text.vocabulary import train_vocabulary
from bench.bert.tf_files import reason, tensorflow_writes
from bench.bert.tf_paths import check_plain
from bench.bert.training.batches import Batches, TokenizedText
from bench.bert.training.masking import Vocabulary
from bench.bert.training.training_config import MIN_SENTENCES, TrainingConfig, check_folder, claim_folder
from bench.core.atomic_files import sole_use, write_atomically
from bench.core.bounded_files import MEBIBYTE, own_file, read_regular
from bench.core.errors import UsageError, in_words, naming

v1 = tf.compat.v1

EVALUATIONS_FILE: Final = "evaluation.tsv"
HELD_OUT_FRACTION: Final = 0.02
MAX_HELD_OUT: Final = 2000
SAVE_SECONDS: Final = 30
SUMMARY_STEPS: Final = 50
_EVALUATION_SEED: Final = 1
# What the Estimator calls its checkpoints.
_STEM: Final = "model.ckpt"
_HEADER: Final = "step\theld_out_loss\theld_out_accuracy\n"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How the model does on the held-out lines.

    Args:
        step: batches trained on.
        loss: mean negative log-likelihood of a masked piece, in nats.
        accuracy: fraction of masked pieces whose most likely guess is right.
    """

    step: int
    loss: float
    accuracy: float


class Listener(Protocol):
    """Receives the progress of a run."""

    def started(self, step: int, steps: int, trained: int, held_out: int) -> None:
        """Training starts or resumes at `step` of `steps`, with the numbers of lines for training and evaluation."""

    def stepped(self, step: int, loss: float, pieces: int) -> None:
        """A batch of `pieces` WordPieces is done, and it was the `step`-th."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """An evaluation on the held-out lines is done."""


@dataclass(frozen=True)
class _Start:
    """What training starts from."""

    config: BertConfig
    tokenizer: Tokenizer
    variables: Variables | None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the config, the tokenizer and the weights, in hexadecimal digits."""
        weights = "" if self.variables is None else digest_model(self.config, self.variables)
        parts = (weights, self.tokenizer.digest, self.config.to_json().decode())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def train(
    text: Path, out: Path, training_config: TrainingConfig, listener: Listener, save_seconds: float = SAVE_SECONDS
) -> Evaluation:
    """Trains and writes a checkpoint folder in Google's layout, beside the Estimator's own files.

    Args:
        text: a sentence a line; must not change during the run.
        out: the folder; an interrupted run of the same options is resumed.
        training_config: the options.
        listener: gets the progress.
        save_seconds: time between the checkpoints that an interrupted run resumes from; does not change the result.

    Returns:
        The last evaluation.

    Raises:
        UsageError: a text that cannot be read or is too small, a folder that TensorFlow cannot use or that holds
            another run, one that started from other weights or another vocabulary, or one that goes on in another
            process, a checkpoint that cannot be used, a loss that became NaN.
    """
    check_plain(out)
    digest = _digest(text)
    check_folder(out, training_config, digest)
    start = _start(text, out, training_config)
    check_folder(out, training_config, digest, start.digest)
    trained, held_out = _tokenize(text, start, training_config)
    _claim(out, training_config, digest, start)
    vocabulary = Vocabulary(start.tokenizer.special, len(start.tokenizer.vocabulary))
    batches = Batches(trained, vocabulary, training_config.batch_positions, training_config.seed)
    steps = training_config.steps or max(1, round(training_config.epochs * batches.per_epoch))
    with sole_use(out):
        _remove_partial_files(out, renew_state(out, _STEM))
        run = _Run(
            out,
            steps,
            batches,
            Batches(held_out, vocabulary, training_config.batch_positions, _EVALUATION_SEED),
            listener,
        )
        listener.started(run.step(), steps, len(trained), len(held_out))
        estimator = make_estimator(
            start.config,
            out,
            training=TrainingHyperparameters(
                steps,
                min(steps - 1, round(steps * training_config.warmup_share)),
                training_config.peak_rate(start.config),
            ),
            initial=start.variables,
            run_config=_run_config(training_config.seed, save_seconds),
        )
        try:
            with tensorflow_writes(out), naming(out):
                last = run.until_the_end(estimator, training_config.evaluations)
                variables = read_variables(out / f"{_STEM}-{steps}", start.config)
                write_google_folder(out, Checkpoint(start.config, start.tokenizer, variables, str(out)))
        except tf.errors.OpError as error:
            # Most often a damaged checkpoint in the folder.
            raise UsageError(
                f"{out}: training failed ({reason(error)}); run it again, or give another --out"
            ) from error
        return last


def _digest(text: Path) -> str:
    """SHA-256 of the lines; a text that is too short is refused before a folder is made."""
    digest, lines = hashlib.sha256(), 0
    for line in read_sentences(text):
        digest.update(line.text.encode() + b"\n")
        lines += 1
    _check_size(text, lines)
    return digest.hexdigest()


def _check_size(text: Path, sentences: int) -> None:
    if sentences < MIN_SENTENCES:
        raise UsageError(f"{text} has {sentences} sentences; training needs at least {MIN_SENTENCES}")


def _start(text: Path, out: Path, training_config: TrainingConfig) -> _Start:
    """The checkpoint's weights and vocabulary, or the vocabulary of an earlier part of this run, or a new one."""
    if training_config.checkpoint is not None:
        found = open_checkpoint(training_config.checkpoint, training_config.init_head)
        return _Start(found.config, found.tokenizer, found.variables)
    options = TokenizerOptions.google(training_config.do_lower_case)
    path = out / VOCAB_FILE
    if path.is_file():
        tokenizer = Tokenizer.from_vocab(path, options)
    else:
        pieces = train_vocabulary(
            lambda: (line.text for line in read_sentences(text)),
            training_config.vocab_size,
            training_config.do_lower_case,
        )
        tokenizer = Tokenizer(pieces, options)
    return _Start(training_config.shape(len(tokenizer.vocabulary)), tokenizer, None)


def _claim(out: Path, training_config: TrainingConfig, digest: str, start: _Start) -> None:
    """Makes the folder this run's, which can be exported from its first checkpoint on."""
    claim_folder(out, training_config, digest, start.digest)
    start.tokenizer.write_folder(out)
    write_atomically(out / GOOGLE_FILE, start.config.to_json())


def _tokenize(text: Path, start: _Start, training_config: TrainingConfig) -> tuple[TokenizedText, TokenizedText]:
    """The lines to train on and those held out, drawn from the seed."""
    encoded = (start.tokenizer.encode(line.text) for line in read_sentences(text))
    tokenized = TokenizedText.of(encoded, start.config.max_pieces)
    if len(tokenized) < MIN_SENTENCES:
        raise UsageError(f"{text} gives {len(tokenized)} sentences to train on; {MIN_SENTENCES} are the minimum")
    order = np.random.default_rng((training_config.seed, 0)).permutation(len(tokenized))
    held_out = min(MAX_HELD_OUT, max(10, round(HELD_OUT_FRACTION * len(tokenized))))
    return tokenized.select(np.sort(order[held_out:])), tokenized.select(np.sort(order[:held_out]))


def _remove_partial_files(out: Path, latest: Path | None) -> None:
    """Removes what an interruption while writing a checkpoint left: files that are not of the newest complete one."""
    for path in out.glob(f"{_STEM}-*"):
        if latest is None or ".".join(path.name.split(".")[:2]) != latest.name:
            path.unlink()
    for pattern in ("*.tempstate*", "checkpoint.tmp*", "graph.pbtxt.tmp*", "*.tmp"):
        for path in out.glob(pattern):
            path.unlink()


def _run_config(seed: int, save_seconds: float) -> Any:
    return tf.estimator.RunConfig(
        tf_random_seed=seed,
        save_checkpoints_secs=save_seconds,
        save_summary_steps=SUMMARY_STEPS,
        keep_checkpoint_max=1,
        log_step_count_steps=None,
    )


class _Run:
    """Training in parts, with an evaluation after each."""

    def __init__(self, out: Path, steps: int, trained: Batches, held_out: Batches, listener: Listener) -> None:
        self._out = out
        self._steps = steps
        self._trained = trained
        self._held_out = held_out
        self._listener = listener

    def step(self) -> int:
        """Steps of the newest checkpoint; 0 without one."""
        latest = tf.train.latest_checkpoint(str(self._out))
        return int(Path(latest).name.rpartition("-")[2]) if latest else 0

    def until_the_end(self, estimator: Any, evaluations: int) -> Evaluation:
        """Trains from the folder's checkpoint and evaluates after each part; returns the last evaluation."""
        known = [evaluation for evaluation in self._read_evaluations() if evaluation.step <= self.step()]
        for end in sorted({round(self._steps * part / evaluations) for part in range(1, evaluations + 1)} - {0}):
            if any(evaluation.step == end for evaluation in known) or end < self.step():
                continue
            if end > self.step():
                self._train(estimator, end)
            known.append(self._evaluate(estimator, end))
            rows = (f"{row.step}\t{row.loss:.6f}\t{row.accuracy:.6f}\n" for row in known)
            write_atomically(self._out / EVALUATIONS_FILE, (_HEADER + "".join(rows)).encode())
            self._listener.evaluated(known[-1])
        return known[-1]

    def _train(self, estimator: Any, end: int) -> None:
        steps = partial(count, self.step())
        try:
            estimator.train(
                lambda: _dataset(self._trained, steps()),
                max_steps=end,
                hooks=[_Reporter(self._listener, self._trained)],
            )
        except v1.train.NanLossDuringTrainingError as error:
            raise UsageError("the loss became NaN; give a smaller --learning-rate and another --out") from error

    def _evaluate(self, estimator: Any, step: int) -> Evaluation:
        found = estimator.evaluate(lambda: _dataset(self._held_out, iter(range(self._held_out.per_epoch))))
        return Evaluation(step, float(found["masked_lm_loss"]), float(found["masked_lm_accuracy"]))

    def _read_evaluations(self) -> list[Evaluation]:
        path = own_file(self._out, EVALUATIONS_FILE)
        return read_evaluations(path) if path.is_file() else []


def read_evaluations(path: Path) -> list[Evaluation]:
    """The evaluations in a file of an earlier training.

    Raises:
        UsageError: it cannot be read, or has other lines.
    """
    try:
        lines = read_regular(path, MEBIBYTE).decode().splitlines()[1:]
        rows = (line.split("\t") for line in lines)
        return [Evaluation(int(step), float(loss), float(accuracy)) for step, loss, accuracy in rows]
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({in_words(error)}); restore it, or give another --out") from error


def _dataset(batches: Batches, steps: Iterator[int]) -> Any:
    signature = {
        name: tf.TensorSpec((None, None), tf.float32 if name == "masked_lm_weights" else tf.int32)
        for name in batches.features(0)
    }
    made = tf.data.Dataset.from_generator(lambda: map(batches.features, steps), output_signature=signature)
    return made.prefetch(2)


class _Reporter(tf.estimator.SessionRunHook):
    """Reports each step to the listener."""

    def __init__(self, listener: Listener, batches: Batches) -> None:
        self._listener = listener
        self._batches = batches

    def begin(self) -> None:
        (self._loss,) = v1.get_collection(v1.GraphKeys.LOSSES)
        self._step = v1.train.get_global_step()

    def before_run(self, _context: Any) -> Any:
        return v1.train.SessionRunArgs(self._loss)

    def after_run(self, context: Any, values: Any) -> None:
        step = int(context.session.run(self._step))
        self._listener.stepped(step, float(values.results), self._batches.pieces(step - 1))
