"""All requests of a run as bytes, built from the golden file before it begins, without a tokenizer."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.bert.contract.golden import Golden
from bench.bert.contract.masked_requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE, FixedShape, score_request
from bench.core.errors import UsageError
from bench.serving.json_codec import predict_body
from bench.serving.predict_messages import predict_bytes
from bench.workload.workload import Workload

_LEAST_RESPONSE: Final = 1_000_000
_REQUESTS: Final = 16
# No JSON and no message of ours begins so.
_GZIP_MAGIC: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Payload:
    """One request, ready to send.

    Args:
        index: its index among the payloads, which is that of its first sentence in the golden file.
        rest: its REST body; b"" if REST is not used.
        grpc: its gRPC message; b"" if gRPC is not used.
        sentences: sentences in it.
        words: words that it scores.
        rows: rows of the batch that the server sees.
        tokens: WordPieces, without special tokens and padding.
    """

    index: int
    rest: bytes
    grpc: bytes
    sentences: int
    words: int
    rows: int
    tokens: int


def request_sentences(golden: Golden, sentences: int) -> list[tuple[int, ...]]:
    """For each request the indexes of its sentences: that many in the golden file's order, wrapping around."""
    count = len(golden.sentences)
    return [tuple((first + offset) % count for offset in range(sentences)) for first in range(count)]


def largest_response(payloads: Sequence[Payload]) -> int:
    """The default limit of a response, bytes.

    A correct response has less than four times the bytes of its request, both without compression; a server may pad it
    to the longest request of a batch. Many users may read such a response at the same time.
    """
    largest = max((_plain_size(body) for payload in payloads for body in (payload.rest, payload.grpc)), default=0)
    return max(_LEAST_RESPONSE, _REQUESTS * largest)


def _plain_size(body: bytes) -> int:
    """Bytes of a request before its compression, with which a gzip member ends (RFC 1952, section 2.3.1)."""
    return int.from_bytes(body[-4:], "little") if body.startswith(_GZIP_MAGIC) else len(body)


def padding(golden: Golden, workload: Workload) -> FixedShape | None:
    """The shape that requests are padded to; None for no padding.

    Raises:
        UsageError: the export does not have the workload's signature or padding.
    """
    if golden.fixed:
        if workload.signature != ARTICLE_SIGNATURE:
            raise UsageError(f"this export has fixed shapes and only {ARTICLE_SIGNATURE}; give --signature")
        return golden.fixed.shape
    if not workload.padded:
        return None
    if workload.signature == COMPACT_SIGNATURE:
        raise UsageError(f"{COMPACT_SIGNATURE} takes no padding; drop --padded or take --signature {ARTICLE_SIGNATURE}")
    return FixedShape()


def build_payloads(golden: Golden, workload: Workload, protocols: Sequence[str]) -> list[Payload]:
    """All requests of a workload, one for each first sentence.

    Args:
        golden: sentences, already tokenized.
        workload: signature, model, sentences a request, padding, compression.
        protocols: `rest`, `grpc` or both.

    Raises:
        UsageError: the golden file has no sentences, or one without words, or the padding does not fit.
    """
    if not golden.sentences or not all(entry.sentence.num_words for entry in golden.sentences):
        raise UsageError("the golden file has no sentences, or one without words; export with --sentences FILE.tsv")
    shape = padding(golden, workload)
    return [
        _payload(golden, workload, protocols, shape, index, chosen)
        for index, chosen in enumerate(request_sentences(golden, workload.sentences))
    ]


def _payload(
    golden: Golden,
    workload: Workload,
    protocols: Sequence[str],
    shape: FixedShape | None,
    index: int,
    chosen: Sequence[int],
) -> Payload:
    sentences = [golden.sentences[entry].sentence for entry in chosen]
    try:
        request = score_request(sentences, golden.special, workload.signature, shape, workload.model_name)
    except ValueError as error:
        raise UsageError(f"sentence {index + 1} of the golden file cannot be padded: {error}") from error
    words = sum(sentence.num_words for sentence in sentences)
    rest = predict_body(request) if "rest" in protocols else b""
    return Payload(
        index=index,
        rest=gzip.compress(rest, mtime=0) if rest and workload.compressed else rest,
        grpc=predict_bytes(request) if "grpc" in protocols else b"",
        sentences=len(sentences),
        words=words,
        rows=len(sentences) if workload.signature == COMPACT_SIGNATURE else words,
        tokens=sum(sentence.num_pieces for sentence in sentences),
    )
