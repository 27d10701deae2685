"""The sentences that an exported model takes. No TensorFlow."""

from dataclasses import dataclass

import numpy as np

from bench.bert.contract.golden import FixedExport
from bench.bert.text.sentence import EncodedSentence
from bench.bert.text.windows import Window, cut_windows
from bench.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class SentenceLimits:
    """What an exported model takes.

    Args:
        max_pieces: the longest sentence, in WordPieces.
        taker: what sets that limit, for messages.
        max_word_pieces: the longest word, in WordPieces; None is any that fits.
    """

    max_pieces: int
    taker: str = "the model"
    max_word_pieces: int | None = None

    @classmethod
    def of(cls, max_pieces: int, fixed: FixedExport | None) -> "SentenceLimits":
        """The limits of a model that takes `max_pieces`, exported with free dimensions (`fixed` is None) or fixed ones.

        Raises:
            UsageError: the model has too few positions for the fixed shape.
        """
        if fixed is None:
            return cls(max_pieces)
        length, predictions = fixed.shape.length, fixed.shape.max_predictions
        positions = max_pieces + 2
        if not 3 <= length <= positions or not 1 <= predictions <= positions:
            raise UsageError(
                f"--fixed-length {length} --max-predictions {predictions} do not go with a model of "
                f"{positions} positions; give 3 to that many, and 1 to that many"
            )
        return cls(length - 2, f"--fixed-length {length}", predictions)

    def excess(self, sentence: EncodedSentence) -> str | None:
        """Why the sentence does not fit, or None."""
        if sentence.num_pieces > self.max_pieces:
            return f"has {sentence.num_pieces} WordPieces and {self.taker} takes {self.max_pieces}"
        return self.word_excess(sentence)

    def word_excess(self, sentence: EncodedSentence) -> str | None:
        """Why no part of the sentence with its longest word fits, or None."""
        longest = int(max(np.bincount(sentence.word_ids), default=0))
        if self.max_word_pieces is not None and longest > self.max_word_pieces:
            return f"has a word of {longest} WordPieces and --max-predictions takes {self.max_word_pieces}"
        return None


def line_windows(place: str, sentence: EncodedSentence, limits: SentenceLimits, long_windows: bool) -> list[Window]:
    """The windows in which a line's sentence is scored: one, or with `long_windows` several if it is too long.

    `place` names the file and the line.

    Raises:
        UsageError: it is too long otherwise, or one of its words is; the message begins with `place`.
    """
    if reason := limits.word_excess(sentence):
        raise UsageError(f"{place} {reason}; remove that word")
    if not long_windows and (reason := limits.excess(sentence)):
        raise UsageError(f"{place} {reason}; shorten it, or score it in overlapping windows with --long window")
    try:
        return cut_windows(sentence, limits.max_pieces)
    except ValueError as error:
        raise UsageError(f"{place}: {error}; remove that word") from error
