"""The root of the project's exceptions, and their exit codes.

    BenchError
    ├── UsageError          exit 2: bad input or options
    ├── WrongAnswerError    exit 1: an answer differs from the Estimator's
    ├── InconclusiveError   exit 3: no verdict can be given
    └── TargetError         exit 4: the target failed or does not answer
        └── bench.serving.errors.ServingError and below

A message is one line: what went wrong, then what to do next.
"""

import contextlib
import difflib
import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    REGRESSION = 1
    USAGE = 2
    INCONCLUSIVE = 3
    TARGET_FAILED = 4


class BenchError(Exception):
    """An error that a user can act on; `str(error)` is the one line printed on stderr."""

    exit_code = ExitCode.USAGE


class UsageError(BenchError):
    """Bad input or options."""


class WrongAnswerError(BenchError):
    """Answers that differ from those of the in-process Estimator."""

    exit_code = ExitCode.REGRESSION


class InconclusiveError(BenchError):
    """The data do not allow a verdict."""

    exit_code = ExitCode.INCONCLUSIVE


class TargetError(BenchError):
    """The system under test failed or does not answer."""

    exit_code = ExitCode.TARGET_FAILED


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the known word nearest to `word`, or nothing where none is near."""
    near = difflib.get_close_matches(word.lower(), list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


_SAME_OPTIONS: Final = (
    ("--host", "--target"),
    ("--results", "--out"),
    ("--run-time", "-t", "--duration", "--step-time"),
    ("--users", "-u", "--max-users"),
)
"""What Locust and the commands call the same option."""


def did_you_mean_option(option: str, known: Iterable[str]) -> str:
    """The same for an unknown option; one that has another name in another command is known by that."""
    names = list(known)
    for same in _SAME_OPTIONS:
        if option in same:
            here = next((name for name in same if name in names), None)
            return f"; did you mean {here}?" if here else ""
    # One letter is near to everything, and the dashes of any two options are alike.
    letters, bare = option.lstrip("-"), {name.lstrip("-"): name for name in names if name.startswith("--")}
    near = difflib.get_close_matches(letters.lower(), bare, 1) if len(letters) > 1 else []
    return f"; did you mean {bare[near[0]]}?" if near else ""


def with_example(error: BenchError, example: str) -> str:
    """The message about a part of a value, with one cure: how to write the whole, unless it has another.

    Args:
        error: how to write the part says less than `example`, and is left out.
        example: the whole value.
    """
    fault, _, cure = str(error).partition("; ")
    return f"{fault}; {cure if cure and not cure.startswith('write ') else f'write it like {example}'}"


@contextlib.contextmanager
def naming(path: object) -> Iterator[None]:
    """Adds the file's name to an OSError without one, such as that of an open stream."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def one_line(error: BenchError | OSError) -> str:
    """The message for the user: that of a BenchError with its notes; of an OSError the file, what is wrong, what to do.

    One line without control characters, whatever texts of files, servers and paths are in it, and of a length that can
    be read: what is wrong stands at its start, what to do at its end.
    """
    text = _message(error)
    return _escaped(text if len(text) <= _MOST_LINE else f"{text[: _MOST_LINE // 2]} … {text[-_MOST_LINE // 2 :]}")


def _escaped(text: str) -> str:
    """`text` in one line; white space is a blank, and what a terminal may act on is escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text.strip())


def _escape(char: str) -> str:
    return " " if char.isspace() else char.encode("unicode_escape").decode("ascii")


def line_of_error(error: BenchError | OSError) -> str:
    """The line on standard error about an error that ends a command."""
    return f"bertbench: {one_line(error)}"


def _message(error: BenchError | OSError) -> str:
    text = str(error) if isinstance(error, BenchError) else _system_message(error)
    return "; ".join((text, *getattr(error, "__notes__", ())))


def _system_message(error: OSError) -> str:
    if "No usable temporary directory" in str(error):
        return "no temporary folder can be written; set TMPDIR to one that can"
    number, name = error.errno or 0, error.filename2 or error.filename
    if isinstance(error, shutil.Error) and error.args and error.args[0]:
        # Of a copied folder: (source, copy, text) of each file.
        _, name, text = error.args[0][0]
        number = int(found[1]) if (found := re.match(r"\[Errno (\d+)\]", str(text))) else 0
    reason, cure = _OS_ERRORS.get(number) or (_system_words(error), "check it and try again")
    shown = os.fsdecode(name).removesuffix(".tmp") if isinstance(name, str | bytes) else "the output"
    return f"cannot {'write' if number in _WRITING else 'open'} {shown}: {reason}; {cure}"


def reason_of(error: OSError) -> str:
    """What is wrong, in plain words: `permission denied`."""
    if any(cls.__module__ == "ssl" for cls in type(error).__mro__):
        # Its numbers are not those of the system.
        return tls_words(str(error.strerror or error))
    return _OS_ERRORS[error.errno][0] if error.errno in _OS_ERRORS else _system_words(error)


def tls_words(text: str) -> str:
    """The text of a TLS error without the names and lines of Python's module."""
    return _TLS_PLACE.sub("", " ".join(text.split()))


def in_words(error: Exception) -> str:
    """What is wrong, in one line, for a message that already names the file."""
    return reason_of(error) if isinstance(error, OSError) else " ".join(str(error).split()) or type(error).__name__


def printable(text: str, most: int = 160) -> str:
    """The start of an external text, in one line, without terminal control characters."""
    line = " ".join(text[: 4 * most].split())
    clean = "".join(char if char.isprintable() and char != "\ufffd" else "." for char in line)
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def no_memory(name: str) -> OSError:
    """What a MemoryError is for the user: an error of the system, whose line has the name of what needed the memory."""
    return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), name)


def exit_code_of(error: BenchError | OSError) -> ExitCode:
    """The exit code for an error."""
    return error.exit_code if isinstance(error, BenchError) else ExitCode.USAGE


def _system_words(error: OSError) -> str:
    words = " ".join((error.strerror or str(error) or type(error).__name__).split())
    return words[:1].lower() + words[1:]


_MOST_LINE: Final = 4000
_TLS_PLACE: Final = re.compile(r"^\[[^\]]*\] | \(_ssl\.c:\d+\)$")
_WRITING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.ETXTBSY, errno.EEXIST})
_FREE: Final = "free some, or name another place"
_OS_ERRORS: Final = {
    errno.ENOSPC: ("no space left on the device", _FREE),
    errno.EDQUOT: ("the disk quota is used up", _FREE),
    errno.EFBIG: ("the file grows larger than is allowed", "raise the limit (ulimit -f), or name another place"),
    errno.EROFS: ("the file system is read-only", "name another place"),
    errno.EACCES: ("permission denied", "check owner and mode, or name another place"),
    errno.EPERM: ("the operation is not permitted", "check owner and mode, or name another place"),
    errno.EISDIR: ("it is a folder", "name a file"),
    errno.ENOTDIR: ("a part of the path is not a folder", "check the path"),
    errno.EEXIST: ("there is a file of that name", "name another place"),
    errno.ENAMETOOLONG: ("the name is too long", "give a shorter one"),
    errno.ENOENT: ("the file or folder does not exist", "check the path"),
    errno.ELOOP: ("its symbolic links lead in a circle", "check the path"),
    errno.EMFILE: ("too many files are open in this process", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open on this machine", "close some programs"),
    errno.EIO: ("the device reports an error", "check the disk"),
    errno.ETXTBSY: ("it is a program that runs", "stop it first"),
    errno.ENOMEM: ("there is not enough memory", "close some programs"),
}
