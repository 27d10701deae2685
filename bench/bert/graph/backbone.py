"""TF: the BERT encoder in graph code, with Google's variable names.

Devlin et al. 2019, https://arxiv.org/abs/1810.04805. Every token of a batch of R rows is one line of a matrix
`[T, hidden]`; a `Layout` says which row and position each line belongs to, and only attention looks at it. That way
the same layer serves the padded rows of the article's signature and the `score` signature, which computes no padding.

Variables are made by `tf.compat.v1.get_variable` under Google's names, so their checkpoints load by name.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import tensorflow as tf

from bench.bert.config import ACTIVATIONS, BertConfig
from bench.bert.graph.layout import Layout

v1 = tf.compat.v1

# Added to the scores of keys that are not there. exp(-1e4) is 0 in float32, and in bfloat16 the number keeps its size.
_ABSENT: Final = -1e4


@dataclass(frozen=True)
class Network:
    """How the graph is built.

    Args:
        config: the model's shape.
        training: whether dropout is on.
        dtype: what the encoder's matrix products are computed in, `tf.float32` or `tf.bfloat16`; their kernels and
            biases have it. Embeddings, norms, softmax, residuals and the masked-LM head are float32 always.
    """

    config: BertConfig
    training: bool = False
    dtype: Any = tf.float32


@dataclass(frozen=True)
class Queries:
    """The tokens that a layer computes, where those are not all that it attends to.

    Args:
        tokens: float32 `[Q, hidden]`, the layer's input there.
        layout: where they stand.
        residual: what is added to the attention's output, line by line; None for `tokens`.
    """

    tokens: Any
    layout: Layout
    residual: Any = None


def key_bias(present: Any) -> Any:
    """What to add to the attention scores: float32 `[R, 1, 1, S]`, 0 where `present` (`[R, S]`, 0 or 1) has a token."""
    return ((1.0 - tf.cast(present, tf.float32)) * _ABSENT)[:, tf.newaxis, tf.newaxis, :]


def initializer(config: BertConfig) -> Any:
    """Fresh weights, as in BERT: a truncated normal."""
    return v1.truncated_normal_initializer(stddev=config.initializer_range)


def activation(config: BertConfig) -> Callable[[Any], Any]:
    """The function that `hidden_act` names."""
    functions: dict[str, Callable[[Any], Any]] = {"gelu": gelu_erf, "gelu_tanh": gelu_tanh, "relu": tf.nn.relu}
    return functions[ACTIVATIONS[config.hidden_act]]


def gelu_erf(x: Any) -> Any:
    """The exact Gaussian error linear unit, x Φ(x)."""
    return tf.nn.gelu(x, approximate=False)


def gelu_tanh(x: Any) -> Any:
    """Its tanh approximation (Hendrycks and Gimpel 2016)."""
    return tf.nn.gelu(x, approximate=True)


def dense(name: str, x: Any, size: int, net: Network, dtype: Any = tf.float32) -> Any:
    """`x W + b` with variables `NAME/kernel` and `NAME/bias`; x is `[T, C]`, the result `[T, size]` of `dtype`."""
    with v1.variable_scope(name):
        kernel = v1.get_variable("kernel", (x.shape[-1], size), dtype, initializer(net.config))
        bias = v1.get_variable("bias", (size,), dtype, v1.zeros_initializer())
        return tf.nn.bias_add(tf.matmul(tf.cast(x, dtype), kernel), bias)


def layer_norm(x: Any, net: Network) -> Any:
    """Layer normalisation over the last axis, with variables `LayerNorm/gamma` and `LayerNorm/beta`."""
    with v1.variable_scope("LayerNorm"):
        beta = v1.get_variable("beta", (x.shape[-1],), initializer=v1.zeros_initializer())
        gamma = v1.get_variable("gamma", (x.shape[-1],), initializer=v1.ones_initializer())
    mean = tf.reduce_mean(x, axis=-1, keepdims=True)
    centred = x - mean
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * (tf.math.rsqrt(variance + net.config.layer_norm_eps) * gamma) + beta


def dropout(x: Any, rate: float, net: Network) -> Any:
    """Dropout in training, nothing else.

    Drawn from the graph's seed, the place in the graph and the global step, not from a generator's state: a run that is
    killed and taken up again draws what it would have drawn.
    """
    if not net.training or not rate:
        return x
    place = zlib.crc32(f"{v1.get_default_graph().seed} {x.op.name}".encode()) & 0x7FFFFFFF
    step = tf.cast(v1.train.get_or_create_global_step(), tf.int32)
    return tf.nn.experimental.stateless_dropout(x, rate, tf.stack((place, step)))


def embedding_table(config: BertConfig) -> Any:
    """The WordPiece embeddings `[vocab, hidden]`, which the masked-LM head uses again."""
    with v1.variable_scope("bert/embeddings", reuse=v1.AUTO_REUSE):
        return _table("word_embeddings", config.vocab_size, config)


def _table(name: str, lines: int, config: BertConfig) -> Any:
    """The value of a table of embeddings.

    A gather from the variable itself would switch it to copy-on-read for good, and every later read, so also the
    masked-LM head's, would copy the whole table.
    """
    return v1.get_variable(name, (lines, config.hidden_size), initializer=initializer(config)).read_value()


def embed(net: Network, token_ids: Any, positions: Any, segments: Any = None) -> Any:
    """Embeddings of T tokens.

    Args:
        net: how the graph is built.
        token_ids: int32 `[T]`.
        positions: int32 `[T]`, 0-based.
        segments: int32 `[T]`, or None where every token is of segment 0.

    Returns:
        float32 `[T, hidden]`.
    """
    config = net.config
    table = embedding_table(config)
    with v1.variable_scope("bert/embeddings"):
        types = _table("token_type_embeddings", config.type_vocab_size, config)
        places = _table("position_embeddings", config.max_position_embeddings, config)
        kind = types[0] if segments is None else tf.gather(types, segments)
        summed = tf.gather(table, token_ids) + tf.gather(places, positions) + kind
        return dropout(layer_norm(summed, net), config.hidden_dropout_prob, net)


def encoder_layer(net: Network, layer: int, x: Any, layout: Layout, bias: Any, queries: Queries | None = None) -> Any:
    """One layer: self-attention, then the feed-forward network, each with its residual and norm.

    Args:
        net: how the graph is built.
        layer: its 0-based number.
        x: float32 `[T, hidden]`.
        layout: where the tokens stand.
        bias: float32 `[R, 1, 1, S]` of `key_bias`.
        queries: None computes every token; else the tokens to compute.

    Returns:
        float32 `[T, hidden]`, or `[Q, hidden]` of the queries.
    """
    wanted = queries or Queries(x, layout)
    hidden = net.config.hidden_size
    with v1.variable_scope(f"bert/encoder/layer_{layer}"):
        with v1.variable_scope("attention/self"):
            query = dense("query", wanted.tokens, hidden, net, net.dtype)
            key, value = (dense(name, x, hidden, net, net.dtype) for name in ("key", "value"))
            context = attend(net, query, wanted.layout, key, value, layout, bias)
        residual = wanted.tokens if wanted.residual is None else wanted.residual
        return _after_attention(net, context, residual)


def attend(net: Network, query: Any, query_layout: Layout, key: Any, value: Any, layout: Layout, bias: Any) -> Any:
    """Scaled dot-product attention of each row's queries over its own keys.

    Args:
        net: how the graph is built.
        query: `[Q, hidden]`, standing as `query_layout` says.
        query_layout: its R are those of `layout`.
        key: `[T, hidden]`, standing as `layout` says.
        value: likewise.
        layout: where keys and values stand.
        bias: float32 `[R, 1, 1, S]`.

    Returns:
        `[Q, hidden]` of the dtype of `query`.
    """
    scores = tf.matmul(query_layout.to_heads(query), layout.to_heads(key), transpose_b=True)
    scale = 1.0 / math.sqrt(net.config.size_per_head)
    weights = tf.nn.softmax(tf.cast(scores, tf.float32) * scale + bias)
    weights = dropout(weights, net.config.attention_probs_dropout_prob, net)
    return query_layout.from_heads(tf.matmul(tf.cast(weights, value.dtype), layout.to_heads(value)))


def _after_attention(net: Network, context: Any, residual: Any) -> Any:
    """The rest of a layer, line by line: the attention's output projection and the feed-forward network."""
    config, rate = net.config, net.config.hidden_dropout_prob
    with v1.variable_scope("attention/output"):
        projected = dense("dense", context, config.hidden_size, net, net.dtype)
        attended = layer_norm(dropout(tf.cast(projected, tf.float32), rate, net) + residual, net)
    with v1.variable_scope("intermediate"):
        wide = activation(config)(dense("dense", attended, config.intermediate_size, net, net.dtype))
    with v1.variable_scope("output"):
        narrow = dense("dense", wide, config.hidden_size, net, net.dtype)
        return layer_norm(dropout(tf.cast(narrow, tf.float32), rate, net) + attended, net)
