"""TF: a checkpoint through the Estimator into a SavedModel that TensorFlow Serving loads.

`Estimator.export_saved_model` is given the checkpoint itself and a Scaffold whose saver restores the model's variables:
no predict pass, no global step, and a variable that finds no weight is an error.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.bert.checkpoints.google import write_variables
from bench.bert.checkpoints.prefix import PREFIX
from bench.bert.checkpoints.types import Checkpoint
from bench.bert.checkpoints.variables import Variables
from bench.bert.config import GOOGLE_FILE
from bench.bert.contract.golden import FILE_NAME, FixedExport, Golden, GoldenSentence
from bench.bert.contract.masked_requests import (
    ARTICLE_SIGNATURE,
    COMPACT_SIGNATURE,
    TOP_K_SIGNATURE,
    score_request,
)
from bench.bert.contract.model_folder import LARGEST_VERSION, is_version
from bench.bert.contract.scoring import batches
from bench.bert.contract.sentence_limits import SentenceLimits
from bench.bert.export import warmup_requests
from bench.bert.graph.backbone import Network
from bench.bert.graph.reference_scorers import ColdPredict, EstimatorModel, SavedModelSession
from bench.bert.graph.signatures import make_export_model_fn, serving_input_receiver_fn
from bench.bert.text.sentence import EncodedSentence, SpecialTokens
from bench.bert.tf_files import reason, tensorflow_writes
from bench.bert.tf_paths import check_plain
from bench.core.atomic_files import scratch_folder
from bench.core.errors import UsageError, WrongAnswerError, naming
from bench.serving.types import PredictRequest

# Largest |Δ log p| of a piece between two ways to compute the same float32 model.
TOLERANCE: Final = 1e-4


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Args:
        fixed: None exports both signatures with free dimensions; else only the article's.
        version: the version's number; None is the next free one.
        precision: `float32`, or `bfloat16` for the encoder's matrix products and their weights.
        top_k: likeliest WordPieces that the signature `score_top_k` gives; 0 makes no such signature.
    """

    fixed: FixedExport | None = None
    version: int | None = None
    precision: str = "float32"
    top_k: int = 0

    @property
    def signatures(self) -> tuple[str, ...]:
        """Of the export."""
        if self.fixed:
            return (ARTICLE_SIGNATURE,)
        return (COMPACT_SIGNATURE, ARTICLE_SIGNATURE, *((TOP_K_SIGNATURE,) if self.top_k else ()))


@dataclass(frozen=True)
class ExportResult:
    """What was exported.

    Args:
        version_dir: the new version's folder.
        golden: its golden answers.
        difference: largest |Δ log p| between the SavedModel and the golden answers, which are float32 always.
    """

    version_dir: Path
    golden: Golden
    difference: float


def export_model(
    checkpoint: Checkpoint, model_dir: Path, sentences: Sequence[EncodedSentence], options: ExportOptions
) -> ExportResult:
    """Exports `checkpoint` as a new version under `model_dir`.

    The version's folder appears complete, by a rename from a name that no server takes for a version.

    Args:
        checkpoint: the model.
        model_dir: the folder of versions; made if it is not there.
        sentences: those of the golden answers, one at least.
        options: how to export.

    Raises:
        UsageError: the version is there already, TensorFlow cannot use the folder, a sentence does not fit into the
            fixed shapes, or the vocabulary has no `top_k` WordPieces.
        WrongAnswerError: the SavedModel does not give the Estimator's answers.
    """
    check_plain(model_dir)
    _check_fit(sentences, SentenceLimits.of(checkpoint.config.max_pieces, options.fixed))
    if options.top_k > checkpoint.config.vocab_size:
        raise UsageError(f"--top-k {options.top_k} of a vocabulary of {checkpoint.config.vocab_size}; give fewer")
    model_dir.mkdir(parents=True, exist_ok=True)
    _free_version(model_dir, options.version)
    with _scratch(model_dir) as scratch:
        prefix = scratch / PREFIX
        write_variables(prefix, checkpoint.variables)
        estimator = EstimatorModel(checkpoint.config, prefix, checkpoint.tokenizer.special)
        expected = ColdPredict(estimator).score(sentences)
        made = _export(checkpoint, prefix, scratch / "export", options)
        answers = tuple(map(GoldenSentence, sentences, expected))
        difference = _largest_difference(made, answers, checkpoint.tokenizer.special, options)
        golden = _golden(checkpoint, answers, options, difference)
        _write_extras(made, checkpoint, golden, options.signatures)
        target = _publish(made, model_dir, options.version)
    return ExportResult(target, golden, difference)


def _check_fit(sentences: Sequence[EncodedSentence], limits: SentenceLimits) -> None:
    for sentence in sentences:
        if reason := limits.excess(sentence):
            raise UsageError(f"the sentence {sentence.text[:40]!r} {reason}; shorten it")


@contextmanager
def _scratch(model_dir: Path) -> Iterator[Path]:
    """A scratch folder in `model_dir`; a failure of TensorFlow in it is one of ours."""
    with scratch_folder(model_dir, ".export-") as folder:
        try:
            with tensorflow_writes(model_dir), naming(model_dir):
                yield folder
        except tf.errors.OpError as error:
            raise UsageError(f"{model_dir}: the export failed ({reason(error)}); nothing was exported") from error


