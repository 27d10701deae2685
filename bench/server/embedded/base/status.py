"""TensorFlow's errors: a canonical code and a message, and the HTTP status of each code."""

import functools
from collections.abc import Callable
from enum import IntEnum
from typing import Final, ParamSpec, Self, TypeVar

from bench.core.errors import BenchError
from bench.server.embedded.base.log import log_fault

P = ParamSpec("P")
T = TypeVar("T")


class Code(IntEnum):
    """TensorFlow's canonical status codes (`error_codes.proto`), which are gRPC's too."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# HTTP status by code, everything else 500 (Serving's http_server.cc).
_HTTP: Final = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}


class StatusError(Exception):
    """The error of a request; each endpoint converts it to its own form.

    Args:
        code: any code but OK.
        message: str, or bytes where it repeats a client's bytes.
    """

    def __init__(self, code: Code, message: str | bytes) -> None:
        super().__init__(code, message)
        self.code = code
        self.raw = message if isinstance(message, bytes) else message.encode(errors="surrogateescape")

    @property
    def message(self) -> str:
        """The message as text; bytes that are not UTF-8 become U+FFFD."""
        return self.raw.decode(errors="replace")

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"

    def bare(self) -> "StatusError":
        """The same error without its traceback: the frames there hold a whole request, and whoever keeps the error."""
        return StatusError(self.code, self.raw)

    @property
    def described(self) -> bytes:
        """`CODE: message`, as Status::ToString writes it."""
        return self.code.name.encode() + b": " + self.raw


class StartError(BenchError):
    """The server cannot start.

    Args:
        message: one line for the user.
        status: the error of tensorflow_model_server, if it ends for the same reason.
    """

    def __init__(self, message: str, status: StatusError | None = None) -> None:
        super().__init__(message)
        self.status = status


def invalid_argument(message: str | bytes) -> StatusError:
    """An INVALID_ARGUMENT error."""
    return StatusError(Code.INVALID_ARGUMENT, message)


def http_status(code: Code) -> int:
    """The HTTP status of an answer with this code."""
    return _HTTP.get(code, 500)


class PrintedFaults:
    """A context that ends an exception in it: its traceback goes to stderr, and the thread goes on.

    For threads that all clients need, which the fault of one request or model must not end.

    Attributes:
        occurred: whether there was one.
    """

    occurred = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        self.occurred = isinstance(error, Exception)
        if error is not None and self.occurred:
            log_fault(error)
        return self.occurred


def faults_are_internal(function: Callable[P, T]) -> Callable[P, T]:
    """Converts a fault of the server itself to an INTERNAL error, so that only one request fails.

    The traceback goes to stderr.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except StatusError:
            raise
        except Exception as error:
            log_fault(error)
            text = f"the server failed on this request: {type(error).__name__}"
            raise StatusError(Code.INTERNAL, text) from error

    return guarded
