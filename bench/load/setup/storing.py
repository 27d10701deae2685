"""What stores a run, loaded before the load begins: a run that could not be stored is not made."""

import contextlib
import errno
import gc
import importlib
import mmap
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

from bench.core.errors import UsageError, in_words, no_memory
from bench.core.extras import missing_extra

_ROOM: Final = 256 << 20
"""Bytes of address space that must be free: scipy's OpenBLAS, while it is loaded, asks for 32 MiB a thread until it has
them, without an end and deaf to signals."""


def load_storing(*modules: str) -> None:
    """Loads modules, and keeps the garbage collector from ever looking at them while requests are sent.

    Raises:
        UsageError: one cannot be loaded, for lack of memory or of a package.
    """
    try:
        if not sys.modules.keys() >= set(modules):
            mmap.mmap(-1, _ROOM).close()
        with _no_processes():
            for module in modules:
                importlib.import_module(module)
    except (ImportError, MemoryError, OSError) as error:
        missing = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
        raise missing or UsageError(
            f"what stores a run cannot be loaded ({_reason(error)}); give it more memory (ulimit -v), or check the "
            "installation"
        ) from error
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _no_processes() -> Iterator[None]:
    """Keeps libraries from starting processes while they are loaded.

    numpy.testing, which scipy loads, asks lscpu for what only numpy's own tests need. Forked beside greenlets, the
    child may go on as the process that it was forked from, and never end.
    """

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EPERM, "no process is started while a library is loaded")

    run = subprocess.run
    subprocess.run = refuse
    try:
        yield
    finally:
        subprocess.run = run


def _reason(error: Exception) -> str:
    return in_words(no_memory("") if isinstance(error, MemoryError) else error)
