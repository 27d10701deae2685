"""The failures of a call. Each client maps foreign exceptions to these once.

ServingError
├── ConnectFailed       no connection to the address
│   └── OwnLimit        because this machine lacks open files, ports or memory, whatever the server does
├── DeadlineExceeded    no answer in time
├── Unavailable         the server is overloaded or not ready (UNAVAILABLE, 503, RESOURCE_EXHAUSTED, 429)
├── Rejected            the server refuses the request (4xx; INVALID_ARGUMENT, NOT_FOUND, ...)
├── ServerFailed        the server fails on the request (500; INTERNAL, UNKNOWN)
└── InvalidResponse     the answer cannot be read
"""

import contextlib
import errno
import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, Self

from bench.core.errors import TargetError, printable, tls_words
from bench.core.units import pluralize
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


class Lack(StrEnum):
    """What this machine can lack for a call; the values are those of `run.json`."""

    FILES = "open files"
    FILES_OF_ALL = "open files of the whole machine"
    PORTS = "local ports or addresses"
    MEMORY = "memory"

    @property
    def cure(self) -> str:
        """What to do about it."""
        return _CURES[self]


_CURES: Final = {
    Lack.FILES: "raise the limit (ulimit -n), or give fewer users",
    Lack.FILES_OF_ALL: "close some programs, or give fewer users",
    Lack.PORTS: "give fewer users, more ports (net.ipv4.ip_local_port_range) or another address",
    Lack.MEMORY: "raise its limit, close some programs, or give fewer users",
}
_LACKS: Final = {
    errno.EMFILE: Lack.FILES,
    errno.ENFILE: Lack.FILES_OF_ALL,
    errno.EADDRNOTAVAIL: Lack.PORTS,
    errno.EAGAIN: Lack.MEMORY,
    errno.ENOBUFS: Lack.MEMORY,
    errno.ENOMEM: Lack.MEMORY,
}

# As in "certificate verify failed", "alert certificate required" and "alert unknown ca".
_CERTIFICATE: Final = re.compile("certificate|unknown ca", re.IGNORECASE)


class OwnLimit(ConnectFailed):
    """There is no connection because this machine lacks something: not the server's failure.

    Args:
        server: the address.
        lack: what is missing.
    """

    def __init__(self, server: str, lack: Lack) -> None:
        super().__init__(f"no connection to {server}: this machine has no more {lack}; {lack.cure}")
        self.lack = lack


def no_tls(server: str, reason: str) -> ConnectFailed:
    """The error of a connection whose encryption fails, for a reason in OpenSSL's words."""
    reason = tls_words(reason)
    if _CERTIFICATE.search(reason):
        return ConnectFailed(f"no trusted connection to {server} ({reason}); check the certificates")
    return ConnectFailed(
        f"no TLS connection to {server} ({reason}); is the server up, does it speak TLS, does it want a certificate?"
    )


def lacks_text(lacks: Mapping[Lack, int]) -> str:
    """How many requests failed for lack of what, and what to do; "" if none did."""
    found = (f"{pluralize(count, 'request')} failed for lack of {lack}: {lack.cure}" for lack, count in lacks.items())
    return "; ".join(found)


def lack_of(causes: Iterable[BaseException]) -> Lack | None:
    """What this machine lacked, by an exception and its causes; None if it lacked nothing."""
    for cause in causes:
        if isinstance(cause, MemoryError):
            return Lack.MEMORY
        # The numbers of TLS errors are not those of the system; those of names are negative.
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno in _LACKS:
            return _LACKS[cause.errno]
    return None


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

    _quote: tuple[str, str, Callable[[str], str]] | None = None

    @classmethod
    def quoting(cls, form: str, text: str, shown: Callable[[str], str] = printable) -> Self:
        """The error whose message has a part of what the server sent.

        Values of headers are taken out of the whole text: of one that is cut the beginning would be left.

        Args:
            form: the message, with `{}` for the part.
            text: what the server sent, uncut.
            shown: cuts the part out of it.
        """
        error = cls(form.format(shown(text)))
        error._quote = form, text, shown
        return error

    def without(self, headers: Headers) -> Self:
        if headers and self._quote is not None:
            form, text, shown = self._quote
            self._quote = form, headers.redact(text), shown
            self.args = (form.format(shown(self._quote[1])),)
        return super().without(headers)


@contextlib.contextmanager
def redacting(headers: Headers) -> Iterator[None]:
    """Takes the values of headers out of the errors that are raised within."""
    try:
        yield
    except ServingError as error:
        error.without(headers)
        raise
