"""BERT's masked language model in plain numpy and float64, written from the paper: what the graph is held against.

Shares no code with the package and takes Hugging Face's names, so that a slip in a name or a transposition shows.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from bench.core.types import Floats

Array = Floats

ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


class Oracle:
    """The model.

    Args:
        weights: tensors by Hugging Face's names, dense weights [outputs, inputs].
        heads: attention heads.
        act: `hidden_act`.
        eps: of the norms.
    """

    def __init__(self, weights: Mapping[str, NDArray[Any]], heads: int, act: str, eps: float = 1e-12) -> None:
        self.weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        self.heads = heads
        self.act = ACTIVATIONS[act]
        self.eps = eps
        self.layers = 1 + max(int(name.split(".")[3]) for name in weights if name.startswith("bert.encoder"))

    def sentence(self, token_ids: Sequence[int], word_ids: Sequence[int], cls: int, sep: int, mask: int) -> Array:
        """Log-probability of each piece with its word masked, one forward pass a word."""
        rows = self.distributions(token_ids, word_ids, cls, sep, mask)
        return np.asarray(rows[np.arange(len(token_ids)), np.array(token_ids)])

    def distributions(self, token_ids: Sequence[int], word_ids: Sequence[int], cls: int, sep: int, mask: int) -> Array:
        """Log-probabilities of the whole vocabulary at each piece with its word masked, `[N, vocab]`."""
        words = np.array(word_ids)
        answer = np.zeros((len(token_ids), len(self.weights["cls.predictions.bias"])))
        for word in range(words.max() + 1):
            own = words == word
            ids = np.array([cls, *np.where(own, mask, token_ids), sep])
            answer[own] = self.log_probs(ids)[1:-1][own]
        return answer

    def log_probs(self, ids: NDArray[np.int64]) -> Array:
        """Log-probabilities over the vocabulary at every position of one unpadded row, `[S, vocab]`."""
        emb = "bert.embeddings."
        x = (
            self.weights[emb + "word_embeddings.weight"][ids]
            + self.weights[emb + "position_embeddings.weight"][: len(ids)]
            + self.weights[emb + "token_type_embeddings.weight"][0]
        )
        x = self.norm(x, emb + "LayerNorm")
        for layer in range(self.layers):
            x = self.layer(x, f"bert.encoder.layer.{layer}.")
        head = "cls.predictions."
        x = self.norm(self.act(self.dense(x, head + "transform.dense")), head + "transform.LayerNorm")  # type: ignore[no-untyped-call]
        logits = x @ self.weights[emb + "word_embeddings.weight"].T + self.weights[head + "bias"]
        return np.asarray(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))

    def layer(self, x: Array, name: str) -> Array:
        """One encoder layer."""
        x = self.norm(
            x + self.dense(self.attention(x, name), name + "attention.output.dense"),
            name + "attention.output.LayerNorm",
        )
        wide = self.act(self.dense(x, name + "intermediate.dense"))  # type: ignore[no-untyped-call]
        return self.norm(x + self.dense(wide, name + "output.dense"), name + "output.LayerNorm")

    def attention(self, x: Array, name: str) -> Array:
        """Head by head."""
        query, key, value = (self.dense(x, f"{name}attention.self.{part}") for part in ("query", "key", "value"))
        size = x.shape[1] // self.heads
        parts = []
        for head in range(self.heads):
            own = slice(head * size, (head + 1) * size)
            scores = query[:, own] @ key[:, own].T / math.sqrt(size)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            parts.append(weights / weights.sum(axis=1, keepdims=True) @ value[:, own])
        return np.concatenate(parts, axis=1)

    def dense(self, x: Array, name: str) -> Array:
        """x Wᵀ + b."""
        return np.asarray(x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"])

    def norm(self, x: Array, name: str) -> Array:
        """Layer normalisation."""
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.eps)
        return np.asarray(scaled * self.weights[name + ".weight"] + self.weights[name + ".bias"])
