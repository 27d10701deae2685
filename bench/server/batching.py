"""The batching of a model server, as its flags configure it."""

from collections.abc import Sequence
from pathlib import Path

from bench.server.embedded.config.model_config import BatchingParameters, read_batching_parameters

__all__ = ["BatchingParameters", "batching_of"]


def batching_of(flags: Sequence[str]) -> BatchingParameters | None:
    """The batching parameters of a server that is started with `flags`; None if it does not batch.

    Raises:
        BenchError: the batching parameters file cannot be read, or its values contradict each other.
    """
    values = dict(flag.lstrip("-").partition("=")[::2] for flag in flags)
    if values.get("enable_batching", "false").lower() not in ("", "true", "1"):
        return None
    path = values.get("batching_parameters_file")
    return read_batching_parameters(Path(path) if path else None)
