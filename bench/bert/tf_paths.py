"""Paths that TensorFlow takes as they are. Imports no TensorFlow."""

from pathlib import Path
from typing import Final

from bench.core.errors import UsageError

# tensorflow/core/platform/file_system_helper.cc, GetMatchingPaths.
_PATTERN: Final = "*?[\\"


def check_plain(path: Path) -> None:
    """Refuses a path in which TensorFlow looks for checkpoints as for a glob pattern, and finds none.

    Raises:
        UsageError: it has a character of patterns.
    """
    if any(letter in str(path) for letter in _PATTERN):
        raise UsageError(f"{path}: TensorFlow takes {' '.join(_PATTERN)} in a path for a pattern; rename the folder")
