"""The tokens that are matched before a text is split, merged from a folder's files as `transformers` does."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from bench.bert.text.token_entries import DEFAULT_TOKENS, NAMED_TOKENS, Entry, check_agree
from bench.bert.text.tokenizer_config_json import TokenizerConfig
from bench.bert.text.tokenizer_json import TOKENIZER_FILE, TokenizerJson
from bench.bert.text.tokenizer_options import SPECIAL_TOKENS, AddedToken, extended
from bench.core.errors import UsageError


def special_by_role(config: TokenizerConfig, found: TokenizerJson | None, generic: bool) -> dict[str, str]:
    """The folder's [PAD], [UNK], [CLS], [SEP] and [MASK], by role: `pad`, `unk`, `cls`, `sep`, `mask`.

    Raises:
        UsageError: `tokenizer.json` has another unknown token.
    """
    named = {key: entry.content for key, entry in config.named.items()}
    tokens = {role: named.get(f"{role}_token", default) for role, default in SPECIAL_TOKENS.items()}
    if found and generic and "unk_token" not in named:
        tokens["unk"] = found.unk_token
    if found and tokens["unk"] != found.unk_token:
        raise UsageError(
            f"{config.where} and {TOKENIZER_FILE} disagree: unk_token is {tokens['unk']!r} in the first and "
            f"{found.unk_token!r} in the second; correct one of them"
        )
    return tokens


def added_tokens(
    config: TokenizerConfig, found: TokenizerJson | None, generic: bool, vocabulary: Sequence[str]
) -> tuple[AddedToken, ...]:
    """The tokens of `tokenizer.json` or, without one, those of the config, and the special tokens that these lack.

    Args:
        config: the folder's config.
        found: its `tokenizer.json`.
        generic: the class knows no special tokens but those that are named.
        vocabulary: the WordPieces.

    Raises:
        UsageError: a special token is nowhere, two files disagree, or an id is not the one that the token gets.
    """
    special = tuple(_special(config, generic))
    listed = config.added if found is None else _listed(config, found)
    by_content: dict[str, Entry] = {}
    # In the order of the file, in which the library numbers them.
    for entry in listed:
        by_content.setdefault(entry.content, entry)
    _check_roles(special, frozenset(vocabulary) | by_content.keys(), config)
    for entry in special:
        known = by_content.setdefault(entry.content, entry)
        if found is not None or config.decoder:
            check_agree(known, entry)
    marked = frozenset(entry.content for entry in special) if found is None else frozenset()
    tokens = tuple(_token(entry, marked) for entry in by_content.values())
    ids = {piece: index for index, piece in enumerate(extended(vocabulary, tokens))}
    _check_ids(by_content.values(), ids)
    return tuple(sorted(tokens, key=lambda token: ids[token.content]))


def _special(config: TokenizerConfig, generic: bool) -> Iterator[Entry]:
    """Every special token that has a name, in the order in which transformers adds them."""
    for key in NAMED_TOKENS:
        if key in config.named:
            yield config.named[key]
        elif key in DEFAULT_TOKENS and not generic:
            yield Entry(DEFAULT_TOKENS[key], f"{config.where}: {key}")
    yield from config.additional


def _listed(config: TokenizerConfig, found: TokenizerJson) -> tuple[Entry, ...]:
    """The tokens of `tokenizer.json`, which must hold those of the config."""
    known = {entry.content: entry for entry in found.added}
    for entry in config.added:
        if entry.content not in known:
            raise UsageError(f"{entry.where} has {entry.content!r} and {found.where} does not; correct one of them")
        # The older file states no flags.
        check_agree(entry if config.decoder else replace(entry, flags=None), known[entry.content])
    return found.added


def _check_roles(special: Sequence[Entry], known: frozenset[str], config: TokenizerConfig) -> None:
    further = {entry.content for entry in config.additional}
    for entry in special:
        if entry.content not in known and entry.content not in further:
            raise UsageError(
                f"{entry.where}: the vocabulary lacks {entry.content!r}; give the vocabulary of a BERT model"
            )


def _token(entry: Entry, special: frozenset[str]) -> AddedToken:
    flags = entry.flags or AddedToken(entry.content)
    if entry.content not in special:
        return flags
    return msgspec.structs.replace(flags, special=True, normalized=flags.normalized and entry.states_normalized)


def _check_ids(entries: Iterable[Entry], ids: Mapping[str, int]) -> None:
    for entry in entries:
        if entry.id is not None and entry.id != ids[entry.content]:
            raise UsageError(
                f"{entry.where}: {entry.content!r} has the id {entry.id}, but its position gives it "
                f"{ids[entry.content]}; give the vocabulary that belongs to it, or save the tokenizer again"
            )
