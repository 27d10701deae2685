"""Word-level probabilities as text: tsv, jsonl, the JSON document of bert-as-language-model, or a page."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np
from msgspec import Meta, Struct

from bench.bert.contract.scoring import ScoredSentence
from bench.core.units import ABSENT, format_number


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
    ppl: Annotated[float | None, Meta(description="pseudo-perplexity a word; null without a word")]
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
    head: ClassVar[str] = ""
    tail: ClassVar[str] = ""
    separator: ClassVar[str] = ""

    @abstractmethod
    def sentence(self, scored: ScoredSentence) -> str:
        """The text of one sentence."""


class Tsv(ScoreFormat):
    """A line a word: line number, position of the word in its sentence (from 1), word, probability."""

    name = "tsv"

    def sentence(self, scored: ScoredSentence) -> str:
        rows = zip(scored.sentence.words, np.exp(scored.word_log_prob), strict=True)
        return "".join(
            f"{scored.line}\t{position}\t{word}\t{float(prob):.6g}\n" for position, (word, prob) in enumerate(rows, 1)
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


class Html(ScoreFormat):
    """A page for the browser: each word coloured by its probability, with a table below each sentence."""

    name = "html"
    head, _, tail = (
        resources.files("bench.report")
        .joinpath("assets", "scores.html")
        .read_text("utf-8")
        .partition("<!-- sentences -->")
    )

    def sentence(self, scored: ScoredSentence) -> str:
        found = sentence_value(scored)
        words = " ".join(
            f'<span class="w b{_level(word.prob)}" title="{escape(word.word)}: {format_number(word.prob)}">'
            f"{escape(word.word)}</span>"
            for word in found.words
        )
        rows = "".join(
            f'<tr><th scope="row">{escape(word.word)}</th><td>{format_number(word.prob)}</td>'
            f"<td>{escape(_pieces(word))}</td></tr>"
            for word in found.words
        )
        ppl = ABSENT if found.ppl is None else format_number(found.ppl)
        return (
            f"\n<section><p>{words}</p>\n"
            f"<details><summary>line {found.line:,}: pseudo-perplexity {ppl}</summary><table>{rows}</table></details>"
            "</section>"
        )


_LEVELS: Final = (0.5, 0.2, 0.05, 0.01, 0.001)
"""Probabilities at which the colour changes, those of the page's legend."""


def _level(prob: float) -> int:
    # The tolerance keeps the 0.5 of a single-precision logarithm at 0.5.
    return sum(prob < limit * (1 - 1e-6) for limit in _LEVELS)


def _pieces(word: WordValue) -> str:
    """The WordPieces of a word that has several, with their probabilities."""
    if len(word.pieces) < 2:
        return ""
    return ", ".join(f"{piece.piece} {format_number(piece.prob)}" for piece in word.pieces)


FORMATS: Final = {cls.name: cls() for cls in (Tsv, Jsonl, Json, Html)}
