"""The sentences whose answers become golden: the user's, which must all fit the model, or the package's that do."""

from pathlib import Path
from typing import Final

from bench.bert.contract.sentence_limits import SentenceLimits
from bench.bert.text.sentence import EncodedSentence
from bench.bert.text.text_file import read_sentences
from bench.bert.text.tokenizer import Tokenizer
from bench.core.errors import UsageError

DEFAULT_SENTENCES: Final = Path(__file__).parents[1] / "data" / "sentences.tsv"


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
