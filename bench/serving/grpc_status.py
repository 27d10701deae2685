"""The ServingError of each gRPC status code. Loads nothing of grpcio, which load-generating workers do not need."""

from typing import Final, NoReturn

from bench.core.errors import printable
from bench.serving.errors import CREDENTIALS_ADVICE, DeadlineExceeded, Rejected, ServerFailed, Unavailable

# By their numbers (grpc/status.h); Serving's messages have the same.
_NAMES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_REFUSED: Final = frozenset(
    {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
        "ALREADY_EXISTS",
        "ABORTED",
        "CANCELLED",
        "UNIMPLEMENTED",
    }
)
_CREDENTIALS: Final = ("UNAUTHENTICATED", "PERMISSION_DENIED")
_DETAILS_MOST: Final = 200
# Of gRPC's C++ server, when more calls come than its resource quota has threads.
_NO_THREAD: Final = "Server Threadpool Exhausted"
# Of gRPC's servers, when a request is larger than they take.
_TOO_LARGE: Final = "Received message larger than max"


def code_name(code: int) -> str:
    """The name of a gRPC status code; the number as text if it is not one."""
    return _NAMES[code] if 0 <= code < len(_NAMES) else str(code)


def one_line(details: str | None) -> str:
    """A status text on one line, truncated for a message."""
    return printable(details or "", _DETAILS_MOST)


def no_answer_in_time(address: str, timeout: float, code: str | None = None) -> DeadlineExceeded:
    """The error of a call that exceeds its timeout."""
    return DeadlineExceeded(f"no answer from {address} within {timeout:g} s; allow more time or send less", code)


def raise_for_status(name: str, details: str, address: str, timeout: float) -> NoReturn:
    """Raises the ServingError of a server's status.

    Args:
        name: the code's name, such as `NOT_FOUND`.
        details: the server's text, one line.
        address: the server's.
        timeout: the call's timeout, seconds.
    """
    if name == "DEADLINE_EXCEEDED":
        raise no_answer_in_time(address, timeout, name)
    if name == "RESOURCE_EXHAUSTED" and details == _NO_THREAD:
        raise Unavailable(
            f"all threads of the server that take calls were busy ({name}: {details}); start it with a larger "
            "--grpc_max_threads, or send fewer requests at once",
            name,
        )
    if name == "RESOURCE_EXHAUSTED" and _TOO_LARGE in details:
        raise Rejected(f"the server takes no request of this size ({name}: {details}); send fewer sentences", name)
    if name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
        raise Unavailable(f"the server is overloaded or not ready ({name}: {details}); send less or try later", name)
    if name in _CREDENTIALS:
        raise Rejected(f"the server refused the request ({name}: {details}); {CREDENTIALS_ADVICE}", name)
    if name in _REFUSED:
        raise Rejected(f"the server refused the request ({name}: {details}); check model, signature and inputs", name)
    raise ServerFailed(f"the server failed ({name}: {details}); look at its log", name)
