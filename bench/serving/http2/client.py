"""The client's side of one HTTP/2 connection (RFC 9113), without input or output: requests in, bytes and answers out.

Requests share the connection. Those for which the server has no room wait in their order; whatever it pushes or says
about priorities is not asked for.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from bench.serving.http2.blocks import Block, BlockReader
from bench.serving.http2.frames import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    HTTP_1_1_REQUIRED,
    INADEQUATE_SECURITY,
    LARGEST_STREAM,
    LARGEST_WINDOW,
    MAX_CONCURRENT_STREAMS,
    NO_ERROR,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameReader,
    H2Error,
    ReceiveWindow,
    connection_preface,
    frame,
    pong,
    read_number,
    read_settings,
    rst_stream,
    unpadded,
)
from bench.serving.http2.hpack import DEFAULT_TABLE_SIZE, Header, TableNotice
from bench.serving.http2.sender import Sender

# A header block is cut into frames of a size that every server takes.
_BLOCK_SIZE: Final = 16384
# Frames that bring no answer nearer, one after the other: more than any good server sends, little enough to be quick.
_MOST_IDLE_FRAMES: Final = 10_000
# A piece of an answer that is smaller, bytes, brings it little nearer.
_LEAST_DATA: Final = 64
# A goodbye with one of these blames this side.
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
    """A request and what became of it.

    Attributes:
        block: its header block.
        body: its body.
        stream: its stream's number; 0 while it waits for room.
        headers: the answer's first headers; None as long as there are none.
        answer: the answer's body so far.
        trailers: headers that ended the answer; None if it ended without. An answer of headers alone has them here too.
        end: where it ends in all that goes over its connection, bytes; kept by whoever sends.
        room: how many requests the server took at a time when it was sent.
        reset: code with which the server gave the stream up, or the connection; None if it did not.
        unseen: whether the server has certainly not looked at it, so that it may be sent again.
        too_large: whether the answer was given up because of its size.
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
    unseen: bool = False
    too_large: bool = False


