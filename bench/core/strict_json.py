"""JSON of a checkpoint, read strictly: what two readers might take differently is refused."""

import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from bench.core.bounded_files import MEBIBYTE, read_regular
from bench.core.errors import UsageError

MOST_BYTES: Final = 64 * MEBIBYTE
"""The largest tokenizers have some 20 MB."""


def read_text(path: Path, bom: bool = False) -> str:
    """The file's text; `bom` drops a byte order mark.

    Raises:
        UsageError: it cannot be read, is not UTF-8 (the message names the line), or begins with a byte order mark that
            `bom` does not allow.
    """
    try:
        data = read_regular(path, MOST_BYTES)
        text = data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give a BERT checkpoint folder") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UsageError(f"{path} line {line} is not UTF-8; convert the file, e.g. with iconv") from error
    if bom:
        return text.removeprefix("\ufeff")
    if text.startswith("\ufeff"):
        raise UsageError(f"{path} begins with a byte order mark, which becomes part of its text; save it without one")
    return text


def read_object(path: Path, bom: bool = False) -> dict[str, Any]:
    """The JSON object in a file; NaN and Infinity, which Python writes, are numbers.

    Args:
        path: the file.
        bom: drop a byte order mark instead of refusing it.

    Raises:
        UsageError: not JSON or not an object, a key that appears twice in one object, or half a surrogate pair.
    """
    text = read_text(path, bom)
    try:
        raw = json.loads(text, object_pairs_hook=_unique)
        if "\\ud" in text.lower():
            json.dumps(raw, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{path} has half a surrogate pair, which is not a character; correct the file") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read ({error}); repair it, or save it again") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{path} is not a JSON object; repair it, or save it again")
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = next(name for name, count in times.items() if count > 1)
        raise ValueError(f"the key {twice!r} appears twice in one object")
    return made


class Section:
    """An object of a JSON file whose values are taken with their types checked.

    Args:
        raw: the object.
        where: the file, and the place in it, for messages.

    Raises:
        UsageError: at construction, when `raw` is not an object.
    """

    def __init__(self, raw: object, where: str) -> None:
        if not isinstance(raw, dict):
            raise UsageError(f"{where} is {brief(raw)}, not an object; save the tokenizer again")
        self.raw: dict[str, Any] = raw
        self.where = where

    def section(self, key: str) -> "Section":
        """The object under `key`."""
        return Section(self.raw.get(key), f"{self.where}: {key}")

    def flag(self, key: str) -> bool:
        """True or false; an error where it is absent."""
        value = self.optional_flag(key)
        if value is None:
            raise UsageError(f"{self.where} has no {key}; save the tokenizer again")
        return value

    def optional_flag(self, key: str, null: bool = False) -> bool | None:
        """True, false, or None where it is absent; `null` allows null for None."""
        value = self.raw.get(key)
        if isinstance(value, bool) or key not in self.raw or (null and value is None):
            return value
        choices = "true, false or null" if null else "true or false"
        raise UsageError(f"{self.where}: {key} is {brief(value)}, not {choices}; correct it")

    def count(self, key: str) -> int:
        """A whole number above zero."""
        value = self.raw.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
            raise UsageError(f"{self.where}: {key} is {brief(value)}, not a whole number above zero; correct it")
        return value

    def identifier(self, key: str) -> int:
        """A whole number, zero or more."""
        value = self.raw.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
            raise UsageError(f"{self.where}: the id of {key!r} is {brief(value)}, not a whole number; correct it")
        return value

    def only(self, known: Collection[str]) -> None:
        """Refuses a key that is not among `known`."""
        for key in self.raw:
            if key not in known:
                raise UsageError(f"{self.where}: unknown key {key!r} may change the tokens; remove it if it does not")

    def refuse(self, key: str, value: object, supported: str) -> UsageError:
        """The error for a setting that is understood and not supported."""
        return UsageError(f"{self.where}: {key} = {brief(value)} is not supported; only {supported} is")


def brief(value: object) -> str:
    """A value as JSON, cut to what a line holds; what cannot be printed is escaped."""
    try:
        written = json.dumps(value, ensure_ascii=False, default=repr)
    except RecursionError:
        # Reading it had a few levels more of the stack.
        written = "a value that is nested too deep"
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in written)
    return text if len(text) <= 60 else text[:57] + "..."
