"""`tokenizer_config.json` and the older `special_tokens_map.json` and `added_tokens.json`, read as `transformers` does.

What is not a parameter of its BertTokenizer has no effect there. Such a key is passed over, unless its name is about
what a tokenizer does: it would have an effect elsewhere, and is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.bert.text.token_entries import (
    ADDED_TOKENS_FILE,
    ADDITIONAL,
    DEFAULT_TOKENS,
    NAMED_TOKENS,
    SPECIAL_TOKENS_MAP_FILE,
    Entry,
    check_agree,
    check_named_agree,
    parse_additional,
    parse_decoder,
    parse_named,
    read_added_tokens,
)
from bench.bert.text.tokenizer_options import CONTINUATION
from bench.core.errors import UsageError
from bench.core.strict_json import Section, brief, read_object

TOKENIZER_CONFIG_FILE: Final = "tokenizer_config.json"
DECODER: Final = "added_tokens_decoder"
# The keys of Google's rules; a file with only these does not make a folder Hugging Face's.
GOOGLE_KEYS: Final = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "max_input_chars_per_word")

_READ: Final = frozenset(
    (*GOOGLE_KEYS, *NAMED_TOKENS, *ADDITIONAL, DECODER, "tokenizer_class", "clean_text", "split_special_tokens")
)
# Keys by which transformers' slow and fast tokenizers differ, or that move files: only values without effect pass.
_FIXED: Final[Mapping[str, tuple[object, ...]]] = {
    "do_basic_tokenize": (True,),
    "never_split": (None, []),
    "wordpieces_prefix": (CONTINUATION,),
    "init_inputs": ([],),
    "from_slow": (False, None),
    "gguf_file": (None,),
    "add_prefix_space": (False, None),
    "add_bos_token": (False, None),
    "add_eos_token": (False, None),
    "fast_tokenizer_files": ([], ["tokenizer.json"], None),
}
_SPECIAL: Final = tuple(DEFAULT_TOKENS.values())
# Names that hold one of the words below and change no token of a text.
_NO_EFFECT: Final = frozenset(
    (
        "add_special_tokens",
        "clean_up_tokenization_spaces",
        "full_tokenizer_file",
        "name_or_path",
        "num_special_tokens",
        "pad_token_type_id",
        "spaces_between_special_tokens",
        "special_tokens_map_file",
        "token_type_ids",
        "tokenizer_file",
        "tokenizer_type",
        "tokenizer_version",
        "use_auth_token",
        "use_fast_tokenizer",
        "vocab_file",
        "vocab_size",
    )
)
_NO_EFFECT_SHAPE: Final = re.compile(r"\w+_tokens?_ids?|return_\w+")
_SUSPECT: Final = re.compile(
    "accent|case|char|chinese|dropout|jumanpp|lower|mecab|merges|nfc|nfd|nfk|normali[sz]|piece|prefix|punc|sp_model"
    "|space|split|strip|sudachi|token|unicode|vocab|word"
)


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """The folder's tokenizer settings outside `tokenizer.json` and `vocab.txt`; None where it has none.

    Args:
        where: the path of `tokenizer_config.json`, for messages.
        tokenizer_class: the class that `transformers` would make.
        do_lower_case, strip_accents, split_cjk, clean_text, max_word_chars, split_special_tokens: see
            `TokenizerOptions`.
        named: special tokens by their key, as `mask_token`.
        additional: further special tokens.
        added: tokens with ids and flags, in the order of the ids.
        decoder: whether `added` is `added_tokens_decoder`, before which the older files do not count.
    """

    where: str
    tokenizer_class: str | None = None
    do_lower_case: bool | None = None
    strip_accents: bool | None = None
    split_cjk: bool | None = None
    clean_text: bool | None = None
    max_word_chars: int | None = None
    split_special_tokens: bool | None = None
    named: Mapping[str, Entry] = field(default_factory=dict)
    additional: tuple[Entry, ...] = ()
    added: tuple[Entry, ...] = ()
    decoder: bool = False


def read_tokenizer_config(folder: Path) -> TokenizerConfig:
    """Reads the three files of a folder, each of which may be absent.

    Raises:
        UsageError: a file cannot be read, a value has another type or is not supported, or two files disagree.
    """
    path = folder / TOKENIZER_CONFIG_FILE
    section = Section(read_object(path) if path.is_file() else {}, str(path))
    _check_keys(section, folder)
    named, additional = parse_named(section), parse_additional(section)
    decoder = DECODER in section.raw
    added = parse_decoder(section.section(DECODER)) if decoder else ()
    if (folder / SPECIAL_TOKENS_MAP_FILE).is_file():
        mapped, further = _read_special_tokens_map(folder / SPECIAL_TOKENS_MAP_FILE)
        check_named_agree(named, mapped)
        if decoder:
            _check_map(mapped, further, named, (*additional, *added))
        else:
            named, additional = _merge(named, mapped), _join(additional, further)
    if (folder / ADDED_TOKENS_FILE).is_file():
        special = [entry.content for entry in (*named.values(), *additional)]
        older = read_added_tokens(folder / ADDED_TOKENS_FILE, special)
        added = _check_older(added, older) if decoder else older
    return TokenizerConfig(
        where=str(path),
        tokenizer_class=_text(section, "tokenizer_class"),
        do_lower_case=section.optional_flag("do_lower_case"),
        strip_accents=section.optional_flag("strip_accents", null=True),
        split_cjk=section.optional_flag("tokenize_chinese_chars"),
        clean_text=section.optional_flag("clean_text"),
        max_word_chars=section.count("max_input_chars_per_word") if GOOGLE_KEYS[3] in section.raw else None,
        split_special_tokens=section.optional_flag("split_special_tokens"),
        named=named,
        additional=additional,
        added=added,
        decoder=decoder,
    )


def _check_keys(section: Section, folder: Path) -> None:
    for key, value in section.raw.items():
        if key in _FIXED and value not in _FIXED[key] and not _names_special_tokens(key, value):
            raise section.refuse(key, value, brief(_FIXED[key][0]))
        if key in ("vocab_file", "tokenizer_file") and isinstance(value, str):
            _check_file_name(section, key, folder / Path(value).name)
        known = key in _READ or key in _FIXED or key in _NO_EFFECT or _NO_EFFECT_SHAPE.fullmatch(key)
        if not known and value is not None and _SUSPECT.search(key.lower()):
            raise UsageError(f"{section.where}: unknown key {key!r} may change the tokens; remove it if it does not")


def _names_special_tokens(key: str, value: object) -> bool:
    """Whether it is a `never_split` of special tokens, which are found before a text is split."""
    return key == "never_split" and isinstance(value, list) and all(token in _SPECIAL for token in value)


def _check_file_name(section: Section, key: str, path: Path) -> None:
    """A path of the machine that saved the tokenizer means nothing here; a file of this folder does."""
    usual = {"vocab_file": "vocab.txt", "tokenizer_file": "tokenizer.json"}[key]
    if path.is_file() and path.name != usual:
        raise section.refuse(key, section.raw[key], usual)


def _text(section: Section, key: str) -> str | None:
    value = section.raw.get(key)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{section.where}: {key} is {brief(value)}, not text; correct it")
    return value


def _read_special_tokens_map(path: Path) -> tuple[dict[str, Entry], tuple[Entry, ...]]:
    section = Section(read_object(path), str(path))
    section.only({*NAMED_TOKENS, *ADDITIONAL})
    return parse_named(section, special=True), parse_additional(section, special=True)


def _merge(named: Mapping[str, Entry], mapped: Mapping[str, Entry]) -> dict[str, Entry]:
    """The named tokens, with the flags of the map where it gives some."""
    return {**named, **{key: entry for key, entry in mapped.items() if entry.flags or key not in named}}


def _join(additional: tuple[Entry, ...], further: tuple[Entry, ...]) -> tuple[Entry, ...]:
    known = {entry.content: entry for entry in additional}
    for entry in further:
        check_agree(known.get(entry.content, entry), entry)
    return additional + tuple(entry for entry in further if entry.content not in known)


def _check_map(
    mapped: Mapping[str, Entry], further: tuple[Entry, ...], named: Mapping[str, Entry], known: tuple[Entry, ...]
) -> None:
    """Refuses what only the map has: transformers does not read it beside `added_tokens_decoder`."""
    contents = {entry.content for entry in known}
    unread = [entry for key, entry in mapped.items() if key not in named and entry.content != DEFAULT_TOKENS.get(key)]
    for entry in (*unread, *(entry for entry in further if entry.content not in contents)):
        raise UsageError(
            f"{entry.where} has {entry.content!r}, which transformers does not read beside {DECODER} in "
            f"{TOKENIZER_CONFIG_FILE}; write it there or remove it here"
        )


def _check_older(added: tuple[Entry, ...], older: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """`added`, which must hold all that the older file has, under the same ids."""
    by_content = {entry.content: entry for entry in added}
    for entry in older:
        if entry.content not in by_content:
            raise UsageError(f"{entry.where} has {entry.content!r} and {DECODER} does not; correct one of them")
        newer = by_content[entry.content]
        check_agree(Entry(newer.content, newer.where, id=newer.id), entry)
    return added
