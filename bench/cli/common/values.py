"""Types of options for argparse, which check the value while the command line is parsed."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.core.atomic_files import make_folder, passes_through, place_of
from bench.core.errors import UsageError
from bench.core.units import (
    parse_duration,
    parse_duration_or_zero,
    parse_fraction,
    parse_number,
    parse_rate,
    parse_whole,
)
from bench.results.run_paths import FILE_NAME, RUN_FILES

_OF_FILES: Final = frozenset({".csv", ".htm", ".html", ".json", ".md", ".parquet", ".pdf", ".png", ".txt", ".xml"})
MOST: Final = 1_000_000_000
MOST_SEED: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Value:
    """A parser of an option's text as argparse's `type`.

    Args:
        parse: returns the value or raises UsageError.
        as_text: the value is the checked text itself.
        both: the value is a `Given`, the text with its value.
    """

    parse: Callable[[str], Any]
    as_text: bool = False
    both: bool = False

    def __call__(self, text: str) -> Any:
        """The value of `text`.

        Raises:
            UsageError: the text is refused; `bench.cli.parser.Parser` adds the option's name.
        """
        value = self.parse(text)
        if self.both:
            return Given(text, value)
        return text if self.as_text else value


class Given(NamedTuple):
    """The text of an option, for the record of the command, and its value."""

    text: str
    value: Any


def whole(least: int = 1, most: int = MOST) -> Value:
    """Whole numbers of a closed range."""
    return Value(lambda text: parse_whole(text, least, most))


def number(least: float, most: float, *, open_least: bool = False) -> Value:
    """Numbers of a closed range, or one open at the lower end."""
    return Value(lambda text: parse_number(text, least, most, open_least=open_least))


def output_path(text: str) -> Path:
    """A file to write, whose folder must be there; or a device or a pipe, see `bench.core.atomic_files`.

    Raises:
        UsageError: there is no such folder, or it cannot be written, or it is a file of a stored run.
        OSError: its links lead in a circle.
    """
    path = Path(text)
    if passes_through(path):
        if not os.access(path, os.W_OK):
            raise UsageError(f"{path} cannot be written; name another place")
        return path
    place = place_of(path)
    if not place.parent.is_dir():
        raise UsageError(f"no folder {place.parent} for {place.name}; make it first")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file")
    if place.name in RUN_FILES and (place.parent / FILE_NAME).is_file():
        raise UsageError(f"{path} is a file of a stored run, which it would overwrite; name another file")
    make_folder(place.parent, "", "name another place")
    return path


def output_folder(text: str) -> Path:
    """A folder to write into, which is made where it is not there.

    Raises:
        UsageError: it is a file, or has the name of one.
    """
    path = Path(text)
    if path.is_dir():
        return path
    if path.exists():
        raise UsageError(f"{path} is a file; name a folder, which is made if it is not there")
    if path.suffix.lower() in _OF_FILES:
        raise UsageError(f"{path} is named like a file; name a folder for all files, like {path.with_suffix('')}")
    return path


def label(text: str) -> str:
    """A name that is shown in tables and reports.

    Raises:
        UsageError: it is not one line that can be printed.
    """
    # A command line that the locale cannot decode has its bytes as surrogates.
    if not os.fsencode(text).decode("utf-8", "replace").isprintable():
        raise UsageError(f"{text!r} has a line end or another control character; leave it out")
    return text


def png_path(text: str) -> Path:
    """A PNG file to write; a name without an ending is taken.

    Raises:
        UsageError: another ending, or as for `output_path`.
    """
    path = Path(text)
    if path.suffix.lower() not in ("", ".png"):
        raise UsageError(f"{text} ends in {path.suffix}, and plots are PNG files; give {path.with_suffix('.png')}")
    return output_path(text)


FOLDER: Final = Value(output_folder)
LABEL: Final = Value(label)
PNG: Final = Value(png_path)
SEED: Final = whole(0, MOST_SEED)
PORT: Final = whole(1, 65535)
SERVERS: Final = whole(1, 10_000)
DURATION: Final = Value(parse_duration)
DURATION_TEXT: Final = Value(parse_duration, as_text=True)
DURATION_OR_ZERO_TEXT: Final = Value(parse_duration_or_zero, as_text=True)
FRACTION_TEXT: Final = Value(parse_fraction, as_text=True)
RATE_TEXT: Final = Value(parse_rate, as_text=True)
