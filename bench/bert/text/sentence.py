"""A tokenized sentence, the unit of the language model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids of the special tokens in a vocabulary."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int


@dataclass(frozen=True)
class EncodedSentence:
    """A sentence split into WordPieces, without [CLS] and [SEP].

    A word is a piece and the `##` continuations after it; its pieces are masked together.

    Args:
        text: the sentence as given.
        pieces: WordPieces, N of them.
        token_ids: their ids in the vocabulary, N.
        word_ids: for each piece the 0-based index of its word, N; never decreasing, without gaps.
        unknown: by the index of a piece that stands for what the vocabulary lacks, that part of the text.
    """

    text: str
    pieces: tuple[str, ...]
    token_ids: tuple[int, ...]
    word_ids: tuple[int, ...]
    unknown: Mapping[int, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not len(self.pieces) == len(self.token_ids) == len(self.word_ids):
            raise ValueError("pieces, token_ids and word_ids differ in length")
        steps = np.diff((-1, *self.word_ids))
        if ((steps != 0) & (steps != 1)).any() or (self.word_ids and self.word_ids[0] != 0):
            raise ValueError("word_ids must start at 0 and grow by one a word")

    @property
    def num_words(self) -> int:
        """Words, which is the number of masked copies."""
        return self.word_ids[-1] + 1 if self.word_ids else 0

    @property
    def num_pieces(self) -> int:
        """WordPieces, special tokens left out."""
        return len(self.pieces)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Each word as its pieces spell it, `##` removed; one that the vocabulary lacks as the text has it."""
        joined = [""] * self.num_words
        for index, (piece, word) in enumerate(zip(self.pieces, self.word_ids, strict=True)):
            known = piece.removeprefix("##") if joined[word] else piece
            joined[word] += self.unknown.get(index, known)
        return tuple(joined)
