"""Pairs of a sentence and its twin."""

from pathlib import Path

import pytest

from bench.bert.demo.pairs import Frequencies, draw_pairs
from bench.bert.text.tokenizer import SPECIAL_TOKENS, Tokenizer, TokenizerOptions

WORDS = """
the a cat sat on mat ##s ##ter dog ran . 7
"""
TOKENIZER = Tokenizer([*SPECIAL_TOKENS.values(), *WORDS.split()], TokenizerOptions.google(True))
FREQUENCIES = Frequencies({"the": 90, "a": 80, "cat": 30, "cats": 30, "dog": 20, "matter": 15, "ran": 12, "sat": 11})


def test_words_are_ranked_by_count_then_spelling() -> None:
    counted = Frequencies.count(["b"] * 12 + ["a"] * 12 + ["c"] * 30 + ["d"] * 9 + ["7"] * 50 + ["."] * 99)
    assert list(counted.counts.items()) == [("c", 30), ("a", 12), ("b", 12)]


def test_a_file_of_words_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "frequencies.tsv"
    path.write_text("the\t90\ncat\t30\n")
    assert Frequencies.read(path).counts == {"the": 90, "cat": 30}


def test_like_words_are_near_in_rank_and_never_the_word_itself() -> None:
    frequencies = Frequencies({f"word{index:04}": 5000 - index for index in range(5000)})
    alike = frequencies.alike("word1000")
    assert "word1000" not in alike
    assert (alike[0], alike[-1]) == ("word0795", "word1205")
    assert frequencies.alike("word0000")[0] == "word0001"
    assert len(frequencies.alike("word4999")) == 5000 - int(4999 * 0.8) + 5 - 1


def test_exactly_one_word_differs_and_it_is_another_of_the_list() -> None:
    texts = ["The cat sat on the mats."] * 50
    pairs = draw_pairs(texts, TOKENIZER, FREQUENCIES, seed=1)
    assert len(pairs) == 50
    for pair in pairs:
        assert pair.real == TOKENIZER.encode(texts[0])
        assert pair.altered.num_words == pair.real.num_words
        differing = [
            i for i, words in enumerate(zip(pair.real.words, pair.altered.words, strict=True)) if len({*words}) > 1
        ]
        assert differing == [pair.word]
        assert pair.altered.words[pair.word] in FREQUENCIES
    assert {pair.real.words[pair.word] for pair in pairs} == {"the", "cat", "sat"}
    assert any(len(pair.altered.pieces) > len(pair.real.pieces) for pair in pairs)


def test_the_seed_decides() -> None:
    texts = ["The cat sat on the mats."] * 20
    drawn = [draw_pairs(texts, TOKENIZER, FREQUENCIES, seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize("text", ["7 .", "on mats on"])
def test_a_sentence_without_a_known_word_gives_no_pair(text: str) -> None:
    assert draw_pairs([text], TOKENIZER, FREQUENCIES, 1) == []
