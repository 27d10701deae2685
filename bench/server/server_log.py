"""A server's log: why the server ended, and why a model does not load, each on one line."""

import re
from pathlib import Path
from typing import IO, Final

_MOST_BYTES: Final = 1 << 20
_MOST_CHARACTERS: Final = 400
# tensorflow_model_server retries a model that does not load once a minute, and opens its ports only after a success
# (retrier.cc, server_core.cc); bench/server/embedded/models/model.py does the same.
_LOAD_FAILURES: Final = (
    re.compile(r"Loading servable: \{name: (?P<name>\S+) version: \d+\} failed: (?P<reason>.*)"),
    re.compile(r"model '(?P<name>[^']*)' version \d+ failed to load, (?:no )?attempt[^:]*: (?P<reason>.*)"),
)
_NO_MODEL: Final = re.compile(r"(?:Could not find base path|No versions of servable) .*")
_UNKNOWN_FLAG: Final = re.compile(r"^unknown argument: (.*)", re.MULTILINE)
_TELLING: Final = re.compile(
    r"error|fail|unknown|unrecogni[sz]ed|invalid|illegal|cannot|could not|can't|not found|no such|denied|refused|abort|"
    r"exception|fatal|not supported",
    re.IGNORECASE,
)
# `2024-05-01 12:00:00.123456: E tensorflow_serving/util/retrier.cc:37] `
_STAMP: Final = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] \S+:\d+\] ")
_NOISE: Final = re.compile(r"cuda|cuDNN|cuFFT|cuBLAS|TensorRT|oneDNN|AVX|rebuild TensorFlow", re.IGNORECASE)
_USAGE: Final = re.compile(r"^\s+--?\w|^(usage|flags):", re.IGNORECASE)
_NODE: Final = re.compile(r"\s*\[\[\{\{node .*?\}\}\]\]")


def read_log(stream: IO[bytes]) -> str:
    """The end of a server's log, at most 1 MiB."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - _MOST_BYTES))
    return stream.read().decode(errors="replace")


def load_failure(text: str, model: str) -> str | None:
    """Why the server did not load `model`; None if the log has no such failure."""
    for line in reversed(text.splitlines()):
        for pattern in _LOAD_FAILURES:
            if (found := pattern.search(line)) and found["name"] == model:
                return _short(found["reason"])
    return None


def not_loaded(model: str, model_dir: Path, reason: str) -> str:
    """The message for a model that does not load."""
    return f"model {model!r} of {model_dir} does not load: {reason}; export it again, or give another folder"


def no_model(text: str) -> str | None:
    """The server's last message about a folder without a model; None if there is none."""
    found = _NO_MODEL.findall(text)
    return _short(found[-1]) if found else None


def unknown_flag(text: str) -> str | None:
    """That the server does not know a flag; None if it has not said so. The binary goes on without it (main.cc)."""
    found = _UNKNOWN_FLAG.search(text)
    return f"it does not know the flag {_short(found[1])}; correct it (the form is --name=value)" if found else None


def last_words(text: str) -> str:
    """The line that best explains why a server ended: the last one about an error, else the last one."""
    lines = [line for line in text.splitlines() if line.strip() and not (_USAGE.match(line) or _NOISE.search(line))]
    telling = [line for line in lines if _TELLING.search(line)]
    return _short((telling or lines or ["no output"])[-1])


def see_log(log: Path | None) -> str:
    """Points to the log file, to follow a message; empty without one."""
    return f"; see {log}" if log else ""


def _short(line: str) -> str:
    """One line without time stamp and node names."""
    words = " ".join(_NODE.sub("", _STAMP.sub("", line.strip())).split())
    return words if len(words) <= _MOST_CHARACTERS else words[: _MOST_CHARACTERS - 1] + "…"
