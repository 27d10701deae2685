"""REST for load: little work a request, and nothing hidden in it."""

import contextlib
import time
from typing import Any, Final
from urllib.parse import urlsplit

import gevent
from geventhttpclient.response import HTTPParseError

from bench.load.transports.endpoint import Endpoint, not_connected, ssl_context
from bench.load.transports.rest_response import LateError, RestAnswer
from bench.load.transports.tcp import connect, poller, tcp_end
from bench.serving.errors import DeadlineExceeded, InvalidResponse, ServingError
from bench.serving.rest import raise_for_status

# The server gave up waiting for a request, and did not get this one (RFC 9110, section 15.5.9).
_REQUEST_TIMEOUT: Final = 408


class FastRest:
    """REST with the HTTP parser of geventhttpclient, which Locust's `FastHttpUser` uses, on one kept connection.

    The request's head is built once. A kept connection is looked at before it is used: the server may have closed it.
    Where it closes it at that very moment, the request is sent again, once and on a new connection, if the server
    certainly has not read it: no byte of an answer came, and the server's TCP says that it closed before it had read
    all of the request. Nothing else is ever sent twice.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        assert endpoint.rest is not None
        parts = urlsplit(endpoint.rest)
        secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if secure else 80)
        self._name = parts.netloc
        self._context = ssl_context(endpoint.tls) if secure else None
        self._most = endpoint.max_response
        given = {name.lower() for name in endpoint.headers}
        usual = {"Host": parts.netloc, "Content-Type": "application/json", "Accept-Encoding": "identity"}
        headers = {name: value for name, value in usual.items() if name.lower() not in given} | dict(endpoint.headers)
        if endpoint.compressed:
            headers["Content-Encoding"] = "gzip"
        lines = [f"POST {endpoint.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self._head = "\r\n".join(lines).encode("latin-1") + b"\r\nContent-Length: "
        self._socket: Any = None
        self._poller: Any = None

    def exchange(self, body: bytes, timeout: float) -> bytes:
        ends = time.perf_counter() + timeout
        deadline = gevent.Timeout.start_new(timeout)
        try:
            answer = self._exchanged(b"%b%d\r\n\r\n%b" % (self._head, len(body), body), ends)
            plain = answer.body(ends)
        except (gevent.Timeout, LateError) as error:
            self.close()
            if isinstance(error, gevent.Timeout) and error is not deadline:
                raise
            message = f"no answer from {self._name} within {timeout:g} s; allow more time or send less"
            raise DeadlineExceeded(message) from None
        except (HTTPParseError, OSError, UnicodeError) as error:
            self.close()
            raise self._mapped(error) from error
        except BaseException:
            # Also where the user is being stopped in the middle of an exchange: the connection cannot be used again.
            self.close()
            raise
        finally:
            deadline.close()
        if not answer.reusable:
            self.close()
        raise_for_status(answer.status, plain)
        return plain

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = self._poller = None

    def _exchanged(self, request: bytes, ends: float) -> RestAnswer:
        """The answer to a request, which goes to a new connection if the server certainly did not get it on the old."""
        if self._socket is not None:
            if self._poller.poll(0):
                # What an idle connection has to read can only be its end.
                self.close()
            elif (answer := self._on_kept(request, ends)) is not None:
                return answer
        self._socket = connect(self._host, self._port, self._context)
        self._poller = poller(self._socket)
        answer = RestAnswer(self._most)
        self._send(request, answer, ends)
        return answer

    def _on_kept(self, request: bytes, ends: float) -> RestAnswer | None:
        """The answer on a connection that was used before; None, and it is closed, if the server did not get it."""
        answer = RestAnswer(self._most)
        try:
            self._send(request, answer, ends)
        except OSError:
            end = tcp_end(self._socket)
            if answer.begun or end is None or not end.unread:
                raise
        else:
            if answer.status != _REQUEST_TIMEOUT or answer.reusable:
                return answer
        self.close()
        return None

    def _send(self, request: bytes, answer: RestAnswer, ends: float) -> None:
        try:
            self._socket.sendall(request)
        except OSError:
            # The server may have answered before it had read the whole.
            with contextlib.suppress(OSError, HTTPParseError):
                answer.read(self._socket, ends)
            if not answer.status:
                raise
        else:
            answer.read(self._socket, ends)

    def _mapped(self, error: Exception) -> ServingError:
        if isinstance(error, HTTPParseError):
            text = str(error.args[0]) if error.args else type(error).__name__
            return InvalidResponse(f"a broken answer from {self._name} ({text.rstrip('.')}); what listens there?")
        return not_connected(self._name, error)