def _export(checkpoint: Checkpoint, prefix: Path, folder: Path, options: ExportOptions) -> Path:
    """The Estimator's export, a folder under `folder`."""
    net = Network(checkpoint.config, dtype=tf.as_dtype(options.precision))
    if net.dtype != tf.float32:
        prefix = prefix.with_suffix(f".{options.precision}")
        write_variables(prefix, _cast(checkpoint.variables, net))
    estimator = tf.estimator.Estimator(
        make_export_model_fn(net, checkpoint.tokenizer.special, options.fixed, options.top_k), model_dir=str(folder)
    )
    receiver = serving_input_receiver_fn(options.fixed)
    return Path(os.fsdecode(estimator.export_saved_model(str(folder), receiver, checkpoint_path=str(prefix))))


def _cast(variables: Variables, net: Network) -> dict[str, NDArray[Any]]:
    """The values in the types of the graph of `net`."""
    reduced = {name for name in variables if name.startswith("bert/encoder") and name.endswith(("kernel", "bias"))}
    dtype = net.dtype.as_numpy_dtype
    return {name: value.astype(dtype) if name in reduced else value for name, value in variables.items()}


def _golden(
    checkpoint: Checkpoint, answers: tuple[GoldenSentence, ...], options: ExportOptions, difference: float
) -> Golden:
    """The golden answers.

    Raises:
        WrongAnswerError: a float32 export differs from the Estimator by more than the tolerance.
    """
    reduced = options.precision != "float32"
    if not difference <= (float("inf") if reduced else TOLERANCE) or difference == float("inf"):
        raise WrongAnswerError(
            f"the SavedModel differs from the Estimator by {difference:.3g} in log-probability; nothing was exported"
        )
    return Golden(
        checkpoint_digest=checkpoint.digest,
        source=checkpoint.source,
        tokenizer=checkpoint.tokenizer.describe(),
        special=checkpoint.tokenizer.special,
        max_pieces=checkpoint.config.max_pieces,
        precision=options.precision,
        # Rounding differs between batches, so other answers may differ more than these.
        tolerance=max(TOLERANCE, 2 * difference) if reduced else TOLERANCE,
        precision_shift=difference if reduced else 0.0,
        sentences=answers,
        fixed=options.fixed,
        top_k=options.top_k,
    )


def _write_extras(version_dir: Path, checkpoint: Checkpoint, golden: Golden, signatures: Sequence[str]) -> None:
    """Adds the tokenizer's files, config, golden answers and warm-up requests."""
    assets, extra = version_dir / "assets", version_dir / "assets.extra"
    assets.mkdir(exist_ok=True)
    extra.mkdir(exist_ok=True)
    checkpoint.tokenizer.write_folder(assets)
    (extra / GOOGLE_FILE).write_bytes(checkpoint.config.to_json())
    (extra / FILE_NAME).write_bytes(golden.to_json())
    warmup_requests.write_warmup(extra / warmup_requests.FILE_NAME, _warmup_requests(golden, signatures))


def _warmup_requests(golden: Golden, signatures: Sequence[str]) -> Iterator[PredictRequest]:
    """Each signature with the shortest, a middling and the longest sentence, one batch row each.

    One, because a server that batches refuses a request larger than its `max_batch_size`, and a warm-up request that is
    refused fails the load of the model.
    """
    ordered = sorted((entry.sentence for entry in golden.sentences), key=lambda sentence: sentence.num_pieces)
    for sentence in (ordered[0], ordered[len(ordered) // 2], ordered[-1]):
        shape = golden.fixed.shape if golden.fixed else None
        for signature in signatures:
            request = score_request([sentence], golden.special, signature, shape)
            yield replace(request, inputs={alias: value[:1] for alias, value in request.inputs.items()})


def _largest_difference(
    version_dir: Path, answers: Sequence[GoldenSentence], special: SpecialTokens, options: ExportOptions
) -> float:
    """Largest |Δ log p| of the SavedModel over all signatures and sentences; infinite if an answer is not a number."""
    sentences = [entry.sentence for entry in answers]
    groups = batches([(sentence.num_words, sentence.num_pieces) for sentence in sentences])
    largest = 0.0
    for signature in options.signatures:
        with SavedModelSession(version_dir, special, signature, options.fixed) as session:
            for group in groups:
                given = session.score([sentences[index] for index in group])
                for index, log_prob in zip(group, given, strict=True):
                    difference = float(np.abs(log_prob - answers[index].log_prob).max())
                    largest = max(largest, difference if np.isfinite(difference) else float("inf"))
    return largest


def _free_version(model_dir: Path, version: int | None) -> Path:
    """The folder of the new version: the one asked for, or the next free one.

    Raises:
        UsageError: it is there already, or the highest there can be is.
    """
    taken = {int(entry.name) for entry in model_dir.iterdir() if is_version(entry.name)}
    if version is None and LARGEST_VERSION in taken:
        raise UsageError(f"{model_dir} holds version {LARGEST_VERSION}, the last there is; choose one with --version")
    if version in taken:
        raise UsageError(f"{model_dir} holds version {version} already; choose another --version")
    return model_dir / str(max(taken, default=0) + 1 if version is None else version)


def _publish(made: Path, model_dir: Path, version: int | None) -> Path:
    """Renames the finished folder to its version's number."""
    target = _free_version(model_dir, version)
    made.rename(target)
    return target
