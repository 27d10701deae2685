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

v1 = tf.compat.v1

# Added to the scores of keys that are not there. exp(-1e4) is 0 in float32, and in bfloat16 the number keeps its size.
_ABSENT: Final = -1e4


@dataclass(frozen=True)
class Layout:
    """Where the T tokens of R rows stand, the longest row of S positions; here every position is a line, T = R * S.

    Args:
        rows: R.
        width: S.
        heads: attention heads.
    """

    rows: Any
    width: Any
    heads: int

    def to_heads(self, tokens: Any) -> Any:
        """`[T, hidden]` to `[R, heads, S, hidden / heads]`."""
        shape = (self.rows, self.width, self.heads, tokens.shape[-1] // self.heads)
        return tf.transpose(tf.reshape(tokens, shape), (0, 2, 1, 3))

    def from_heads(self, grid: Any) -> Any:
        """`[R, heads, S, size]` to `[T, heads * size]`."""
        return tf.reshape(tf.transpose(grid, (0, 2, 1, 3)), (-1, self.heads * grid.shape[-1]))


@dataclass(frozen=True)
class PackedLayout(Layout):
    """One with a line for each token only, whatever the rows' lengths: no line is padding.

    One gather moves the tokens and splits the heads: as cheap as the transposition that a padded layout needs.

    Args:
        slots: int32 `[R, S]`, the line of each position; any line where there is no token.
        head_slots: int32 `[R, heads, S]`, the same over lines cut into heads.
        head_lines: int32 `[T, heads]`, where each token's heads stand in the flattened `[R * heads * S]`.
    """

    slots: Any
    head_slots: Any
    head_lines: Any

    @classmethod
    def of(cls, slots: Any, lines: Any, heads: int) -> "PackedLayout":
        """Args:
        slots: see the class.
        lines: int32 `[T]`, the index of each token in the flattened `[R * S]`.
        heads: attention heads.
        """
        rows, width = tf.shape(slots)[0], tf.shape(slots)[1]
        each = tf.range(heads)
        row = lines // width
        return cls(
            rows=rows,
            width=width,
            heads=heads,
            slots=slots,
            head_slots=slots[:, tf.newaxis, :] * heads + each[:, tf.newaxis],
            head_lines=(row[:, tf.newaxis] * heads + each) * width + (lines - row * width)[:, tf.newaxis],
        )

    def to_heads(self, tokens: Any) -> Any:
        """`[T, hidden]` to `[R, heads, S, hidden / heads]`."""
        return tf.gather(tf.reshape(tokens, (-1, tokens.shape[-1] // self.heads)), self.head_slots)

    def from_heads(self, grid: Any) -> Any:
        """`[R, heads, S, size]` to `[T, heads * size]`."""
        size = grid.shape[-1]
        return tf.reshape(tf.gather(tf.reshape(grid, (-1, size)), self.head_lines), (-1, self.heads * size))


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


def dense(x: Any, size: int, config: BertConfig) -> Any:
    """`x W + b` with variables `kernel` and `bias` of the current scope; x is `[T, C]`, the result `[T, size]`."""
    kernel = v1.get_variable("kernel", (x.shape[-1], size), initializer=initializer(config))
    bias = v1.get_variable("bias", (size,), initializer=v1.zeros_initializer())
    return tf.nn.bias_add(tf.matmul(x, kernel), bias)


def layer_norm(x: Any, config: BertConfig) -> Any:
    """Layer normalisation over the last axis, with variables `LayerNorm/gamma` and `LayerNorm/beta`."""
    with v1.variable_scope("LayerNorm"):
        beta = v1.get_variable("beta", (x.shape[-1],), initializer=v1.zeros_initializer())
        gamma = v1.get_variable("gamma", (x.shape[-1],), initializer=v1.ones_initializer())
    mean = tf.reduce_mean(x, axis=-1, keepdims=True)
    centred = x - mean
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * (tf.math.rsqrt(variance + config.layer_norm_eps) * gamma) + beta


def dropout(x: Any, rate: float, training: bool) -> Any:
    """Dropout in training, nothing else.

    Drawn from the graph's seed, the place in the graph and the global step, not from a generator's state: a run that is
    killed and taken up again draws what it would have drawn.
    """
    if not training or not rate:
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


def embed(config: BertConfig, token_ids: Any, positions: Any, segments: Any = None, training: bool = False) -> Any:
    """Embeddings of T tokens.

    Args:
        config: the model's shape.
        token_ids: int32 `[T]`.
        positions: int32 `[T]`, 0-based.
        segments: int32 `[T]`, or None where every token is of segment 0.
        training: whether dropout is on.

    Returns:
        float32 `[T, hidden]`.
    """
    table = embedding_table(config)
    with v1.variable_scope("bert/embeddings"):
        types = _table("token_type_embeddings", config.type_vocab_size, config)
        places = _table("position_embeddings", config.max_position_embeddings, config)
        kind = types[0] if segments is None else tf.gather(types, segments)
        summed = tf.gather(table, token_ids) + tf.gather(places, positions) + kind
        return dropout(layer_norm(summed, config), config.hidden_dropout_prob, training)


def encode(config: BertConfig, x: Any, layout: Layout, bias: Any, training: bool = False) -> Any:
    """All encoder layers over embedded tokens.

    Args:
        config: the model's shape.
        x: float32 `[T, hidden]`.
        layout: where the tokens stand.
        bias: float32 `[R, 1, 1, S]` of `key_bias`.
        training: whether dropout is on.

    Returns:
        float32 `[T, hidden]`.
    """
    for layer in range(config.num_hidden_layers):
        x = encoder_layer(config, layer, x, layout, bias, training)
    return x


def encoder_layer(
    config: BertConfig,
    layer: int,
    x: Any,
    layout: Layout,
    bias: Any,
    training: bool = False,
    queries: Queries | None = None,
) -> Any:
    """One layer: self-attention, then the feed-forward network, each with its residual and norm.

    Args:
        config: the model's shape.
        layer: its 0-based number.
        x: float32 `[T, hidden]`.
        layout: where the tokens stand.
        bias: float32 `[R, 1, 1, S]`.
        training: whether dropout is on.
        queries: None computes every token; else the tokens to compute.

    Returns:
        float32 `[T, hidden]`, or `[Q, hidden]` of the queries.
    """
    wanted = queries or Queries(x, layout)
    with v1.variable_scope(f"bert/encoder/layer_{layer}"):
        with v1.variable_scope("attention/self"):
            query = _named_dense("query", wanted.tokens, config.hidden_size, config)
            key, value = (_named_dense(name, x, config.hidden_size, config) for name in ("key", "value"))
            context = attend(config, query, wanted.layout, key, value, layout, bias, training)
        residual = wanted.tokens if wanted.residual is None else wanted.residual
        return _after_attention(config, context, residual, training)


def _named_dense(name: str, x: Any, size: int, config: BertConfig) -> Any:
    with v1.variable_scope(name):
        return dense(x, size, config)


def attend(
    config: BertConfig,
    query: Any,
    query_layout: Layout,
    key: Any,
    value: Any,
    layout: Layout,
    bias: Any,
    training: bool = False,
) -> Any:
    """Scaled dot-product attention of each row's queries over its own keys.

    Args:
        config: the model's shape.
        query: float32 `[Q, hidden]`, standing as `query_layout` says.
        query_layout: its R are those of `layout`.
        key: float32 `[T, hidden]`, standing as `layout` says.
        value: likewise.
        layout: where keys and values stand.
        bias: float32 `[R, 1, 1, S]`.
        training: whether dropout is on.

    Returns:
        float32 `[Q, hidden]`.
    """
    scores = tf.matmul(query_layout.to_heads(query), layout.to_heads(key), transpose_b=True)
    weights = tf.nn.softmax(scores * (1.0 / math.sqrt(config.size_per_head)) + bias)
    weights = dropout(weights, config.attention_probs_dropout_prob, training)
    return query_layout.from_heads(tf.matmul(weights, layout.to_heads(value)))


def _after_attention(config: BertConfig, context: Any, residual: Any, training: bool) -> Any:
    """The rest of a layer, line by line: the attention's output projection and the feed-forward network."""
    rate = config.hidden_dropout_prob
    with v1.variable_scope("attention/output"):
        projected = dropout(_named_dense("dense", context, config.hidden_size, config), rate, training)
        attended = layer_norm(projected + residual, config)
    with v1.variable_scope("intermediate"):
        wide = activation(config)(_named_dense("dense", attended, config.intermediate_size, config))
    with v1.variable_scope("output"):
        narrow = dropout(_named_dense("dense", wide, config.hidden_size, config), rate, training)
        return layer_norm(narrow + attended, config)
