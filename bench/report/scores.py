"""Word-level probabilities as text: tsv, jsonl, or the JSON document of bert-as-language-model."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np
from msgspec import Meta, Struct

from bench.bert.contract.scoring import ScoredSentence


class PieceValue(Struct, frozen=True, kw_only=True):
    """A WordPiece, and its probability."""

    piece: str
    prob: float


class WordValue(Struct, frozen=True, kw_only=True):
    """A word, and its probability, the others given."""

    word: str
    prob: float
    pieces: Sequence[PieceValue]


class SentenceValue(Struct, frozen=True, kw_only=True):
    """A scored sentence."""

    line: Annotated[int, Meta(description="of the input, from 1")]
    text: str
    words: Sequence[WordValue]
    ppl: Annotated[float | None, Meta(description="pseudo-perplexity a word; null without a word, or past a float")]
    ppl_per_piece: Annotated[float | None, Meta(description="the same a WordPiece")]


def sentence_value(scored: ScoredSentence) -> SentenceValue:
    """A scored sentence for JSON."""
    sentence = scored.sentence
    pieces: list[list[PieceValue]] = [[] for _ in sentence.words]
    for piece, word, log_prob in zip(sentence.pieces, sentence.word_ids, scored.log_prob, strict=True):
        pieces[word].append(PieceValue(piece=piece, prob=float(np.exp(np.float64(log_prob)))))
    words = zip(sentence.words, np.exp(scored.word_log_prob), pieces, strict=True)
    return SentenceValue(
        line=scored.line,
        text=sentence.text,
        words=[WordValue(word=word, prob=float(prob), pieces=own) for word, prob, own in words],
        ppl=scored.ppl,
        ppl_per_piece=scored.ppl_per_piece,
    )


class ScoreFormat(ABC):
    """One output format: `head`, then each sentence, then `tail`."""

    name: ClassVar[str]
    head: str = ""
    tail: str = ""
    separator: str = ""

    @abstractmethod
    def sentence(self, scored: ScoredSentence) -> str:
        """The text of one sentence."""


# An added token may hold white space; a cell of a TSV may not.
_NOT_TSV: Final = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Tsv(ScoreFormat):
    """A line a word: line number, position of the word in its sentence (from 1), word, probability."""

    name = "tsv"

    def sentence(self, scored: ScoredSentence) -> str:
        rows = zip(scored.sentence.words, np.exp(scored.word_log_prob), strict=True)
        return "".join(
            f"{scored.line}\t{position}\t{word.translate(_NOT_TSV)}\t{float(prob):.6g}\n"
            for position, (word, prob) in enumerate(rows, 1)
        )


class Jsonl(ScoreFormat):
    """A line a sentence: words and their pieces with probabilities, pseudo-perplexity per word and per piece."""

    name = "jsonl"

    def sentence(self, scored: ScoredSentence) -> str:
        return json.dumps(msgspec.to_builtins(sentence_value(scored)), ensure_ascii=False) + "\n"


class Json(ScoreFormat):
    """One JSON list, to the letter what bert-as-language-model's `parse_result` writes: a token a WordPiece."""

    name = "json"
    head = "["
    tail = "\n]"
    separator = ","

    def sentence(self, scored: ScoredSentence) -> str:
        tokens = [
            {"token": piece, "prob": float(np.exp(np.float64(log_prob)))}
            for piece, log_prob in zip(scored.sentence.pieces, scored.log_prob, strict=True)
        ]
        text = json.dumps({"tokens": tokens, "ppl": scored.ppl}, indent=2, ensure_ascii=False)
        return "\n" + "\n".join("  " + line for line in text.split("\n"))
