"""Where this machine keeps what can be made again: the demo model's export, what was measured of the machine itself."""

import os
from pathlib import Path
from typing import Protocol, TypeVar

from bench.core.atomic_files import make_folder, write_atomically
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
    """The folder, made if it is not there and found to be one that can be written.

    Raises:
        UsageError: it cannot be made, or not be written.
    """
    path = cache_dir()
    make_folder(path, "bertbench's cache ", _CURE)
    return path


class OfMachine(Protocol):
    """What was measured on a machine of so many cores, and holds for no other."""

    @property
    def cores(self) -> int | None: ...


Measured = TypeVar("Measured", bound=OfMachine)


def read_measured(file: VersionedJson[Measured], name: str) -> Measured | None:
    """What file `name` of the cache holds for this machine; None if nothing, or of another format or other cores.

    Raises:
        UsageError: a file that cannot be read.
    """
    try:
        found = file.read(cache_dir() / name)
    except (FileNotFoundError, OtherFormatError):
        return None
    return found if found.cores == os.cpu_count() else None


def write_measured(file: VersionedJson[Measured], name: str, body: Measured) -> Path:
    """Writes file `name` of the cache, and gives its path."""
    path = make_cache_dir() / name
    write_atomically(path, file.encode(body))
    return path
