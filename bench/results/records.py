"""The request record: one row per request, its columns and their units.

Times are seconds since the run began, on the run's own monotonic clock. Absent is null (NaN inside numpy), never 0.
`latency = done - due`, `service_time = done - sent`. Every due request ends in exactly one outcome.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple


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
    """The kind of a wrong answer."""

    DRIFT = "drift"
    SWAP = "swap"
    TRUNCATED = "truncated"
    SHAPE = "shape"
    NOT_FINITE = "not_finite"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the request records.

    Args:
        unit: `s`, `B`, or "" for a number without one, a name or a flag.
        meaning: for people.
    """

    unit: str
    meaning: str


COLUMNS: Final[Mapping[str, Column]] = {
    "due": Column("s", "when it was due; in closed loop: when its user could send it"),
    "sent": Column("s", "when its first byte was passed to the transport; absent if it was never sent"),
    "done": Column("s", "when its response was complete, or the failure known; absent if it was never sent"),
    "outcome": Column("", "how it ended: " + ", ".join(Outcome)),
    "wrong_kind": Column("", f"{', '.join(WrongKind)}; set exactly if the outcome is {Outcome.WRONG_ANSWER}"),
    "checked": Column("", "whether the answer was compared with the golden one"),
    "protocol": Column("", "rest or grpc"),
    "signature": Column("", "the signature of the request"),
    "sentence": Column("", "index of its first sentence in the golden file"),
    "sentences": Column("", "sentences in the request"),
    "words": Column("", "words scored; for the article's signature, rows"),
    "rows": Column("", "batch rows as the server sees them"),
    "tokens": Column("", "WordPieces, without special tokens and padding"),
    "bytes_out": Column("B", "size of the request's body or message"),
    "bytes_in": Column("B", "size of the response's body or message; absent without a response"),
    "build": Column("s", "time spent building the request after it was due to be sent"),
    "parse": Column("s", "time spent parsing and checking the answer, after done"),
    "version": Column("", "model version of the response; absent where the protocol has none"),
    "worker": Column("", "index of the load-generating process"),
    "warmup": Column("", "whether the request belongs to the warm-up, which metrics exclude"),
}
"""The fields of `RequestRecord` by name, in order: units and meanings. Times are seconds since the run began."""


class RequestShape(NamedTuple):
    """What all records of a prepared request have in common; the fields are those of `RequestRecord`."""

    protocol: str
    signature: str
    sentence: int
    sentences: int
    words: int
    rows: int
    tokens: int
    bytes_out: int | None


class Ended(NamedTuple):
    """The result of a request that was prepared before the run; the fields are those of `RequestRecord`.

    Its answer was checked exactly if `parse` is given.
    """

    due: float
    sent: float | None
    done: float | None
    outcome: Outcome
    wrong_kind: WrongKind | None = None
    bytes_in: int | None = None
    parse: float | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request; `COLUMNS` has the meaning and the unit of each field. An absent value is None."""

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
            raise ValueError("wrong_kind must be set exactly if the outcome is wrong_answer")
        if (self.outcome is Outcome.DROPPED) != (self.sent is None):
            raise ValueError("sent must be absent exactly if the outcome is dropped")
