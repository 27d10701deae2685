"""TF: reference scorers: the model run in this process by four methods with one interface.

- `ColdPredict`: `Estimator.predict` for each call, which builds the graph and restores the variables anew, as the
  article had it.
- `PredictGenerator`: one `Estimator.predict` that lives on, fed through a queue.
- `SavedModelSession`: a V1 session on the SavedModel.
- `SavedModelFunction`: the SavedModel's signature called as a TF2 function.
"""

import queue
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.bert.config import GOOGLE_FILE, BertConfig, read_config
from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.golden import FixedExport
from bench.bert.contract.masked_requests import (
    ARTICLE_SIGNATURE,
    COMPACT_SIGNATURE,
    FIXED_OUTPUT,
    LOG_PROB,
    FixedShape,
    article_inputs,
    piece_log_probs,
    score_request,
)
from bench.bert.contract.scoring import LogProbs, batches
from bench.bert.graph.estimator import make_estimator
from bench.bert.graph.signatures import ARTICLE_INPUTS
from bench.bert.text.sentence import EncodedSentence, SpecialTokens
from bench.bert.tf_paths import check_plain
from bench.core.errors import BenchError

v1 = tf.compat.v1


class ReferenceScorer:
    """Runs the model in this process; a context manager."""

    def score(self, sentences: Sequence[EncodedSentence]) -> list[LogProbs]:
        """The natural log-probability of each piece, one float32 vector a sentence."""
        raise NotImplementedError

    def close(self) -> None:
        """Frees what it holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


@dataclass(frozen=True)
class EstimatorModel:
    """What an Estimator needs to predict.

    Args:
        config: the model's shape.
        prefix: the TensorFlow checkpoint with its float32 variables.
        special: ids of the special tokens.
    """

    config: BertConfig
    prefix: Path
    special: SpecialTokens

    @classmethod
    def of_export(cls, model: ExportedModel) -> "EstimatorModel":
        """The model of an exported folder, whose variables are a checkpoint too.

        Raises:
            UsageError: the export's variables are not float32.
        """
        config = read_config(model.version_dir / "assets.extra" / GOOGLE_FILE)
        return cls(config, model.version_dir / "variables" / "variables", model.golden.special)


class ColdPredict(ReferenceScorer):
    """`Estimator.predict` for each call.

    Args:
        model: config and checkpoint.
        shape: None pads to the longest sentence of a batch; else the article's fixed shape.
    """

    def __init__(self, model: EstimatorModel, shape: FixedShape | None = None) -> None:
        self._model = model
        self._shape = shape

    def score(self, sentences: Sequence[EncodedSentence]) -> list[LogProbs]:
        """One `predict` over all sentences, batched by length."""
        groups = batches([(sentence.num_words, sentence.num_pieces) for sentence in sentences])
        inputs = [
            article_inputs([sentences[index] for index in group], self._model.special, self._shape) for group in groups
        ]
        rows = _predict(self._model, iter(inputs))
        answers: list[LogProbs | None] = [None] * len(sentences)
        for group, batch in zip(groups, inputs, strict=True):
            members = [sentences[index] for index in group]
            cut = piece_log_probs(_take(rows, batch), members, ARTICLE_SIGNATURE)
            for index, log_prob in zip(group, cut, strict=True):
                answers[index] = log_prob
        return [answer for answer in answers if answer is not None]


class PredictGenerator(ReferenceScorer):
    """One long-lived `Estimator.predict`.

    It lives in a thread of its own: a suspended `predict` leaves its graph as the thread's default one. Calls from
    several threads take turns.
    """

    def __init__(self, model: EstimatorModel, shape: FixedShape | None = None) -> None:
        self._model = model
        self._shape = shape
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._asked: queue.Queue[dict[str, NDArray[np.int32]] | None] = queue.Queue()
        self._rows: Generator[dict[str, LogProbs], None, None] | None = None

    def score(self, sentences: Sequence[EncodedSentence]) -> list[LogProbs]:
        """One batch of all sentences."""
        inputs = article_inputs(sentences, self._model.special, self._shape)
        return piece_log_probs(self._thread.submit(self._predict, inputs).result(), sentences, ARTICLE_SIGNATURE)

    def close(self) -> None:
        """Ends the `predict`."""
        self._asked.put(None)
        self._thread.submit(self._end).result()
        self._thread.shutdown()

    def _predict(self, inputs: dict[str, NDArray[np.int32]]) -> LogProbs:
        if self._rows is None:
            source = iter(self._asked.get, None)
            self._rows = _predict(self._model, source)
        self._asked.put(inputs)
        return _take(self._rows, inputs)

    def _end(self) -> None:
        if self._rows is not None:
            self._rows.close()


def _predict(
    model: EstimatorModel, source: Iterator[dict[str, NDArray[np.int32]]]
) -> Generator[dict[str, LogProbs], None, None]:
    """`Estimator.predict` over batches of the article's inputs, a dictionary a row; nothing is read ahead."""
    spec = {name: tf.TensorSpec((None, None), tf.int32) for name in ARTICLE_INPUTS}
    # A folder must be named, or the Estimator makes a temporary one and leaves it; nothing is written to it here.
    estimator = make_estimator(model.config, model.prefix.parent)
    rows: Generator[dict[str, LogProbs], None, None] = estimator.predict(
        lambda: tf.data.Dataset.from_generator(lambda: source, output_signature=spec),
        checkpoint_path=str(model.prefix),
    )
    return rows


