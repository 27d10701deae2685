"""How a user's requests travel: REST on Locust's fast client or on `requests`, gRPC on channels shared by users.

Each transport's `exchange(body, timeout)` sends prepared bytes, waits, and gives the answer's bytes; it raises a
`ServingError` and nothing else. `timeout` bounds the whole exchange.
"""

import functools
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import gevent
import gevent.select
import gevent.socket
import gevent.ssl
import grpc
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError, HTTPSocketResponse

from bench.errors import UsageError
from bench.serving.errors import ConnectFailed, DeadlineExceeded, InvalidResponse, ServingError
from bench.serving.grpc_client import make_channel, raise_for_rpc
from bench.serving.protos import PREDICT_METHOD
from bench.serving.rest import RestClient, raise_for_status
from bench.serving.tls import TlsOptions

_BLOCK: Final = 1 << 16
# A connection that lay idle this long is looked at before it is used again: the server may have closed it.
_IDLE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go and what goes with each.

    Args:
        rest: base URL of the REST face; None where REST is not used.
        grpc: `host:port` of the gRPC face; None where gRPC is not used.
        path: path of the REST call.
        headers: REST headers and gRPC metadata.
        tls: certificates; None trusts the system's authorities.
        grpc_secure: whether gRPC is encrypted.
        compressed: whether REST bodies are gzipped.
        channels: gRPC channels a process.
    """

    rest: str | None = None
    grpc: str | None = None
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: TlsOptions | None = None
    grpc_secure: bool = False
    compressed: bool = False
    channels: int = 1


class Transport(Protocol):
    """One user's way to the server."""

    def exchange(self, body: bytes, timeout: float) -> bytes: ...

    def close(self) -> None: ...


class FastRest:
    """REST with the HTTP parser of geventhttpclient, which Locust's `FastHttpUser` uses, on one kept connection.

    The request's head is built once. Nothing is ever sent twice.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        assert endpoint.rest is not None
        parts = urlsplit(endpoint.rest)
        secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if secure else 80)
        self._name = parts.netloc
        self._context = _ssl_context(endpoint.tls) if secure else None
        headers = {"Host": parts.netloc, "Content-Type": "application/json", **endpoint.headers}
        if endpoint.compressed:
            headers["Content-Encoding"] = "gzip"
        lines = [f"POST {endpoint.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self._head = "\r\n".join(lines).encode("latin-1") + b"\r\nContent-Length: "
        self._socket: Any = None
        self._used = 0.0

    def exchange(self, body: bytes, timeout: float) -> bytes:
        deadline = gevent.Timeout.start_new(timeout)
        try:
            connection = self._connected()
            connection.sendall(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
            response = HTTPSocketResponse(connection, block_size=_BLOCK, method="POST")
            answer: bytes = response.read()
            if response.should_close():
                self.close()
        except gevent.Timeout as error:
            self.close()
            if error is not deadline:
                raise
            message = f"no answer from {self._name} within {timeout:g} s; allow more time or send less"
            raise DeadlineExceeded(message) from None
        except (HTTPParseError, OSError, UnicodeError) as error:
            self.close()
            raise self._mapped(error) from error
        except BaseException:
            # The user is being stopped in the middle of an exchange: the connection cannot be used again.
            self.close()
            raise
        finally:
            deadline.close()
        self._used = time.perf_counter()
        raise_for_status(response.status_code, answer)
        return answer

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> Any:
        if self._socket is not None and time.perf_counter() - self._used > _IDLE_SECONDS and self._is_closed():
            self.close()
        if self._socket is None:
            connection = gevent.socket.create_connection((self._host, self._port))
            connection.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_hostname=self._host)
            self._socket = connection
        return self._socket

    def _is_closed(self) -> bool:
        """Whether the idle connection has something to read, which can only be its end."""
        return bool(gevent.select.select([self._socket], [], [], 0)[0])

    def _mapped(self, error: Exception) -> ServingError:
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ssl.SSLError):
            return ConnectFailed(f"no trusted connection to {self._name} ({text}); check the certificates")
        if isinstance(error, HTTPParseError) and not isinstance(error, HTTPConnectionClosed):
            return InvalidResponse(f"a broken answer from {self._name} ({text}); what listens there?")
        return ConnectFailed(f"no connection to {self._name} ({text}); is the server up?")


class RequestsRest:
    """REST on `requests`, for comparison: what most people's clients are made of."""

    def __init__(self, endpoint: Endpoint) -> None:
        assert endpoint.rest is not None
        headers = {**endpoint.headers, **({"Content-Encoding": "gzip"} if endpoint.compressed else {})}
        self._client = RestClient(endpoint.rest, headers=headers, tls=endpoint.tls)
        self._path = endpoint.path

    def exchange(self, body: bytes, timeout: float) -> bytes:
        return self._client.post(self._path, body, timeout)

    def close(self) -> None:
        self._client.close()


class GrpcTransport:
    """gRPC on one of the process's channels, with messages serialised before."""

    def __init__(self, call: Any, address: str, metadata: Sequence[tuple[str, str]]) -> None:
        self._call = call
        self._address = address
        self._metadata = metadata

    def exchange(self, body: bytes, timeout: float) -> bytes:
        try:
            answer: bytes = self._call(body, timeout=timeout, metadata=self._metadata)
            return answer
        except grpc.RpcError as error:
            raise_for_rpc(error, self._address, timeout)

    def close(self) -> None:
        """The channels belong to the pool."""


class TransportPool:
    """Makes the users' transports, and holds what they share.

    Args:
        endpoint: where to.
        rest: the REST client, `fast` or `requests`.
    """

    def __init__(self, endpoint: Endpoint, rest: str = "fast") -> None:
        self._endpoint = endpoint
        clients: dict[str, Callable[[Endpoint], Transport]] = {"fast": FastRest, "requests": RequestsRest}
        self._rest = clients[rest]
        self._channels: list[Any] = []
        self._made = 0
        if endpoint.grpc is not None:
            prepare_grpc()

    def make(self, protocol: str) -> Transport:
        """A transport for one user."""
        if protocol == "rest":
            return self._rest(self._endpoint)
        assert self._endpoint.grpc is not None
        if len(self._channels) < self._endpoint.channels:
            self._channels.append(self._channel(self._endpoint.grpc))
        channel = self._channels[self._made % self._endpoint.channels]
        self._made += 1
        metadata = tuple((name.lower(), value) for name, value in self._endpoint.headers.items())
        return GrpcTransport(channel.unary_unary(PREDICT_METHOD), self._endpoint.grpc, metadata)

    def close(self) -> None:
        """Closes the channels."""
        while self._channels:
            self._channels.pop().close()

    def _channel(self, address: str) -> Any:
        # Without a subchannel pool of its own, all channels to one address share one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        secure = self._endpoint.grpc_secure
        return make_channel(address, self._endpoint.tls if secure else None, options, secure=secure)


@functools.cache
def prepare_grpc() -> None:
    """Lets gRPC's calls wait in gevent's loop; needed once a process, after any fork and before the first channel."""
    import grpc.experimental.gevent

    grpc.experimental.gevent.init_gevent()


def _ssl_context(tls: TlsOptions | None) -> Any:
    """Raises UsageError for files that hold no certificates."""
    tls = tls or TlsOptions()
    try:
        context = gevent.ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.cert and tls.key:
            context.load_cert_chain(str(tls.cert), str(tls.key))
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"the certificates cannot be used ({error}); they must be PEM files") from error
    return context
