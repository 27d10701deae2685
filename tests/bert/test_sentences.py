"""The sentences that are sent by default."""

import re

from bench.bert.demo import default_sentences
from bench.bert.text.text_file import read_sentences


def test_the_sentences_keep_their_promises() -> None:
    raw = default_sentences().read_bytes()
    lines = list(read_sentences(default_sentences()))
    texts = [line.text for line in lines]
    assert len(texts) >= 200
    assert len(set(texts)) == len(texts)
    assert raw == "".join(text + "\n" for text in texts).encode()
    assert b"\t" not in raw
    assert all(3 <= len(text.split()) <= 60 for text in texts)


def test_they_hold_numbers_quotations_accents_and_both_short_and_long_ones() -> None:
    texts = [line.text for line in read_sentences(default_sentences())]
    for pattern in (r"\d", '"', r"[À-ÿ]", r"[a-z] [A-Z][a-z]+"):
        assert 5 <= sum(bool(re.search(pattern, text)) for text in texts) <= len(texts) / 2
    lengths = sorted(len(text.split()) for text in texts)
    assert lengths[0] == 3
    assert 12 <= lengths[len(lengths) // 2] <= 16
    assert lengths[-1] >= 45
