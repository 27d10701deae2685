"""Training masks: whole words, 15 %, 80/10/10."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.bert.text.sentence import SpecialTokens
from bench.bert.training.masking import Vocabulary, masked_batch

SPECIAL = SpecialTokens(pad=0, unk=1, cls=2, sep=3, mask=4)
VOCABULARY = Vocabulary(SPECIAL, 1000)


def random_rows(count: int, seed: int = 0) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Sentences of 1 to 60 pieces, of which a quarter continue a word."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in rng.integers(1, 61, count):
        words = np.cumsum(rng.random(length) < 0.75, dtype=np.int32)
        rows.append((rng.integers(5, 1000, length, dtype=np.int32), words - words[0]))
    return rows


@pytest.fixture(scope="module")
def rows() -> Any:
    return random_rows(3000)


@pytest.fixture(scope="module")
def batch(rows: Any) -> Any:
    return masked_batch(rows, VOCABULARY, np.random.default_rng(7))


def masked_pieces(batch: dict[str, NDArray[Any]], row: int) -> set[int]:
    used = batch["masked_lm_weights"][row] == 1
    return set(batch["masked_lm_positions"][row][used] - 1)


def test_words_are_masked_whole(rows: Any, batch: Any) -> None:
    for row, (_, words) in enumerate(rows):
        masked = masked_pieces(batch, row)
        chosen = {words[piece] for piece in masked}
        assert masked == {piece for piece, word in enumerate(words) if word in chosen}


def test_fifteen_percent_of_each_row_and_at_least_one_word(rows: Any, batch: Any) -> None:
    for row, (ids, words) in enumerate(rows):
        count = len(masked_pieces(batch, row))
        longest_word = np.bincount(words).max()
        assert 1 <= count <= max(1, round(0.15 * len(ids)), longest_word)
    total = sum(len(ids) for ids, _ in rows)
    assert batch["masked_lm_weights"].sum() / total == pytest.approx(0.15, abs=0.01)


def test_labels_are_the_true_pieces_and_the_rest_is_left_alone(rows: Any, batch: Any) -> None:
    for row, (ids, _) in enumerate(rows):
        masked = masked_pieces(batch, row)
        used = batch["masked_lm_weights"][row] == 1
        positions, labels = batch["masked_lm_positions"][row], batch["masked_lm_ids"][row]
        assert (labels[used] == ids[positions[used] - 1]).all()
        assert not positions[~used].any()
        assert not labels[~used].any()
        shown = batch["input_ids"][row]
        assert shown[0] == SPECIAL.cls
        assert shown[len(ids) + 1] == SPECIAL.sep
        assert (shown[len(ids) + 2 :] == SPECIAL.pad).all()
        assert all(shown[piece + 1] == ids[piece] for piece in range(len(ids)) if piece not in masked)
        assert batch["input_mask"][row].sum() == len(ids) + 2
        assert batch["input_mask"][row][: len(ids) + 2].all()


def test_eighty_ten_ten(batch: Any) -> None:
    used = batch["masked_lm_weights"] == 1
    shown = np.take_along_axis(batch["input_ids"], batch["masked_lm_positions"], axis=1)[used]
    labels = batch["masked_lm_ids"][used]
    as_mask, kept = shown == SPECIAL.mask, shown == labels
    assert as_mask.mean() == pytest.approx(0.8, abs=0.015)
    assert kept.mean() == pytest.approx(0.1, abs=0.01)
    others = shown[~as_mask & ~kept]
    assert len(others) / len(shown) == pytest.approx(0.1, abs=0.01)
    assert others.min() > SPECIAL.mask
    assert len(np.unique(others)) > 500


def test_every_word_is_as_likely_as_any_other() -> None:
    row = (np.arange(10, 20, dtype=np.int32), np.arange(10, dtype=np.int32))
    batch = masked_batch([row] * 5000, VOCABULARY, np.random.default_rng(1))
    used = batch["masked_lm_weights"] == 1
    counts = np.bincount(batch["masked_lm_positions"][used], minlength=11)[1:]
    assert counts.sum() == 10000  # two of ten pieces
    assert counts == pytest.approx(1000, rel=0.12)


def test_the_same_seed_gives_the_same_batch_and_another_one_does_not(rows: Any) -> None:
    first, again, other = (masked_batch(rows[:50], VOCABULARY, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all((first[name] == again[name]).all() for name in first)
    assert (first["input_ids"] != other["input_ids"]).any()


def test_shapes_and_types(batch: Any, rows: Any) -> None:
    width = max(len(ids) for ids, _ in rows) + 2
    assert {name: (value.dtype.name, value.shape[0]) for name, value in batch.items()} == {
        "input_ids": ("int32", len(rows)),
        "input_mask": ("int32", len(rows)),
        "segment_ids": ("int32", len(rows)),
        "masked_lm_positions": ("int32", len(rows)),
        "masked_lm_ids": ("int32", len(rows)),
        "masked_lm_weights": ("float32", len(rows)),
    }
    assert batch["input_ids"].shape[1] == width
    assert not batch["segment_ids"].any()
    assert batch["masked_lm_ids"].shape[1] == batch["masked_lm_weights"].sum(axis=1).max()


def test_random_pieces_leave_out_special_ones_wherever_they_stand() -> None:
    vocabulary = Vocabulary(SpecialTokens(pad=0, unk=3, cls=4, sep=8, mask=9), 10)
    drawn = vocabulary.random_pieces(np.random.default_rng(0), 1000)
    assert set(drawn.tolist()) == {1, 2, 5, 6, 7}
