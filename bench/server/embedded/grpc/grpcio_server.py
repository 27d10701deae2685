"""The gRPC endpoint on the grpcio package's server, for TLS and gRPC's channel arguments, which only that has.

Without these `protocol` serves: in grpcio a call passes through four threads, which costs a third of a millisecond on
an idle machine and much more on a busy one.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any, Final

import grpc

from bench.server.embedded.base.limits import INT32_MAX
from bench.server.embedded.base.status import StartError, StatusError
from bench.server.embedded.config.model_config import TlsKeys
from bench.server.embedded.grpc.protocol import Methods
from bench.server.embedded.models.servable import Caller

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class _Call(Caller):
    """A call of grpcio."""

    def __init__(self, context: Any) -> None:
        left = context.time_remaining()
        # Without a deadline grpcio reports thousands of years.
        super().__init__(None if left is None or left > 1e9 else left)
        self._context = context

    def cancelled(self) -> bool:
        return not self._context.is_active()


class GrpcioServer:
    """Serves until stopped.

    Args:
        methods: answers the calls.
        addresses: `host:port` or `unix:path`.
        threads: calls at a time.
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
        tls: TlsKeys | None,
        arguments: Sequence[tuple[str, int | str]],
    ) -> None:
        self._server = grpc.server(
            futures.ThreadPoolExecutor(threads),
            handlers=(_Handlers(methods),),
            options=[
                ("grpc.max_receive_message_length", INT32_MAX),
                ("grpc.max_send_message_length", INT32_MAX),
                # Two servers on one port would each get some of the connections.
                ("grpc.so_reuseport", 0),
                *arguments,
            ],
        )
        for address in addresses:
            self._bind(address, tls)

    def start(self) -> None:
        """Starts accepting connections."""
        self._server.start()

    def stop(self, timeout: float) -> None:
        """Refuses new calls and waits up to `timeout` seconds for those in progress."""
        self._server.stop(timeout).wait()

    def _bind(self, address: str, tls: TlsKeys | None) -> None:
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


class _Handlers(grpc.GenericRpcHandler):
    """The methods by name; all others are UNIMPLEMENTED, without a text."""

    def __init__(self, methods: Methods) -> None:
        self._methods = methods
        self._unknown = grpc.stream_stream_rpc_method_handler(_unimplemented)

    def service(self, details: Any) -> Any:
        method = details.method
        if not self._methods.knows(method):
            return self._unknown
        if self._methods.is_streaming(method):
            return grpc.unary_stream_rpc_method_handler(lambda request, context: self._watch(method, request, context))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._answer(method, request, context))

    def _answer(self, method: str, request: bytes, context: Any) -> bytes:
        try:
            return self._methods.handle(method, request, _Call(context))
        except StatusError as error:
            context.abort(_CODES[error.code], error.raw)
        raise AssertionError("abort returned")

    def _watch(self, method: str, request: bytes, context: Any) -> Iterator[bytes]:
        yield self._answer(method, request, context)
        while context.is_active():
            time.sleep(0.5)


def _unimplemented(_requests: Any, context: Any) -> Any:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