class ClientConnection:
    """One connection.

    Args:
        most: largest answer that is taken, bytes.

    Attributes:
        out: bytes to send; whoever sends them empties it.
        answered: whether a request was answered.
    """

    def __init__(self, most: int = LARGEST_WINDOW) -> None:
        self._sender = Sender(PREFACE + connection_preface((ENABLE_PUSH, 0)))
        self.out = self._sender.out
        self._reader = FrameReader()
        self._blocks = BlockReader()
        self._open: dict[int, Request] = {}
        self._queue: deque[Request] = deque()
        self._over: list[Request] = []
        # Nothing before the server's settings: some refuse what they had no chance to limit.
        self._most_open = 0
        self._most = most
        self._idle_frames = 0
        self.answered = False
        self._table = TableNotice()
        self._next_stream = 1
        self._preface_received = False
        self._first_settings = True
        self._going = False
        self._receive_window = ReceiveWindow()

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: the server has not said goodbye, and numbers are left."""
        return not self._going and self._next_stream <= LARGEST_STREAM

    @property
    def unanswered(self) -> list[Request]:
        """Requests whose answer is not whole."""
        return [*self._open.values(), *self._queue]

    @property
    def room(self) -> int:
        """How many requests the server takes at a time; 0 before it has said so."""
        return self._most_open

    def is_whole(self, request: Request) -> bool:
        """Whether all of a request was sent, or stands in `out`."""
        return request.stream > 0 and not self._sender.is_open(request.stream)

    def send(self, request: Request) -> None:
        """Sends a request, now or when the server has room for it."""
        if self._queue or len(self._open) >= self._most_open:
            self._queue.append(request)
        else:
            self._start(request)

    def cancel(self, request: Request) -> None:
        """The answer is not wanted any more."""
        if self._open.pop(request.stream, None) is not None:
            self._sender.close(request.stream)
            self.out += rst_stream(request.stream, CANCEL)
            self._start_waiting()
        elif request in self._queue:
            self._queue.remove(request)

    def receive(self, data: bytes) -> list[Request]:
        """Takes bytes from the server; the requests that are over by them.

        Raises:
            H2Error: the server breaks the protocol.
        """
        self._reader.feed(data)
        frames = self._reader.frames()
        self._idle_frames += len(frames)
        for kind, flags, stream, payload in frames:
            if not self._preface_received and (kind != SETTINGS or flags & ACK):
                raise H2Error(PROTOCOL_ERROR, "no HTTP/2 settings came first")
            self._preface_received = True
            self._handle(kind, flags, stream, payload)
        if self._idle_frames > _MOST_IDLE_FRAMES:
            raise H2Error(ENHANCE_YOUR_CALM, f"{self._idle_frames} frames without an answer")
        over, self._over = self._over, []
        if self._queue:
            self._start_waiting()
        return over

    def _start(self, request: Request) -> None:
        stream = request.stream = self._next_stream
        request.room = self._most_open
        self._next_stream += 2
        self._open[stream] = request
        self._sender.open(stream)
        block = self._table.before(request.block)
        self.out += frame(HEADERS, END_HEADERS if len(block) <= _BLOCK_SIZE else 0, stream, block[:_BLOCK_SIZE])
        for begin in range(_BLOCK_SIZE, len(block), _BLOCK_SIZE):
            last = begin + _BLOCK_SIZE >= len(block)
            self.out += frame(CONTINUATION, END_HEADERS if last else 0, stream, block[begin : begin + _BLOCK_SIZE])
        self._sender.send(stream, request.body, ends=True)

    def _start_waiting(self) -> None:
        while self._queue and self.usable and len(self._open) < self._most_open:
            self._start(self._queue.popleft())

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._blocks.check(kind, stream)
        if kind == DATA:
            self._on_data(flags, stream, payload)
        elif kind in (HEADERS, CONTINUATION):
            if (block := self._blocks.take(kind, flags, stream, payload)) is not None:
                self._on_block(block)
        elif kind == RST_STREAM:
            self._on_reset(stream, read_number(payload, "a reset"))
        elif kind == GOAWAY:
            self._on_goaway(payload)
        elif kind == SETTINGS and not flags & ACK:
            self._on_settings(payload)
        elif kind == PING and not flags & ACK:
            self.out += pong(payload)
        elif kind == WINDOW_UPDATE:
            self._on_window(stream, read_number(payload, "a window update"))
        elif kind == PUSH_PROMISE:
            raise H2Error(PROTOCOL_ERROR, "a push that was not asked for")

    def _on_window(self, stream: int, step: int) -> None:
        if not step:
            raise H2Error(PROTOCOL_ERROR, "a window update by nothing")
        before = len(self.out)
        self._sender.grow(stream, step)
        if len(self.out) > before:
            self._idle_frames = 0

    def _on_block(self, block: Block) -> None:
        found = self._open.get(block.stream)
        if found is None:
            return
        if found.headers is None and not _informational(block.headers):
            found.headers = block.headers
        if block.ends:
            found.trailers = block.headers
            self._end(block.stream)

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        self.out += self._receive_window.take(len(payload))
        if not 0 < stream < self._next_stream:
            raise H2Error(PROTOCOL_ERROR, f"data on stream {stream}")
        found = self._open.get(stream)
        if found is not None:
            data = unpadded(flags, payload)
            found.answer += data
            if len(data) >= _LEAST_DATA:
                self._idle_frames = 0
            if flags & END_STREAM:
                self._end(stream)
            elif len(found.answer) > self._most:
                found.too_large = True
                self._over.append(found)
                self.cancel(found)

    def _on_reset(self, stream: int, code: int) -> None:
        if code == REFUSED_STREAM and (found := self._open.get(stream)) is not None:
            # Before any of its processing (RFC 9113, section 8.7).
            found.unseen = True
        self._end(stream, code)

    def _on_goaway(self, payload: bytes) -> None:
        """No new requests; those that the server will not look at are over, and after an error all are.

        What it did not look at may be sent again, unless it blames this side: the same bytes would end the same way.
        """
        self._going = True
        last = read_number(payload[:4], "a goodbye")
        code = read_number(payload[4:8], "a goodbye")
        again = code not in _OUR_FAULT
        for stream in [stream for stream in self._open if stream > last or code]:
            self._open[stream].unseen = stream > last and again
            self._end(stream, code or REFUSED_STREAM)
        while self._queue:
            request = self._queue.popleft()
            request.reset, request.unseen = code or REFUSED_STREAM, again
            self._over.append(request)

    def _on_settings(self, payload: bytes) -> None:
        settings = read_settings(payload)
        self.out += frame(SETTINGS, ACK, 0, b"")
        given = dict(settings)
        self._table.limit(given.get(HEADER_TABLE_SIZE, DEFAULT_TABLE_SIZE))
        self._sender.set(settings)
        if self._first_settings:
            self._most_open = LARGEST_STREAM
            self._first_settings = False
        self._most_open = given.get(MAX_CONCURRENT_STREAMS, self._most_open)
        self._start_waiting()

    def _end(self, stream: int, reset: int | None = None) -> None:
        found = self._open.pop(stream, None)
        if found is not None:
            if self._sender.close(stream) and reset is None:
                # Answered before it was sent as a whole: the server does not want the rest.
                self.out += rst_stream(stream, NO_ERROR)
            found.reset = reset
            self._over.append(found)
            self._idle_frames = 0
            self.answered = self.answered or reset is None


def _informational(headers: list[Header]) -> bool:
    """Whether these are 1xx headers, which the real ones follow."""
    return any(name == b":status" and value.startswith(b"1") for name, value in headers)
