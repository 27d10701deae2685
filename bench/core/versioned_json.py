"""JSON files with a format number, which are read into typed values, with migrations from older formats.

    FILE = VersionedJson(_Index, 1, name="baseline index", cure="restore it")
    write_atomically(path, FILE.encode(_Index(entries)))
    index = FILE.read(path)

A file is one object: `format`, then the fields of a dataclass, whose annotations are checked. A wrong field is
refused in one line that names it: `problems[0]: expected str, got int`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec
import numpy as np
import orjson

from bench.core import interrupts
from bench.core.bounded_files import MEBIBYTE, own_file, read_regular
from bench.core.errors import UsageError, in_words
from bench.core.output import to_json

Body = TypeVar("Body")
Update = Callable[[dict[str, Any]], dict[str, Any]]

MOST_BYTES: Final = 64 * MEBIBYTE
"""Of a file: JSON takes up to 20 times as much memory."""
MOST_NESTED: Final = 100
"""Lists and objects in each other; orjson writes 254 at most."""
INDENTED: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
"""Two spaces per level, and a line feed at the end of the file."""


class OtherFormatError(UsageError):
    """A file of a format that this version does not read."""


@dataclass(frozen=True)
class VersionedJson(Generic[Body]):
    """A kind of file.

    Args:
        body: the dataclass of the content.
        version: the format that is written.
        name: of the kind of file in messages: `journal`.
        cure: what the user can do if a file cannot be read, imperative.
        updates: by format N, the step that takes the parsed file of format N - 1 and gives that of N; without a step
            older files are refused.
        unnumbered: a field that identifies files of format 1 without a number; "" if there are none.
        exact: whether a field that `body` lacks is refused.
        optional: fields that are left out where they are 0, so that files without them keep their bytes.
        option: of `orjson.dumps`.
    """

    body: type[Body]
    version: int
    name: str = field(kw_only=True)
    cure: str = field(kw_only=True)
    updates: Mapping[int, Update] = field(default_factory=dict, kw_only=True)
    unnumbered: str = field(default="", kw_only=True)
    exact: bool = field(default=True, kw_only=True)
    optional: tuple[str, ...] = field(default=(), kw_only=True)
    option: int = field(default=INDENTED, kw_only=True)

    def encode(self, body: Body) -> bytes:
        """The file's bytes."""
        values = shallow(body)
        written = {name: value for name, value in values.items() if name not in self.optional or value}
        return to_json({"format": self.version} | written, option=self.option)

    def read(self, path: Path) -> Body:
        """The content of a file.

        Raises:
            FileNotFoundError: there is none.
            UsageError: it cannot be read, or its content is not valid.
            OtherFormatError: it is of a newer format, or of one too old.
        """
        return self._typed(self.load(path), path)

    def load(self, path: Path) -> dict[str, Any]:
        """The object in a file after the migrations, with its original `format`. See `read` for the errors."""
        try:
            data = read_regular(own_file(path.parent, path.name), MOST_BYTES)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UsageError(f"{path} cannot be read ({in_words(error)}); {self.cure}") from error
        return self.parse(data, path)

    def decode(self, data: bytes, where: object) -> Body:
        """The content of a file's bytes; `where` names it. See `read` for the errors."""
        return self._typed(self.parse(data, where), where)

    def parse(self, data: bytes, where: object) -> dict[str, Any]:
        """The object in a file's bytes; see `load`."""
        try:
            raw: Any = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{where} is not JSON ({error}); {self.cure}") from error
        found = raw.get("format", 1 if self.unnumbered in raw else None) if isinstance(raw, dict) else None
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise UsageError(f"{where} is not a {self.name} of bertbench; {self.cure}")
        if _is_deep(raw):
            raise self._damaged(where, f"values are nested more than {MOST_NESTED} deep")
        steps = range(found + 1, self.version + 1)
        if found > self.version or any(step not in self.updates for step in steps):
            reads = f"up to {self.version}" if self.updates else str(self.version)
            cure = f"update bertbench, or {self.cure}" if found > self.version else self.cure
            raise OtherFormatError(f"{where} has {self.name} format {found}, this version reads {reads}; {cure}")
        try:
            for step in steps:
                raw = self.updates[step](raw)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            missing = f"{error.args[0]} is missing" if isinstance(error, KeyError) else f"not fields of format {found}"
            raise self._damaged(where, missing) from error
        return {**raw, "format": found}

    def _typed(self, raw: dict[str, Any], where: object) -> Body:
        raw = {name: value for name, value in raw.items() if name != "format"}
        try:
            # msgspec crashes the process where an interrupt comes out of Python code that it calls.
            with interrupts.held():
                found = msgspec.convert(raw, self.body, dec_hook=_array)
        except msgspec.ValidationError as error:
            raise self._damaged(where, plain_words(error)) from error
        except UsageError as error:
            raise self._damaged(where, str(error)) from error
        if self.exact and (unknown := next(_unknown(raw, found), None)):
            raise self._damaged(where, f"{unknown}: unknown field")
        return found

    def _damaged(self, where: object, what: str) -> UsageError:
        return UsageError(f"{where} is not a valid {self.name} ({what}); {self.cure}")


def shallow(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name; values that are dataclasses are not converted."""
    return {entry.name: getattr(value, entry.name) for entry in fields(value)}


def _array(kind: type, value: Any) -> Any:
    """Decodes `NDArray` of float64, which msgspec does not support; null is infinity."""
    if getattr(kind, "__origin__", kind) is not np.ndarray:
        raise NotImplementedError(kind)
    found = np.asarray(value, np.float64)
    return np.where(np.isnan(found), np.inf, found)


def plain_words(error: msgspec.ValidationError) -> str:
    """Expected `int`, got `str` - at `$.users`   ->   users: expected int, got str."""
    what, _, path = str(error).partition(" - at `$")
    what = re.sub(
        "^object missing required field (.*)", r"\1 is missing", (what[:1].lower() + what[1:]).replace("`", "")
    )
    path = path.rstrip("`").removeprefix(".")
    return f"{path}: {what}" if path else what


def _is_deep(raw: Any) -> bool:
    """Whether lists and objects are nested more than `MOST_NESTED` deep."""
    level = [raw]
    for _ in range(MOST_NESTED):
        inside = (value.values() if isinstance(value, dict) else value for value in level)
        level = [value for values in inside for value in values if isinstance(value, dict | list)]
        if not level:
            return False
    return True


def _unknown(raw: Any, found: Any, path: str = "") -> Iterator[str]:
    """Paths of fields in `raw` that the dataclass lacks."""
    if isinstance(raw, Mapping):
        known = is_dataclass(found)
        for name, value in raw.items():
            if known and not any(entry.name == name for entry in fields(found)):
                yield f"{path}{name}"
            else:
                yield from _unknown(value, getattr(found, name) if known else found[name], f"{path}{name}.")
    elif isinstance(raw, list) and isinstance(found, tuple | list):
        for index, (value, entry) in enumerate(zip(raw, found, strict=True)):
            yield from _unknown(value, entry, f"{path.removesuffix('.')}[{index}].")
