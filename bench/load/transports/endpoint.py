"""The endpoint of a run's requests, and what all transports need for it."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gevent.ssl

from bench.core.errors import in_words, printable
from bench.serving.access import DIRECT, Access
from bench.serving.errors import ConnectFailed, OwnLimit, lack_of, no_tls
from bench.serving.tls import TlsOptions

# Many users may read such a response at the same time, each in memory.
MAX_RESPONSE_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server's addresses, and the settings of its connections and requests.

    Args:
        rest: base URL of the REST endpoint, with its path prefix; None if REST is not used.
        grpc: `host:port` of the gRPC endpoint; None if gRPC is not used.
        path: path of the REST call, after the prefix.
        access: headers and certificates.
        grpc_secure: whether gRPC is encrypted.
        compressed: whether REST bodies are gzipped.
        channels: gRPC connections per process.
        max_response: largest response that is read, bytes.
    """

    rest: str | None = None
    grpc: str | None = None
    path: str = ""
    access: Access = DIRECT
    grpc_secure: bool = False
    compressed: bool = False
    channels: int = 1
    max_response: int = MAX_RESPONSE_BYTES


def ssl_context(tls: TlsOptions, protocols: Sequence[str] = ()) -> Any:
    """The TLS context of a connection.

    Args:
        tls: certificates.
        protocols: those offered to the server (ALPN).

    Raises:
        UsageError: the files are not usable certificates.
    """
    # Sockets of the standard library's context block all users unless the whole library is patched.
    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_into(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def not_connected(server: str, error: Exception) -> ConnectFailed:
    """The error of a request whose connection cannot be opened, or ends too early."""
    if (lack := lack_of([error])) is not None:
        return OwnLimit(server, lack)
    text = printable(in_words(error))
    if isinstance(error, ssl.SSLError):
        return no_tls(server, text)
    return ConnectFailed(f"no connection to {server} ({text}); is the server up?")
