"""TF: failures of TensorFlow in plain words; those of its file system calls as the OSErrors of Python's."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import tensorflow as tf

# TensorFlow has the system's words (strerror) at the end of its message, behind the file's name.
_NUMBERS: Final = {
    os.strerror(number): number
    for number in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ENOENT,
        errno.ENAMETOOLONG,
        errno.EMFILE,
        errno.EIO,
    )
}
_FAILED: Final = re.compile(rf"({'|'.join(map(re.escape, _NUMBERS))})")


@contextmanager
def tensorflow_writes(path: Path) -> Iterator[None]:
    """Makes an OSError on `path` of what TensorFlow raises where it cannot write there.

    Args:
        path: the folder that the user named: TensorFlow's own files have names that say nothing.

    Raises:
        OSError: the file system refused it.
    """
    try:
        yield
    except tf.errors.OpError as error:
        found = _FAILED.search(error.message or str(error))
        if found is None:
            raise
        number = _NUMBERS[found[1]]
        raise OSError(number, found[1], str(path)) from error


def reason(error: Exception) -> str:
    """What an error of TensorFlow says: its first line, without the place in the graph."""
    text = error.message if isinstance(error, tf.errors.OpError) and error.message else str(error)
    return (text.splitlines() or [type(error).__name__])[0].rpartition("}} ")[2]
