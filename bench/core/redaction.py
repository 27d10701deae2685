"""Options with request headers, as they may be shown and stored: with names and references, without values."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

REDACTED: Final = "<redacted>"
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header (RFC 9110, section 5.6.2)."""
BLANKS: Final = " \t"
"""What HTTP cuts around a header's value."""
# Options whose next word holds headers, and their abbreviations; `--he` is `--help` or `--headless`.
_OPTION: Final = re.compile(r"--(hea(d(e(rs?)?)?)?|(baseline|candidate)-h[a-z]*)")


def split_headers(text: str) -> tuple[str, ...]:
    """The headers in a list with semicolons, as Locust's option `--headers` has it: no value holds one."""
    return tuple(part for part in map(str.strip, text.split(";")) if part)


def redacted_command(words: Sequence[str]) -> tuple[str, ...]:
    """A command line for what stores it: without the folder of its program, which is this machine's, and without the
    literal values of its headers; references stay."""
    return (*_program(words[0]), *redacted_words(words[1:])) if words else ()


def redacted_words(words: Sequence[str]) -> tuple[str, ...]:
    """The words after a program, without the literal values of headers; references stay."""
    shown = []
    option = ""
    for word in words:
        name, equals, text = word.partition("=")
        if option:
            shown.append(redacted_option(option, word))
            option = ""
        elif _OPTION.fullmatch(name):
            shown.append(f"{name}={redacted_option(name, text)}" if equals else word)
            option = "" if equals else name
        else:
            shown.append(word)
    return tuple(shown)


def _program(path: str) -> list[str]:
    """The words by which a user starts the program at `path`."""
    found = PurePath(path)
    return ["python", "-m", found.parent.name] if found.name == "__main__.py" else [found.name]


def redacted_option(option: str, text: str) -> str:
    """The value of an option that takes headers, without literal values; references stay."""
    if option == "--headers":
        return "; ".join(map(redacted_header, split_headers(text)))
    return redacted_header(text)


def redacted_header(text: str) -> str:
    """A header `NAME:VALUE` without its value, unless that is a reference."""
    name, colon, value = text.partition(":")
    if not colon or not TOKEN.fullmatch(name.strip()):
        return REDACTED
    if is_reference(value.strip(BLANKS)):
        return text
    return f"{name}: {REDACTED}" if value.startswith(" ") else f"{name}:{REDACTED}"


def is_reference(value: str) -> bool:
    """Whether a header's value names a variable or a file that holds it."""
    return value.startswith(("env:", "@"))
