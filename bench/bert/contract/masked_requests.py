"""Sentences to requests and answers back to log-probabilities, for both signatures. Pure numpy.

The *article's* signature (`serving_default`) takes one row a word: the masked copy of the sentence. The *compact* one
(`score`) takes each sentence once and the graph makes the copies. `score_top_k` of an export with `--top-k` takes the
same, and gives the likeliest WordPieces at each place too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.bert.text.sentence import EncodedSentence, SpecialTokens
from bench.serving.types import DEFAULT_MODEL_NAME, DEFAULT_SIGNATURE, PredictRequest

ARTICLE_SIGNATURE = DEFAULT_SIGNATURE
COMPACT_SIGNATURE = "score"
TOP_K_SIGNATURE = "score_top_k"
LOG_PROB = "log_prob"
PROB = "prob"
TOP_IDS = "top_ids"
TOP_LOG_PROB = "top_log_prob"
FIXED_OUTPUT = "output"
MOST_IDS = 1 << 24
"""More than the WordPieces of any vocabulary."""


@dataclass(frozen=True, slots=True)
class FixedShape:
    """The article's padding: every row has `length` positions and `max_predictions` masked slots."""

    length: int = 128
    max_predictions: int = 20


def by_sentence(signature: str) -> bool:
    """Whether a signature takes and gives a row a sentence; otherwise a row a word."""
    return signature in (COMPACT_SIGNATURE, TOP_K_SIGNATURE)


def compact_inputs(sentences: Sequence[EncodedSentence]) -> dict[str, NDArray[np.int32]]:
    """Inputs of the compact signature for B sentences, the longest of S pieces.

    Returns:
        `token_ids` int32 [B, S] without [CLS] and [SEP], `word_ids` int32 [B, S], both padded with zeros, and
        `num_pieces` int32 [B]. The graph looks at the first `num_pieces` of a row only, so whatever a server pads
        with (Serving repeats the first element) does not matter.
    """
    width = max(sentence.num_pieces for sentence in sentences)
    token_ids = np.zeros((len(sentences), width), np.int32)
    word_ids = np.zeros_like(token_ids)
    for row, sentence in enumerate(sentences):
        token_ids[row, : sentence.num_pieces] = sentence.token_ids
        word_ids[row, : sentence.num_pieces] = sentence.word_ids
    lengths = np.array([sentence.num_pieces for sentence in sentences], np.int32)
    return {"token_ids": token_ids, "word_ids": word_ids, "num_pieces": lengths}


def article_inputs(
    sentences: Sequence[EncodedSentence], special: SpecialTokens, shape: FixedShape | None = None
) -> dict[str, NDArray[np.int32]]:
    """Inputs of the article's signature: one row a word, R rows in all.

    Args:
        sentences: the sentences, in order.
        special: ids of the special tokens.
        shape: None pads to the longest sentence and the most pieces of a word; else to the article's fixed shape.

    Returns:
        `input_ids`, `input_mask`, `segment_ids` int32 [R, S] and `masked_lm_positions`, `masked_lm_ids` int32 [R, P].

    Raises:
        ValueError: a sentence or a word does not fit into `shape`.
    """
    longest = max(sentence.num_pieces for sentence in sentences) + 2
    most = max(max(np.bincount(sentence.word_ids)) for sentence in sentences)
    if shape and (longest > shape.length or most > shape.max_predictions):
        raise ValueError(
            f"{longest} positions and {most} pieces in a word do not fit into {shape.length} × {shape.max_predictions}"
        )
    length, predictions = (shape.length, shape.max_predictions) if shape else (longest, int(most))
    rows = sum(sentence.num_words for sentence in sentences)
    batch = {name: np.zeros((rows, length), np.int32) for name in ("input_ids", "input_mask", "segment_ids")}
    batch["input_ids"][:] = special.pad
    batch |= {name: np.zeros((rows, predictions), np.int32) for name in ("masked_lm_positions", "masked_lm_ids")}
    row = 0
    for sentence in sentences:
        ids = np.array((special.cls, *sentence.token_ids, special.sep), np.int32)
        words = np.array((-1, *sentence.word_ids, -1))
        for word in range(sentence.num_words):
            positions = np.flatnonzero(words == word)
            batch["input_ids"][row, : ids.size] = ids
            batch["input_ids"][row, positions] = special.mask
            batch["input_mask"][row, : ids.size] = 1
            batch["masked_lm_positions"][row, : positions.size] = positions
            batch["masked_lm_ids"][row, : positions.size] = ids[positions]
            row += 1
    return batch


