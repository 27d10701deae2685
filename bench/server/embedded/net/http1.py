"""HTTP/1 on a connection: requests answered in their order."""

from collections.abc import Callable, Sequence
from typing import Final

from bench.server.embedded.net.connection import CloseConnectionError, Connection, Job
from bench.server.embedded.net.cpu_budget import ByteEarnings
from bench.server.embedded.net.http_message import (
    BadRequestError,
    Reader,
    Request,
    Response,
    TooLargeError,
    error_page,
    to_bytes,
)

Handler = Callable[[Request], Response]

# CPU seconds that reading may cost.
_WORTH_OF_REQUEST: Final = 2e-4
_WORTH_OF_BYTE: Final = 2e-8


class Http1Protocol:
    """The requests of one connection.

    Args:
        connection: takes the answers.
        handler: answers a request; must not raise.
        max_body: bytes of the largest body.
    """

    concurrent = False
    # The next request is read when the client has taken the last answer.
    most_unsent = 0

    def __init__(self, connection: Connection, handler: Handler, max_body: int) -> None:
        self._connection = connection
        self._handler = handler
        self._reader = Reader(max_body=max_body)
        self._closing = False
        self._in_progress = 0
        self._received = self._complete = 0
        self._byte_earnings = ByteEarnings(_WORTH_OF_BYTE)
        self._earned = 0.0

    def received(self, data: bytes) -> Sequence[Job]:
        """The next request that these bytes and those before complete.

        Raises:
            CloseConnectionError: the bytes are not HTTP, or a body is too large; with libevent's page for that.
        """
        self._reader.buffer += data
        self._received += len(data)
        try:
            request = self._reader.next()
        except BadRequestError:
            raise _closing(400) from None
        except TooLargeError:
            raise _closing(413) from None
        if request is not None:
            self._earned += _WORTH_OF_REQUEST
            self._complete = self._received - len(self._reader.buffer)
            return [self._job(request)]
        if self._reader.wants_continue:
            self._reader.wants_continue = False
            self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return []

    def held(self) -> int:
        return self._reader.held() + self._in_progress + self._connection.unsent

    def earned(self) -> float:
        earned, self._earned = self._earned, 0.0
        return earned + self._byte_earnings.take(self._received, self._complete)

    def overloaded(self) -> bytes:
        return _page(503)

    def draining(self) -> None:
        self._closing = True

    def idle(self) -> bool:
        return True

    def closed(self) -> None:
        pass

    def _job(self, request: Request) -> Job:
        self._in_progress = len(request.body)

        def job() -> bool:
            response = self._handler(request)
            keep = request.keep_alive and not response.close and not self._closing
            self._in_progress = 0
            self._connection.send(to_bytes(response, request, keep))
            return keep

        return Job(job)


def _page(status: int) -> bytes:
    return to_bytes(error_page(status), None, keep_alive=False)


def _closing(status: int) -> CloseConnectionError:
    return CloseConnectionError(_page(status))
