"""TF: the masked-LM head, and the model over the article's five inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from bench.bert.backbone import Network, activation, dense, embed, embedding_table, encoder_layer, key_bias, layer_norm
from bench.bert.layout import Layout

v1 = tf.compat.v1


def head_logits(net: Network, hidden: Any) -> Any:
    """Scores of every WordPiece of the vocabulary for K masked positions.

    Args:
        net: how the graph is built.
        hidden: float32 `[K, hidden]`, the encoder's output there.

    Returns:
        float32 `[K, vocab]`.
    """
    config = net.config
    table = embedding_table(config)
    with v1.variable_scope("cls/predictions"):
        with v1.variable_scope("transform"):
            transformed = layer_norm(activation(config)(dense("dense", hidden, config.hidden_size, net)), net)
        bias = v1.get_variable("output_bias", (config.vocab_size,), initializer=v1.zeros_initializer())
        # As a batch of one: oneDNN's kernel for batches reads the table where it lies, the other packs it anew.
        logits = tf.matmul(transformed[tf.newaxis], table[tf.newaxis], transpose_b=True)
        return tf.nn.bias_add(logits[0], bias)


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


@dataclass(frozen=True)
class MaskedLm:
    """What the model says of R rows with P masked slots each.

    Args:
        logits: float32 `[R * P, vocab]`.
        log_prob: float32 `[R, P]`, of the true piece of each slot; slots that only pad hold a value nobody reads.
    """

    logits: Any
    log_prob: Any


def masked_lm(net: Network, features: Mapping[str, Any]) -> MaskedLm:
    """The model over the article's five inputs, padding computed along with the rest.

    Args:
        net: how the graph is built.
        features: `input_ids`, `input_mask`, `segment_ids` int32 `[R, S]`; `masked_lm_positions` and `masked_lm_ids`
            int32 `[R, P]`, unused slots 0.
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
    logits = head_logits(net, tf.reshape(masked, (-1, config.hidden_size)))
    log_prob = label_log_prob(logits, tf.reshape(features["masked_lm_ids"], (-1,)), net.training)
    return MaskedLm(logits, tf.reshape(log_prob, tf.shape(features["masked_lm_ids"])))
