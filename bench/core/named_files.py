"""Files that a user names for output: what a name leads to is written, whatever kind of thing it is."""

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from bench.core.atomic_files import write_all, write_atomically
from bench.core.errors import naming

_OPEN_FILES: Final = ("/proc/self/fd", "/dev/fd")
# As many as Linux follows.
_MOST_LINKS: Final = 40


def write_named(path: Path, data: bytes) -> None:
    """Writes a file that the user named, and nobody else.

    A device, a pipe and an open file of this process, such as `/dev/stdout`, are written as they are; of a symbolic
    link the file is replaced that it leads to; any other file as in `write_atomically`.

    Raises:
        OSError: it cannot be written; with its name.
    """
    if not passes_through(path):
        # Not of others, whose links might lead to any file of the user.
        write_atomically(place_of(path), data)
        return
    number = _descriptor(path)

    def take(name: str, flags: int) -> int:
        # A copy keeps the position, so that what is printed before and after stays; no file is made in /dev.
        return os.open(name, os.O_WRONLY) if number is None else os.dup(number)

    with naming(path), open(path, "wb", buffering=0, opener=take) as file:
        write_all(file, data)


def passes_through(path: Path) -> bool:
    """Whether `path` is written as it is: a device, a pipe, or an open file of this process.

    Raises:
        OSError: its links lead in a circle, or it cannot be looked at.
    """
    if _descriptor(path) is not None:
        return True
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mode = path.stat().st_mode
        return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
    return False


def place_of(path: Path) -> Path:
    """The file that is replaced when `path` is written: `path`, or what it leads to as a symbolic link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _descriptor(path: Path) -> int | None:
    """The number of this process's open file that `path` stands for, as `/dev/stdout` and `/dev/fd/63` do."""
    folders = {os.path.realpath(folder) for folder in _OPEN_FILES}
    for _ in range(_MOST_LINKS):
        if path.name.isdecimal() and os.path.realpath(path.parent) in folders:
            return int(path.name)
        try:
            path = path.parent / path.readlink()
        except OSError:
            return None
    return None
