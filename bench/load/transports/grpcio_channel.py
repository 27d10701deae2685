"""gRPC with a channel of the grpcio package, for comparison."""

import array
import contextlib
import fcntl
import os
import socket
import termios
from typing import Final

import gevent
import grpc
import psutil

from bench.load.transports.endpoint import Endpoint
from bench.serving.errors import DeadlineExceeded
from bench.serving.grpc_client import make_channel, message_of, raise_for_rpc
from bench.serving.messages import PREDICT_METHOD
from bench.workload.trace_context import HEADER

# Seconds after its deadline in which a call ends by itself, unless grpcio is busy with what the server sends.
_GRACE: Final = 0.1
# So often, and with such pauses, it is looked whether data that has arrived is still there.
_LOOKS: Final = 5
_LOOK_SECONDS: Final = 0.01


class GrpcioChannel:
    """A channel that users share.

    grpcio applies a deadline between two reads of a connection. A server that does not acknowledge settings, so that
    16 MiB of headers are read, and sends an endless header block keeps it from doing so for up to a minute. A timer of
    gevent's loop bounds each call as well, and ends the connection.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        assert endpoint.grpc is not None
        self._endpoint = endpoint
        self._address = endpoint.grpc
        self._metadata = endpoint.access.headers.metadata()
        self._open()

    def exchange(self, body: bytes, timeout: float, traceparent: str | None = None) -> bytes:
        metadata = (*self._metadata, (HEADER, traceparent)) if traceparent else self._metadata
        late = gevent.Timeout.start_new(timeout + _GRACE)
        try:
            message: bytes = message_of(self._call(body, timeout=timeout, metadata=metadata), self._address)
            return message
        except grpc.RpcError as error:
            raise_for_rpc(error, self._address, timeout, self._endpoint.access.headers)
        except gevent.Timeout as expired:
            if expired is not late:
                raise
            cause = "allow more time or send less"
            if shut_down_flooded(self._address):
                cause = "only data without end; check what listens there"
                # The old channel would give the next call the connection that has just been shut down.
                self._open()
            raise DeadlineExceeded(f"no answer from {self._address} within {timeout:g} s; {cause}") from None
        finally:
            late.close()

    def close(self) -> None:
        self._channel.close()

    def _open(self) -> None:
        """Makes a channel; one that was there ends with the last of its calls."""
        endpoint = self._endpoint
        # Otherwise all channels to one address share one connection.
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", endpoint.max_response),
        ]
        self._channel = make_channel(self._address, endpoint.access, options, secure=endpoint.grpc_secure)
        self._call = self._channel.unary_unary(PREDICT_METHOD)


def shut_down_flooded(address: str) -> int:
    """Shuts down this process's TCP connections to `host:port` that data floods; returns how many.

    A flood is data that is still there however often it is read: on a busy machine answers wait too, for a moment.
    grpcio owns the sockets and has no call that does this: closing a channel waits for the same reads.
    """
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    hosts = {str(entry[4][0]) for entry in found}
    with contextlib.ExitStack() as stack:
        flooded = [
            stack.enter_context(socket.socket(fileno=os.dup(entry.fd)))
            for entry in psutil.Process().net_connections("tcp")
            if entry.raddr and entry.raddr.port == int(port) and entry.raddr.ip.removeprefix("::ffff:") in hosts
        ]
        for _ in range(_LOOKS):
            flooded = [connection for connection in flooded if _unread(connection)]
            if not flooded:
                break
            gevent.sleep(_LOOK_SECONDS)
        for connection in flooded:
            # The peer may have ended it meanwhile.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        return len(flooded)


def _unread(connection: socket.socket) -> int:
    """Bytes that have arrived and wait to be read."""
    size = array.array("i", [0])
    fcntl.ioctl(connection, termios.FIONREAD, size)
    return size[0]
