"""WordPiece tokenization on the `tokenizers` library, by Google's rules or Hugging Face's; needs no TensorFlow.

Google's rules are those of google-research/bert `tokenization.py`: clean-up of control characters and white space,
spaces around CJK ideographs, lower-casing with accents stripped (uncased models only), splits at punctuation marks,
then greedy longest-match WordPiece. Special tokens are not recognised in text: `[MASK]` in a sentence is three words.

Hugging Face's rules are those of `transformers`' BertTokenizerFast: the same, after a search for the special
tokens and for the tokens that were added to the vocabulary.

The library's tables differ from Google's code for private-use characters (dropped) and for some that Unicode gained
after its version 8; no other code point of the basic plane is treated otherwise, which a test checks one by one.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec
import tokenizers
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing

from bench.bert.text.sentence import EncodedSentence, SpecialTokens
from bench.bert.text.tokenizer_config_json import TOKENIZER_CONFIG_FILE
from bench.bert.text.tokenizer_folder import read_folder
from bench.bert.text.tokenizer_json import TOKENIZER_FILE
from bench.bert.text.tokenizer_options import (
    CONTINUATION,
    SPECIAL_TOKENS,
    AddedToken,
    SpecialTokenTexts,
    TokenizerDescription,
    TokenizerOptions,
    TokenizerParts,
    extended,
)
from bench.bert.text.vocab_txt import (
    VOCAB_FILE,
    read_google_vocabulary,
    read_written_vocabulary,
    write_vocabulary,
)
from bench.core.atomic_files import write_atomically
from bench.core.errors import UsageError
from bench.core.message_text import shown
from bench.core.output import without_controls
from bench.core.versioned_json import plain_words

__all__ = [
    "CONTINUATION",
    "SPECIAL_TOKENS",
    "TOKENIZER_CONFIG_FILE",
    "TOKENIZER_FILE",
    "VOCAB_FILE",
    "AddedToken",
    "Tokenizer",
    "TokenizerOptions",
]

_CLEAN: Final = BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)


class Tokenizer:
    """Splits sentences into WordPieces.

    Args:
        vocabulary: the pieces in the order of their ids.
        options: the options that change tokens.
        special_tokens: the special tokens by role, `pad`, `unk`, `cls`, `sep` and `mask`.
        added: tokens that are matched before a text is split; see `TokenizerParts`.

    Raises:
        UsageError: a special token is missing, it or an added token looks like a continuation, or an added token gets
            the id of a piece.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        options: TokenizerOptions | None = None,
        special_tokens: Mapping[str, str] = SPECIAL_TOKENS,
        added: Sequence[AddedToken] = (),
    ) -> None:
        self.parts = TokenizerParts(tuple(vocabulary), options or TokenizerOptions(), special_tokens, tuple(added))
        self.vocabulary = extended(self.parts.vocabulary, added)
        for content in (*special_tokens.values(), *(token.content for token in added)):
            if content.startswith(CONTINUATION):
                # It would belong to the word before it.
                raise UsageError(f"the token {shown(content)!r} looks like a continuation; rename it")
        ids = {piece: index for index, piece in enumerate(self.vocabulary)}
        missing = [token for token in special_tokens.values() if token not in ids]
        # WordPiece itself gives the unknown token, so it has to be one of its pieces.
        missing += [token for token in (special_tokens["unk"],) if token in ids and token not in self.parts.vocabulary]
        if missing:
            raise UsageError(
                f"the vocabulary lacks {', '.join(map(shown, missing))}; give the vocabulary of a BERT model"
            )
        self.special = SpecialTokens(**{role: ids[token] for role, token in special_tokens.items()})
        self._pipeline = _pipeline(self.parts)
        for token in added:
            # The library aborts on some texts where such a token matches nothing at all.
            if token.normalized and not self._pipeline.normalizer.normalize_str(token.content):
                raise UsageError(
                    f"nothing is left of the added token {shown(token.content)!r} where texts are normalized; remove it"
                )
            if self._pipeline.token_to_id(token.content) != ids[token.content]:
                raise UsageError(
                    f"the added token {token.content!r} would get the id of a piece, because a piece appears in the "
                    "vocabulary twice; remove one of the two"
                )

    @property
    def options(self) -> TokenizerOptions:
        """The options that change tokens."""
        return self.parts.options

    @classmethod
    def from_vocab(cls, path: Path, options: TokenizerOptions) -> "Tokenizer":
        """Reads a `vocab.txt` by Google's rules: a piece a line, the line's index is its id.

        Args:
            path: the file.
            options: how to split; a bare vocabulary does not say it.

        Raises:
            UsageError: the file cannot be read, is not UTF-8 or lacks a special token.
        """
        return cls._named(path, TokenizerParts(read_google_vocabulary(path), options))

    @classmethod
    def from_folder(cls, folder: Path, do_lower_case: bool | None = None, google: bool | None = None) -> "Tokenizer":
        """The tokenizer of a checkpoint folder, by Google's rules or Hugging Face's.

        Args:
            folder: a Google or a Hugging Face folder.
            do_lower_case: overrides the folder's setting or, with a bare `vocab.txt`, what its pieces show.
            google: whether the weights are a TensorFlow checkpoint; None looks at the folder.

        Raises:
            UsageError: see `bench.bert.text.tokenizer_folder.read_folder`.
        """
        return cls._named(folder, read_folder(folder, do_lower_case, google))

    @classmethod
    def from_description(cls, path: Path, description: dict[str, Any]) -> "Tokenizer":
        """The tokenizer of a description that `describe` made, from a copy of its `vocab.txt`.

        Raises:
            UsageError: the vocabulary is another one, or the description is not one.
        """
        try:
            found = msgspec.convert(description, TokenizerDescription)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"the tokenizer's description is not valid ({plain_words(error)}); export the model again"
            ) from error
        options = TokenizerOptions(**{field.name: getattr(found, field.name) for field in fields(TokenizerOptions)})
        special = (
            SPECIAL_TOKENS if found.special_tokens is msgspec.UNSET else msgspec.structs.asdict(found.special_tokens)
        )
        parts = TokenizerParts(read_written_vocabulary(path), options, special, tuple(found.added_tokens))
        if found.vocab_digest != _vocab_digest(extended(parts.vocabulary, parts.added)):
            raise UsageError(f"{path} is not the vocabulary that the model was exported with; export the model again")
        return cls._named(path, parts)

    @classmethod
    def _named(cls, where: Path, parts: TokenizerParts) -> "Tokenizer":
        """The tokenizer; a message says where its files are."""
        try:
            return cls(parts.vocabulary, parts.options, parts.special_tokens, parts.added)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error

    def encode(self, text: str) -> EncodedSentence:
        """Splits a sentence into pieces, without truncation. Text without any visible character gives no pieces.

        Raises:
            UsageError: the text has half a surrogate pair, which no file of UTF-8 can hold.
        """
        lowered = self._lower_sigma(text)
        try:
            encoding = self._pipeline.encode(lowered, add_special_tokens=False)
        except TypeError:
            _check_surrogates(text)
            raise
        # The library's own list shows an added token as it was typed.
        pieces = tuple(self.vocabulary[index] for index in encoding.ids)
        word, word_ids = -1, []
        for piece in pieces:
            word += not piece.startswith(CONTINUATION)
            word_ids.append(word)
        return EncodedSentence(
            text, pieces, tuple(encoding.ids), tuple(word_ids), self._unknown(text, lowered, encoding)
        )

    def _unknown(self, text: str, lowered: str, encoding: tokenizers.Encoding) -> dict[int, str]:
        """What the text has where a piece stands for a word that the vocabulary lacks; without control characters."""
        found = [index for index, token in enumerate(encoding.ids) if token == self.special.unk]
        spans, source = encoding.offsets, lowered
        if found and lowered != text:
            # The words are the same, at other places.
            typed = self._pipeline.encode(text, add_special_tokens=False)
            places: dict[int | None, tuple[int, int]] = {
                word: span for word in typed.word_ids if word is not None and (span := typed.word_to_chars(word))
            }
            if places.keys() == set(encoding.word_ids):
                spans, source = [places[word] for word in encoding.word_ids], text
        words = {index: without_controls(source[slice(*spans[index])]).strip() for index in found}
        return {index: word for index, word in words.items() if word}

    def _lower_sigma(self, text: str) -> str:
        """Python (and so Google's code) lower-cases a final Σ to ς; the library, letter by letter, to σ.

        Which one is final is seen after the clean-up, as in Google's code.
        """
        wanted = self.options.do_lower_case and self.options.final_sigma and "Σ" in text
        return _CLEAN.normalize_str(text).lower() if wanted else text

    def write_vocab(self, path: Path) -> None:
        """Writes the vocabulary, without the tokens added to it, as a `vocab.txt`."""
        write_vocabulary(path, self.parts.vocabulary)

    def write_folder(self, folder: Path) -> None:
        """Writes the files from which `from_folder` makes this tokenizer again.

        They are `vocab.txt` and `tokenizer_config.json`; by Hugging Face's rules `tokenizer.json` too, which
        `transformers` and the `tokenizers` library read alike.
        """
        self.write_vocab(folder / VOCAB_FILE)
        config: dict[str, Any] = {
            "do_lower_case": self.options.do_lower_case,
            "strip_accents": self.options.strip_accents,
            "tokenize_chinese_chars": self.options.split_cjk,
            "max_input_chars_per_word": self.options.max_word_chars,
        }
        if not self.parts.google:
            found = {token.content for token in self.parts.added}
            roles = self.parts.special_tokens.items()
            # The class that takes everything else from tokenizer.json, the word limit in transformers 5 too.
            config |= {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "split_special_tokens": self.options.split_special_tokens,
                **{f"{role}_token": content for role, content in roles if content in found},
            }
            write_atomically(folder / TOKENIZER_FILE, self._pipeline.to_str(pretty=True).encode())
        data = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        write_atomically(folder / TOKENIZER_CONFIG_FILE, data.encode())

    @cached_property
    def vocab_digest(self) -> str:
        """`sha256:` and the hex digest over the pieces in the order of their ids."""
        return _vocab_digest(self.vocabulary)

    @cached_property
    def digest(self) -> str:
        """`sha256:` and the hex digest of the description: tokenizers with equal digests split every text alike."""
        return "sha256:" + hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """The `TokenizerDescription` in a golden file; `from_description` reads it."""
        special = dict(self.parts.special_tokens)
        made = TokenizerDescription(
            self.vocab_digest,
            len(self.vocabulary),
            **asdict(self.options),
            special_tokens=msgspec.UNSET if special == SPECIAL_TOKENS else SpecialTokenTexts(**special),
            added_tokens=list(self.parts.added),
        )
        described: dict[str, Any] = msgspec.to_builtins(made)
        return described