def _take(rows: Iterator[dict[str, LogProbs]], inputs: dict[str, NDArray[np.int32]]) -> LogProbs:
    """The `[R, P]` output of one batch."""
    return np.stack([next(rows)[LOG_PROB] for _ in range(len(inputs["input_ids"]))])


class _SavedModel(ReferenceScorer):
    """One signature of a SavedModel.

    Args:
        version_dir: the folder with `saved_model.pb`.
        special: ids of the special tokens.
        signature: which signature to run.
        fixed: of an export with fixed shapes.
        shape: pads the article's rows to it; None pads them to the longest.
    """

    def __init__(
        self,
        version_dir: Path,
        special: SpecialTokens,
        signature: str = COMPACT_SIGNATURE,
        fixed: FixedExport | None = None,
        shape: FixedShape | None = None,
    ) -> None:
        self._special = special
        self._signature = ARTICLE_SIGNATURE if fixed else signature
        self._fixed = fixed
        self._shape = fixed.shape if fixed else shape
        self._output = FIXED_OUTPUT if fixed else LOG_PROB
        self._load(str(version_dir))

    def score(self, sentences: Sequence[EncodedSentence]) -> list[LogProbs]:
        """One call for all sentences."""
        inputs = dict(score_request(sentences, self._special, self._signature, self._shape).inputs)
        output = self._run(inputs)
        log_prob = self._fixed.log_prob(output) if self._fixed else output
        return piece_log_probs(log_prob, sentences, self._signature)

    def _load(self, folder: str) -> None:
        raise NotImplementedError

    def _run(self, inputs: dict[str, NDArray[np.int32]]) -> LogProbs:
        """The `log_prob` output."""
        raise NotImplementedError


class SavedModelSession(_SavedModel):
    """A V1 session on a SavedModel; may be called from several threads."""

    def _load(self, folder: str) -> None:
        self._session = v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = v1.saved_model.load(self._session, [v1.saved_model.SERVING], folder)
        definition = loaded.signature_def[self._signature]
        self._names = tuple(definition.inputs)
        self._call = self._session.make_callable(
            definition.outputs[self._output].name, [definition.inputs[name].name for name in self._names]
        )

    def close(self) -> None:
        """Closes the session."""
        self._session.close()

    def _run(self, inputs: dict[str, NDArray[np.int32]]) -> LogProbs:
        output: LogProbs = self._call(*(inputs[name] for name in self._names))
        return output


class SavedModelFunction(_SavedModel):
    """The signature of a SavedModel as a TF2 function."""

    def _load(self, folder: str) -> None:
        self._loaded = tf.saved_model.load(folder)
        self._function = self._loaded.signatures[self._signature]

    def _run(self, inputs: dict[str, NDArray[np.int32]]) -> LogProbs:
        answer = self._function(**{name: tf.constant(value) for name, value in inputs.items()})
        output: LogProbs = answer[self._output].numpy()
        return output


def open_estimator(model: ExportedModel) -> ReferenceScorer:
    """`Estimator.predict` on an exported model, for `--target estimator`: the long-lived one.

    Raises:
        BenchError: the weights are not float32, or TensorFlow cannot use the folder.
    """
    check_plain(model.version_dir)
    if model.golden.precision != "float32":
        raise BenchError(
            f"{model.version_dir} holds {model.golden.precision} weights; export it in float32 for the Estimator"
        )
    return PredictGenerator(EstimatorModel.of_export(model))
