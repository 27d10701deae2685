"""The fast gRPC client: HTTP/2 in the user's own process and thread, without the threads of the grpcio package.

Those cost 0.4 to 0.6 ms per request beside a busy server, and a report would attribute them to it. A request is retried
if the server reports it as unprocessed (RFC 9113, section 8.7: GOAWAY, REFUSED_STREAM), or if the server's TCP shows
that a connection which had served others was closed before the whole request was read. No other request is retried.
"""

import functools
from typing import Final
from urllib.parse import urlsplit

import gevent
from gevent.lock import BoundedSemaphore

from bench.load.transports.endpoint import Endpoint, not_connected, ssl_context
from bench.load.transports.grpc_h2_connection import Link
from bench.load.transports.tcp import connect
from bench.serving.errors import ServingError
from bench.serving.grpc_call import answer_of, broken, call_block
from bench.serving.grpc_status import no_answer_in_time
from bench.serving.http2.client import Request
from bench.serving.http2.grpc_wire import PREFIX, framed
from bench.serving.http2.hpack import encode
from bench.serving.messages import PREDICT_METHOD
from bench.workload.trace_context import HEADER

_CACHED_BLOCKS: Final = 64
_MOST_ATTEMPTS: Final = 5


class GrpcH2:
    """A client that users share: one connection at a time, opened on demand.

    Args:
        endpoint: the server; it has a gRPC address.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        assert endpoint.grpc is not None
        self.address = endpoint.grpc
        parts = urlsplit(f"//{endpoint.grpc}")
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._context = ssl_context(endpoint.access.tls, ["h2"]) if endpoint.grpc_secure else None
        self._most = endpoint.max_response + PREFIX
        self._link: Link | None = None
        # The current one, and those after a GOAWAY that still have requests in flight.
        self._links: set[Link] = set()
        self._connecting = BoundedSemaphore()
        self._closed = False
        self._headers = endpoint.access.headers
        metadata = [(name.encode(), value.encode()) for name, value in self._headers.metadata()]
        secure = endpoint.grpc_secure
        self._block = functools.lru_cache(_CACHED_BLOCKS)(
            lambda timeout: call_block(PREDICT_METHOD, self.address, timeout, metadata, secure=secure)
        )

    def exchange(self, body: bytes, timeout: float, traceparent: str | None = None) -> bytes:
        deadline = gevent.Timeout.start_new(timeout)
        # Blocks do not use the dynamic table, so that they can be put together.
        more = encode([(HEADER.encode(), traceparent.encode())]) if traceparent else b""
        try:
            request = self._exchanged(self._block(timeout) + more, body, deadline)
        except gevent.Timeout as error:
            if error is not deadline:
                raise
            raise no_answer_in_time(self.address, timeout) from None
        except (OSError, UnicodeError) as error:
            raise not_connected(self.address, error) from error
        finally:
            deadline.close()
        return answer_of(request, self.address, timeout, self._headers)

    def close(self) -> None:
        """Closes all connections; requests in flight fail."""
        self._closed = True
        for link in list(self._links):
            link.close()

    def _exchanged(self, block: bytes, body: bytes, deadline: gevent.Timeout) -> Request:
        """Exchanges a request; one that the server did not process is retried on a new connection."""
        message = framed(body)
        for attempt in range(_MOST_ATTEMPTS):
            link = self._connected()
            request = Request(block, message)
            try:
                link.exchange(request, deadline)
            except ServingError:
                if not _may_retry(link, request, attempt):
                    raise
            if not request.unprocessed or not _may_retry(link, request, attempt):
                break
            if request.room <= link.room:
                link.retire()
            # Else the server lowered its stream limit: the request waits for a free stream on the same connection.
        return request

    def _connected(self) -> Link:
        if self._link is not None and self._link.usable:
            return self._link
        with self._connecting:
            if self._link is None or not self._link.usable:
                connected = connect(self._host, self._port, self._context)
                if self._closed:
                    connected.close()
                    raise ConnectionError("the connection was closed here")
                if self._link is not None:
                    # One that only was stuck would be kept for good.
                    self._link.retire()
                plain = self._context is None
                self._link = Link(connected, plain, self._most, self._failure, self._links.discard)
                self._links.add(self._link)
            return self._link

    def _failure(self, error: Exception) -> ServingError:
        if isinstance(error, OSError | MemoryError):
            return not_connected(self.address, error)
        return broken(error, self.address)


def _may_retry(link: Link, request: Request, attempt: int) -> bool:
    """Whether to retry: the server did not process the request, and it is the first retry or it answered others."""
    return request.unprocessed and attempt + 1 < _MOST_ATTEMPTS and (attempt == 0 or link.answered)
