"""Special and added tokens as the files of a Hugging Face folder state them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.bert.text.tokenizer_options import SPECIAL_TOKENS, AddedToken
from bench.core.errors import UsageError
from bench.core.strict_json import Section, brief, read_object

ADDED_TOKENS_FILE: Final = "added_tokens.json"
SPECIAL_TOKENS_MAP_FILE: Final = "special_tokens_map.json"
# The same list under the names of transformers 4 and 5.
ADDITIONAL: Final = ("additional_special_tokens", "extra_special_tokens")
# In the order in which transformers adds them (SpecialTokensMixin.SPECIAL_TOKENS_ATTRIBUTES).
NAMED_TOKENS: Final = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
DEFAULT_TOKENS: Final[Mapping[str, str]] = {f"{role}_token": content for role, content in SPECIAL_TOKENS.items()}
_FLAGS: Final = ("single_word", "lstrip", "rstrip", "normalized")
# Of an id; Python makes no number of thousands of digits.
_MOST_DIGITS: Final = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """A token in a file.

    Args:
        content: its text.
        where: the file and the key, for messages.
        flags: its flags; None where the file gives only its text.
        id: its id, where the file gives one.
        states_normalized: whether the file gives the flag `normalized`; without it, special tokens have false.
    """

    content: str
    where: str
    flags: AddedToken | None = None
    id: int | None = None
    states_normalized: bool = True


def parse_entry(raw: object, where: str, special: bool | None = None) -> Entry:
    """A token given as text or as an object with flags; `special` overrides the object's flag.

    Raises:
        UsageError: it is neither, or has an unknown flag.
    """
    if isinstance(raw, str):
        return Entry(_not_empty(raw, where), where)
    section = Section(raw, where)
    section.only({"content", "special", "id", "__type", *_FLAGS})
    content = section.raw.get("content")
    if not isinstance(content, str):
        raise UsageError(f"{where}: content is {brief(content)}, not text; correct it")
    found = {name: section.optional_flag(name) for name in (*_FLAGS, "special")}
    given = {name: value for name, value in found.items() if value is not None}
    marked = given.get("special", False) if special is None else special
    # A flag that is not given has the default of the `tokenizers` library.
    flags = AddedToken(_not_empty(content, where), **{"normalized": not marked, **given, "special": marked})
    number = section.raw.get("id")
    return Entry(content, where, flags, None if number is None else section.identifier("id"), "normalized" in given)


def parse_named(section: Section, special: bool | None = None) -> dict[str, Entry]:
    """The special tokens that an object names by `unk_token`, `mask_token` and so on; null names none."""
    return {
        key: parse_entry(section.raw[key], f"{section.where}: {key}", special)
        for key in NAMED_TOKENS
        if section.raw.get(key) is not None
    }


def parse_additional(section: Section, special: bool | None = None) -> tuple[Entry, ...]:
    """The further special tokens.

    Raises:
        UsageError: they are not a list of tokens.
    """
    entries: dict[str, Entry] = {}
    for key in ADDITIONAL:
        raw = section.raw.get(key)
        if raw not in (None, {}) and not isinstance(raw, list):
            raise section.refuse(key, raw, "a list of tokens")
        for token in raw or ():
            entry = parse_entry(token, f"{section.where}: {key}", special)
            entries.setdefault(entry.content, entry)
    return tuple(entries.values())


def parse_decoder(section: Section) -> tuple[Entry, ...]:
    """The tokens under `added_tokens_decoder`, by id.

    Raises:
        UsageError: an id is not a number, or a token has no flags.
    """
    entries = []
    for key, raw in section.raw.items():
        if not (key.isascii() and key.isdigit() and len(key) <= _MOST_DIGITS):
            raise UsageError(f"{section.where}: {brief(key)} is not an id; correct it")
        entry = parse_entry(raw, f"{section.where}: {key}")
        if entry.flags is None:
            raise UsageError(f"{entry.where} is {brief(raw)}, not an object with content; correct it")
        entries.append(replace(entry, id=int(key)))
    return tuple(sorted(entries, key=lambda entry: entry.id or 0))


def read_added_tokens(path: Path, special: Iterable[str]) -> tuple[Entry, ...]:
    """The tokens of `added_tokens.json`, an object of ids by token, in the order of their ids.

    Args:
        path: the file.
        special: the special tokens; others are matched in the normalized text.

    Raises:
        UsageError: the file cannot be read, or an id is not a number.
    """
    section, marked = Section(read_object(path), str(path)), frozenset(special)
    entries = [
        Entry(
            _not_empty(content, section.where),
            section.where,
            AddedToken(content, normalized=content not in marked, special=content in marked),
            section.identifier(content),
        )
        for content in section.raw
    ]
    return tuple(sorted(entries, key=lambda entry: entry.id or 0))


def check_agree(one: Entry, other: Entry) -> None:
    """Refuses two files that state one token differently.

    Raises:
        UsageError: text, id or a flag differs; the message names both places.
    """
    difference = _difference(one, other)
    if difference:
        raise UsageError(f"{one.where} and {other.where} disagree: {difference}; correct one of them")


def check_named_agree(some: Mapping[str, Entry], others: Mapping[str, Entry]) -> None:
    """`check_agree` for each special token that both name."""
    for key in some.keys() & others.keys():
        check_agree(some[key], others[key])


def _difference(one: Entry, other: Entry) -> str:
    if one.content != other.content:
        return f"{one.content!r} and {other.content!r}"
    if one.id is not None and other.id is not None and one.id != other.id:
        return f"{one.content!r} has the ids {one.id} and {other.id}"
    if one.flags and other.flags:
        for name in _FLAGS:
            values = getattr(one.flags, name), getattr(other.flags, name)
            if values[0] != values[1]:
                return f"{name} of {one.content!r} is {brief(values[0])} and {brief(values[1])}"
    return ""


def _not_empty(content: str, where: str) -> str:
    if not content:
        raise UsageError(f"{where} is empty; correct it")
    return content
