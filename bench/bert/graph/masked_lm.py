"""TF: the masked-LM head, and the model over the article's five inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tensorflow as tf

from bench.bert.graph.backbone import (
    Network,
    activation,
    dense,
    embed,
    embedding_table,
    encoder_layer,
    key_bias,
    layer_norm,
)
from bench.bert.graph.layout import Layout

v1 = tf.compat.v1


# Logits held at a time: 8 MB stay near the cores, whatever the batch...
_LOGITS: Final = 2_000_000
# ...but no fewer of a line's than this: a narrower product is not worth its call.
_LEAST_STEP: Final = 512


@dataclass(frozen=True)
class Head:
    """The masked-LM head over K masked positions.

    Args:
        transformed: float32 `[K, hidden]`, what is compared with each WordPiece's embedding.
        table: float32 `[vocab, hidden]`.
        bias: float32 `[vocab]`.
    """

    transformed: Any
    table: Any
    bias: Any

    @classmethod
    def over(cls, net: Network, hidden: Any) -> "Head":
        """The head over the encoder's output at K positions, float32 `[K, hidden]`."""
        config = net.config
        table = embedding_table(config)
        with v1.variable_scope("cls/predictions"):
            with v1.variable_scope("transform"):
                transformed = layer_norm(activation(config)(dense("dense", hidden, config.hidden_size, net)), net)
            bias = v1.get_variable("output_bias", (config.vocab_size,), initializer=v1.zeros_initializer())
            return cls(transformed, table, bias.read_value())

    def logits(self, pieces: slice = slice(None)) -> Any:
        """Scores of every WordPiece of the vocabulary, float32 `[K, vocab]`, or of some `pieces` of it."""
        # As a batch of one: oneDNN's kernel for batches reads the table where it lies, the other packs it anew.
        product = tf.matmul(self.transformed[tf.newaxis], self.table[tf.newaxis, pieces], transpose_b=True)
        return tf.nn.bias_add(product[0], self.bias[pieces])

    def log_prob(self, labels: Any) -> Any:
        """Natural log-probability of `labels` (int32 `[K]`), float32 `[K]`; for predictions.

        Some of the vocabulary after the others, the softmax's sum carried along (Milakov and Gimelshein, *Online
        normalizer calculation for softmax*, 2018): the table is read once for all lines, and the logits of a large
        batch fill no memory.
        """
        size = tf.size(labels)
        peak, total = self._over_vocabulary(size, lambda start, logits, *sums: _summed(logits, *sums), _no_sums(size))
        own = tf.reduce_sum(self.transformed * tf.gather(self.table, labels), axis=-1) + tf.gather(self.bias, labels)
        return own - tf.math.log(total) - peak

    def top_k(self, count: int) -> tuple[Any, Any]:
        """The `count` likeliest WordPieces of each line, the likeliest first; for predictions.

        Returns:
            Their ids, int32 `[K, count]`, and natural log-probabilities, float32 `[K, count]`.
        """
        size = tf.shape(self.transformed)[0]

        def one(start: Any, logits: Any, peak: Any, total: Any, best: Any, ids: Any) -> tuple[Any, ...]:
            new = tf.tile(tf.range(start, start + tf.shape(logits)[1])[tf.newaxis], (size, 1))
            best, places = tf.math.top_k(tf.concat((best, logits), axis=1), count)
            ids = tf.gather(tf.concat((ids, new), axis=1), places, batch_dims=1)
            return *_summed(logits, peak, total), best, ids

        nothing = tf.fill((size, count), -np.inf), tf.zeros((size, count), tf.int32)
        peak, total, best, ids = self._over_vocabulary(size, one, (*_no_sums(size), *nothing))
        return ids, best - (tf.math.log(total) + peak)[:, tf.newaxis]

    def _over_vocabulary(self, lines: Any, one: Callable[..., tuple[Any, ...]], state: tuple[Any, ...]) -> Any:
        """The last state: `one(start, logits of some of the vocabulary from start on, *state)` gives the next."""
        vocab = int(self.table.shape[0])
        step = tf.minimum(tf.maximum(_LOGITS // tf.maximum(lines, 1), _LEAST_STEP), vocab)

        def body(start: Any, *state: Any) -> tuple[Any, ...]:
            return start + step, *one(start, self.logits(slice(start, start + step)), *state)

        return tf.while_loop(lambda start, *_: start < vocab, body, (0, *state), parallel_iterations=1)[1:]


def _no_sums(lines: Any) -> tuple[Any, Any]:
    """The sums of `_summed` before any logit."""
    return tf.fill((lines,), -np.inf), tf.zeros((lines,))


def _summed(logits: Any, peak: Any, total: Any) -> tuple[Any, Any]:
    """The largest logit of each line and the sum of exp(logit - largest), with more `logits` `[K, some]`."""
    higher = tf.maximum(peak, tf.reduce_max(logits, axis=-1))
    added = tf.reduce_sum(tf.exp(logits - higher[:, tf.newaxis]), axis=-1)
    return higher, total * tf.exp(peak - higher) + added


def label_log_prob(logits: Any, labels: Any, training: bool = False) -> Any:
    """Log-softmax of `logits` `[K, vocab]` at `labels` (int32 `[K]`), float32 `[K]`.

    In training the fused op is used, which makes its own gradient; otherwise the other vocab - 1 values of the
    log-softmax are not computed.
    """
    if training:
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    peak = tf.reduce_max(logits, axis=-1)
    partition = tf.math.log(tf.reduce_sum(tf.exp(logits - peak[:, tf.newaxis]), axis=-1)) + peak
    return tf.gather(logits, labels, batch_dims=1) - partition


def masked_lm(net: Network, features: Mapping[str, Any]) -> Head:
    """The model over the article's five inputs, padding computed along with the rest.

    Args:
        net: how the graph is built.
        features: `input_ids`, `input_mask`, `segment_ids` int32 `[R, S]`; `masked_lm_positions` and `masked_lm_ids`
            int32 `[R, P]`, unused slots 0.

    Returns:
        The head over all R * P slots; what it says of unused ones means nothing.
    """
    config, ids = net.config, features["input_ids"]
    rows, width = (tf.shape(ids)[axis] if ids.shape[axis] is None else ids.shape[axis] for axis in (0, 1))
    layout = Layout(rows, width, config.num_attention_heads)
    segments = tf.reshape(features["segment_ids"], (-1,))
    x = embed(net, tf.reshape(ids, (-1,)), tf.tile(tf.range(width), (rows,)), segments)
    bias = key_bias(features["input_mask"])
    for layer in range(config.num_hidden_layers):
        x = encoder_layer(net, layer, x, layout, bias)
    grid = tf.reshape(x, (rows, width, config.hidden_size))
    masked = tf.gather(grid, features["masked_lm_positions"], batch_dims=1)
    return Head.over(net, tf.reshape(masked, (-1, config.hidden_size)))


def slot_log_prob(head: Head, features: Mapping[str, Any]) -> Any:
    """Natural log-probability of each slot's true piece, float32 `[R, P]`, from the head of `masked_lm`."""
    labels = features["masked_lm_ids"]
    return tf.reshape(head.log_prob(tf.reshape(labels, (-1,))), tf.shape(labels))
