"""REST for load: little work a request, and nothing hidden in it."""

import time
from typing import Any, Final
from urllib.parse import urlsplit

import gevent
import gevent.select
import gevent.socket
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError, HTTPSocketResponse

from bench.load.endpoint import Endpoint, not_connected, ssl_context
from bench.serving.errors import DeadlineExceeded, InvalidResponse, ServingError
from bench.serving.rest import raise_for_status

_BLOCK: Final = 1 << 16
# A connection that lay idle this long is looked at before it is used again: the server may have closed it.
_IDLE_SECONDS: Final = 1.0


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
        self._context = ssl_context(endpoint.tls) if secure else None
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
        if isinstance(error, HTTPParseError) and not isinstance(error, HTTPConnectionClosed):
            text = " ".join(str(error).split()) or type(error).__name__
            return InvalidResponse(f"a broken answer from {self._name} ({text}); what listens there?")
        return not_connected(self._name, error)
