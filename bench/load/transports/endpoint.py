"""The endpoint of a run's requests, and what all transports need for it."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gevent.ssl

from bench.core.errors import UsageError, in_words, printable
from bench.serving.errors import ConnectFailed
from bench.serving.tls import TlsOptions

# Many users may read such a response at the same time, each in memory.
MAX_RESPONSE_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server's addresses, and the settings of its connections and requests.

    Args:
        rest: base URL of the REST endpoint; None if REST is not used.
        grpc: `host:port` of the gRPC endpoint; None if gRPC is not used.
        path: path of the REST call.
        headers: REST headers and gRPC metadata.
        tls: certificates; None trusts the system's authorities.
        grpc_secure: whether gRPC is encrypted.
        compressed: whether REST bodies are gzipped.
        channels: gRPC connections per process.
        max_response: largest response that is read, bytes.
    """

    rest: str | None = None
    grpc: str | None = None
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: TlsOptions | None = None
    grpc_secure: bool = False
    compressed: bool = False
    channels: int = 1
    max_response: int = MAX_RESPONSE_BYTES


def ssl_context(tls: TlsOptions | None, protocols: Sequence[str] = ()) -> Any:
    """The TLS context of a connection.

    Args:
        tls: certificates; None trusts the system's authorities.
        protocols: those offered to the server (ALPN).

    Raises:
        UsageError: the files are not usable certificates.
    """
    tls = tls or TlsOptions()
    try:
        # Sockets of create_default_context block all users unless the whole standard library is patched.
        context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if tls.ca:
            context.load_verify_locations(str(tls.ca))
        else:
            context.load_default_certs()
        if tls.cert and tls.key:
            context.load_cert_chain(str(tls.cert), str(tls.key))
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"the certificates cannot be used ({in_words(error)}); they must be PEM files") from error
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def not_connected(server: str, error: Exception) -> ConnectFailed:
    """The error of a request whose connection cannot be opened, or ends too early."""
    text = printable(in_words(error))
    if isinstance(error, ssl.SSLError):
        return ConnectFailed(f"no trusted connection to {server} ({text}); check the certificates")
    return ConnectFailed(f"no connection to {server} ({text}); is the server up?")
