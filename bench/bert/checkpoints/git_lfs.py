"""Pointers of Git LFS, which a clone without it has in place of large files."""

from pathlib import Path
from typing import Final

from bench.core.bounded_files import open_regular
from bench.core.errors import UsageError

_POINTER: Final = b"version https://git-lfs.github.com/spec/"


def check_is_content(path: Path) -> None:
    """Checks that a file is not a pointer.

    Raises:
        UsageError: it is a pointer, a pipe or a device, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            pointer = file.read(len(_POINTER)) == _POINTER
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give a complete checkpoint") from error
    if pointer:
        raise UsageError(f"{path} is a pointer of Git LFS, not the file; run git lfs pull in its repository")
