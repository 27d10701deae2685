"""How the server makes batches: read from its own flags, or told."""

from collections.abc import Sequence
from pathlib import Path

from bench.bert.contract.golden import Golden
from bench.bert.contract.requests import COMPACT_SIGNATURE
from bench.capacity.queue.queue_model import Batching
from bench.core.errors import UsageError
from bench.core.units import parse_duration_or_zero, parse_whole
from bench.server.embedded.config.model_config import BatchingParameters, read_batching_parameters

EXAMPLE = "largest=16,timeout=1ms,threads=2"
_MARGINAL = 0.5


def batching_text(text: str, flags: Sequence[str], rows: float) -> str:
    """What `--batching TEXT` means for a server of these flags: `off` or `largest=...,timeout=...,threads=...`.

    Args:
        text: `auto`, `off`, or the parameters.
        flags: the flags that the server is started with.
        rows: rows of a request, on average: a batch's size counts rows.

    Raises:
        UsageError: no such parameters, or a file of parameters that cannot be read.
    """
    if text == "auto":
        found = _from_flags(flags)
        if found is None:
            return "off"
        largest = max(1, int(found.batch_limit / rows))
        return f"largest={largest},timeout={found.batch_timeout:g}s,threads={found.num_batch_threads}"
    read_batching(text)
    return text


def read_batching(text: str) -> tuple[Batching | None, int]:
    """The batches that a text of `batching_text` describes, None for `off`, and the number of batch threads.

    Raises:
        UsageError: no such parameters.
    """
    if text == "off":
        return None, 1
    found = dict(part.partition("=")[::2] for part in text.split(","))
    if found.keys() != {"largest", "timeout", "threads"}:
        raise UsageError(f"{text!r} does not describe batching; write it like {EXAMPLE}, or off")
    timeout = parse_duration_or_zero(found["timeout"])
    try:
        largest, threads = parse_whole(found["largest"], 1, 1_000_000), parse_whole(found["threads"], 1, 64)
    except UsageError as error:
        raise UsageError(f"{text!r} does not describe batching ({error}); write it like {EXAMPLE}") from None
    return Batching(largest, timeout, _MARGINAL), threads


def rows_of(golden: Golden, signature: str, sentences: int) -> float:
    """Rows of a request, on average: sentences for the compact signature, words for the article's."""
    if signature == COMPACT_SIGNATURE:
        return sentences
    return sentences * sum(entry.sentence.num_words for entry in golden.sentences) / len(golden.sentences)


def _from_flags(flags: Sequence[str]) -> BatchingParameters | None:
    """Parameters of a server that is started with `flags`; None if it makes no batches."""
    values = dict(flag.lstrip("-").partition("=")[::2] for flag in flags)
    if values.get("enable_batching", "false").lower() not in ("", "true", "1"):
        return None
    path = values.get("batching_parameters_file")
    return read_batching_parameters(Path(path) if path else None)
