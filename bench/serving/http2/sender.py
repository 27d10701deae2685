"""The sending half of an HTTP/2 connection, within the peer's flow-control windows (RFC 9113, section 5.2)."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.serving.http2.buffers import trimmed
from bench.serving.http2.frames import (
    DATA,
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    MAX_FRAME_SIZE,
    H2Error,
    frame,
)


@dataclass(slots=True)
class _Stream:
    window: int
    waiting: deque[memoryview] = field(default_factory=deque)
    ends: bool = False
    then: Callable[[], bytes] | None = None


class Sender:
    """The sending half.

    Args:
        preface: the first bytes to send.

    Attributes:
        out: bytes to send; the owner sends and clears them.
        unsent: bytes of data that wait for a window.
        frames_sent: frames of data so far.
    """

    def __init__(self, preface: bytes) -> None:
        self.out = bytearray(preface)
        self.unsent = 0
        self.frames_sent = 0
        self._streams: dict[int, _Stream] = {}
        # Streams with data that only the connection's window holds back, in the order in which they send.
        self._ready: dict[int, None] = {}
        self._window = DEFAULT_WINDOW
        self._stream_window = DEFAULT_WINDOW
        self._frame_size = DEFAULT_FRAME_SIZE

    def open(self, stream: int) -> None:
        """Opens a stream for sending."""
        self._streams[stream] = _Stream(self._stream_window)

    def close(self, stream: int) -> bool:
        """Closes a stream for sending; whether it was open."""
        found = self._streams.pop(stream, None)
        if found is None:
            return False
        self._ready.pop(stream, None)
        self.unsent -= sum(map(len, found.waiting))
        return True

    def send(self, stream: int, body: bytes, *, ends: bool = False, then: Callable[[], bytes] | None = None) -> None:
        """Sends data on an open stream, as the windows allow.

        Args:
            stream: the stream; nothing happens if it is not open.
            body: the data; may be empty.
            ends: whether the data's last frame ends and closes the stream.
            then: makes the frames that follow the data, if any; called after the last data, which ends the stream.
        """
        found = self._streams.get(stream)
        if found is None:
            return
        found.ends, found.then = ends, then
        if body or ends:
            found.waiting.append(memoryview(body))
            self.unsent += len(body)
        self._flush(stream, found)

    def set(self, settings: list[tuple[int, int]]) -> None:
        """Applies the peer's settings.

        Raises:
            H2Error: a window exceeds its limit.
        """
        # Of a repeated setting the last value counts: all streams are looked at once a frame.
        values = dict(settings)
        self._frame_size = values.get(MAX_FRAME_SIZE, self._frame_size)
        step = values.get(INITIAL_WINDOW_SIZE, self._stream_window) - self._stream_window
        if not step:
            return
        self._stream_window += step
        for found in self._streams.values():
            found.window += step
            _check(found.window)
        for stream, found in list(self._streams.items()):
            if found.waiting:
                self._flush(stream, found)

    def grow(self, stream: int, step: int) -> None:
        """Enlarges a window by `step` bytes; stream 0 is the connection's.

        Raises:
            H2Error: the window exceeds its limit.
        """
        if not stream:
            self._window += step
            _check(self._window)
            self._flush_ready()
        elif (found := self._streams.get(stream)) is not None:
            found.window += step
            _check(found.window)
            self._flush(stream, found)

    def _flush_ready(self) -> None:
        while self._window > 0 and self._ready:
            stream = next(iter(self._ready))
            self._flush(stream, self._streams[stream])

    def _flush(self, stream: int, found: _Stream) -> None:
        """Sends the waiting data of a stream as far as both windows allow."""
        while found.waiting:
            part = found.waiting[0]
            size = min(len(part), self._window, found.window, self._frame_size)
            if size <= 0 and part:
                if found.window > 0:
                    self._ready[stream] = None
                else:
                    self._ready.pop(stream, None)
                return
            if size < len(part):
                found.waiting[0] = trimmed(part[size:])
                part = part[:size]
            else:
                found.waiting.popleft()
            self._window -= size
            found.window -= size
            self.unsent -= size
            self.frames_sent += 1
            last = found.ends and not found.waiting
            self.out += frame(DATA, END_STREAM if last else 0, stream, part)
        self._ready.pop(stream, None)
        if found.ends or found.then is not None:
            self.close(stream)
        if found.then is not None:
            self.out += found.then()


def _check(window: int) -> None:
    if window > LARGEST_WINDOW:
        raise H2Error(FLOW_CONTROL_ERROR, f"a window of {window} bytes")
