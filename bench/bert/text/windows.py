"""Overlapping windows over a sentence that is longer than the model's positions."""

from dataclasses import dataclass

import numpy as np

from bench.bert.text.sentence import EncodedSentence


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a sentence that fits the model.

    Args:
        part: the pieces of the window as a sentence of its own.
        start: index of its first piece in the whole sentence.
        keep: slice of the part's pieces whose log-probabilities come from this window.
    """

    part: EncodedSentence
    start: int
    keep: slice


def cut_windows(sentence: EncodedSentence, max_pieces: int) -> list[Window]:
    """Windows of at most `max_pieces` pieces, cut between words, half a window apart.

    Each word is taken from the window in which the nearer edge is farthest away, the ends of the sentence not counting
    as edges; the taken slices of all windows cover the sentence once, in order.

    Raises:
        ValueError: a single word has more than `max_pieces` pieces.
    """
    if sentence.num_pieces <= max_pieces:
        return [Window(sentence, 0, slice(0, sentence.num_pieces))]
    sizes = np.bincount(sentence.word_ids)
    if sizes.max() > max_pieces:
        word = sentence.words[int(sizes.argmax())]
        raise ValueError(f"the word {word[:20]}... has {sizes.max()} pieces, the model takes {max_pieces}")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    spans = _spans(starts, max_pieces)
    best = [_best_span(word, spans, starts) for word in range(sentence.num_words)]
    windows = []
    for index, (first, last) in enumerate(spans):
        taken = [word for word in range(first, last) if best[word] == index]
        if taken:
            offset = int(starts[first])
            keep = slice(int(starts[taken[0]]) - offset, int(starts[taken[-1] + 1]) - offset)
            windows.append(Window(_part(sentence, offset, int(starts[last]), first), offset, keep))
    return windows


def _spans(starts: np.ndarray[tuple[int], np.dtype[np.int64]], max_pieces: int) -> list[tuple[int, int]]:
    """Word ranges [first, last): as many words as fit, each starting half a window after the one before."""
    words = len(starts) - 1
    spans: list[tuple[int, int]] = []
    first = 0
    while True:
        last = int(np.searchsorted(starts, starts[first] + max_pieces, side="right")) - 1
        if last >= words:
            # The last window reaches back as far as it can.
            first = int(np.searchsorted(starts, starts[words] - max_pieces, side="left"))
            return [*spans, (first, words)]
        spans.append((first, last))
        half = int(np.searchsorted(starts, starts[first] + max_pieces // 2, side="right")) - 1
        first = min(max(half, first + 1), last)


def _best_span(word: int, spans: list[tuple[int, int]], starts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    """Index of the span that gives `word` the most context."""
    words = len(starts) - 1

    def context(span: tuple[int, int]) -> float:
        first, last = span
        if not first <= word < last:
            return -1.0
        left = float("inf") if first == 0 else float(starts[word] - starts[first])
        right = float("inf") if last == words else float(starts[last] - starts[word + 1])
        return min(left, right)

    return max(range(len(spans)), key=lambda index: context(spans[index]))


def _part(sentence: EncodedSentence, begin: int, end: int, first_word: int) -> EncodedSentence:
    return EncodedSentence(
        sentence.text,
        sentence.pieces[begin:end],
        sentence.token_ids[begin:end],
        tuple(word - first_word for word in sentence.word_ids[begin:end]),
        {index - begin: text for index, text in sentence.unknown.items() if begin <= index < end},
    )
