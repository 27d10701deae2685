"""The common part of both sides of an HTTP/2 connection (RFC 9113), without I/O: frames to calls, bytes to send."""

from bench.serving.http2.blocks import Block, BlockReader
from bench.serving.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    PING,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameReader,
    H2Error,
    ReceiveWindow,
    frame,
    pong,
    read_number,
    read_settings,
    unpadded,
)
from bench.serving.http2.hpack import DEFAULT_TABLE_SIZE, TableSizeUpdate
from bench.serving.http2.sender import Sender


class Connection:
    """One side of a connection; a subclass handles the events of its streams.

    Args:
        preface: the first bytes to send.

    Attributes:
        out: bytes to send; the owner sends and clears them.
    """

    def __init__(self, preface: bytes) -> None:
        self._sender = Sender(preface)
        self.out = self._sender.out
        self._reader = FrameReader()
        self._blocks = BlockReader()
        self._table = TableSizeUpdate()
        self._receive_window = ReceiveWindow()
        # The client's last stream; client streams have odd numbers.
        self._last_stream = -1

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Handles a frame.

        Raises:
            H2Error: it violates the protocol.
        """
        self._blocks.check(kind, stream)
        if kind == DATA:
            self.out += self._receive_window.take(len(payload))
            if not 0 < stream <= self._last_stream:
                raise H2Error(PROTOCOL_ERROR, f"data on stream {stream}")
            self._on_data(stream, unpadded(flags, payload), bool(flags & END_STREAM))
        elif kind in (HEADERS, CONTINUATION):
            if (block := self._blocks.take(kind, flags, stream, payload)) is not None:
                self._on_block(block)
        elif kind == RST_STREAM:
            self._on_reset(stream, read_number(payload, "a reset"))
        elif kind == GOAWAY:
            self._on_goaway(payload)
        elif kind == SETTINGS and not flags & ACK:
            settings = read_settings(payload)
            self.out += frame(SETTINGS, ACK, 0, b"")
            self._table.limit(dict(settings).get(HEADER_TABLE_SIZE, DEFAULT_TABLE_SIZE))
            self._sender.set(settings)
            self._on_settings(dict(settings))
        elif kind == PING and not flags & ACK:
            self.out += pong(payload)
        elif kind == WINDOW_UPDATE:
            step = read_number(payload, "a window update")
            if not step:
                raise H2Error(PROTOCOL_ERROR, "a window update by 0 bytes")
            self._on_window(stream, step)
        elif kind == PUSH_PROMISE:
            raise H2Error(PROTOCOL_ERROR, "a push promise")

    def _on_data(self, stream: int, data: bytes, ends: bool) -> None:
        raise NotImplementedError

    def _on_block(self, block: Block) -> None:
        raise NotImplementedError

    def _on_reset(self, stream: int, code: int) -> None:
        raise NotImplementedError

    def _on_goaway(self, payload: bytes) -> None:
        """A client's GOAWAY changes nothing: its requests are still answered."""

    def _on_window(self, stream: int, step: int) -> None:
        self._sender.grow(stream, step)

    def _on_settings(self, settings: dict[int, int]) -> None:
        """The peer's settings, of which the sender knows already."""
