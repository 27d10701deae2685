"""The head of the JSON documents that commands print, and the document of an error.

Format history, of all documents without a number of their own:
    1: first.

Within a format fields are added only. Sizes are bytes, times seconds, rates requests a second and shares fractions,
unless a field says otherwise. What is unknown is null, and never NaN or an infinite number.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from bench.core.errors import ExitCode

Kind = Literal["wrong_answer", "usage", "inconclusive", "target_failed", "interrupted"]

_KINDS: Final[dict[int, Kind]] = {
    ExitCode.REGRESSION: "wrong_answer",
    ExitCode.USAGE: "usage",
    ExitCode.INCONCLUSIVE: "inconclusive",
    ExitCode.TARGET_FAILED: "target_failed",
}


def kind_of(exit_code: int) -> Kind:
    """The kind of error that an exit code stands for."""
    return _KINDS.get(exit_code, "interrupted")


class Event(Struct, frozen=True, kw_only=True):
    """A line of a stream of JSON Lines; the last line is a `Document`."""

    format: Annotated[int, Meta(description="version of this kind of document")] = 1
    command: Annotated[str, Meta(description="the command and its action, such as `gate calibrate`")]


class Document(Event, frozen=True, kw_only=True):
    """A document that a command prints at its end."""

    exit_code: Annotated[int, Meta(description="exit code of the command")] = 0
    message: Annotated[str | None, Meta(description="line on standard error that goes with the exit code")] = None


class Failure(Struct, frozen=True, kw_only=True):
    """Why a command has no result."""

    kind: Annotated[Kind, Meta(description="what failed; it follows from the exit code")]
    text: Annotated[str, Meta(description="what went wrong, and what to do")]


class ErrorDocument(Document, frozen=True, kw_only=True):
    """What a command prints instead of a result, whatever the command."""

    error: Failure
