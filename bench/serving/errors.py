"""How a call to a server can fail. Foreign exceptions are mapped to these once, in each client.

ServingError
├── ConnectFailed       nothing answers at the address
├── DeadlineExceeded    no answer in time
├── Unavailable         the server says it cannot now (UNAVAILABLE, 503, RESOURCE_EXHAUSTED, 429)
├── Rejected            the server refuses this request (4xx; INVALID_ARGUMENT, NOT_FOUND, ...)
├── ServerFailed        the server failed on it (500; INTERNAL, UNKNOWN)
└── InvalidResponse     an answer that cannot be read
"""

from bench.core.errors import TargetError


class ServingError(TargetError):
    """The call got no good answer.

    Args:
        message: one line.
        code: the gRPC status name (`INVALID_ARGUMENT`) or the HTTP status as text (`400`), if one came.
        details: the server's own message, one line; empty if there is none.
    """

    def __init__(self, message: str, code: str | None = None, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class ConnectFailed(ServingError):
    """Nothing answers at the address."""


class DeadlineExceeded(ServingError):
    """No answer in time."""


class Unavailable(ServingError):
    """The server is there and says it cannot serve this now."""


class Rejected(ServingError):
    """The server refuses this request; sending it again would not help."""


class ServerFailed(ServingError):
    """The server failed on this request."""


class InvalidResponse(ServingError):
    """An answer that cannot be read as TensorFlow Serving's."""
