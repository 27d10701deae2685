"""Word-level probabilities as a page: each word coloured, with what is likeliest in its place; of one model or two."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Final

import numpy as np

from bench.bert.contract.scoring import ComparedSentence, ScoredSentence
from bench.core.units import ABSENT, format_number
from bench.report.scores import ScoreFormat, SentenceValue, WordValue, sentence_value

_PAGE: Final = resources.files("bench.report").joinpath("assets", "scores.html").read_text("utf-8")
_NAMES: Final = ("A", "B")
_LIKELIEST: Final = "Likeliest"


@dataclass(frozen=True)
class ScoredModel:
    """A model of a page.

    Args:
        name: for people.
        vocabulary: the WordPieces in the order of their ids, to name those that it finds likeliest.
        top_k: how many of those it gives; 0 for none.
    """

    name: str
    vocabulary: Sequence[str]
    top_k: int = 0


class Html(ScoreFormat):
    """A page for the browser: each word coloured by its probability, with a table below each sentence.

    Args:
        models: the one that scores, and with `ComparedSentence`s the second one.
    """

    name = "html"

    def __init__(self, models: Sequence[ScoredModel]) -> None:
        self._models = models
        head, _, self.tail = _PAGE.partition("<!-- sentences -->")
        self.head = head.replace("<!-- models -->", _about(models))

    def sentence(self, scored: ScoredSentence) -> str:
        sides = [_Side.of(scored, self._models[0])]
        if isinstance(scored, ComparedSentence):
            sides.append(_Side.of(scored.other, self._models[1]))
        columns = "".join(
            f"<div>{_label(index) if len(sides) > 1 else ''}<p>{side.text()}</p></div>"
            for index, side in enumerate(sides)
        )
        names = _NAMES if len(sides) > 1 else ("",)
        ppl = ", ".join(f"{name} {side.ppl}".strip() for name, side in zip(names, sides, strict=True))
        return (
            f'\n<section><div class="sides">{columns}</div>\n'
            f"<details><summary>line {scored.line:,}: pseudo-perplexity {ppl}</summary>{_tables(sides)}</details>"
            "</section>"
        )


def _about(models: Sequence[ScoredModel]) -> str:
    """The sentences of the head about the models."""
    top = max((model.top_k for model in models), default=0)
    more = f", and the {top} WordPieces that the model finds likeliest in its place" if top > 1 else ""
    more = ", and the WordPiece that the model finds likeliest in its place" if top == 1 else more
    pointer = (
        f"The pointer over a word, or the Tab key, shows the figure{more}; the table below a sentence has all of it."
    )
    if len(models) < 2:
        return pointer
    named = ", ".join(f"<b>{name}</b> {escape(model.name)}" for name, model in zip(_NAMES, models, strict=True))
    return f"{pointer} Two models: {named}."


def _label(index: int) -> str:
    return f'<span class="side">{_NAMES[index]}</span>'


@dataclass(frozen=True)
class _Side:
    """A sentence as one model scores it.

    Args:
        value: its words and their probabilities.
        likelier: for each word and each of its WordPieces, what the model finds likeliest there, with probabilities;
            empty where the model gives none.
    """

    value: SentenceValue
    likelier: Sequence[Sequence[str]]

    @classmethod
    def of(cls, scored: ScoredSentence, model: ScoredModel) -> "_Side":
        likelier: list[list[str]] = [[] for _ in scored.sentence.words]
        if scored.likeliest is not None:
            ids, probs = scored.likeliest.ids, np.exp(scored.likeliest.log_prob.astype(np.float64))
            for word, own_ids, own_probs in zip(scored.sentence.word_ids, ids, probs, strict=True):
                likelier[word].append(", ".join(map(_candidate, _pieces(own_ids, model.vocabulary), own_probs)))
        return cls(sentence_value(scored), likelier)

    @property
    def ppl(self) -> str:
        """Its pseudo-perplexity."""
        return ABSENT if self.value.ppl is None else format_number(self.value.ppl)

    def text(self) -> str:
        """The sentence, its words coloured."""
        return " ".join(map(_word, self.value.words, self.likelier))


def _word(word: WordValue, likelier: Sequence[str]) -> str:
    """A word, and what is shown when the pointer or the focus is on it."""
    rest = "".join(f"<br>{escape(text)}" for text in _named(word, likelier))
    heading = f"<br>{_LIKELIEST} here:" if rest else ""
    tip = f'<span class="tip"><strong>{escape(word.word)}</strong> {format_number(word.prob)}{heading}{rest}</span>'
    return f'<span class="w b{_level(word.prob)}" tabindex="0">{escape(word.word)}{tip}</span>'


def _named(word: WordValue, likelier: Sequence[str]) -> list[str]:
    """The likeliest at each WordPiece of a word; of several, each after its WordPiece."""
    if len(likelier) < 2:
        return list(likelier)
    return [f"{piece.piece}: {text}" for piece, text in zip(word.pieces, likelier, strict=True)]


def _pieces(ids: Sequence[int], vocabulary: Sequence[str]) -> list[str]:
    """WordPieces by id; an id past the vocabulary, which a model may have rows for, has no name."""
    return [vocabulary[index] if index < len(vocabulary) else f"[{index}]" for index in ids]


def _candidate(piece: str, prob: float) -> str:
    return f"{piece}\u00a0{format_number(prob)}"


def _tables(sides: Sequence[_Side]) -> str:
    """The figures of the words: one table, or one for each of two models that split the sentence in other words."""
    words = [[word.word for word in side.value.words] for side in sides]
    if len(sides) == 1:
        return _table(sides[0])
    if words[0] == words[1]:
        return _joint_table(*sides)
    return "".join(f"<h3>{name}</h3>{_table(side)}" for name, side in zip(_NAMES, sides, strict=True))


def _table(side: _Side) -> str:
    heads = ["Word", "Probability", "WordPieces", *((f"{_LIKELIEST} here",) if any(side.likelier) else ())]
    rows = [
        [word.word, format_number(word.prob), _parts(word), *(("; ".join(_named(word, likelier)),) if likelier else ())]
        for word, likelier in zip(side.value.words, side.likelier, strict=True)
    ]
    return _html_table(heads, rows)


def _joint_table(first: _Side, second: _Side) -> str:
    """Both models' probabilities of the same words, and their ratio."""
    shown = [(name, side) for name, side in zip(_NAMES, (first, second), strict=True) if any(side.likelier)]
    heads = ["Word", *_NAMES, f"{_NAMES[1]} / {_NAMES[0]}", *(f"{_LIKELIEST} of {name}" for name, _ in shown)]
    rows = []
    for index, (one, other) in enumerate(zip(first.value.words, second.value.words, strict=True)):
        ratio = ABSENT if one.prob == 0 else format_number(other.prob / one.prob)
        likelier = ("; ".join(_named(side.value.words[index], side.likelier[index])) for _, side in shown)
        rows.append([one.word, format_number(one.prob), format_number(other.prob), ratio, *likelier])
    return _html_table(heads, rows)


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names the rows."""
    head = "".join(f'<th scope="col"{_wide(text)}>{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(text)}</td>" for text in row[1:])}</tr>'
        for row in rows
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _wide(head: str) -> str:
    """The class of a column of lists."""
    return ' class="wide"' if head.startswith(_LIKELIEST) else ""


_LEVELS: Final = (0.5, 0.2, 0.05, 0.01, 0.001)
"""Probabilities at which the colour changes, those of the page's legend."""


def _level(prob: float) -> int:
    # The tolerance keeps the 0.5 of a single-precision logarithm at 0.5.
    return sum(prob < limit * (1 - 1e-6) for limit in _LEVELS)


def _parts(word: WordValue) -> str:
    """The WordPieces of a word that has others than itself, with their probabilities."""
    if [piece.piece for piece in word.pieces] == [word.word]:
        return ""
    return ", ".join(_candidate(piece.piece, piece.prob) for piece in word.pieces)
