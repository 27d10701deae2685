"""Floating-point operations of the `score` signature, and what this machine's matrix products reach."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from bench.bert.config import BertConfig

v1 = tf.compat.v1


def score_operations(config: BertConfig, words: int) -> float:
    """Multiplications and additions of matrix products for one sentence of `words` one-piece words.

    What the graph of `bench.bert.graph.score_graph` does, not what the article's would: the first layer's projections
    over the sentence and one [MASK] a position, the last layer's queries and all after them for the masked pieces only.
    """
    hidden, wide, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    length = words + 2
    tokens = words * length
    total = 0.0
    for layer in range(layers):
        keys = 2 * length if layer == 0 else tokens
        outputs = words if layer == layers - 1 else tokens
        queries = outputs if layer == layers - 1 else keys
        projections = (2 * keys + queries) * hidden * hidden
        attention = 2 * outputs * length * hidden
        rest = outputs * (hidden * hidden + 2 * hidden * wide)
        total += projections + attention + rest
    head = words * (hidden * hidden + hidden * config.vocab_size)
    return 2 * (total + head)


class ProductRate:
    """The rate of float32 matrix products in TensorFlow on this machine, in operations a second.

    Two kinds: one large product, 2048 cubed; and the products of a layer of the model with as many lines as the
    sentence has tokens, over weights of several layers so that they come from memory as the model's do.
    """

    def __init__(self, config: BertConfig, tokens: int) -> None:
        hidden, wide = config.hidden_size, config.intermediate_size
        layer = [(hidden, hidden)] * 4 + [(hidden, wide), (wide, hidden)]
        self._session = v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            self._large = self._compile(2048, [(2048, 2048)])
            self._layers = self._compile(tokens, layer * 4)
            self._session.run(v1.global_variables_initializer())

    def _compile(self, lines: int, shapes: list[tuple[int, int]]) -> tuple[Callable[[], Any], float]:
        """A call that multiplies `[lines, K]` with `[K, N]` one after the other, and its operations."""
        last: Any = tf.constant(0.0)
        for inputs, outputs in shapes:
            kernel = v1.get_variable(f"kernel_{lines}_{len(tf.compat.v1.global_variables())}", (inputs, outputs))
            with tf.control_dependencies([last]):
                # Fed by default, not constant: the product must not be computed once and kept.
                x = v1.placeholder_with_default(np.ones((lines, inputs), np.float32), (None, inputs))
                x = tf.identity(x)
            last = last + tf.matmul(x, kernel)[0, 0]
        return self._session.make_callable(last), 2.0 * lines * sum(k * n for k, n in shapes)

    def measure(self) -> dict[str, float]:
        """One measurement of each kind."""
        rates = {}
        for name, (call, operations) in {"2048 cubed": self._large, "the model's shapes": self._layers}.items():
            began = time.perf_counter()
            call()
            rates[name] = operations / (time.perf_counter() - began)
        return rates
