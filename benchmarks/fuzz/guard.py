"""What one reading of a mutated file may do: raise the project's one-line error, in bounded time and memory, at home.

`Guard` limits time and memory, and watches a folder beside the fuzzed one that nothing may open or write to.
"""

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final

from bench.core.errors import BenchError, one_line

SECONDS: Final = 20.0
"""For one file, on a busy machine; a reading that grows without bound takes far longer."""
MEMORY: Final = 3 << 30
"""Address space beyond what the process had at the start."""
_EVENT: Final = struct.Struct("iIII")
_IN_ANY: Final = 0x20 | 0x2 | 0x100 | 0x200  # opened, modified, created, deleted


class TooSlow(BaseException):
    """A reading took longer than `SECONDS`."""


class Fault(Exception):
    """What a reading must not do; the text says what it did."""


class Guard:
    """Limits on this process while a file is read.

    Args:
        secret: a folder that nothing may look into.
        refusals: further kinds of errors by which a reader refuses.
    """

    def __init__(self, secret: Path, refusals: tuple[type[Exception], ...] = ()) -> None:
        self._refusals = refusals
        secret.mkdir(parents=True, exist_ok=True)
        (secret / "secret").write_text("secret")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._watch = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._watch < 0 or self._libc.inotify_add_watch(self._watch, os.fsencode(secret), _IN_ANY) < 0:
            raise OSError(ctypes.get_errno(), "inotify does not work here")

    def close(self) -> None:
        os.close(self._watch)

    def refuses(self, read: Callable[[], object]) -> tuple[bool, object]:
        """Whether `read` refuses, and what it gave or said.

        Raises:
            Fault: it raised another kind of error, or one of several lines, took too long or looked outside.
        """
        refused, found = self._outcome(read)
        if seen := self._seen():
            raise Fault(f"looked into a folder outside: {seen}")
        if refused and not (isinstance(found, str) and found and found.isprintable()):
            raise Fault(f"not one printable line: {str(found)[:200]!r}")
        return refused, found

    def _outcome(self, read: Callable[[], object]) -> tuple[bool, object]:
        try:
            with limited(), warnings.catch_warnings():
                # What numpy prints about figures that no run has.
                warnings.simplefilter("error", RuntimeWarning)
                return False, read()
        except KeyboardInterrupt:
            raise
        except TooSlow as error:
            raise Fault(f"took more than {SECONDS:g} s") from error
        except (BenchError, OSError) as error:
            return True, one_line(error)
        except BaseException as error:
            # A panic in a library that is written in Rust is no Exception.
            if isinstance(error, self._refusals):
                return True, str(error)
            text = " ".join(str(error).split())[:160]
            raise Fault(f"{type(error).__name__}: {text}{_place(error)}") from error

    def _seen(self) -> list[str]:
        try:
            data = os.read(self._watch, 1 << 16)
        except BlockingIOError:
            return []
        names, at = [], 0
        while at < len(data):
            _, _, _, size = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            names.append(data[at : at + size].rstrip(b"\0").decode(errors="replace"))
            at += size
        return names


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Ends what takes more than `SECONDS`, and refuses memory beyond `MEMORY`."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow

    before, limits = signal.signal(signal.SIGALRM, ring), resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _place(error: BaseException) -> str:
    """The innermost line of the project in a traceback."""
    found, trace = "", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if f"{os.sep}bench{os.sep}" in name:
            found = f" at {name.partition(f'{os.sep}bench{os.sep}')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def quiet_standard_error() -> None:
    """Keeps what C++ libraries print about broken files off the terminal."""
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
