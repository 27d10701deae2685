"""Pairs of a real sentence and the same with one word replaced by another of like frequency, drawn from a seed."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.bert.text.sentence import EncodedSentence
from bench.bert.text.text_file import read_sentences
from bench.bert.text.tokenizer import Tokenizer

MIN_COUNT: Final = 10
# A word's like are those whose frequency rank is within a fifth of its own, and five places more at the very top.
_RANK_FRACTION: Final = 0.2
_RANK_SLACK: Final = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentence and its twin.

    Args:
        real: the sentence.
        altered: the same with one word replaced.
        word: index of that word.
    """

    real: EncodedSentence
    altered: EncodedSentence
    word: int


class Frequencies:
    """Words by falling frequency.

    Args:
        counts: how often each word occurs in the training text.
    """

    def __init__(self, counts: dict[str, int]) -> None:
        self.counts = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
        self._words = list(self.counts)
        self._ranks = {word: rank for rank, word in enumerate(self._words)}

    @classmethod
    def count(cls, words: Iterable[str]) -> "Frequencies":
        """Counts words of letters; those that occur less than ten times are left out."""
        counts = Counter(word for word in words if word.isalpha())
        return cls({word: count for word, count in counts.items() if count >= MIN_COUNT})

    @classmethod
    def read(cls, path: Path) -> "Frequencies":
        """Reads a file of a word, a tab and its count a line."""
        rows = (line.text.split("\t") for line in read_sentences(path))
        return cls({word: int(count) for word, count in rows})

    def __contains__(self, word: str) -> bool:
        return word in self._ranks

    def alike(self, word: str) -> list[str]:
        """Other words of like frequency."""
        rank = self._ranks[word]
        low = max(0, int(rank * (1 - _RANK_FRACTION)) - _RANK_SLACK)
        high = int(rank * (1 + _RANK_FRACTION)) + _RANK_SLACK
        return [other for other in self._words[low : high + 1] if other != word]


def draw_pairs(texts: Sequence[str], tokenizer: Tokenizer, frequencies: Frequencies, seed: int) -> list[Pair]:
    """One pair a sentence, in order; a sentence without a word of known frequency gives none."""
    pairs = []
    for index, text in enumerate(texts):
        sentence = tokenizer.encode(text)
        known = [place for place, word in enumerate(sentence.words) if word in frequencies]
        if not known:
            continue
        rng = np.random.default_rng((seed, index))
        word = known[rng.integers(len(known))]
        others = frequencies.alike(sentence.words[word])
        pairs.append(
            Pair(sentence, _replace(sentence, word, tokenizer.encode(others[rng.integers(len(others))])), word)
        )
    return pairs


def _replace(sentence: EncodedSentence, word: int, other: EncodedSentence) -> EncodedSentence:
    """`sentence` with the pieces of `other`, one word, in the place of its `word`-th."""
    start, end = bisect_left(sentence.word_ids, word), bisect_left(sentence.word_ids, word + 1)
    pieces = (*sentence.pieces[:start], *other.pieces, *sentence.pieces[end:])
    return EncodedSentence(
        " ".join(pieces),
        pieces,
        (*sentence.token_ids[:start], *other.token_ids, *sentence.token_ids[end:]),
        (*sentence.word_ids[:start], *(word for _ in other.pieces), *sentence.word_ids[end:]),
    )
