"""TF: the signatures of an export, as an Estimator's `model_fn` and serving input receivers.

Placeholders are named after their aliases, so that a server's metadata names them too.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import tensorflow as tf

from bench.bert.contract.golden import FixedExport
from bench.bert.contract.masked_requests import (
    ARTICLE_SIGNATURE,
    COMPACT_SIGNATURE,
    LOG_PROB,
    PROB,
    TOP_IDS,
    TOP_K_SIGNATURE,
    TOP_LOG_PROB,
    FixedShape,
)
from bench.bert.graph.backbone import Network
from bench.bert.graph.estimator import predict_scaffold
from bench.bert.graph.masked_lm import masked_lm, slot_log_prob
from bench.bert.graph.score_graph import MaskedPieces
from bench.bert.text.sentence import SpecialTokens

v1 = tf.compat.v1

ROW_INPUTS: Final = ("input_ids", "input_mask", "segment_ids")
SLOT_INPUTS: Final = ("masked_lm_positions", "masked_lm_ids")
ARTICLE_INPUTS: Final = (*ROW_INPUTS, *SLOT_INPUTS)
COMPACT_INPUTS: Final = ("token_ids", "word_ids", "num_pieces")


class _Signature(tf.estimator.export.PredictOutput):
    """A predict signature that takes some of the receiver's tensors; the Estimator would give it all of them."""

    def __init__(self, inputs: tuple[str, ...], outputs: Any) -> None:
        super().__init__(outputs)
        self._inputs = inputs

    def as_signature_def(self, receiver_tensors: Mapping[str, Any]) -> Any:
        return super().as_signature_def({name: receiver_tensors[name] for name in self._inputs})


def article_placeholders(shape: FixedShape | None = None) -> dict[str, Any]:
    """The article's five inputs, both dimensions free or padded to `shape`."""
    length, predictions = (shape.length, shape.max_predictions) if shape else (None, None)
    widths = dict.fromkeys(ROW_INPUTS, length) | dict.fromkeys(SLOT_INPUTS, predictions)
    return {name: v1.placeholder(tf.int32, (None, width), name=name) for name, width in widths.items()}


def serving_input_receiver_fn(fixed: FixedExport | None = None) -> Callable[[], Any]:
    """What `export_saved_model` wants: a function that makes the placeholders in the graph of the export."""

    def receive() -> Any:
        inputs = article_placeholders(fixed.shape if fixed else None)
        if fixed is None:
            ranks = {"token_ids": (None, None), "word_ids": (None, None), "num_pieces": (None,)}
            inputs |= {name: v1.placeholder(tf.int32, ranks[name], name=name) for name in COMPACT_INPUTS}
        return tf.estimator.export.ServingInputReceiver(inputs, inputs)

    return receive


def _compact_signatures(
    net: Network, special: SpecialTokens, features: Mapping[str, Any], top_k: int
) -> dict[str, _Signature]:
    """The compact signature, and with `top_k` the one that gives the likeliest WordPieces beside the same answers.

    A signature of its own: REST has no output filter, and whoever asks for scores is to pay for nothing else.
    """
    pieces = MaskedPieces.of(net, special, *(features[name] for name in COMPACT_INPUTS))
    answer = {LOG_PROB: tf.identity(pieces.log_prob(), name="score")}
    signatures = {COMPACT_SIGNATURE: _Signature(COMPACT_INPUTS, answer)}
    if top_k:
        ids, log_prob = pieces.top_k(top_k)
        likeliest = {TOP_IDS: tf.identity(ids, name=TOP_IDS), TOP_LOG_PROB: tf.identity(log_prob, name=TOP_LOG_PROB)}
        answer = answer | likeliest
        signatures[TOP_K_SIGNATURE] = _Signature(COMPACT_INPUTS, answer)
    return signatures


def make_export_model_fn(
    net: Network, special: SpecialTokens, fixed: FixedExport | None = None, top_k: int = 0
) -> Callable[[Mapping[str, Any], Any, str], Any]:
    """A `model_fn` for exports only: both signatures, or only the article's with one unnamed output.

    Args:
        net: how the graph is built; not for training.
        special: ids of the special tokens, which the compact signature puts in.
        fixed: None for both signatures.
        top_k: likeliest WordPieces that a third signature gives, 0 for none; not with `fixed`.
    """

    def model_fn(features: Mapping[str, Any], labels: Any, mode: str) -> Any:
        if mode != tf.estimator.ModeKeys.PREDICT:
            raise ValueError(f"an export has no mode {mode}")
        with v1.variable_scope("", reuse=v1.AUTO_REUSE):
            log_prob = slot_log_prob(masked_lm(net, features), features)
            if fixed:
                # One bare tensor: the Estimator calls it `output`, and REST answers with plain lists.
                predictions: Any = -log_prob if fixed.output == "nll" else tf.exp(log_prob)
                outputs = {ARTICLE_SIGNATURE: _Signature(ARTICLE_INPUTS, predictions)}
            else:
                predictions = {
                    LOG_PROB: tf.identity(log_prob, name=LOG_PROB),
                    PROB: tf.exp(log_prob, name=PROB),
                }
                outputs = {ARTICLE_SIGNATURE: _Signature(ARTICLE_INPUTS, predictions)}
                outputs |= _compact_signatures(net, special, features, top_k)
        return tf.estimator.EstimatorSpec(
            mode,
            predictions=predictions,
            export_outputs=outputs,
            scaffold=predict_scaffold(v1.trainable_variables()),
        )

    return model_fn
