"""The cache of this machine: the export of the demo model, and measurements of the machine itself."""

import contextlib
import os
from pathlib import Path
from typing import Protocol, TypeVar

from bench.core.atomic_files import make_folder, write_atomically
from bench.core.cores import allowed_cores
from bench.core.errors import UsageError
from bench.core.versioned_json import OtherFormatError, VersionedJson

_CURE = "set XDG_CACHE_HOME to a folder that can be written"


def cache_dir() -> Path:
    """The folder, by the XDG base directory specification; it may not exist yet.

    Raises:
        UsageError: the user has no home folder, and XDG_CACHE_HOME is not set.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(given or Path.home() / ".cache") / "bertbench"
    except RuntimeError as error:
        raise UsageError(f"this user has no home folder, which the cache belongs in; {_CURE}") from error


def make_cache_dir() -> Path:
    """Creates the folder if needed, and checks that it is writable.

    Raises:
        UsageError: it cannot be made, or not be written.
    """
    path = cache_dir()
    make_folder(path, "bertbench's cache ", _CURE)
    return path


class OfMachine(Protocol):
    """A measurement on this machine, valid only for the number of cores that the process could use."""

    @property
    def cores(self) -> int | None: ...


Measured = TypeVar("Measured", bound=OfMachine)


def read_measured(file: VersionedJson[Measured], name: str) -> Measured | None:
    """The content of file `name` of the cache; None if it is missing, or of another format or number of cores.

    Raises:
        UsageError: a file that cannot be read.
    """
    try:
        found = file.read(cache_dir() / name)
    except (FileNotFoundError, OtherFormatError):
        return None
    return found if found.cores == len(allowed_cores()) else None


def replaced_measured(file: VersionedJson[Measured], name: str) -> Measured | None:
    """What is known of file `name` that is about to be written; None if it cannot be read either, as if it was missing.

    To measure again is how a damaged file is mended, and must not be lost to it.
    """
    with contextlib.suppress(UsageError):
        return read_measured(file, name)
    return None


def write_measured(file: VersionedJson[Measured], name: str, body: Measured) -> Path:
    """Writes file `name` of the cache and returns its path."""
    path = make_cache_dir() / name
    write_atomically(path, file.encode(body))
    return path
