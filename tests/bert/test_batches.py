"""Batches as a function of seed and step."""

import numpy as np
import pytest

from bench.bert.text.sentence import EncodedSentence, SpecialTokens
from bench.bert.training.batches import Batches, TokenizedText
from bench.bert.training.masking import Vocabulary

VOCABULARY = Vocabulary(SpecialTokens(pad=0, unk=1, cls=2, sep=3, mask=4), 100)


def sentence(word_lengths: list[int], start: int = 5) -> EncodedSentence:
    word_ids = tuple(word for word, length in enumerate(word_lengths) for _ in range(length))
    ids = tuple(start + index for index in range(len(word_ids)))
    return EncodedSentence("", tuple(map(str, ids)), ids, word_ids)


@pytest.fixture(scope="module")
def text() -> TokenizedText:
    lengths = np.random.default_rng(0).integers(1, 40, 500)
    return TokenizedText.of([sentence([1] * length) for length in lengths], 38)


def test_rows_come_back_as_they_went_in() -> None:
    text = TokenizedText.of([sentence([1, 2]), sentence([]), sentence([3], start=50)], 10)
    assert len(text) == 2
    assert [row.tolist() for row in text.row(0)] == [[5, 6, 7], [0, 1, 1]]
    assert [row.tolist() for row in text.row(1)] == [[50, 51, 52], [0, 0, 0]]
    assert text.select(np.array([1])).row(0)[0].tolist() == [50, 51, 52]


def test_long_sentences_are_cut_between_words() -> None:
    text = TokenizedText.of([sentence([2, 2, 2, 1])], 5)
    assert [text.row(index)[0].tolist() for index in range(len(text))] == [[5, 6, 7, 8], [9, 10, 11]]


def test_a_word_longer_than_the_model_is_cut_inside() -> None:
    text = TokenizedText.of([sentence([1, 7, 1])], 3)
    assert [text.row(index)[0].tolist() for index in range(len(text))] == [[5], [6, 7, 8], [9, 10, 11], [12, 13]]


def test_every_sentence_comes_once_an_epoch(text: TokenizedText) -> None:
    batches = Batches(text, VOCABULARY, 200, seed=3)
    for epoch in range(2):
        steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        seen = np.concatenate([batches.rows(step) for step in steps])
        assert sorted(seen.tolist()) == list(range(len(text)))
        assert sum(batches.pieces(step) for step in steps) == text.lengths.sum()


def test_batches_keep_to_their_positions_and_waste_few(text: TokenizedText) -> None:
    batches = Batches(text, VOCABULARY, 200, seed=3)
    shapes = [batches.features(step)["input_ids"].shape for step in range(batches.per_epoch)]
    assert max(rows * width for rows, width in shapes) <= 200
    wanted = text.lengths.sum() + 2 * len(text)
    assert sum(rows * width for rows, width in shapes) < 1.1 * wanted


def test_a_sentence_wider_than_the_positions_makes_a_batch_of_its_own() -> None:
    text = TokenizedText.of([sentence([1] * 30), sentence([1] * 3), sentence([1] * 3)], 38)
    batches = Batches(text, VOCABULARY, 16, seed=0)
    assert sorted(len(batches.rows(step)) for step in range(batches.per_epoch)) == [1, 2]


def test_a_batch_depends_on_seed_and_step_only(text: TokenizedText) -> None:
    forward, backward, other = (Batches(text, VOCABULARY, 200, seed) for seed in (3, 3, 4))
    steps = range(2 * forward.per_epoch)
    one = {step: forward.features(step) for step in steps}
    two = {step: backward.features(step) for step in reversed(steps)}
    assert all((one[step][name] == two[step][name]).all() for step in steps for name in one[step])
    assert any(one[step]["input_ids"].tolist() != other.features(step)["input_ids"].tolist() for step in steps)


def test_epochs_differ_in_order_in_company_and_in_masks(text: TokenizedText) -> None:
    batches = Batches(text, VOCABULARY, 200, seed=3)
    company = [
        {frozenset(batches.rows(step).tolist()) for step in range(start, start + batches.per_epoch)}
        for start in (0, batches.per_epoch)
    ]
    assert company[0] != company[1]
    lengths = [
        [batches.pieces(step) for step in range(start, start + batches.per_epoch)] for start in (0, batches.per_epoch)
    ]
    assert lengths[0] != lengths[1]
