"""gRPC on an HTTP/2 connection (grpc/doc/PROTOCOL-HTTP2.md): unary calls and server streams of two messages."""

import threading
import zlib
from collections.abc import Sequence
from typing import Final, Protocol

from bench.server.embedded.base.status import Code, StatusError, faults_are_internal
from bench.server.embedded.models.servable import Caller
from bench.server.embedded.net.socket_server import CloseConnectionError, Connection, Job
from bench.serving.http2.frames import H2Error
from bench.serving.http2.grpc_wire import HEADERS, OK_TRAILERS, PREFIX, failure, framed, is_one_message, timeout_seconds
from bench.serving.http2.hpack import encode
from bench.serving.http2.server import Completed, Event, Opened, Reset, ServerConnection

_NOT_GRPC: Final = encode([(b":status", b"415"), (b"grpc-status", b"2")])
_WINDOW_BITS: Final = {b"gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}


class Call(Caller):
    """A call that a client waits for.

    Args:
        method: `/package.Service/Method`.
        timeout: seconds from now; None for no deadline.
        encoding: compression that its message may have.
    """

    def __init__(self, method: str, timeout: float | None, encoding: bytes) -> None:
        super().__init__(timeout)
        self.method = method
        self.encoding = encoding


class Methods(Protocol):
    """The methods of a server."""

    def knows(self, method: str) -> bool:
        """Whether there is such a method."""

    def is_streaming(self, method: str) -> bool:
        """Whether the method answers with a stream, which stays open after the first message."""

    def handle(self, method: str, message: bytes, caller: Caller) -> bytes:
        """The message that answers a call; of a stream, the first one.

        Raises:
            StatusError: the call fails.
        """

    def closing_message(self, method: str) -> bytes:
        """The last message of a stream, sent when the server stops."""


class GrpcProtocol:
    """The calls of one connection.

    Args:
        connection: takes the answers.
        methods: answers the calls.
    """

    concurrent = True

    def __init__(self, connection: Connection, methods: Methods) -> None:
        self._connection = connection
        self._methods = methods
        self._h2 = ServerConnection()
        self._calls: dict[int, Call] = {}
        self._streaming: set[int] = set()
        # Guards the state above and the order of its frames on the wire.
        self._lock = threading.Lock()
        self._draining = False

    def received(self, data: bytes) -> Sequence[Job]:
        """The calls that these bytes complete.

        Raises:
            CloseConnectionError: the bytes violate the protocol.
        """
        jobs: list[Job] = []
        with self._lock:
            try:
                for event in self._h2.receive(data):
                    job = self._on_event(event)
                    if job is not None:
                        jobs.append(job)
            except H2Error as error:
                self._h2.abort(error.code)
                raise CloseConnectionError(bytes(self._h2.out)) from None
            self._send()
        return jobs

    def draining(self) -> None:
        with self._lock:
            self._draining = True
            self._h2.go_away()
            for stream in self._streaming:
                message = self._methods.closing_message(self._calls[stream].method)
                self._h2.respond(stream, b"", framed(message), OK_TRAILERS)
            self._streaming.clear()
            self._send()

    def idle(self) -> bool:
        return not self._h2.open_streams

    def closed(self) -> None:
        with self._lock:
            for call in self._calls.values():
                call.cancel()

    def _on_event(self, event: Event) -> Job | None:
        if isinstance(event, Opened):
            self._begin(event)
        elif isinstance(event, Completed) and (call := self._calls.get(event.stream)) is not None:
            return self._job(event, call)
        elif isinstance(event, Reset) and (call := self._calls.pop(event.stream, None)) is not None:
            call.cancel()
            self._streaming.discard(event.stream)
        return None

    def _begin(self, event: Opened) -> None:
        headers = dict(event.headers)
        if not headers.get(b"content-type", b"").startswith(b"application/grpc"):
            self._h2.respond(event.stream, b"", b"", _NOT_GRPC)
            return
        method = headers.get(b":path", b"").decode("latin-1")
        if not self._methods.knows(method):
            # Answers at once, as a client may never stop sending.
            self._fail(event.stream, StatusError(Code.UNIMPLEMENTED, ""))
            return
        timeout = timeout_seconds(headers.get(b"grpc-timeout"))
        self._calls[event.stream] = Call(method, timeout, headers.get(b"grpc-encoding", b"identity"))

    def _job(self, event: Completed, call: Call) -> Job:
        def job() -> bool:
            error = None
            try:
                answer = framed(self._methods.handle(call.method, _message(event.body, call.encoding), call))
            except StatusError as failed:
                error = failed
            with self._lock:
                if error is not None:
                    self._fail(event.stream, error)
                elif self._methods.is_streaming(call.method) and not self._draining:
                    self._h2.begin(event.stream, HEADERS, answer)
                    self._streaming.add(event.stream)
                    self._send()
                    return True
                else:
                    self._h2.respond(event.stream, HEADERS, answer, OK_TRAILERS)
                self._calls.pop(event.stream, None)
                self._send()
            return True

        return job

    def _fail(self, stream: int, error: StatusError) -> None:
        self._h2.respond(stream, b"", b"", failure(error.code, error.raw))

    def _send(self) -> None:
        """Sends the pending frames; needs the lock, which keeps their order."""
        if self._h2.out:
            data = bytes(self._h2.out)
            self._h2.out.clear()
            self._connection.send(data)


@faults_are_internal
def _message(body: bytes, encoding: bytes) -> bytes:
    """The one message in a request's body.

    Raises:
        StatusError: the body is not one message, or its compression is not supported.
    """
    if not is_one_message(body):
        raise StatusError(Code.INTERNAL, "the request is not one whole message")
    message = body[PREFIX:]
    if not body[0]:
        return message
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise StatusError(Code.UNIMPLEMENTED, f"compression {encoding.decode('latin-1')!r} is not supported")
    try:
        return zlib.decompress(message, bits)
    except zlib.error:
        raise StatusError(Code.INTERNAL, "the message cannot be decompressed") from None
