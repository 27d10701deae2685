"""Seeded mutations of a file's bytes, as text, as JSON and as nothing in particular.

`/SECRET` is the folder outside that nothing may look into; the fuzzer puts its path there.
"""

import json
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

_LARGE: Final = 1 << 14

Mutator = Callable[[random.Random, bytes], bytes]

NUMBERS: Final = (
    *(0, -1, 1, 255, 65_536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63)),
    *(0.5, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf")),
)
PLACES: Final = (
    "/SECRET/secret",
    "trace:/SECRET/secret",
    "../secret/secret",
    "../../secret/secret",
    "../../etc/passwd",
    "..",
    ".",
    "",
    "/",
    "a/../../b",
    "C:\\x",
    "~",
)
TEXTS: Final = (
    *("\0", "\x1b[2J\x1b]0;title\x07", "\n\n", "\r", "\u2028", "\ud800", "\ufeff", "\u202e", "é" * 9, "x" * 5000),
    *("=1+1", "@SUM(A1)", "<script>", "![x](y)", "`|`", "%s%n{0}", "true", "null", "1e999", "-0", "1_0", "٣"),
)


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """One to three blows: cut, flip, splice, repeat, overwrite with a number, blank out."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_BYTES)(rng, data)
    return data


def mutate_text(rng: random.Random, data: bytes) -> bytes:
    """As bytes, or a line or word of it replaced, repeated, moved or taken out."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, data)
    separator = rng.choice((b"\n", b"\n", b" ", b",", b"\t", b":", b"="))
    parts = data.split(separator)
    at = rng.randrange(len(parts))
    kind = rng.randrange(6)
    if kind == 0:
        parts[at] = _odd_text(rng)
    elif kind == 1:
        parts[at:at] = [parts[at]] * rng.choice((1, 2, 100))
    elif kind == 2:
        del parts[at]
    elif kind == 3:
        parts[at] = parts[rng.randrange(len(parts))]
    elif kind == 4:
        parts[at] = rng.choice((b"(", b"[", b'"', b"{", b"'", b"\\", b"#")) * rng.choice((1, 3, 3000))
    else:
        parts[at] += _odd_text(rng)
    return separator.join(parts)


def mutate_json(rng: random.Random, data: bytes) -> bytes:
    """As text, or one to three values of it replaced, repeated, renamed, nested or taken out."""
    if rng.random() < 0.15:
        return mutate_text(rng, data)
    try:
        value = json.loads(data)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            value = _mutate_value(rng, value)
            if len(json.dumps(value)) > _LARGE:
                # An entry that is repeated in one that was repeated, and so on, would fill the memory.
                break
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    except (ValueError, RecursionError):
        return mutate_text(rng, data)
    if rng.random() < 0.05:
        text = _doubled_key(rng, text)
    if rng.random() < 0.05:
        text = _nested(rng, text)
    if rng.random() < 0.05:
        text = _deep_value(rng, text)
    return text.encode("utf-8", "surrogatepass")


def mutate_framed_json(rng: random.Random, data: bytes) -> bytes:
    """A safetensors file: its header as JSON with the right length, or the whole as bytes."""
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.4:
        return mutate_bytes(rng, data)
    header = mutate_json(rng, data[8 : 8 + size])
    length = len(header) if rng.random() < 0.9 else rng.choice((0, 2**40, 2**63, len(header) - 1, len(header) + 1))
    return struct.pack("<Q", max(length, 0)) + header + data[8 + size :]


