"""How the server makes batches: from its flags, or as text."""

from collections.abc import Sequence

from bench.bert.contract.golden import Golden
from bench.bert.contract.masked_requests import COMPACT_SIGNATURE
from bench.capacity.queue.queue_model import Batching
from bench.core.errors import UsageError, with_example
from bench.core.units import parse_duration_or_zero, parse_whole
from bench.server.batching import batching_of

EXAMPLE = "largest=16,timeout=1ms,threads=2"
_INITIAL_MARGINAL = 0.5


def resolve_batching(text: str, flags: Sequence[str], rows: float) -> str:
    """The batching of a server as `off` or `largest=...,timeout=...,threads=...`.

    Args:
        text: one of these two forms, or `auto` to read the flags.
        flags: the flags that the server is started with.
        rows: mean number of rows of a request; the server limits the rows of a batch.

    Raises:
        BenchError: malformed text, or a batching parameters file that cannot be read.
    """
    if text != "auto":
        read_batching(text)
        return text
    found = batching_of(flags)
    if found is None:
        return "off"
    largest = max(1, int(found.batch_limit / rows))
    return f"largest={largest},timeout={found.batch_timeout:g}s,threads={found.num_batch_threads}"


def read_batching(text: str) -> tuple[Batching | None, int]:
    """(batching, number of batch threads) of a text from `resolve_batching`; (None, 1) for `off`.

    Raises:
        UsageError: malformed text.
    """
    if text == "off":
        return None, 1
    found = dict(part.partition("=")[::2] for part in text.split(","))
    if found.keys() != {"largest", "timeout", "threads"}:
        raise UsageError(f"{text!r} does not describe batching; write it like {EXAMPLE}, or off")
    try:
        timeout = parse_duration_or_zero(found["timeout"])
        largest, threads = parse_whole(found["largest"], 1, 1_000_000), parse_whole(found["threads"], 1, 64)
    except UsageError as error:
        raise UsageError(f"{text!r} does not describe batching: {with_example(error, EXAMPLE)}") from None
    return Batching(largest, timeout, _INITIAL_MARGINAL), threads


def rows_per_request(golden: Golden, signature: str, sentences: int) -> float:
    """Mean number of rows of a request: sentences for the compact signature, words for the article's."""
    if signature == COMPACT_SIGNATURE:
        return sentences
    return sentences * sum(entry.sentence.num_words for entry in golden.sentences) / len(golden.sentences)
