"""The fast REST client: little work per request, and no hidden retries."""

import contextlib
import time
from typing import Any, Final
from urllib.parse import urlsplit

import gevent
from geventhttpclient.response import HTTPParseError

from bench.load.transports.endpoint import Endpoint, not_connected
from bench.load.transports.rest_response import LateError, RestAnswer
from bench.load.transports.tcp import connect, poller, tcp_end
from bench.serving.errors import DeadlineExceeded, InvalidResponse, ServingError
from bench.serving.rest import raise_for_status
from bench.workload.trace_context import HEADER

# The server timed out waiting for a request, and has not received this one (RFC 9110, section 15.5.9).
_REQUEST_TIMEOUT: Final = 408

_SENT_AT_ONCE: Final = 1 << 16


class RestGevent:
    """REST on one persistent connection, with geventhttpclient's parser, which Locust's `FastHttpUser` uses.

    The request's head is built once. A persistent connection is polled before use, since the server may have closed
    it. If it closes at that very moment, the request is retried once on a new connection, provided that the server
    certainly has not read it: no byte of a response arrived, and the server's TCP shows that it closed before it had
    read the whole request. Requests are never retried otherwise.

    Args:
        endpoint: the server; it has a REST address.
        context: the TLS context, which users share; None without encryption.
    """

    def __init__(self, endpoint: Endpoint, context: Any) -> None:
        assert endpoint.rest is not None
        parts = urlsplit(endpoint.rest)
        self._host = parts.hostname or ""
        self._port = parts.port or (80 if context is None else 443)
        self._name = parts.netloc
        self._context = context
        self._most = endpoint.max_response
        self._headers = endpoint.access.headers
        given = {name.lower() for name in self._headers.names}
        usual = {"Host": parts.netloc, "Content-Type": "application/json", "Accept-Encoding": "identity"}
        headers = {name: value for name, value in usual.items() if name.lower() not in given}
        headers |= dict(self._headers.revealed())
        if endpoint.compressed:
            headers["Content-Encoding"] = "gzip"
        lines = [f"POST {parts.path}{endpoint.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self._head = "\r\n".join(lines).encode("latin-1") + b"\r\nContent-Length: "
        self._socket: Any = None
        self._poller: Any = None

    def exchange(self, body: bytes, timeout: float, traceparent: str | None = None) -> bytes:
        ends = time.perf_counter() + timeout
        deadline = gevent.Timeout.start_new(timeout)
        try:
            more = f"{HEADER}: {traceparent}\r\n".encode() if traceparent else b""
            answer = self._exchanged(b"%b%d\r\n%b\r\n%b" % (self._head, len(body), more, body), ends)
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
            # Also when the user is stopped during an exchange: the connection cannot be reused.
            self.close()
            raise
        finally:
            deadline.close()
        if not answer.reusable:
            self.close()
        raise_for_status(answer.status, plain, self._headers)
        return plain

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = self._poller = None

    def _exchanged(self, request: bytes, ends: float) -> RestAnswer:
        """Sends on the persistent connection, or on a new one if the server certainly did not receive it there."""
        if self._socket is not None:
            if self._poller.poll(0):
                # On an idle connection this can only be its end.
                self.close()
            elif (answer := self._on_persistent(request, ends)) is not None:
                return answer
        self._socket = connect(self._host, self._port, self._context)
        self._poller = poller(self._socket)
        answer = RestAnswer(self._most)
        self._send(request, answer, ends)
        return answer

    def _on_persistent(self, request: bytes, ends: float) -> RestAnswer | None:
        """The response on a used connection; None, and it is closed, if the server did not receive the request."""
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
            # TLS sends all or waits, plain TCP what there is room for.
            all_or_none = self._context is not None and len(request) > _SENT_AT_ONCE
            sent = 0 if all_or_none else self._socket.send(request)
        except OSError:
            # The server may have responded before it had read the whole request.
            with contextlib.suppress(OSError, HTTPParseError):
                answer.read(self._socket, ends)
            if not answer.status:
                raise
        else:
            if sent < len(request):
                self._send_rest(memoryview(request)[sent:], answer, ends)
            else:
                answer.read(self._socket, ends)

    def _send_rest(self, rest: memoryview, answer: RestAnswer, ends: float) -> None:
        """Reads the response while the rest of a large request is sent: the server may respond and read no further."""
        sender = gevent.spawn(_sent, self._socket, rest)
        try:
            answer.read(self._socket, ends)
        finally:
            # True once all is sent.
            if not sender.value:
                sender.kill()
                answer.reusable = False

    def _mapped(self, error: Exception) -> ServingError:
        if isinstance(error, HTTPParseError):
            text = str(error.args[0]) if error.args else type(error).__name__
            broken = InvalidResponse(f"a broken answer from {self._name} ({text.rstrip('.')}); what listens there?")
            return broken.without(self._headers)
        return not_connected(self._name, error)


def _sent(connection: Any, data: memoryview) -> bool:
    """Sends all data on a gevent socket; False if that fails, which the reader sees too."""
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True
