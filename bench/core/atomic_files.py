"""Atomic replacement of files."""

import contextlib
import os
import tempfile
from io import FileIO
from pathlib import Path

from bench.core.errors import UsageError, naming, reason_of


def make_folder(path: Path, what: str, cure: str) -> None:
    """Creates a writable folder, before the work whose results go there.

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
    """Writes all of `data` to an unbuffered file, whose `write` may write only a part of it, as on a full disk.

    Raises:
        OSError: with the file's name.
    """
    rest = memoryview(data)
    with naming(file.name):
        while rest:
            rest = rest[file.write(rest) or 0 :]


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces a file atomically: after a crash it has its old or its new content."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with naming(path):
            # Anew, so that a link of that name in a folder of others leads nowhere.
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        # Also on a full disk and after Ctrl-C.
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
