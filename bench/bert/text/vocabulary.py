"""Makes a WordPiece vocabulary out of text, the same one every time."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tokenizers import Tokenizer as Pipeline
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from bench.bert.text.tokenizer import CONTINUATION, SPECIAL_TOKENS
from bench.core.errors import UsageError

# At most a quarter of the pieces are single characters, each of which stands in it as a start and as a continuation.
_CHARACTER_DIVISOR: Final = 8


def train_vocabulary(read: Callable[[], Iterable[str]], size: int, do_lower_case: bool) -> list[str]:
    """The pieces of a vocabulary: special tokens, characters, then what merging frequent pairs gives.

    The library gives characters their ids in the order of a hash table that differs from run to run, and breaks ties by
    id. A fixed order of characters makes the result deterministic.

    Args:
        read: gives the text, a sentence at a time; called twice.
        size: pieces at most; a small text may give fewer.
        do_lower_case: for an uncased model.

    Raises:
        UsageError: `size` leaves no room beside the special tokens and the letters.
    """
    split = word_splitter(do_lower_case)
    counts = Counter(char for text in read() for word in split(text) for char in word)
    room = (size - len(SPECIAL_TOKENS)) // _CHARACTER_DIVISOR
    if room < 26:
        raise UsageError(f"a vocabulary of {size} pieces is too small for the alphabet; give 213 or more")
    characters = sorted(sorted(counts, key=lambda char: (-counts[char], char))[:room])
    fixed = [*SPECIAL_TOKENS.values(), *characters, *(CONTINUATION + char for char in characters)]
    trainer = WordPieceTrainer(
        vocab_size=size,
        special_tokens=fixed,
        initial_alphabet=characters,
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    pipeline = Pipeline(WordPiece(unk_token=SPECIAL_TOKENS["unk"]))
    pipeline.pre_tokenizer = BertPreTokenizer()
    pipeline.train_from_iterator(_known_words(read(), split, frozenset(characters)), trainer)
    ids = pipeline.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def word_splitter(do_lower_case: bool) -> Callable[[str], list[str]]:
    """Splits text into words and punctuation marks as the tokenizer does before it splits words into pieces."""
    normalizer, splitter = BertNormalizer(lowercase=do_lower_case), BertPreTokenizer()

    def split(text: str) -> list[str]:
        return [word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]

    return split


def _known_words(texts: Iterable[str], split: Callable[[str], list[str]], characters: frozenset[str]) -> Iterator[str]:
    for text in texts:
        yield " ".join(word for word in split(text) if characters.issuperset(word))
