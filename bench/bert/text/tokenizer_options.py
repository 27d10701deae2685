"""What a WordPiece tokenizer is made of: its options, its special tokens and the tokens added to its vocabulary."""

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

CONTINUATION: Final = "##"
SPECIAL_TOKENS: Final[Mapping[str, str]] = MappingProxyType(
    {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
)
# google-research/bert, tokenization.py, WordpieceTokenizer.
GOOGLE_MAX_WORD_CHARS: Final = 200
# transformers' slow BertTokenizer and the `tokenizers` library have the same default.
HUGGING_FACE_MAX_WORD_CHARS: Final = 100


@dataclass(frozen=True, slots=True)
class TokenizerOptions:
    """The options that change tokens; the defaults are those of Google's code for an uncased model.

    Args:
        do_lower_case: lower-case the text, for uncased models.
        strip_accents: remove accents; Google's rule ties it to lower-casing, a Hugging Face folder may not.
        split_cjk: put each CJK ideograph on its own.
        max_word_chars: longer words become the unknown token.
        clean_text: drop control characters and make every white space a blank.
        split_special_tokens: split special tokens in a text like other text.
        final_sigma: lower-case a Σ that ends a word to ς, as Python does; `transformers` lower-cases it to σ.
    """

    do_lower_case: bool = True
    strip_accents: bool = True
    split_cjk: bool = True
    max_word_chars: int = GOOGLE_MAX_WORD_CHARS
    clean_text: bool = True
    split_special_tokens: bool = False
    final_sigma: bool = True

    @classmethod
    def google(cls, do_lower_case: bool) -> "TokenizerOptions":
        """Google's options for an uncased or a cased model."""
        return cls(do_lower_case=do_lower_case, strip_accents=do_lower_case)


class AddedToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token that is matched before a text is split into words, with the flags of `tokenizers`.

    Args:
        content: its text.
        single_word: found only where it is a word of its own.
        lstrip: takes the white space before it.
        rstrip: takes the white space after it.
        normalized: matched in the normalized (lower-cased, cleaned) text instead of the raw text.
        special: a control token, which `split_special_tokens` is about.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = True


@dataclass(frozen=True, slots=True)
class TokenizerParts:
    """Everything that determines how a text is split.

    Args:
        vocabulary: the WordPieces in the order of their ids.
        options: the options that change tokens.
        special_tokens: the special tokens by role, `pad`, `unk`, `cls`, `sep` and `mask`.
        added: tokens that are matched before a text is split. Those that are not WordPieces take the ids after the
            vocabulary, in this order. Google's rules have none: `[MASK]` in a sentence is three words.
    """

    vocabulary: tuple[str, ...]
    options: TokenizerOptions = TokenizerOptions()
    special_tokens: Mapping[str, str] = field(default_factory=lambda: SPECIAL_TOKENS)
    added: tuple[AddedToken, ...] = ()

    @property
    def google(self) -> bool:
        """Whether Google's code, with its four options, splits alike."""
        known = self.options
        plain = TokenizerOptions(known.do_lower_case, known.strip_accents, known.split_cjk, known.max_word_chars)
        return not self.added and dict(self.special_tokens) == dict(SPECIAL_TOKENS) and known == plain


class TokenizerDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A tokenizer without its vocabulary, as golden files store it; see `TokenizerOptions` and `TokenizerParts`.

    Google's options are left out where the file always did so, so that new options do not change digests.
    """

    vocab_digest: str
    vocab_size: int
    do_lower_case: bool
    strip_accents: bool
    split_cjk: bool
    max_word_chars: Annotated[int, msgspec.Meta(ge=1)]
    clean_text: bool = True
    split_special_tokens: bool = False
    final_sigma: bool = True
    special_tokens: "SpecialTokenTexts | msgspec.UnsetType" = msgspec.UNSET
    added_tokens: list[AddedToken] = []


class SpecialTokenTexts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The special tokens by role."""

    pad: str
    unk: str
    cls: str
    sep: str
    mask: str


def has_capitals(piece: str) -> bool:
    """Whether the piece has a letter that lower-casing would change, so that no uncased model can produce it.

    A piece of letters and punctuation marks, such as `[MASK]` or the `<S>` of Google's Chinese vocabulary, comes from
    no text and says nothing about the case.
    """
    letters = piece.removeprefix(CONTINUATION)
    return letters != letters.lower() and set(letters).isdisjoint(string.punctuation)


def extended(vocabulary: Iterable[str], added: Iterable[AddedToken]) -> tuple[str, ...]:
    """The vocabulary and the added tokens that are not in it: every piece in the order of its id."""
    pieces = dict.fromkeys(vocabulary)
    base = tuple(vocabulary)
    return base + tuple(dict.fromkeys(token.content for token in added if token.content not in pieces))
