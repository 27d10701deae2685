"""HTTP/1 on a connection: requests answered in their order."""

from collections.abc import Callable, Sequence

from bench.server.embedded.net.http_message import BadRequestError, Reader, Request, Response, error_page, to_bytes
from bench.server.embedded.net.socket_server import CloseConnectionError, Connection, Job

Handler = Callable[[Request], Response]


class Http1Protocol:
    """The requests of one connection.

    Args:
        connection: takes the answers.
        handler: answers a request; must not raise.
    """

    concurrent = False

    def __init__(self, connection: Connection, handler: Handler) -> None:
        self._connection = connection
        self._handler = handler
        self._reader = Reader()
        self._closing = False

    def received(self, data: bytes) -> Sequence[Job]:
        """The requests that these bytes complete.

        Raises:
            CloseConnectionError: the bytes are not HTTP; with libevent's page for that.
        """
        self._reader.buffer += data
        jobs: list[Job] = []
        try:
            while (request := self._reader.next()) is not None:
                jobs.append(self._job(request))
        except BadRequestError:
            for job in jobs:
                job()
            raise CloseConnectionError(to_bytes(error_page(400), None, keep_alive=False)) from None
        if self._reader.wants_continue:
            self._reader.wants_continue = False
            self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return jobs

    def draining(self) -> None:
        self._closing = True

    def idle(self) -> bool:
        return True

    def closed(self) -> None:
        pass

    def _job(self, request: Request) -> Job:
        def job() -> bool:
            response = self._handler(request)
            keep = request.keep_alive and not response.close and not self._closing
            self._connection.send(to_bytes(response, request, keep))
            return keep

        return job
