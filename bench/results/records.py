"""The request record: one row a request, its columns and their units.

Times are seconds since the run began, on the run's own monotonic clock. Absent is null (NaN inside numpy), never 0.
`latency = done - due`, `service_time = done - sent`. Every due request ends in exactly one outcome.
"""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a due request ended."""

    OK = "ok"
    WRONG_ANSWER = "wrong_answer"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    REJECTED = "rejected"
    INVALID_RESPONSE = "invalid_response"
    DROPPED = "dropped"


class WrongKind(StrEnum):
    """In which way an answer is wrong."""

    DRIFT = "drift"
    SWAP = "swap"
    TRUNCATED = "truncated"
    SHAPE = "shape"
    NOT_FINITE = "not_finite"


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request.

    Args:
        due: when it was due. In closed loop this is when its user was free to send it.
        sent: when its first byte was handed to the transport; None if it never went.
        done: when its answer was complete, or the failure known; None if it never went.
        outcome: how it ended.
        wrong_kind: set exactly if the outcome is `wrong_answer`.
        checked: whether the answer was compared with the golden one.
        protocol: `rest` or `grpc`.
        signature: the signature asked for.
        sentence: index of its first sentence in the golden file.
        sentences: sentences in the request.
        words: words scored (for the article's signature, rows).
        rows: batch rows as the server sees them.
        tokens: WordPieces, special tokens and padding left out.
        bytes_out: request body or message, bytes.
        bytes_in: answer body or message, bytes; None if none came.
        build: seconds spent building the request after it was due to be sent.
        parse: seconds spent parsing and checking the answer; after `done`.
        version: model version that answered, where the protocol tells.
        worker: index of the load-generating process.
        warmup: whether the request belongs to the warm-up, which no summary counts.
    """

    due: float
    sent: float | None
    done: float | None
    outcome: Outcome
    wrong_kind: WrongKind | None
    checked: bool
    protocol: str
    signature: str
    sentence: int
    sentences: int
    words: int
    rows: int
    tokens: int
    bytes_out: int | None
    bytes_in: int | None
    build: float | None
    parse: float | None
    version: int | None
    worker: int
    warmup: bool

    def __post_init__(self) -> None:
        if (self.outcome is Outcome.WRONG_ANSWER) != (self.wrong_kind is not None):
            raise ValueError("wrong_kind belongs to wrong_answer, and only to it")
        if (self.outcome is Outcome.DROPPED) != (self.sent is None):
            raise ValueError("a dropped request was never sent, and only such a one")
