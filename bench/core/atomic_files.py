"""Files that are there whole or as they were before."""

import contextlib
import os
import tempfile
from io import FileIO
from pathlib import Path

from bench.core.errors import UsageError, naming, reason_of


def make_folder(path: Path, what: str, cure: str) -> None:
    """Makes a folder that can be written, before the work whose results belong in it.

    Args:
        path: the folder.
        what: what it is, for people, in front of its path; "" for nothing.
        cure: what the user can do about it.

    Raises:
        UsageError: it cannot be made, or not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UsageError(f"{what}{path} cannot be written: {reason_of(error)}; {cure}") from error


def write_all(file: FileIO, data: bytes) -> None:
    """Writes all of `data` to an unbuffered file, which on a disk that fills up takes a part of it without a word.

    Raises:
        OSError: with the file's name.
    """
    rest = memoryview(data)
    with naming(file.name):
        while rest:
            rest = rest[file.write(rest) or 0 :]


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file that is there whole or as it was before, whenever the process or the machine dies."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with naming(path):
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        # Not left behind on a disk that may be full, or by Ctrl-C.
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
