"""The gRPC endpoint on the grpcio package's server, for TLS and gRPC's channel arguments, which only that has.

Without these `protocol` serves: in grpcio a call passes through four threads, which costs a third of a millisecond on
an idle machine and much more on a busy one.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent import futures
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from bench.server.embedded.base.limits import INT32_MAX
from bench.server.embedded.base.status import Code, StartError, StatusError
from bench.server.embedded.config.model_config import TlsKeys
from bench.server.embedded.grpc.protocol import GrpcLimits, Methods
from bench.server.embedded.models.servable import Caller
from bench.server.embedded.net.socket_server import FRONT_THREADS
from bench.server.embedded.runtime.inline_threads import allow_first

T = TypeVar("T")

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
# Streams of a connection, and calls that wait for a thread.
_MAX_STREAMS: Final = 1000
_MAX_WAITING: Final = 1000


class GrpcioServer:
    """Serves until stopped.

    An event loop waits for requests and for clients that read slowly, and only whole requests occupy a thread: on the
    package's server without a loop, calls whose requests never come would hold all of them.

    Args:
        methods: answers the calls.
        addresses: `host:port` or `unix:path`.
        threads: calls at a time.
        limits: see GrpcLimits; the package limits a message that comes compressed as any other.
        tls: keys; None for plain text.
        arguments: gRPC's channel arguments.

    Raises:
        StartError: an address cannot be bound, or the keys are not valid.
    """

    def __init__(
        self,
        methods: Methods,
        addresses: Sequence[str],
        threads: int,
        limits: GrpcLimits,
        tls: TlsKeys | None = None,
        arguments: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="grpcio_loop", daemon=True)
        self._thread.start()
        options = [
            ("grpc.max_receive_message_length", limits.request_bytes),
            ("grpc.max_send_message_length", INT32_MAX),
            ("grpc.max_concurrent_streams", _MAX_STREAMS),
            # Two servers on one port would each get some of the connections.
            ("grpc.so_reuseport", 0),
            *arguments,
        ]
        self._handlers = _Handlers(methods, threads)
        self._server = self._run(self._create(options))
        try:
            for address in addresses:
                self._run(self._bind(address, tls))
        except StartError:
            self._end_loop()
            raise

    def start(self) -> None:
        """Starts accepting connections."""
        self._run(self._server.start())

    def stop(self, timeout: float) -> None:
        """Refuses new calls and waits up to `timeout` seconds for those in progress."""
        if self._loop.is_closed():
            return
        self._run(self._drain(timeout))
        self._end_loop()

    async def _create(self, options: Sequence[tuple[str, Any]]) -> Any:
        return grpc.aio.server(handlers=(self._handlers,), options=options)

    async def _bind(self, address: str, tls: TlsKeys | None) -> None:
        try:
            if tls is None:
                self._server.add_insecure_port(address)
            else:
                pair = (tls.key, tls.certificate)
                roots = tls.client_roots or None
                credentials = grpc.ssl_server_credentials([pair], roots, require_client_auth=tls.verify_client)
                self._server.add_secure_port(address, credentials)
        except (RuntimeError, ValueError) as error:
            raise StartError(f"cannot listen on {address} ({error}); check the port and the keys") from error

    async def _drain(self, timeout: float) -> None:
        self._handlers.draining.set()
        await self._server.stop(timeout)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Handlers(grpc.GenericRpcHandler):
    """The methods by name; all others are UNIMPLEMENTED, without a text.

    Attributes:
        draining: set when the server stops, which ends the streams.
    """

    def __init__(self, methods: Methods, threads: int) -> None:
        self._methods = methods
        self._pool = futures.ThreadPoolExecutor(threads, "grpcio", initializer=allow_first(FRONT_THREADS))
        self._room = threads + _MAX_WAITING
        self._unknown = grpc.stream_stream_rpc_method_handler(_unimplemented)
        self.draining = asyncio.Event()

    def service(self, details: Any) -> Any:
        method = details.method
        if not self._methods.knows(method):
            return self._unknown

        async def answer(request: bytes, context: Any) -> bytes:
            return await self._answer(method, request, context)

        async def watch(request: bytes, context: Any) -> AsyncIterator[bytes]:
            yield await self._answer(method, request, context)
            await self.draining.wait()
            yield self._methods.closing_message(method)

        if self._methods.is_streaming(method):
            return grpc.unary_stream_rpc_method_handler(watch)
        return grpc.unary_unary_rpc_method_handler(answer)

    async def _answer(self, method: str, request: bytes, context: Any) -> bytes:
        call = Caller(context.time_remaining())
        context.add_done_callback(lambda _: call.cancel())
        failed = StatusError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        if self._room:
            self._room -= 1
            loop = asyncio.get_running_loop()
            try:
                return await loop.run_in_executor(self._pool, self._methods.handle, method, request, call)
            except StatusError as error:
                failed = error.bare()
            finally:
                self._room += 1
        await context.abort(_CODES[failed.code], failed.message)
        raise AssertionError("abort returned")


async def _unimplemented(_requests: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
