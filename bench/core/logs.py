"""The log of a command and of its child processes: what libraries and the suite itself log, on standard error."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Final, TextIO

FORMAT: Final = "%(levelname)s %(name)s: %(message)s"

_VARIABLE: Final = "BERTBENCH_CHILD_LOG_LEVEL"
"""The level of a process that a command starts; not for users."""


@contextlib.contextmanager
def logging_to(err: TextIO, level: int) -> Iterator[None]:
    """Logs from `level` on to `err`, one line a message: `WARNING urllib3.connectionpool: ...`."""
    root = logging.getLogger()
    handler = logging.StreamHandler(err)
    handler.setFormatter(logging.Formatter(FORMAT))
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield
    finally:
        root.setLevel(before)
        root.removeHandler(handler)


def child_log_environment() -> dict[str, str]:
    """The variable by which a child process logs as this one does, see `log_as_parent`."""
    return {_VARIABLE: str(logging.getLogger().level)}


def log_as_parent() -> None:
    """Logs to standard error from the parent's level on; without effect in a process without `_VARIABLE`."""
    if (level := os.environ.get(_VARIABLE, "")).isdigit():
        logging.basicConfig(format=FORMAT, level=int(level))
