"""The transports of REST and gRPC, each on a fast client and on the usual library.

A transport's `exchange(body, timeout)` sends prepared bytes and returns the bytes of the answer. `timeout`, in seconds,
bounds the whole exchange; a third argument is the request's `traceparent` header. All errors are `ServingError`.
"""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import gevent

from bench.core.extras import require
from bench.load.transports.endpoint import Endpoint, ssl_context
from bench.load.transports.grpc_h2 import GrpcH2
from bench.load.transports.rest_gevent import RestGevent
from bench.serving.errors import ServingError
from bench.serving.grpc_status import no_answer_in_time
from bench.serving.rest import RestClient
from bench.serving.tls import client_context

if TYPE_CHECKING:
    from bench.load.transports.grpcio_channel import GrpcioChannel

# Seconds after which an exchange of the requests library has not ended by itself.
_GRACE: Final = 0.1


class Transport(Protocol):
    """One user's client."""

    def exchange(self, body: bytes, timeout: float, traceparent: str | None = None, /) -> bytes: ...

    def close(self) -> None: ...


class RestRequests:
    """REST with `requests`, for comparison; for the arguments see `RestGevent`."""

    def __init__(self, endpoint: Endpoint, context: Any) -> None:
        assert endpoint.rest is not None
        self._client = RestClient(
            endpoint.rest,
            endpoint.access,
            max_response=endpoint.max_response,
            compressed=endpoint.compressed,
            context=context,
        )
        self._path = endpoint.path
        self._name = urlsplit(endpoint.rest).netloc

    def exchange(self, body: bytes, timeout: float, traceparent: str | None = None) -> bytes:
        # The client ends what it waits for, but not the system's search for a name.
        with gevent.Timeout(timeout + _GRACE, no_answer_in_time(self._name, timeout)):
            return self._client.post(self._path, body, timeout, traceparent)

    def close(self) -> None:
        self._client.close()


class SharedTransport:
    """One user's view of a connection that users share."""

    def __init__(self, shared: Transport) -> None:
        self.exchange = shared.exchange

    def close(self) -> None:
        """Does nothing: the pool closes the connection."""


class TransportPool:
    """Creates the users' transports, and owns the connections that they share.

    Args:
        endpoint: the server.
        clients: the client of each protocol, as in `Workload.clients`; None for fast ones.
    """

    def __init__(self, endpoint: Endpoint, clients: Mapping[str, str] | None = None) -> None:
        self._endpoint = endpoint
        self._clients = dict(clients or {})
        self._shared: list[GrpcH2 | GrpcioChannel] = []
        self._made = 0
        if self._client("grpc") == "grpcio":
            prepare_grpc()

    def make(self, protocol: str) -> Transport:
        """A transport for one user; `protocol` is `rest` or `grpc`."""
        client = self._client(protocol)
        if protocol == "rest":
            return (RestGevent if client == "fast" else RestRequests)(self._endpoint, self._rest_context)
        if len(self._shared) < self._endpoint.channels:
            self._shared.append(GrpcH2(self._endpoint) if client == "fast" else _grpcio_channel(self._endpoint))
        self._made += 1
        return SharedTransport(self._shared[(self._made - 1) % self._endpoint.channels])

    def redacted(self, error: ServingError) -> ServingError:
        """The error of a request, without the values of the headers that it had."""
        return error.without(self._endpoint.access.headers)

    def close(self) -> None:
        """Closes the shared connections."""
        while self._shared:
            self._shared.pop().close()

    @functools.cached_property
    def _rest_context(self) -> Any:
        """The TLS context of all users: each would read the authorities, and keep most of a megabyte."""
        endpoint = self._endpoint
        if not (endpoint.rest or "").startswith("https:"):
            return None
        return (
            ssl_context(endpoint.access.tls) if self._client("rest") == "fast" else client_context(endpoint.access.tls)
        )

    def _client(self, protocol: str) -> str:
        return self._clients.get(protocol, "fast")


def _grpcio_channel(endpoint: Endpoint) -> "GrpcioChannel":
    """Loads grpcio, which a worker without this transport does not need."""
    from bench.load.transports.grpcio_channel import GrpcioChannel

    return GrpcioChannel(endpoint)


@functools.cache
def prepare_grpc() -> None:
    """Makes grpcio's calls wait in gevent's loop; once per process, after any fork and before the first channel."""
    require("grpc", "the transport grpcio")
    import grpc.experimental.gevent

    grpc.experimental.gevent.init_gevent()
