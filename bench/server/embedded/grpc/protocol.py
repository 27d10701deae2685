"""gRPC on an HTTP/2 connection (grpc/doc/PROTOCOL-HTTP2.md): unary calls and server streams of two messages."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from bench.server.embedded.base.status import Code, StatusError, faults_are_internal
from bench.server.embedded.base.unpacking import (
    DEFLATE_BITS,
    GZIP_BITS,
    NotPackedError,
    UnpackedTooLargeError,
    unpack,
)
from bench.server.embedded.models.servable import Caller
from bench.server.embedded.net.connection import CloseConnectionError, Connection, Job
from bench.server.embedded.net.cpu_budget import ByteEarnings
from bench.serving.http2.frames import ENHANCE_YOUR_CALM, H2Error, goaway
from bench.serving.http2.grpc_wire import HEADERS, OK_TRAILERS, PREFIX, failure, framed, is_one_message, timeout_seconds
from bench.serving.http2.hpack import encode
from bench.serving.http2.limits import ServerLimits
from bench.serving.http2.server import Completed, Event, Opened, ServerConnection, TooLarge

_NOT_GRPC: Final = encode([(b":status", b"415"), (b"grpc-status", b"2")])
_WINDOW_BITS: Final = {b"gzip": GZIP_BITS, b"deflate": DEFLATE_BITS}
_MAX_ENCODING: Final = 64
_MAX_UNSENT: Final = 1 << 20
OPEN_CALL_BYTES: Final = 2048
"""What a call takes beside its body until it is answered, about."""
# CPU seconds that reading may cost.
_WORTH_OF_REQUEST: Final = 5e-5
_WORTH_OF_BYTE: Final = 5e-9
# The share that counts of the time of a call that fails or runs no model; of one that cannot be read, all does.
_LOST_OF_CALL: Final = 0.25
# Bytes of a compressed message from which on it is large, and times its packed size from which on all of its time
# counts: rows that are padded are packed to a few dozen times less.
_LARGE_UNPACKED: Final = 2 << 20
_BLOATED: Final = 200


class _TooLargeError(StatusError):
    """A compressed message has more bytes than it may."""


class LargeMessages:
    """Reads large messages that come compressed one at a time, for all connections of a server.

    Their values take many times their bytes, and keep other threads from running, which cost a client next to nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def message(self, body: bytes, encoding: bytes, most: int) -> Iterator[bytes]:
        """The message of a request's body, while it is used.

        Args:
            body: the body.
            encoding: compression that the message may have.
            most: bytes of the largest message that is compressed.

        Raises:
            StatusError: see `_message`; it is too large, or another large one is being read.
        """
        small = min(most, _LARGE_UNPACKED)
        try:
            found = _message(body, encoding, small)
        except _TooLargeError:
            if small == most:
                raise
            if not self._lock.acquire(blocking=False):
                reason = f"a compressed message of more than {small} bytes is being read; send this one again"
                raise StatusError(Code.RESOURCE_EXHAUSTED, reason) from None
        else:
            yield found
            return
        try:
            yield _message(body, encoding, most)
        finally:
            self._lock.release()


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Limits of one connection.

    Args:
        request_bytes: bytes of the largest request, and of all of a connection that are incomplete or not answered.
        unpacked_bytes: bytes of the largest message that comes compressed.
        large_messages: reads the large ones, of all connections.
    """

    request_bytes: int = 64 << 20
    unpacked_bytes: int = 16 << 20
    large_messages: LargeMessages = field(default_factory=LargeMessages)


_DEFAULT_LIMITS: Final = GrpcLimits()


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

    def is_brief(self, method: str) -> bool:
        """Whether the method takes less than a millisecond of Python, and no model."""


class GrpcProtocol:
    """The calls of one connection.

    Args:
        connection: takes the answers.
        methods: answers the calls.
        limits: see GrpcLimits.
    """

    concurrent = True
    most_unsent = _MAX_UNSENT

    def __init__(self, connection: Connection, methods: Methods, limits: GrpcLimits = _DEFAULT_LIMITS) -> None:
        self._connection = connection
        self._methods = methods
        self._limits = limits
        self._h2 = ServerConnection(ServerLimits(held_bytes=limits.request_bytes))
        self._calls: dict[int, Call] = {}
        # Calls whose requests are complete: without an answer, and streams.
        self._running: set[int] = set()
        self._streaming: set[int] = set()
        self._frames_sent = 0
        self._earned = 0.0
        self._byte_earnings = ByteEarnings(_WORTH_OF_BYTE)
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

    def held(self) -> int:
        calls = OPEN_CALL_BYTES * self._h2.open_streams
        return calls + self._h2.held + self._h2.held_frame + self._h2.unsent + self._connection.unsent

    def earned(self) -> float:
        with self._lock:
            earned, self._earned = self._earned, 0.0
            return earned + self._byte_earnings.take(self._h2.taken, self._h2.complete)

    def overloaded(self) -> bytes:
        # The connection may rest before it closes.
        self.closed()
        return goaway(0, ENHANCE_YOUR_CALM)

    def idle(self) -> bool:
        return not self._running

    def closed(self) -> None:
        with self._lock:
            for call in self._calls.values():
                call.cancel()
            self._h2.abandoned += sum(stream in self._running for stream in self._calls)
            self._calls.clear()
            self._streaming.clear()
            self._h2.close()

    def _on_event(self, event: Event) -> Job | None:
        if isinstance(event, Opened):
            self._begin(event)
        elif isinstance(event, Completed):
            if (call := self._calls.get(event.stream)) is not None:
                return self._job(event, call)
            self._h2.release(len(event.body))
        elif (call := self._calls.pop(event.stream, None)) is not None:
            if isinstance(event, TooLarge):
                self._refuse(event)
                return None
            call.cancel()
            self._streaming.discard(event.stream)
            self._h2.abandoned += event.stream in self._running
        return None

    def _refuse(self, event: TooLarge) -> None:
        most = self._limits.request_bytes
        reason = f"Received message larger than max ({event.size} vs. {most})"
        if event.size <= most:
            reason = f"the requests of this connection are larger than {most} bytes together"
        self._fail(event.stream, StatusError(Code.RESOURCE_EXHAUSTED, reason))

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
        encoding = headers.get(b"grpc-encoding", b"identity")[:_MAX_ENCODING]
        self._calls[event.stream] = Call(method, timeout, encoding)

    def _job(self, event: Completed, call: Call) -> Job:
        self._running.add(event.stream)
        brief = self._methods.is_brief(call.method)
        worth = 0.0 if brief else _WORTH_OF_REQUEST
        self._earned += worth

        def job() -> bool:
            began, lost = time.thread_time(), 1.0
            error, answer = None, b""
            try:
                if not call.cancelled():
                    limits = self._limits
                    with limits.large_messages.message(event.body, call.encoding, limits.unpacked_bytes) as message:
                        bloated = len(message) > max(_LARGE_UNPACKED, _BLOATED * len(event.body))
                        lost = 1.0 if bloated else _LOST_OF_CALL
                        answer = framed(self._methods.handle(call.method, message, call))
                    # A client may ask for a model as often as it likes.
                    lost = lost if brief or bloated else 0.0
            except StatusError as failed:
                error = failed.bare()
            finally:
                self._ended(event, call)
            with self._lock:
                if lost:
                    self._earned -= worth + lost * (time.thread_time() - began)
                self._answer(event.stream, call, answer, error)
            return True

        return Job(job, brief)

    def _ended(self, event: Completed, call: Call) -> None:
        with self._lock:
            self._h2.release(len(event.body))
            self._running.discard(event.stream)
            if self._calls.get(event.stream) is not call:
                # The client has reset it.
                self._h2.abandoned -= 1

    def _answer(self, stream: int, call: Call, answer: bytes, error: StatusError | None) -> None:
        """Answers a call; needs the lock."""
        if error is None and self._methods.is_streaming(call.method) and not self._draining:
            if stream in self._calls:
                self._h2.begin(stream, HEADERS, answer)
                self._streaming.add(stream)
        else:
            if error is not None:
                self._fail(stream, error)
            else:
                self._h2.respond(stream, HEADERS, answer, OK_TRAILERS)
            self._calls.pop(stream, None)
        self._send()

    def _fail(self, stream: int, error: StatusError) -> None:
        self._h2.respond(stream, b"", b"", failure(error.code, error.raw))

    def _send(self) -> None:
        """Sends the pending frames; needs the lock, which keeps their order."""
        if self._h2.out:
            data = bytes(self._h2.out)
            self._h2.out.clear()
            self._connection.send(data)
        if not self._h2.unsent:
            self._connection.owed_since = None
        elif self._connection.owed_since is None or self._h2.frames_sent > self._frames_sent:
            self._connection.owed_since = time.monotonic()
        self._frames_sent = self._h2.frames_sent


@faults_are_internal
def _message(body: bytes, encoding: bytes, most: int) -> bytes:
    """The one message in a request's body.

    Args:
        body: the body.
        encoding: compression that the message may have.
        most: bytes of the largest message that is compressed.

    Raises:
        _TooLargeError: its compression hides too many bytes.
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
        return unpack(message, bits, most).data
    except NotPackedError:
        raise StatusError(Code.INTERNAL, "the message cannot be decompressed") from None
    except UnpackedTooLargeError:
        reason = f"Received message larger than max (more than {most} when unpacked vs. {most})"
        raise _TooLargeError(Code.RESOURCE_EXHAUSTED, reason) from None