def _mutate_value(rng: random.Random, value: Any) -> Any:
    """`value` with something changed at one place in it."""
    places = list(_places(value))
    if not places:
        return _odd_value(rng)
    holder, key = rng.choice(places)
    kind = rng.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice((key + "x", key.upper(), "", "\0", "format", key[:-1]))] = holder.pop(key)
    elif kind == 2:
        # A copy, made before it is there: an object inside itself has no end.
        holder[key] = json.loads(json.dumps(rng.choice(places)[0]))
    elif kind == 3 and isinstance(holder, list):
        holder[key:key] = [holder[key]] * rng.choice((1, 2, 1000))
    elif kind == 4:
        holder[key] = [holder[key]]
    else:
        holder[key] = _odd_value(rng)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each (holder, key) in a JSON value; lists as long as a vocabulary give a few of theirs."""
    if not isinstance(value, dict | list):
        return
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))[:40]
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _odd_value(rng: random.Random) -> Any:
    kind = rng.randrange(8)
    if kind < 3:
        return rng.choice(NUMBERS)
    if kind == 3:
        return rng.choice(PLACES)
    if kind == 4:
        return rng.choice(TEXTS)
    if kind == 5:
        nested: Any = rng.choice((1, "x", []))
        for _ in range(rng.choice((1, 3, 150, 900))):
            nested = [nested] if rng.random() < 0.5 else {"a": nested}
        return nested
    return rng.choice((None, True, False, [], {}, [None], {"": None}, "x", ""))


def _doubled_key(rng: random.Random, text: str) -> str:
    at = [index for index, char in enumerate(text) if char == "{"]
    place = rng.choice(at) + 1 if at else 0
    return f'{text[:place]}"a": 1, "a": 2, {text[place:]}'


def _nested(rng: random.Random, text: str) -> str:
    depth = rng.choice((1, 100, 2000, 100_000))
    return "[" * depth + text + "]" * rng.choice((depth, 0))


def _deep_value(rng: random.Random, text: str) -> str:
    """A value about as deep as Python's stack, before another."""
    at = [index for index in range(len(text)) if text.startswith(": ", index)]
    if not at:
        return text
    place, depth = rng.choice(at) + 2, rng.randrange(900, 1100)
    return f'{text[:place]}{"[" * depth}1{"]" * depth}, "x": {text[place:]}'


def _odd_text(rng: random.Random) -> bytes:
    kind = rng.randrange(4)
    if kind == 0:
        return str(rng.choice(NUMBERS)).encode()
    if kind == 1:
        return rng.choice(PLACES).encode()
    if kind == 2:
        return b"9" * rng.choice((20, 400, 5000))
    texts: tuple[bytes, ...] = (
        *(text.encode("utf-8", "surrogatepass") for text in TEXTS),
        b"\xff\xfe",
        b"\xc3",
        b"\x80",
    )
    return rng.choice(texts)


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice((0, 1, rng.randint(0, len(data)), max(len(data) - 1, 0)))]


def _flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _splice(rng: random.Random, data: bytes) -> bytes:
    here, there = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return data[:here] + data[there:] if rng.random() < 0.5 else data[here:] + data[:here]


def _repeat(rng: random.Random, data: bytes) -> bytes:
    begin = rng.randint(0, len(data))
    piece = data[begin : begin + rng.choice((1, 4, 64, 1024))]
    return data[:begin] + piece * rng.choice((2, 3, 50)) + data[begin + len(piece) :]


def _number(rng: random.Random, data: bytes) -> bytes:
    width = rng.choice((1, 2, 4, 8))
    number = rng.choice((0, 1, (1 << 8 * width) - 1, (1 << 8 * width - 1), (1 << 8 * width - 1) - 1, len(data)))
    piece = (number % (1 << 8 * width)).to_bytes(width, rng.choice(("little", "big")))
    at = rng.choice((rng.randint(0, len(data)), rng.randint(0, min(len(data), 64))))
    return data[:at] + piece + data[at + width :]


def _blank(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    length = min(rng.choice((1, 8, 512, len(data))), len(data) - at)
    return data[:at] + rng.choice((b"\0", b"\xff", b" ", b"[")) * length + data[at + length :]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + _odd_text(rng) + data[at:]


_BYTES: Final[tuple[Mutator, ...]] = (_cut, _cut, _flip, _flip, _splice, _repeat, _number, _number, _blank, _insert)
