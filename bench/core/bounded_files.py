"""Files that others may have written: regular ones, of bounded size, and of a stored folder only its own."""

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from bench.core.errors import UsageError

MEBIBYTE: Final = 1 << 20


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading.

    A pipe would be waited for, and a device may have no end.

    Raises:
        UsageError: it is something else.
        OSError: it cannot be opened.
    """
    # Without O_NONBLOCK the opening of a pipe waits for a writer; on a regular file it has no effect.
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UsageError(f"{path} is a pipe or a device, not a file; restore the file")
    return file


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def check_rereadable(path: Path, cure: str) -> None:
    """Refuses what has its content once, for a file that is read several times; one that is missing passes.

    Args:
        path: the file.
        cure: what the user can do about it.

    Raises:
        UsageError: it is a pipe or a device.
        OSError: it cannot be looked at.
    """
    if not path.is_file() and path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a pipe or a device, which cannot be read again; {cure}")


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        UsageError: it is not a regular file, or larger.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        # Not most + 1 at once, which takes that much memory however small the file is.
        data = file.read(size + 1) if size <= most else b""
        if size < len(data) <= most:
            # It grows, or is one of the kernel's, whose size is 0.
            data += file.read(most + 1 - len(data))
    if max(size, len(data)) > most:
        raise UsageError(f"{path} has over {most:,} bytes, which is the most that such a file may have")
    return data


def own_file(folder: Path, name: str) -> Path:
    """A file of a stored folder, which may come from others: not a link to a file elsewhere.

    Raises:
        UsageError: it leads out of the folder.
    """
    path = folder / name
    # Not Path.resolve, which raises RuntimeError where links lead in a circle.
    if "\0" in name or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise UsageError(f"{path} leads out of its folder; put the file itself there")
    return path
