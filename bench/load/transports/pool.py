"""The transports of REST and gRPC, each on a fast client and on the usual library.

A transport's `exchange(body, timeout)` sends prepared bytes and returns the bytes of the answer. `timeout`, in seconds,
bounds the whole exchange. All errors are `ServingError`.
"""

import functools
from collections.abc import Mapping
from typing import Protocol

import grpc

from bench.load.transports.endpoint import Endpoint
from bench.load.transports.grpc_h2 import GrpcH2
from bench.load.transports.rest_gevent import RestGevent
from bench.serving.grpc_client import make_channel, raise_for_rpc
from bench.serving.messages import PREDICT_METHOD
from bench.serving.rest import RestClient


class Transport(Protocol):
    """One user's client."""

    def exchange(self, body: bytes, timeout: float) -> bytes: ...

    def close(self) -> None: ...


class RestRequests:
    """REST with `requests`, for comparison."""

    def __init__(self, endpoint: Endpoint) -> None:
        assert endpoint.rest is not None
        headers = {**endpoint.headers, **({"Content-Encoding": "gzip"} if endpoint.compressed else {})}
        self._client = RestClient(endpoint.rest, headers=headers, tls=endpoint.tls, max_response=endpoint.max_response)
        self._path = endpoint.path

    def exchange(self, body: bytes, timeout: float) -> bytes:
        return self._client.post(self._path, body, timeout)

    def close(self) -> None:
        self._client.close()


class GrpcChannel:
    """gRPC with a channel of the grpcio package, for comparison."""

    def __init__(self, endpoint: Endpoint) -> None:
        assert endpoint.grpc is not None
        self._address = endpoint.grpc
        self._metadata = tuple((name.lower(), value) for name, value in endpoint.headers.items())
        # Otherwise all channels to one address share one connection.
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", endpoint.max_response),
        ]
        secure = endpoint.grpc_secure
        self._channel = make_channel(self._address, endpoint.tls if secure else None, options, secure=secure)
        self._call = self._channel.unary_unary(PREDICT_METHOD)

    def exchange(self, body: bytes, timeout: float) -> bytes:
        try:
            answer: bytes = self._call(body, timeout=timeout, metadata=self._metadata)
            return answer
        except grpc.RpcError as error:
            raise_for_rpc(error, self._address, timeout)

    def close(self) -> None:
        self._channel.close()


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
        self._shared: list[GrpcH2 | GrpcChannel] = []
        self._made = 0
        if self._client("grpc") == "grpcio":
            prepare_grpc()

    def make(self, protocol: str) -> Transport:
        """A transport for one user; `protocol` is `rest` or `grpc`."""
        client = self._client(protocol)
        if protocol == "rest":
            return RestGevent(self._endpoint) if client == "fast" else RestRequests(self._endpoint)
        if len(self._shared) < self._endpoint.channels:
            self._shared.append(GrpcH2(self._endpoint) if client == "fast" else GrpcChannel(self._endpoint))
        self._made += 1
        return SharedTransport(self._shared[(self._made - 1) % self._endpoint.channels])

    def close(self) -> None:
        """Closes the shared connections."""
        while self._shared:
            self._shared.pop().close()

    def _client(self, protocol: str) -> str:
        return self._clients.get(protocol, "fast")


@functools.cache
def prepare_grpc() -> None:
    """Makes grpcio's calls wait in gevent's loop; once per process, after any fork and before the first channel."""
    import grpc.experimental.gevent

    grpc.experimental.gevent.init_gevent()
