"""The server's log: lines on standard error, which may be closed or on a full disk; what it does not take is dropped.

No thread may end, and no version may stay LOADING, since nobody reads the log.
"""

import contextlib
import re
import sys
import traceback
from typing import Final, TextIO

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Characters; a client may send a name or a path of megabytes.
_LONGEST_LINE: Final = 8192


def log(line: str) -> None:
    """Writes a line to stderr in one call, so that lines of several threads do not mix.

    Control characters, which a client may put into a path, are escaped, and a very long line is cut.
    """
    write_text(sys.stderr, f"{_printable(line)}\n")


def log_fault(error: BaseException) -> None:
    """Writes the traceback of a fault of the server itself, in one call."""
    lines = "".join(traceback.format_exception(error)).rstrip("\n").split("\n")
    write_text(sys.stderr, "".join(f"{_printable(line)}\n" for line in lines))


def write_text(stream: TextIO | None, text: str) -> None:
    """Writes to one of the process's streams at once; what cannot be written is dropped.

    Args:
        stream: None for one that was closed when the process started.
        text: whole lines, or nothing for what is still in the stream.
    """
    # A ValueError is a stream that was closed since, or cannot hold a character.
    with contextlib.suppress(OSError, ValueError):
        if stream is not None:
            stream.write(text)
            stream.flush()


def _printable(line: str) -> str:
    cut = line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], cut)
