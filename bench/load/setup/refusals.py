"""Why a test cannot start, or ends, in one line."""

from typing import Final

from bench.core.errors import BenchError, UsageError, in_words, no_memory, printable

REFUSALS: Final = (BenchError, OSError, MemoryError)
"""What a user can act on; any other exception is a fault of the program, which is logged with its traceback too."""


def refusal(error: Exception) -> BenchError | OSError:
    """The error that the user is told for an exception."""
    if isinstance(error, MemoryError):
        return no_memory("the run")
    if isinstance(error, BenchError | OSError):
        return error
    return UsageError(f"the run cannot be made ({type(error).__name__}: {printable(in_words(error))}); report this")