def _pipeline(parts: TokenizerParts) -> tokenizers.Tokenizer:
    options, special = parts.options, parts.special_tokens
    ids = {piece: index for index, piece in enumerate(parts.vocabulary)}
    made = tokenizers.Tokenizer(
        WordPiece(ids, unk_token=special["unk"], max_input_chars_per_word=options.max_word_chars)
    )
    made.normalizer = BertNormalizer(
        clean_text=options.clean_text,
        handle_chinese_chars=options.split_cjk,
        strip_accents=options.strip_accents,
        lowercase=options.do_lower_case,
    )
    made.pre_tokenizer = BertPreTokenizer()
    made.add_tokens([tokenizers.AddedToken(**msgspec.structs.asdict(token)) for token in parts.added])
    made.encode_special_tokens = options.split_special_tokens
    if not parts.google:
        pieces = extended(parts.vocabulary, parts.added)
        cls, sep = ((special[role], pieces.index(special[role])) for role in ("cls", "sep"))
        made.post_processor = BertProcessing(sep, cls)
    return made


def _check_surrogates(text: str) -> None:
    half = next((index for index, char in enumerate(text) if "\ud800" <= char <= "\udfff"), None)
    if half is not None:
        raise UsageError(f"{text[:40]!r} has half a surrogate pair at character {half + 1}; correct it") from None


def _vocab_digest(pieces: Sequence[str]) -> str:
    return "sha256:" + hashlib.sha256("\n".join(pieces).encode()).hexdigest()
