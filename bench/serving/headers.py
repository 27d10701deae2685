"""Request headers as secrets: their names may be shown and stored, their values only sent.

A header is written `NAME:VALUE`. The value is a literal, `env:VARIABLE`, or `@FILE`, of which one line end is cut. What
HTTP allows follows RFC 9110, sections 5.1 and 5.5; what gRPC allows, its PROTOCOL-HTTP2.md ("Custom-Metadata").

No message shows what may be a value, nor a part of one: a text without a colon may be a password.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bench.core.errors import UsageError, reason_of
from bench.core.redaction import BLANKS, REDACTED, TOKEN, is_reference
from bench.core.types import checked_call

MOST_BYTES: Final = 16_384
"""Largest size of all names and values together: more than most servers accept, and small enough for an environment."""

_SHORTEST: Final = 4
"""Characters of a value from which on it is looked for in other texts: a shorter one is in them by chance."""
_FRAMING: Final = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers that say how a message is cut, which the client sets itself."""
_OF_GRPC: Final = frozenset({"host", "content-type", "user-agent"})
_EXAMPLE: Final = "Authorization:env:TOKEN"


def _secrets(values: Iterable[str]) -> Iterator[str]:
    """Values and their words, as they are and in JSON: `Bearer TOKEN` is repeated without `Bearer`, as often as not."""
    for value in values:
        sent = value.encode("latin-1").decode("utf-8", "replace")
        for secret in (value, sent, *value.split(" ")[1:], *sent.split(" ")[1:]):
            if len(secret) >= _SHORTEST:
                yield from (secret, _in_json(secret, ascii_only=True), _in_json(secret, ascii_only=False))


def _in_json(text: str, *, ascii_only: bool) -> str:
    """What stands between the quotes of a JSON text."""
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


class Headers:
    """The headers of requests, in the order given. `repr` and `str` show their names only.

    This is not a dataclass, and JSON and msgpack encoders refuse it, so that values cannot be stored by accident:
    `revealed` has them, for what sends a request and for what takes the headers to a child process.

    Args:
        pairs: name and value. A value is text with one character for each byte that is sent.

    Raises:
        UsageError: what HTTP does not allow, a name that is there twice, or too much.
    """

    __slots__ = ("_pairs", "_secrets")

    @checked_call
    def __init__(self, pairs: Iterable[Sequence[str]] = ()) -> None:
        given = tuple(pairs)
        if any(len(pair) != 2 for pair in given):
            raise UsageError("a header is not a pair of name and value; give pairs, or texts to read_headers")
        self._pairs = tuple((str(name), str(value)) for name, value in given)
        seen: set[str] = set()
        for name, value in self._pairs:
            _check(name, value)
            if name.lower() in seen:
                raise UsageError(f"the header {name} is given twice; give it once")
            seen.add(name.lower())
        size = sum(len(name) + len(value) for name, value in self._pairs)
        if size > MOST_BYTES:
            raise UsageError(f"the headers have {size} bytes in all; {MOST_BYTES} is the most")
        # Once: under load each failed request asks for them. A longer one first, which may hold others.
        self._secrets = tuple(sorted(set(_secrets(value for _, value in self._pairs)), key=len, reverse=True))

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(name for name, _ in self._pairs)

    def revealed(self) -> tuple[tuple[str, str], ...]:
        """Names and values; not for anything that is printed or stored."""
        return self._pairs

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Names in lower case and values, as gRPC metadata; not for anything that is printed or stored.

        Raises:
            UsageError: gRPC does not allow one of them.
        """
        for name, value in self._pairs:
            lower = name.lower()
            if lower.endswith("-bin"):
                raise UsageError(
                    f"the header {name} cannot be sent over gRPC, where -bin marks binary values; rename it"
                )
            if lower in _OF_GRPC or lower.startswith("grpc-"):
                raise UsageError(f"the header {name} cannot be sent over gRPC, which sets it itself; leave it out")
            if not value.isascii() or "\t" in value:
                raise UsageError(
                    f"the value of the header {name} cannot be sent over gRPC, which takes printable ASCII only"
                )
        return tuple((name.lower(), value) for name, value in self._pairs)

    def replaced_by(self, others: "Headers") -> "Headers":
        """These and `others`, which replace those of the same name."""
        names = {name.lower() for name in others.names}
        return Headers((*(pair for pair in self._pairs if pair[0].lower() not in names), *others._pairs))

    def redact(self, text: str) -> str:
        """`text` without the values: a server may repeat in its error what it was sent."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text

    def redact_bytes(self, data: bytes) -> bytes:
        """The same for what a server sent, before it is read or cut."""
        return self.redact(data.decode("latin-1")).encode("latin-1") if self else data

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return f"Headers({', '.join(f'{name}: {REDACTED}' for name in self.names)})"


