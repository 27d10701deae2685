"""Training text as arrays, and batches as a pure function of seed and step, so that a killed run can go on exactly."""

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.bert.text.sentence import EncodedSentence
from bench.bert.training.masking import Vocabulary, masked_batch

Ints = NDArray[np.int32]


class TokenizedText:
    """Many sentences, their pieces in one flat array.

    Args:
        pieces: ids of all pieces, one sentence after the other.
        words: for each piece the index of its word in the sentence.
        lengths: pieces of each sentence, none of them 0.
    """

    def __init__(self, pieces: Ints, words: Ints, lengths: Ints) -> None:
        self.pieces = pieces
        self.words = words
        self.lengths = lengths
        self._ends = np.cumsum(lengths, dtype=np.int64)

    @classmethod
    def of(cls, sentences: Iterable[EncodedSentence], max_pieces: int) -> "TokenizedText":
        """Takes sentences; those longer than `max_pieces` are cut, between words wherever possible."""
        pieces, words, lengths = array("i"), array("i"), array("i")
        for sentence in sentences:
            start = 0
            while start < sentence.num_pieces:
                end = _cut(sentence.word_ids, start, max_pieces)
                pieces.extend(sentence.token_ids[start:end])
                words.extend(sentence.word_ids[start:end])
                lengths.append(end - start)
                start = end
        return cls(*(np.frombuffer(values, np.int32) for values in (pieces, words, lengths)))

    def __len__(self) -> int:
        return len(self.lengths)

    def row(self, index: int) -> tuple[Ints, Ints]:
        """Ids and word indices of one sentence's pieces."""
        end = self._ends[index]
        span = slice(end - self.lengths[index], end)
        return self.pieces[span], self.words[span]

    def select(self, indices: NDArray[np.intp]) -> "TokenizedText":
        """Some of the sentences, in the order given."""
        rows = [self.row(index) for index in indices]
        return TokenizedText(
            np.concatenate([ids for ids, _ in rows]), np.concatenate([w for _, w in rows]), self.lengths[indices]
        )


def _cut(word_ids: Sequence[int], start: int, max_pieces: int) -> int:
    """Where a stretch of at most `max_pieces` pieces from `start` ends; a word longer than that is cut inside."""
    end = min(start + max_pieces, len(word_ids))
    if end == len(word_ids):
        return end
    cut = end
    while cut > start and word_ids[cut] == word_ids[cut - 1]:
        cut -= 1
    return cut if cut > start else end


class Batches:
    """Batches of sentences of like length, as many as fit into a number of positions, masked anew each time.

    The sentences of each batch, the order of the batches and the masks depend only on the seed and the step.

    Args:
        text: the sentences.
        vocabulary: the pieces.
        positions: rows × width of a batch, [CLS], [SEP] and padding included; one sentence is always taken.
        seed: random seed.
    """

    def __init__(self, text: TokenizedText, vocabulary: Vocabulary, positions: int, seed: int) -> None:
        self._text = text
        self._vocabulary = vocabulary
        self._seed = seed
        self._bounds = _bounds(np.sort(text.lengths) + 2, positions)
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    @property
    def per_epoch(self) -> int:
        """Batches in which every sentence comes once."""
        return len(self._bounds) - 1

    def rows(self, step: int) -> NDArray[np.intp]:
        """Indices of the sentences in the batch of a 0-based step."""
        epoch, index = divmod(step, self.per_epoch)
        sentences, order = self._epoch(epoch)
        group = order[index]
        return sentences[self._bounds[group] : self._bounds[group + 1]]

    def pieces(self, step: int) -> int:
        """WordPieces in the batch, [CLS], [SEP] and padding left out."""
        return int(self._text.lengths[self.rows(step)].sum())

    def features(self, step: int) -> dict[str, NDArray[np.int32] | NDArray[np.float32]]:
        """The masked batch of a 0-based step; see `bench.bert.training.masking.masked_batch`."""
        rng = np.random.default_rng((self._seed, 2, step))
        return masked_batch([self._text.row(index) for index in self.rows(step)], self._vocabulary, rng)

    def _draw_epoch(self, epoch: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Sentences sorted by length, those of one length shuffled; and the order of the batches."""
        rng = np.random.default_rng((self._seed, 1, epoch))
        sentences = np.lexsort((rng.random(len(self._text)), self._text.lengths))
        return sentences, rng.permutation(self.per_epoch)


def _bounds(widths: Ints, positions: int) -> NDArray[np.intp]:
    """Cuts sorted widths into batches, from the widest down so that the one that is not full holds short sentences."""
    bounds = [len(widths)]
    while bounds[-1]:
        bounds.append(max(0, bounds[-1] - max(1, positions // int(widths[bounds[-1] - 1]))))
    return np.array(bounds[::-1], np.intp)
