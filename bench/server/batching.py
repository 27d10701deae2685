"""The batching of a model server, as its flags configure it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.server.embedded.config.model_config import BatchingParameters


def batching_of(flags: Sequence[str]) -> "BatchingParameters | None":
    """The batching parameters of a server that is started with `flags`; None if it does not batch.

    Raises:
        BenchError: the batching parameters file cannot be read, or its values contradict each other.
    """
    values = _values(flags)
    if values.get("enable_batching", "false").lower() not in ("", "true", "1"):
        return None
    # Here and not above: the parser of the file is TensorFlow's.
    from bench.server.embedded.config.model_config import read_batching_parameters

    path = values.get("batching_parameters_file")
    return read_batching_parameters(Path(path) if path else None)


def _values(flags: Sequence[str]) -> dict[str, str]:
    """The flags' values by their names; one without `=` may have its value in the next word."""
    found: dict[str, str] = {}
    waiting = ""
    for word in flags:
        if waiting and not word.startswith("-"):
            found[waiting], waiting = word, ""
            continue
        name, equals, found[name] = word.lstrip("-").partition("=")
        waiting = "" if equals else name
    return found
