"""The failures of a call. Each client maps foreign exceptions to these once.

ServingError
├── ConnectFailed       no connection to the address
├── DeadlineExceeded    no answer in time
├── Unavailable         the server is overloaded or not ready (UNAVAILABLE, 503, RESOURCE_EXHAUSTED, 429)
├── Rejected            the server refuses the request (4xx; INVALID_ARGUMENT, NOT_FOUND, ...)
├── ServerFailed        the server fails on the request (500; INTERNAL, UNKNOWN)
└── InvalidResponse     the answer cannot be read
"""

from typing import Final, Self

from bench.core.errors import TargetError
from bench.serving.headers import Headers

CREDENTIALS_ADVICE: Final = "give credentials with --header, or check those that were given"
"""What to do about a request that is refused for its credentials."""


class ServingError(TargetError):
    """The call failed.

    Args:
        message: one line.
        code: the gRPC status name (`INVALID_ARGUMENT`) or the HTTP status as text (`400`); None without an answer.
        details: the server's own message, one line; empty if there is none.
    """

    def __init__(self, message: str, code: str | None = None, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    def without(self, headers: Headers) -> Self:
        """The same error without the values of headers, which a server may repeat."""
        if headers:
            self.args = (headers.redact(str(self)),)
            self.details = headers.redact(self.details)
        return self


class ConnectFailed(ServingError):
    """There is no connection to the address."""


class DeadlineExceeded(ServingError):
    """There is no answer in time."""


class Unavailable(ServingError):
    """The server is overloaded or not ready."""


class Rejected(ServingError):
    """The server refuses the request; a retry would not help."""


class ServerFailed(ServingError):
    """The server fails on the request."""


class InvalidResponse(ServingError):
    """The answer is not one of TensorFlow Serving."""
