"""The client's side of an HTTP/2 connection (RFC 9113), without I/O: requests in, bytes and answers out.

Requests share the connection. Requests above the server's limit wait in a queue. There is no server push, and
priorities are ignored.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from bench.serving.http2.blocks import Block
from bench.serving.http2.connection import Connection
from bench.serving.http2.frames import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    ENABLE_PUSH,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEADERS,
    HTTP_1_1_REQUIRED,
    INADEQUATE_SECURITY,
    LARGEST_STREAM,
    LARGEST_WINDOW,
    MAX_CONCURRENT_STREAMS,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    H2Error,
    connection_preface,
    frame,
    read_number,
    rst_stream,
)
from bench.serving.http2.hpack import Header

# A header block is split into frames of a size that every server accepts.
_BLOCK_SIZE: Final = 16384
# Successive frames without progress of an answer: more than a correct server sends, few enough to fail early.
_MOST_IDLE_FRAMES: Final = 10_000
# Bytes of data that count as progress of an answer.
_LEAST_DATA: Final = 64
# Codes of a GOAWAY that blame the client.
_OUR_FAULT: Final = frozenset(
    {
        PROTOCOL_ERROR,
        FLOW_CONTROL_ERROR,
        FRAME_SIZE_ERROR,
        COMPRESSION_ERROR,
        ENHANCE_YOUR_CALM,
        INADEQUATE_SECURITY,
        HTTP_1_1_REQUIRED,
    }
)


@dataclass(slots=True, eq=False)
class Request:
    """A request and its outcome.

    Attributes:
        block: its header block.
        body: its body.
        stream: its stream's number; 0 while it is queued.
        headers: the answer's first headers; None before they arrive.
        answer: the answer's body so far.
        trailers: headers that ended the answer, also those of an answer of headers only; None without.
        end: position after its last byte in all bytes of its connection; 0 until that is sent or in `out`.
        room: the server's limit of concurrent requests when it was sent.
        reset: code with which the server ended the stream or the connection; None if it did not.
        unprocessed: whether the server has certainly not processed it, so that it may be sent again.
        too_large: whether the answer was cancelled because of its size.
    """

    block: bytes
    body: bytes
    stream: int = 0
    headers: list[Header] | None = None
    answer: bytearray = field(default_factory=bytearray)
    trailers: list[Header] | None = None
    end: int = 0
    room: int = 0
    reset: int | None = None
    unprocessed: bool = False
    too_large: bool = False


class ClientConnection(Connection):
    """One connection to a server.

    Args:
        most: size limit of an answer, bytes.

    Attributes:
        answered: whether a request was answered.
        sent: bytes that the owner has sent and removed from `out`; counted by the owner.
    """

    def __init__(self, most: int = LARGEST_WINDOW) -> None:
        super().__init__(PREFACE + connection_preface((ENABLE_PUSH, 0)))
        self._open: dict[int, Request] = {}
        self._queue: deque[Request] = deque()
        self._over: list[Request] = []
        # No request before the server's settings: some servers refuse requests above a limit not yet announced.
        self._most_open = 0
        self._most = most
        self._idle_frames = 0
        self.answered = False
        self.sent = 0
        self._settings_received = False
        self._going = False

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: no GOAWAY has come, and stream numbers are left."""
        return not self._going and self._last_stream + 2 <= LARGEST_STREAM

    @property
    def unanswered(self) -> list[Request]:
        """Requests without a complete answer."""
        return [*self._open.values(), *self._queue]

    @property
    def room(self) -> int:
        """The server's limit of concurrent requests; 0 before its settings."""
        return self._most_open

    def send(self, request: Request) -> None:
        """Sends a request, or queues it until the server's limit allows it."""
        if self._queue or len(self._open) >= self._most_open:
            self._queue.append(request)
        else:
            self._start(request)

    def cancel(self, request: Request) -> None:
        """Cancels a request."""
        if self._open.pop(request.stream, None) is not None:
            self._sender.close(request.stream)
            self.out += rst_stream(request.stream, CANCEL)
            self._start_waiting()
        elif request in self._queue:
            self._queue.remove(request)

    def receive(self, data: bytes) -> list[Request]:
        """Takes bytes from the server; the requests that end with them.

        Raises:
            H2Error: they violate the protocol.
        """
        self._reader.feed(data)
        frames = self._reader.frames()
        self._idle_frames += len(frames)
        for kind, flags, stream, payload in frames:
            if not self._settings_received and (kind != SETTINGS or flags & ACK):
                raise H2Error(PROTOCOL_ERROR, "no HTTP/2 settings came first")
            self._handle(kind, flags, stream, payload)
        if self._idle_frames > _MOST_IDLE_FRAMES:
            raise H2Error(ENHANCE_YOUR_CALM, f"{self._idle_frames} frames without an answer")
        over, self._over = self._over, []
        if self._queue:
            self._start_waiting()
        return over

    def _start(self, request: Request) -> None:
        self._last_stream += 2
        stream = request.stream = self._last_stream
        request.room = self._most_open
        self._open[stream] = request
        self._sender.open(stream)
        block = self._table.before(request.block)
        self.out += frame(HEADERS, END_HEADERS if len(block) <= _BLOCK_SIZE else 0, stream, block[:_BLOCK_SIZE])
        for begin in range(_BLOCK_SIZE, len(block), _BLOCK_SIZE):
            last = begin + _BLOCK_SIZE >= len(block)
            self.out += frame(CONTINUATION, END_HEADERS if last else 0, stream, block[begin : begin + _BLOCK_SIZE])
        # The request may have waited for room, and its body may wait for the server's windows.
        self._sender.send(stream, request.body, ends=True, then=lambda: self._mark_end(request))

    def _mark_end(self, request: Request) -> bytes:
        """Notes where the request ends; no frame follows it."""
        request.end = self.sent + len(self.out)
        return b""

    def _start_waiting(self) -> None:
        while self._queue and self.usable and len(self._open) < self._most_open:
            self._start(self._queue.popleft())

    def _on_block(self, block: Block) -> None:
        found = self._open.get(block.stream)
        if found is None:
            return
        if found.headers is None and not _informational(block.headers):
            found.headers = block.headers
        if block.ends:
            found.trailers = block.headers
            self._end(block.stream)

    def _on_data(self, stream: int, data: bytes, ends: bool) -> None:
        found = self._open.get(stream)
        if found is None:
            return
        found.answer += data
        if len(data) >= _LEAST_DATA:
            self._idle_frames = 0
        if ends:
            self._end(stream)
        elif len(found.answer) > self._most:
            found.too_large = True
            self._over.append(found)
            self.cancel(found)

    def _on_window(self, stream: int, step: int) -> None:
        before = len(self.out)
        super()._on_window(stream, step)
        if len(self.out) > before:
            self._idle_frames = 0

    def _on_reset(self, stream: int, code: int) -> None:
        if code == REFUSED_STREAM and (found := self._open.get(stream)) is not None:
            # Refused before any processing (RFC 9113, section 8.7).
            found.unprocessed = True
        self._end(stream, code)

    def _on_goaway(self, payload: bytes) -> None:
        """Ends the requests that the server will not process, after an error all of them.

        Unprocessed requests may be sent again, unless the code blames the client: the same bytes would fail again.
        """
        self._going = True
        last = read_number(payload[:4], "a GOAWAY")
        code = read_number(payload[4:8], "a GOAWAY")
        again = code not in _OUR_FAULT
        for stream in [stream for stream in self._open if stream > last or code]:
            self._open[stream].unprocessed = stream > last and again
            self._end(stream, code or REFUSED_STREAM)
        while self._queue:
            request = self._queue.popleft()
            request.reset, request.unprocessed = code or REFUSED_STREAM, again
            self._over.append(request)

    def _on_settings(self, settings: dict[int, int]) -> None:
        limit = self._most_open if self._settings_received else LARGEST_STREAM
        self._settings_received = True
        self._most_open = settings.get(MAX_CONCURRENT_STREAMS, limit)
        self._start_waiting()

    def _end(self, stream: int, reset: int | None = None) -> None:
        found = self._open.pop(stream, None)
        if found is not None:
            if self._sender.close(stream) and reset is None:
                # Answered before all of it was sent: the server does not need the rest.
                self.out += rst_stream(stream, NO_ERROR)
            found.reset = reset
            self._over.append(found)
            self._idle_frames = 0
            self.answered = self.answered or reset is None


def _informational(headers: list[Header]) -> bool:
    """Whether these are 1xx headers, which precede the final ones."""
    return any(name == b":status" and value.startswith(b"1") for name, value in headers)
