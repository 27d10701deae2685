"""Overlapping windows: each word once, whole, and where it has most context."""

import numpy as np
import pytest

from bench.bert.text.sentence import EncodedSentence
from bench.bert.text.windows import cut_windows


def sentence(sizes: list[int]) -> EncodedSentence:
    """A sentence whose words have these numbers of pieces; ids count up."""
    words = tuple(word for word, size in enumerate(sizes) for _ in range(size))
    pieces = tuple(f"w{word}" if index == 0 else "##x" for word, size in enumerate(sizes) for index in range(size))
    return EncodedSentence("text", pieces, tuple(range(len(words))), words)


def test_a_sentence_that_fits_is_one_window() -> None:
    whole = sentence([1, 2, 1])
    (window,) = cut_windows(whole, 4)
    assert window.part is whole
    assert window.keep == slice(0, 4)


@pytest.mark.parametrize("seed", range(20))
def test_windows_cover_each_piece_once_and_cut_between_words(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = sentence(list(rng.integers(1, 5, rng.integers(5, 60))))
    limit = int(rng.integers(4, 20))
    kept: list[int] = []
    for window in cut_windows(whole, limit):
        assert window.part.num_pieces <= limit
        assert window.part.token_ids == whole.token_ids[window.start : window.start + window.part.num_pieces]
        before = whole.word_ids[window.start - 1] if window.start else -1
        assert before != whole.word_ids[window.start], "a word is cut"
        kept.extend(window.part.token_ids[window.keep])
    assert kept == list(whole.token_ids)


def test_each_word_is_kept_where_its_nearer_edge_is_farthest() -> None:
    whole = sentence([1] * 30)
    windows = cut_windows(whole, 10)
    spans = [(window.start, window.start + window.part.num_pieces) for window in windows]

    def context(word: int, span: tuple[int, int]) -> float:
        if not span[0] <= word < span[1]:
            return -1
        left = np.inf if span[0] == 0 else word - span[0]
        right = np.inf if span[1] == 30 else span[1] - word - 1
        return min(left, right)

    for window, span in zip(windows, spans, strict=True):
        for word in window.part.token_ids[window.keep]:
            assert context(word, span) == max(context(word, other) for other in spans)


def test_a_word_longer_than_the_model_is_refused() -> None:
    with pytest.raises(ValueError, match="has 9 pieces, the model takes 8"):
        cut_windows(sentence([1, 9, 1]), 8)


def test_a_window_keeps_the_words_that_the_vocabulary_lacks() -> None:
    pieces = ("a", "[UNK]", "b", "c", "[UNK]", "d")
    whole = EncodedSentence("text", pieces, tuple(range(6)), tuple(range(6)), {1: "x", 4: "y"})
    windows = cut_windows(whole, 4)
    assert len(windows) > 1
    assert [word for window in windows for word in window.part.words[window.keep]] == ["a", "x", "b", "c", "y", "d"]
