"""One HTTP response, read from a connection within limits of time and size."""

import time
from typing import Any, Final

from geventhttpclient.response import HTTPParseError, HTTPResponseParser

from bench.core.units import format_bytes
from bench.load.transports.tcp import let_others
from bench.serving.content_coding import check_size, plain_body
from bench.serving.errors import InvalidResponse

_BLOCK: Final = 1 << 16
# Limit of bytes beside the body (heads, interim responses, trailers, chunk sizes), plus the size of the body.
_MOST_BESIDE: Final = 1 << 16
# Number of blocks read without waiting after which other users run.
_BLOCKS_AT_ONCE: Final = 8
_OK: Final = 200
_CODINGS: Final = ("content-encoding", "transfer-encoding")
_CODING_LENGTHS: Final = frozenset(map(len, _CODINGS))


class LateError(Exception):
    """The time is up while data still arrives."""


class RestAnswer(HTTPResponseParser):
    """A response in the HTTP parser that Locust's `FastHttpUser` uses.

    Args:
        most: largest size of the body, bytes, before and after decoding.

    Attributes:
        status: status of the final response; 0 until it is complete.
        reusable: whether the connection may take another request.
        begun: whether any byte has arrived.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.status = 0
        self.begun = False
        self.reusable = False
        self._most = most
        self._body = bytearray()
        self._beside = 0
        self._more = False
        self._name = ""
        self._in_value = False
        self._codings: dict[str, str] | None = None
        self._in_head = True

    def read(self, connection: Any, ends: float) -> None:
        """Reads the response from a gevent socket.

        Args:
            connection: the socket.
            ends: the deadline, on the clock of `time.perf_counter`.

        Raises:
            LateError: the deadline has passed.
            OSError: the connection ended first.
            HTTPParseError: the data is not HTTP.
            InvalidResponse: it is too large.
        """
        blocks = 0
        while True:
            data = connection.recv(_BLOCK)
            self._take(data)
            if self.status:
                return
            check_size(len(self._body) + self.get_remaining_content_length(), self._most)
            if not data:
                raise ConnectionError("the server closed the connection without an answer")
            if time.perf_counter() > ends:
                raise LateError
            blocks += 1
            if blocks % _BLOCKS_AT_ONCE == 0 or len(data) == _BLOCK:
                let_others()

    def body(self, ends: float) -> bytes:
        """The decoded body; b"" for an error response whose body cannot be decoded.

        Args:
            ends: as for `read`.

        Raises:
            LateError: the deadline has passed.
            InvalidResponse: the coding is unknown, the body does not decode, or it is too large.
        """
        if self._codings is None:
            return bytes(self._body)

        def pause() -> None:
            if time.perf_counter() > ends:
                raise LateError
            let_others()

        coding = ",".join(self._codings.values())
        return plain_body(bytes(self._body), coding, self._most, pause, good=self.status == _OK)

    def _take(self, data: bytes) -> None:
        before = len(self._body)
        self.begun = self.begun or bool(data)
        try:
            if self.begun:
                self.feed(data)
        except HTTPParseError:
            # Data after a complete response does not invalidate it.
            if not self.status:
                raise
            self._more = True
        if self.status:
            self.reusable = not self._more and self.should_keep_alive()
        size = len(self._body)
        check_size(size, self._most)
        self._beside += len(data) - (size - before)
        if self._beside > _MOST_BESIDE + size:
            raise InvalidResponse(f"the response has {format_bytes(self._beside)} of headers and chunk sizes")

    # Callbacks of the parser. A header's name and its value may arrive in parts.

    def _on_message_begin(self) -> None:
        self._more = bool(self.status)
        self._codings = None
        self._in_head = True

    def _on_status(self, text: str) -> None:
        pass

    def _on_header_field(self, part: str) -> None:
        self._name = part if self._in_value else self._name + part
        self._in_value = False

    def _on_header_value(self, part: str) -> None:
        first, self._in_value = not self._in_value, True
        # Trailers say nothing of the body's coding (RFC 9110, section 6.5.1).
        if self._in_head and len(self._name) in _CODING_LENGTHS and (name := self._name.lower()) in _CODINGS:
            codings = self._codings = self._codings or dict.fromkeys(_CODINGS, "")
            codings[name] += f",{part}" if first else part

    def _on_headers_complete(self) -> None:
        self._in_head = False

    def _on_body(self, part: bytearray) -> None:
        if not self.status:
            self._body += part

    def _on_message_complete(self) -> None:
        # Interim responses precede the final one.
        if not self.status and (code := self.get_code()) >= 200:
            self.status = code
