"""Output to streams with a limited encoding, and to closed pipes."""

import codecs
import contextlib
import io
import locale
import os
import re
import select
from dataclasses import asdict, is_dataclass
from typing import Any, Final, TextIO

from bench.core import interrupts

with interrupts.held():
    # An exception during the import of orjson's native part crashes the process.
    import orjson

_LOOK_ALIKES: Final = str.maketrans(
    {
        "µ": "u",
        "Δ": "delta",
        "λ": "lambda",
        "σ": "sigma",
        "×": "x",
        "·": "*",
        "²": "^2",
        "…": "...",
        "–": "-",
        "—": "-",
        "−": "-",
        "→": "->",
        "≤": "<=",
        "≥": ">=",
        "±": "+-",
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "„": '"',
        "─": "-",
        "├": "|",
        "└": "`",
        "✅": "OK",
        "❌": "X",
        "⚠": "!",
        "\ufe0f": "",
        "\xa0": " ",
    }
)

ESCAPED: Final = "bertbench.escaped"
"""Error handler for data: `\\uXXXX`, as in JSON, for each character that the encoding lacks."""

LEGIBLE: Final = "bertbench.legible"
"""Error handler for text for people: similar characters (`u` for `µ`) where there are any, else as `ESCAPED`."""


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.end


def _legible(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        # A stream that is written may be read back, with what native libraries wrote into its file.
        return "".join(f"\\x{byte:02x}" for byte in error.object[error.start : error.end]), error.end
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_LOOK_ALIKES)
    return text.encode("ascii", ESCAPED).decode("ascii"), error.end


codecs.register_error(ESCAPED, _escaped)
codecs.register_error(LEGIBLE, _legible)


# What a terminal acts on, and what changes the order of letters: not line feed, tab, nor half surrogates of paths.
_CONTROLS: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")


def legible(text: str) -> str:
    """Text for people, with control characters escaped: files, servers and models may put any into it."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def without_controls(text: str) -> str:
    """Text without the characters that `legible` escapes."""
    return _CONTROLS.sub("", text)


class LegibleStream(io.TextIOBase):
    """A stream for text for people, see `legible`.

    Args:
        stream: receives the text.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def write(self, text: str) -> int:
        return self._stream.write(legible(text))

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def accept_all(stream: Any, errors: str = LEGIBLE) -> None:
    """Makes a text file accept every character, whatever its encoding; other streams are not changed."""
    if hasattr(stream, "reconfigure"):
        with contextlib.suppress(OSError, ValueError):
            stream.reconfigure(errors=errors)


def fit_locale(text: str) -> str:
    """`text` with characters that the locale's encoding lacks replaced, for files that others read in it."""
    encoding = locale.getpreferredencoding(False)
    return text.encode(encoding, LEGIBLE).decode(encoding)


def to_json(body: Any, option: int = 0) -> bytes:
    """`orjson.dumps` that also takes undecodable words of a command line: as UTF-8, or escaped."""
    try:
        return orjson.dumps(body, option=option)
    except TypeError:
        return orjson.dumps(_in_utf8(body), option=option)


def _in_utf8(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {_in_utf8(name): _in_utf8(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_in_utf8(entry) for entry in value]
    return unicode_text(value) if isinstance(value, str) else value


def unicode_text(text: str) -> str:
    """`text` with the undecodable bytes of a path or command line escaped, as in `\\xff`."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")
    return data.decode("utf-8", "backslashreplace")


def to_utf8(text: str) -> bytes:
    """The content of a text file, see `unicode_text`."""
    return unicode_text(text).encode()


def reader_left(stream: TextIO | None) -> bool:
    """Whether the stream is a pipe or socket whose reader has closed it, as `| head -1` does."""
    try:
        number = stream.fileno() if stream is not None else -1
    except (OSError, ValueError):
        return False
    if number < 0:
        return False
    poll = select.poll()
    poll.register(number, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def discard_rest(stream: TextIO | None) -> None:
    """Discards unwritten and all further output of the stream."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        assert stream is not None
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
