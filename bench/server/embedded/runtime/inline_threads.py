"""The threads that may run models themselves.

TensorFlow keeps oneDNN's operations, ready to run, for each shape and in each thread that has run it, up to 1,024 of a
kind. With every thread of both endpoints the memory would grow for hours, until each had seen every shape.
"""

import itertools
import threading
from collections.abc import Callable

_local = threading.local()


def allow_inline_runs() -> None:
    """Allows the calling thread to run models itself."""
    _local.allowed = True


def inline_runs_allowed() -> bool:
    """Whether the calling thread may run models itself; others leave that to the session's threads."""
    return getattr(_local, "allowed", False)


def allow_first(count: int) -> Callable[[], None]:
    """A function that allows it to the first `count` threads that call it."""
    numbers = itertools.count()

    def allow() -> None:
        if next(numbers) < count:
            allow_inline_runs()

    return allow
