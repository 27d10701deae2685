"""The sentences whose answers become golden: the user's, which must all fit the model, or the package's that do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.bert.config import BertConfig
from bench.bert.contract.golden import FixedExport
from bench.bert.text.sentence import EncodedSentence
from bench.bert.text.text_file import read_sentences
from bench.bert.text.tokenizer import Tokenizer
from bench.core.errors import UsageError

DEFAULT_SENTENCES: Final = Path(__file__).parents[1] / "data" / "sentences.tsv"


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
    def of(cls, config: BertConfig, fixed: FixedExport | None) -> "SentenceLimits":
        """The limits of a model exported with free dimensions (`fixed` is None) or with fixed ones.

        Raises:
            UsageError: the model has too few positions for the fixed shape.
        """
        if fixed is None:
            return cls(config.max_pieces)
        length, predictions = fixed.shape.length, fixed.shape.max_predictions
        if not 3 <= length <= config.max_position_embeddings or predictions < 1:
            raise UsageError(
                f"--fixed-length {length} --max-predictions {predictions} do not go with a model of "
                f"{config.max_position_embeddings} positions; give 3 to that many, and 1 or more"
            )
        return cls(length - 2, f"--fixed-length {length}", predictions)

    def excess(self, sentence: EncodedSentence) -> str | None:
        """Why the sentence does not fit, or None."""
        if sentence.num_pieces > self.max_pieces:
            return f"has {sentence.num_pieces} WordPieces and {self.taker} takes {self.max_pieces}"
        longest = int(max(np.bincount(sentence.word_ids), default=0))
        if self.max_word_pieces is not None and longest > self.max_word_pieces:
            return f"has a word of {longest} WordPieces and --max-predictions takes {self.max_word_pieces}"
        return None


def read_golden_sentences(path: Path, tokenizer: Tokenizer, limits: SentenceLimits) -> list[EncodedSentence]:
    """The sentences of a file, tokenized.

    Raises:
        UsageError: the file cannot be read, or a sentence has no word or does not fit; the message names the line.
    """
    sentences = []
    for line in read_sentences(path):
        sentence = tokenizer.encode(line.text)
        if not sentence.num_pieces:
            raise UsageError(f"{path} line {line.number} has no word; remove it")
        if reason := limits.excess(sentence):
            raise UsageError(f"{path} line {line.number} {reason}; shorten it")
        sentences.append(sentence)
    return sentences


def default_golden_sentences(tokenizer: Tokenizer, limits: SentenceLimits) -> tuple[list[EncodedSentence], int]:
    """The package's sentences that fit, and how many there are in all.

    Raises:
        UsageError: none fits.
    """
    encoded = [tokenizer.encode(line.text) for line in read_sentences(DEFAULT_SENTENCES)]
    fitting = [sentence for sentence in encoded if sentence.num_pieces and limits.excess(sentence) is None]
    if not fitting:
        shortest = min(encoded, key=lambda sentence: sentence.num_pieces)
        raise UsageError(
            f"none of the package's {len(encoded)} sentences fits: the shortest {limits.excess(shortest)}; "
            "give shorter ones with --sentences"
        )
    return fitting, len(encoded)
