"""`vocab.txt`: a WordPiece a line, the line's index is its id."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bench.core.atomic_files import write_atomically
from bench.core.errors import UsageError
from bench.core.strict_json import read_text

VOCAB_FILE: Final = "vocab.txt"
_BLANKS: Final = " \t\n\r\f\v"


def read_google_vocabulary(path: Path) -> tuple[str, ...]:
    """The pieces as google-research/bert reads them: without the white space around them.

    Only a line feed ends a piece: some vocabularies hold other characters at which `splitlines` splits.

    Raises:
        UsageError: the file cannot be read or is not UTF-8.
    """
    return without_blank_end(line.strip() for line in read_text(path).split("\n"))


def read_hugging_face_vocabulary(path: Path) -> tuple[str, ...]:
    """The pieces as `transformers` reads them: lines end with LF, CR LF or CR, and keep other white space.

    Blank lines at the end are an empty piece, one for all of them: it has an id, which no added token gets.

    Raises:
        UsageError: the file cannot be read or is not UTF-8, or `check_pieces` refuses a piece.
    """
    lines = [line.rstrip("\n") for line in io.StringIO(read_text(path), newline=None).readlines()]
    pieces = without_blank_end(lines)
    if len(pieces) < len(lines) and "" not in pieces:
        pieces = (*pieces, "")
    check_pieces(pieces, path)
    return pieces


def read_written_vocabulary(path: Path) -> tuple[str, ...]:
    """The pieces of a file that `write_vocabulary` wrote, exactly.

    Raises:
        UsageError: the file cannot be read or is not UTF-8.
    """
    return tuple(read_text(path).removesuffix("\n").split("\n"))


def write_vocabulary(path: Path, vocabulary: Iterable[str]) -> None:
    """Writes the pieces, a line each."""
    write_atomically(path, "".join(piece + "\n" for piece in vocabulary).encode())


def check_pieces(pieces: Iterable[str], path: Path) -> None:
    """Refuses a piece with white space around it or a line break in it, which readers of `vocab.txt` treat differently.

    Raises:
        UsageError: there is one; the message names it and its id.
    """
    for index, piece in enumerate(pieces):
        core = piece.strip(_BLANKS)
        if (core and core != piece) or "\n" in piece or "\r" in piece:
            raise UsageError(
                f"{path}: the piece {piece!r} (id {index}, line {index + 1}) has white space around or in it, which "
                "transformers keeps and Google's code drops; remove the white space"
            )


def without_blank_end(lines: Iterable[str]) -> tuple[str, ...]:
    """The lines without empty ones at the end, which are no pieces."""
    pieces = list(lines)
    while pieces and not pieces[-1]:
        pieces.pop()
    return tuple(pieces)
