"""WordPiece tokenization by Google's BERT rules, on the `tokenizers` library; needs no TensorFlow.

The rules are those of google-research/bert `tokenization.py`: clean-up of control characters and white space, spaces
around CJK ideographs, lower-casing with accents stripped (uncased models only), a cut at each punctuation mark, then
greedy longest-match WordPiece. Special tokens are never recognised in text: `[MASK]` in a sentence is three words.

The library's tables differ from Google's code for private-use characters (dropped) and for some that Unicode gained
after its version 8; no other code point of the basic plane is treated otherwise, which a test checks one by one.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer as Pipeline
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from bench.bert.sentence import EncodedSentence, SpecialTokens
from bench.errors import UsageError
from bench.results.atomic import write_atomically

VOCAB_FILE: Final = "vocab.txt"
TOKENIZER_FILE: Final = "tokenizer.json"
TOKENIZER_CONFIG_FILE: Final = "tokenizer_config.json"
CONTINUATION: Final = "##"
SPECIAL_TOKENS: Final = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


@dataclass(frozen=True, slots=True)
class TokenizerOptions:
    """The options that change tokens.

    Args:
        do_lower_case: lower-case the text, for uncased models.
        strip_accents: remove accents; Google's rule ties it to lower-casing, a Hugging Face folder may not.
        split_cjk: put each CJK ideograph on its own.
        max_word_chars: a longer word is [UNK]; Google's value.
    """

    do_lower_case: bool = True
    strip_accents: bool = True
    split_cjk: bool = True
    max_word_chars: int = 200

    @classmethod
    def google(cls, do_lower_case: bool) -> "TokenizerOptions":
        """Google's options for an uncased or a cased model."""
        return cls(do_lower_case=do_lower_case, strip_accents=do_lower_case)


class Tokenizer:
    """Cuts sentences into WordPieces.

    Args:
        vocabulary: the pieces in the order of their ids.
        options: the options that change tokens.

    Raises:
        UsageError: a special token is missing.
    """

    def __init__(self, vocabulary: Sequence[str], options: TokenizerOptions | None = None) -> None:
        self.vocabulary = tuple(vocabulary)
        self.options = options or TokenizerOptions()
        ids = {piece: index for index, piece in enumerate(self.vocabulary)}
        missing = [token for token in SPECIAL_TOKENS.values() if token not in ids]
        if missing:
            raise UsageError(f"the vocabulary lacks {', '.join(missing)}; give the vocabulary of a BERT model")
        self.special = SpecialTokens(**{name: ids[token] for name, token in SPECIAL_TOKENS.items()})
        self._pipeline = Pipeline(
            WordPiece(ids, unk_token=SPECIAL_TOKENS["unk"], max_input_chars_per_word=self.options.max_word_chars)
        )
        self._pipeline.normalizer = BertNormalizer(
            clean_text=True,
            handle_chinese_chars=self.options.split_cjk,
            strip_accents=self.options.strip_accents,
            lowercase=self.options.do_lower_case,
        )
        self._pipeline.pre_tokenizer = BertPreTokenizer()

    @classmethod
    def from_vocab(cls, path: Path, options: TokenizerOptions | None = None) -> "Tokenizer":
        """Reads a `vocab.txt`: a piece a line, the line's index is its id.

        Args:
            path: the file.
            options: None takes Google's, cased when a piece of the vocabulary has a capital letter.

        Raises:
            UsageError: the file cannot be read, is not UTF-8 or lacks a special token.
        """
        # Only a line feed ends a piece: some vocabularies hold other characters that `splitlines` would cut at.
        lines = _read_text(path).removesuffix("\n").split("\n")
        vocabulary = [line.strip() for line in lines]
        try:
            return cls(vocabulary, options or TokenizerOptions.google(do_lower_case=not _has_capitals(vocabulary)))
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error

    @classmethod
    def from_tokenizer_json(cls, path: Path) -> "Tokenizer":
        """Reads a Hugging Face `tokenizer.json` of a BERT model.

        Raises:
            UsageError: the file cannot be read, or describes another kind of tokenizer.
        """
        try:
            vocabulary, options = _parse_tokenizer_json(json.loads(_read_text(path)))
            return cls(vocabulary, options)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} is not a BERT tokenizer ({error}); give a folder with {VOCAB_FILE}") from error
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error

    @classmethod
    def from_folder(cls, folder: Path, do_lower_case: bool | None = None) -> "Tokenizer":
        """The tokenizer of a checkpoint folder: its `tokenizer.json` if there is one, else its `vocab.txt`.

        Args:
            folder: a Google or a Hugging Face folder.
            do_lower_case: overrides what the folder says or, with a bare `vocab.txt`, what its pieces suggest.

        Raises:
            UsageError: neither file is there, or the one that is cannot be used.
        """
        if (folder / TOKENIZER_FILE).is_file():
            found = cls.from_tokenizer_json(folder / TOKENIZER_FILE)
        elif (folder / VOCAB_FILE).is_file():
            config = folder / TOKENIZER_CONFIG_FILE
            found = cls.from_vocab(folder / VOCAB_FILE, _parse_tokenizer_config(config) if config.is_file() else None)
        else:
            raise UsageError(f"{folder} has neither {VOCAB_FILE} nor {TOKENIZER_FILE}; give a BERT checkpoint folder")
        if do_lower_case is None or do_lower_case == found.options.do_lower_case:
            return found
        return cls(found.vocabulary, replace(found.options, do_lower_case=do_lower_case, strip_accents=do_lower_case))

    @classmethod
    def from_description(cls, path: Path, description: dict[str, Any]) -> "Tokenizer":
        """The tokenizer that `describe` told of, from a copy of its `vocab.txt`.

        Raises:
            UsageError: the vocabulary is another one, or the description is not one.
        """
        try:
            options = TokenizerOptions(**{name: description[name] for name in TokenizerOptions.__slots__})
        except KeyError as error:
            raise UsageError(f"the tokenizer's description lacks {error}; export the model again") from error
        tokenizer = cls.from_vocab(path, options)
        if tokenizer.vocab_digest != description.get("vocab_digest"):
            raise UsageError(f"{path} is not the vocabulary that the model was exported with; export the model again")
        return tokenizer

    def encode(self, text: str) -> EncodedSentence:
        """Cuts a sentence into pieces; nothing is truncated. Text without any visible character gives no pieces."""
        encoding = self._pipeline.encode(self._lower_sigma(text), add_special_tokens=False)
        word, word_ids = -1, []
        for piece in encoding.tokens:
            word += not piece.startswith(CONTINUATION)
            word_ids.append(word)
        return EncodedSentence(text, tuple(encoding.tokens), tuple(encoding.ids), tuple(word_ids))

    def _lower_sigma(self, text: str) -> str:
        """Python (and so Google's code) lower-cases a final Σ to ς; the library, letter by letter, to σ."""
        return text.lower() if self.options.do_lower_case and "Σ" in text else text

    def write_vocab(self, path: Path) -> None:
        """Writes the vocabulary as a `vocab.txt`."""
        write_atomically(path, "".join(piece + "\n" for piece in self.vocabulary).encode())

    @cached_property
    def vocab_digest(self) -> str:
        """`sha256:` and the hex digest over the pieces in the order of their ids."""
        return "sha256:" + hashlib.sha256("\n".join(self.vocabulary).encode()).hexdigest()

    @cached_property
    def digest(self) -> str:
        """`sha256:` and the hex digest over all that `describe` tells: equal digests cut every text alike."""
        return "sha256:" + hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """What a golden file keeps of the tokenizer; `from_description` reads it."""
        return {"vocab_digest": self.vocab_digest, "vocab_size": len(self.vocabulary), **asdict(self.options)}


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give a BERT checkpoint folder") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UsageError(f"{path} line {line} is not UTF-8; give the vocabulary of a BERT model") from error


