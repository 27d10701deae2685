"""Where this machine keeps what can be made again: the demo model's export, the load generator's calibration."""

import os
from pathlib import Path

from bench.errors import UsageError
from bench.results.atomic import make_folder

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
