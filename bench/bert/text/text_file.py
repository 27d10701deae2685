"""Text files of one raw sentence a line, streamed."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from bench.core.errors import UsageError

STDIN: Final = "-"
MAX_LINE_BYTES: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence and where it stood.

    Args:
        number: 1-based line number in the file, blank lines counted.
        text: the line without the white space around it; never empty.
    """

    number: int
    text: str


def read_sentences(path: str | Path) -> Iterator[Line]:
    """Opens `path` at once, then gives its lines one by one: blank ones skipped, a byte order mark and CR LF dropped.

    Memory holds one line at a time.

    Args:
        path: a file of UTF-8 text, or `-` for standard input.

    Raises:
        UsageError: at the call, when the file cannot be opened; while reading, when a line is not UTF-8 or longer
            than a mebibyte (the message names the line), and at the end when there was no sentence at all.
    """
    if str(path) == STDIN:
        if sys.stdin is None:
            # The process was started without one (`<&-`).
            raise UsageError("standard input is closed; give a text file, or a pipe")
        return _lines(sys.stdin.buffer, input_name(path))
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 - closed by the generator
    except FileNotFoundError:
        raise UsageError(f"no file {path}; give a text file with one sentence a line") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give a text file") from None
    return _lines(stream, input_name(path))


def input_name(path: str | Path) -> str:
    """The name of an input of `read_sentences` in messages."""
    return "standard input" if str(path) == STDIN else str(path)


def _lines(stream: BinaryIO, name: str) -> Iterator[Line]:
    number, found = 0, False
    with stream:
        while raw := _read_line(stream, name, number + 1):
            number += 1
            text = _decode(raw.removeprefix(_BOM) if number == 1 else raw, name, number).strip()
            if text:
                found = True
                yield Line(number, text)
    if not found:
        raise UsageError(f"{name} holds no sentence; give one sentence a line")


def _read_line(stream: BinaryIO, name: str, number: int) -> bytes:
    try:
        raw = stream.readline(MAX_LINE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{name} cannot be read at line {number} ({error.strerror}); give a text file") from None
    if len(raw) > MAX_LINE_BYTES:
        raise UsageError(f"{name} line {number} is longer than {MAX_LINE_BYTES} bytes; put one sentence on a line")
    return raw


def _decode(raw: bytes, name: str, number: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} line {number} is not UTF-8 (byte {error.start + 1} of the line); convert the file, e.g. with iconv"
        ) from None