def _has_capitals(vocabulary: Sequence[str]) -> bool:
    """Whether a piece has a letter that lower-casing would change, so that no uncased model can have it."""
    return any(piece != piece.lower() for piece in vocabulary if not (piece.startswith("[") and piece.endswith("]")))


def _parse_tokenizer_json(raw: dict[str, Any]) -> tuple[list[str], TokenizerOptions]:
    model, normalizer = raw["model"], raw["normalizer"]
    found = (model.get("type", "WordPiece"), normalizer["type"], raw["pre_tokenizer"]["type"])
    if found != ("WordPiece", "BertNormalizer", "BertPreTokenizer"):
        raise ValueError(f"it is made of {', '.join(found)}")
    if model["continuing_subword_prefix"] != CONTINUATION or not normalizer["clean_text"]:
        raise ValueError("its continuation prefix or its clean-up is not BERT's")
    by_id = {index: piece for piece, index in model["vocab"].items()}
    if sorted(by_id) != list(range(len(by_id))) or len(by_id) != len(model["vocab"]):
        raise ValueError("the ids of its vocabulary have gaps or repeat")
    added = [
        token["content"]
        for token in raw.get("added_tokens") or []
        if not token["special"] and token["content"] not in model["vocab"]
    ]
    if added:
        raise ValueError(f"it adds words outside WordPiece: {', '.join(added[:3])}")
    strip = normalizer["strip_accents"]
    options = TokenizerOptions(
        do_lower_case=normalizer["lowercase"],
        strip_accents=normalizer["lowercase"] if strip is None else strip,
        split_cjk=normalizer["handle_chinese_chars"],
        max_word_chars=model["max_input_chars_per_word"],
    )
    return [by_id[index] for index in range(len(by_id))], options


def _parse_tokenizer_config(path: Path) -> TokenizerOptions | None:
    """Options of a Hugging Face `tokenizer_config.json`; None when it says nothing of case."""
    try:
        raw = json.loads(_read_text(path))
        if "do_lower_case" not in raw:
            return None
        strip = raw.get("strip_accents")
        return TokenizerOptions(
            do_lower_case=bool(raw["do_lower_case"]),
            strip_accents=bool(raw["do_lower_case"] if strip is None else strip),
            split_cjk=bool(raw.get("tokenize_chinese_chars", True)),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); remove it or repair it") from error
