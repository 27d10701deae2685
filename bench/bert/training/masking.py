"""Masks for training: whole words, 15 % of the pieces, of which 80 % become [MASK], 10 % another piece, 10 % stay.

Devlin et al. 2019, section 3.1, with the whole-word variant of google-research/bert (May 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.bert.text.sentence import SpecialTokens

Ints = NDArray[np.int32]

MASKED_FRACTION: Final = 0.15
AS_MASK: Final = 0.8
AS_RANDOM: Final = 0.1


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What masking has to know of the vocabulary.

    Args:
        special: ids of the special tokens.
        size: pieces in all.
    """

    special: SpecialTokens
    size: int

    def random_pieces(self, rng: np.random.Generator, count: int) -> Ints:
        """`count` ids drawn evenly from all that are not special."""
        special = sorted({self.special.pad, self.special.unk, self.special.cls, self.special.sep, self.special.mask})
        drawn = rng.integers(0, self.size - len(special), count)
        for index in special:
            drawn += drawn >= index
        return drawn.astype(np.int32)


def masked_batch(
    rows: Sequence[tuple[Ints, Ints]], vocabulary: Vocabulary, rng: np.random.Generator
) -> dict[str, NDArray[np.int32] | NDArray[np.float32]]:
    """Training features of R sentences, the longest of S - 2 pieces, with at most P masked pieces in one.

    Args:
        rows: ids and word indices of each sentence's pieces, without [CLS] and [SEP]; at least one piece each.
        vocabulary: the pieces.
        rng: where the masks come from.

    Returns:
        `input_ids`, `input_mask`, `segment_ids` int32 [R, S]; `masked_lm_positions`, `masked_lm_ids` int32 [R, P] and
        `masked_lm_weights` float32 [R, P], 1 for a masked piece and 0 for an unused slot.
    """
    lengths = np.array([len(ids) for ids, _ in rows])
    row_of = np.repeat(np.arange(len(rows)), lengths)
    position = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1
    pieces = np.concatenate([ids for ids, _ in rows]).astype(np.int32)
    chosen = _choose_words(np.concatenate([words for _, words in rows]), row_of, lengths, rng)

    width = int(lengths.max()) + 2
    input_ids = np.full((len(rows), width), vocabulary.special.pad, np.int32)
    input_ids[:, 0] = vocabulary.special.cls
    input_ids[np.arange(len(rows)), lengths + 1] = vocabulary.special.sep
    input_ids[row_of, position] = np.where(chosen, _disguised(pieces, vocabulary, rng), pieces)

    counts = np.bincount(row_of[chosen], minlength=len(rows))
    slot = np.arange(chosen.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    where = (row_of[chosen], slot)
    shape = (len(rows), int(counts.max()))
    positions, labels, weights = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    positions[where], labels[where], weights[where] = position[chosen], pieces[chosen], 1.0
    return {
        "input_ids": input_ids,
        "input_mask": (np.arange(width) < (lengths + 2)[:, np.newaxis]).astype(np.int32),
        "segment_ids": np.zeros_like(input_ids),
        "masked_lm_positions": positions,
        "masked_lm_ids": labels,
        "masked_lm_weights": weights,
    }


def _choose_words(
    words: NDArray[np.int32], row_of: NDArray[np.intp], lengths: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """For each piece whether it is masked.

    The words of a row are taken in random order as long as their pieces do not exceed 15 % of the row's, rounded and
    at least one; the first is taken in any case, so that every row has something to learn from.
    """
    starts = np.flatnonzero(np.diff(words, prepend=-1) | np.diff(row_of, prepend=-1))
    sizes = np.diff(starts, append=len(words))
    rows = row_of[starts]
    order = np.lexsort((rng.random(len(starts)), rows))
    taken = np.cumsum(sizes[order])
    firsts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    before_row = np.repeat(taken[firsts] - sizes[order][firsts], np.diff(firsts, append=len(order)))
    limit = np.maximum(1, np.rint(MASKED_FRACTION * lengths))[rows[order]]
    fits = taken - before_row <= limit
    fits[firsts] = True
    chosen = np.zeros(len(starts), bool)
    chosen[order] = fits
    return np.repeat(chosen, sizes)


def _disguised(pieces: Ints, vocabulary: Vocabulary, rng: np.random.Generator) -> Ints:
    """What each piece is shown as where it is masked."""
    draw = rng.random(len(pieces))
    shown = np.where(draw < AS_MASK, np.int32(vocabulary.special.mask), pieces)
    random = draw >= 1 - AS_RANDOM
    return np.where(random, vocabulary.random_pieces(rng, len(pieces)), shown).astype(np.int32)