NO_HEADERS: Final = Headers()


@checked_call
def read_headers(texts: Iterable[str]) -> Headers:
    """The headers in texts `NAME:VALUE`, with the values that they refer to.

    Raises:
        UsageError: not a header, a variable that is not set, or a file that cannot be read.
    """
    return Headers(map(_read, texts))


def check_header(text: str) -> str:
    """`text`, if it is of the form `NAME:VALUE`; a variable or file that it names is not read.

    Raises:
        UsageError: it is not.
    """
    _split(text)
    return text


def _split(text: str) -> tuple[str, str]:
    """Name and value of a header, without the blanks around them."""
    name, colon, value = text.partition(":")
    name, value = name.strip(BLANKS), value.strip(BLANKS)
    if not colon:
        raise UsageError(f"a header has no colon; write NAME:VALUE, like {_EXAMPLE}")
    if not TOKEN.fullmatch(name):
        raise UsageError(f"a header has a name that HTTP does not allow; write NAME:VALUE, like {_EXAMPLE}")
    if not value:
        raise UsageError(f"the header {name} has no value; write NAME:VALUE in one word or in quotes, like {_EXAMPLE}")
    if not is_reference(value):
        _check(name, _as_bytes(value))
    return name, value


def _read(text: str) -> tuple[str, str]:
    """Name and value of a header, with the value that it refers to."""
    name, value = _split(text)
    if value.startswith("env:"):
        variable = value.removeprefix("env:")
        found = os.environ.get(variable) if variable else None
        if not found:
            raise UsageError(f"the header {name} is to be in the variable {variable!r}, which is not set; set it")
    elif value.startswith("@"):
        found = _file(name, value.removeprefix("@"))
    else:
        return name, _as_bytes(value)
    return name, _as_bytes(found.strip(BLANKS))


def _file(name: str, path: str) -> str:
    """The content of a header's file without its last line end."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = reason_of(error) if isinstance(error, OSError) else "not a path"
        raise UsageError(f"the header {name} is to be in the file {path!r}, which cannot be read ({why})") from error
    if len(data) > MOST_BYTES:
        raise UsageError(f"the header {name} is to be in the file {path!r}, which has over {MOST_BYTES} bytes")
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    if not data.strip():
        raise UsageError(f"the header {name} is to be in the file {path!r}, which is empty")
    return os.fsdecode(data)


def _as_bytes(value: str) -> str:
    """A character for each byte that is sent, UTF-8 for what is not ASCII."""
    return value.encode("utf-8", "surrogateescape").decode("latin-1")


def _check(name: str, value: str) -> None:
    """Refuses what HTTP does not allow, by name.

    Raises:
        UsageError: see above.
    """
    if not TOKEN.fullmatch(name):
        raise UsageError(f"a header has a name that HTTP does not allow; write NAME:VALUE, like {_EXAMPLE}")
    if name.lower() in _FRAMING:
        raise UsageError(f"the header {name} says how a message is cut, which the client does; leave it out")
    for place, char in enumerate(value, 1):
        if (char < " " and char != "\t") or char == "\x7f" or char > "\xff":
            raise UsageError(
                f"the value of the header {name} has a character at {place} that HTTP does not allow "
                f"(code {ord(char)}); take it out"
            )
    if value != value.strip(BLANKS):
        raise UsageError(f"the value of the header {name} begins or ends with a blank, which HTTP cuts; take it out")
