"""How to reach a server, beside its address: what every client of the suite takes."""

from dataclasses import dataclass
from typing import Final

from bench.core.errors import UsageError
from bench.core.types import checked_fields
from bench.serving.headers import NO_HEADERS, Headers
from bench.serving.tls import SYSTEM, TlsOptions


@dataclass(frozen=True, slots=True)
@checked_fields
class Access:
    """How to reach a server.

    Args:
        headers: sent with each request: REST headers, gRPC metadata.
        tls: certificates of an encrypted connection.
        ready_timeout: seconds until the server must be ready; None for the default of its kind.

    Raises:
        UsageError: a time that is not above 0.
    """

    headers: Headers = NO_HEADERS
    tls: TlsOptions = SYSTEM
    ready_timeout: float | None = None

    def __post_init__(self) -> None:
        if self.ready_timeout is not None and not self.ready_timeout > 0:
            raise UsageError(f"the server cannot be ready within {self.ready_timeout} s; give a time above 0")


DIRECT: Final = Access()
"""No headers, the system's authorities, default times."""