def score_request(
    sentences: Sequence[EncodedSentence],
    special: SpecialTokens,
    signature: str = COMPACT_SIGNATURE,
    shape: FixedShape | None = None,
    model: str = DEFAULT_MODEL_NAME,
) -> PredictRequest:
    """The request that scores `sentences` by one of the signatures."""
    if by_sentence(signature):
        return PredictRequest(compact_inputs(sentences), signature, model)
    return PredictRequest(article_inputs(sentences, special, shape), signature, model)


def piece_log_probs(
    output: NDArray[Any], sentences: Sequence[EncodedSentence], signature: str
) -> list[NDArray[np.float32]]:
    """Cuts a signature's `log_prob` output into one float32 vector a sentence, one value a piece.

    Args:
        output: `[B, S]` of the compact signature, `[R, P]` of the article's.
        sentences: the sentences of the request, in order.
        signature: which of the two it is.

    Raises:
        ValueError: the output is too small for the sentences.
    """
    return [part.astype(np.float32, copy=False) for part in _cut(output, 2, sentences, signature)]


def piece_likeliest(
    ids: NDArray[Any], log_prob: NDArray[Any], sentences: Sequence[EncodedSentence], count: int
) -> "list[Likeliest]":
    """Cuts the outputs `top_ids` and `top_log_prob` of `score_top_k`, `[B, S, k]`, into the parts of the sentences.

    Args:
        ids: the output `top_ids`.
        log_prob: the output `top_log_prob`.
        sentences: the sentences of the request, in order.
        count: k, the WordPieces at each place.

    Raises:
        ValueError: the outputs do not fit each other, the sentences or k, or an id is none.
    """
    if ids.shape != log_prob.shape or ids.shape[-1:] != (count,) or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{TOP_IDS} of shape {ids.shape}, {TOP_LOG_PROB} of shape {log_prob.shape} for {count} each")
    if (wrong := ids[(ids < 0) | (ids >= MOST_IDS)]).size:
        raise ValueError(f"{TOP_IDS} has {wrong[0]}")
    parts = (_cut(values, 3, sentences, TOP_K_SIGNATURE) for values in (ids, log_prob))
    return [Likeliest(own.astype(np.int32), values.astype(np.float32)) for own, values in zip(*parts, strict=True)]


@dataclass(frozen=True)
class Likeliest:
    """What a model finds likeliest at the place of each of N pieces, its word masked; the likeliest first.

    Args:
        ids: of WordPieces in the vocabulary, int32 `[N, k]`.
        log_prob: natural logarithms of their probabilities, float32 `[N, k]`.
    """

    ids: NDArray[np.int32]
    log_prob: NDArray[np.float32]

    def part(self, keep: slice) -> "Likeliest":
        """Those for some of the pieces."""
        return Likeliest(self.ids[keep], self.log_prob[keep])

    @classmethod
    def joined(cls, parts: Sequence["Likeliest"]) -> "Likeliest":
        """Those of one part of a sentence after the other."""
        return cls(np.concatenate([part.ids for part in parts]), np.concatenate([part.log_prob for part in parts]))


def _cut(output: NDArray[Any], rank: int, sentences: Sequence[EncodedSentence], signature: str) -> list[NDArray[Any]]:
    """The values of each sentence's pieces, `[N, ...]`, from an output with `rank` dimensions."""
    rows, columns = answer_positions(sentences, signature)
    words = sum(sentence.num_words for sentence in sentences)
    needed = (len(sentences) if by_sentence(signature) else words, int(columns.max(initial=-1)) + 1)
    if output.ndim != rank or output.shape[0] < needed[0] or output.shape[1] < needed[1]:
        raise ValueError(f"an answer of shape {output.shape} where at least {needed} is needed")
    ends = np.cumsum([sentence.num_pieces for sentence in sentences])
    return np.split(output[rows, columns], ends[:-1])


def answer_positions(sentences: Sequence[EncodedSentence], signature: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of each piece's value in a signature's output, the pieces of all sentences one after the other.

    Compact: a row a sentence, a column a piece. Article: a row a word, a column a piece of that word.
    """
    counts = [sentence.num_pieces for sentence in sentences]
    places = [np.arange(count) for count in counts]
    if by_sentence(signature):
        rows = np.repeat(np.arange(len(sentences)), counts)
        return rows, np.concatenate(places) if places else rows
    row, all_rows, all_columns = 0, [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    for sentence, place in zip(sentences, places, strict=True):
        words = np.asarray(sentence.word_ids, np.intp)
        all_rows.append(row + words)
        all_columns.append(place - np.searchsorted(words, words))
        row += sentence.num_words
    return np.concatenate(all_rows), np.concatenate(all_columns)
