"""Files that are there whole or as they were before."""

import contextlib
import os
from io import FileIO
from pathlib import Path

from bench.errors import naming


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
