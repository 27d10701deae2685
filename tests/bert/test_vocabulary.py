"""Vocabularies made of text."""

import subprocess
import sys

import pytest

from bench.bert.demo import default_sentences
from bench.bert.text.text_file import read_sentences
from bench.bert.text.tokenizer import SPECIAL_TOKENS, Tokenizer, TokenizerOptions
from bench.bert.text.vocabulary import train_vocabulary
from bench.core.errors import UsageError


def texts() -> list[str]:
    return [line.text for line in read_sentences(default_sentences())]


@pytest.mark.parametrize("lower", [True, False])
def test_it_has_room_for_what_was_asked_and_covers_the_text(lower: bool) -> None:
    pieces = train_vocabulary(texts, 700, do_lower_case=lower)
    assert len(pieces) == len(set(pieces)) == 700
    assert pieces[:5] == list(SPECIAL_TOKENS.values())
    tokenizer = Tokenizer(pieces, TokenizerOptions.google(lower))
    encoded = [tokenizer.encode(text) for text in texts()]
    assert not any("[UNK]" in sentence.pieces for sentence in encoded)
    assert sum(sentence.num_pieces for sentence in encoded) < 1.7 * sum(sentence.num_words for sentence in encoded)
    assert ("The" in pieces) == (not lower)


def test_a_small_text_gives_fewer_pieces() -> None:
    pieces = train_vocabulary(lambda: ["a bad cab", "a cab"], 300, do_lower_case=True)
    assert set(pieces) == {*SPECIAL_TOKENS.values(), *"abcd", "##a", "##b", "##c", "##d", "ba", "bad", "ca", "cab"}


def test_another_process_makes_the_same_one() -> None:
    """The library's hash tables are seeded anew in each process; ids and ties must not show it."""
    code = (
        "import tests.bert.test_vocabulary as t; "
        "print(*t.train_vocabulary(lambda: t.texts() * 2, 900, True), sep=chr(10))"
    )
    made = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(3)}
    assert len(made) == 1


def test_rare_characters_give_way() -> None:
    marks = "".join(chr(0x3B1 + index) for index in range(20))
    pieces = train_vocabulary(lambda: ["abcdefghijklmnopqrstuvwxyz " * 9, f"plain {marks}"], 220, do_lower_case=True)
    assert len([piece for piece in pieces if len(piece) == 1]) == 26
    assert "z" in pieces


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(UsageError, match="too small for the alphabet"):
        train_vocabulary(texts, 100, do_lower_case=True)
