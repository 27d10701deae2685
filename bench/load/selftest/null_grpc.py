"""A gRPC server that computes nothing: it looks up the answer by the bytes of the request message."""

import asyncio
from collections.abc import Mapping
from typing import Final

from bench.serving.http2.frames import H2Error
from bench.serving.http2.grpc_wire import HEADERS, OK_TRAILERS, PREFIX, failure, framed
from bench.serving.http2.server import Completed, ServerConnection

_INVALID_ARGUMENT: Final = 3
_REFUSAL: Final = failure(_INVALID_ARGUMENT, b"the null server does not know this request")


class NullGrpc(asyncio.Protocol):
    """One connection.

    Args:
        answers: serialized answers by serialized request, for any method.
    """

    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        self._answers = answers
        self._h2 = ServerConnection()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            for event in self._h2.receive(data):
                if isinstance(event, Completed):
                    self._answer(event)
        except H2Error as error:
            self._h2.abort(error.code)
            self._send()
            self._transport.close()
        else:
            self._send()

    def _answer(self, event: Completed) -> None:
        message = self._answers.get(event.body[PREFIX:])
        if message is None:
            self._h2.respond(event.stream, b"", b"", _REFUSAL)
        else:
            self._h2.respond(event.stream, HEADERS, framed(message), OK_TRAILERS)

    def _send(self) -> None:
        assert self._transport is not None
        if self._h2.out:
            self._transport.write(bytes(self._h2.out))
            self._h2.out.clear()
