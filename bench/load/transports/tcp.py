"""TCP connections of the fast transports: opened, polled before use, and examined when they end."""

import socket
import struct
from dataclasses import dataclass
from typing import Any, Final

import gevent
import gevent.monkey
import gevent.socket

from bench.serving.bounded_http import open_connection
from bench.serving.tls import certificate_name

# Fields of Linux's `struct tcp_info` (include/uapi/linux/tcp.h): offsets in bytes.
_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)
_INFO_SIZE: Final = 256
_UNACKED: Final = struct.Struct("=24xI")
_BYTES_ACKED: Final = struct.Struct("=120xQ")
_CLOSE: Final = 7
_MOMENT: Final = 1e-6


@dataclass(frozen=True, slots=True)
class TcpEnd:
    """What the kernel knows of a connection that the peer closed.

    Args:
        reset: the peer sent a reset, as TCP does when its owner closes it with data unread.
        unacked: the peer closed before all sent bytes had arrived.
        acked: bytes that arrived; None if the kernel does not count them.
    """

    reset: bool
    unacked: bool
    acked: int | None

    @property
    def unread(self) -> bool:
        """Whether the peer certainly has not read the last byte that was sent."""
        return self.reset or self.unacked


def connect(host: str, port: int, context: Any) -> Any:
    """Opens a connection as a gevent socket, see `open_connection`; `context` is the TLS context, or None.

    Raises:
        OSError: it cannot be opened, or its certificate is not trusted.
    """
    connection = open_connection(gevent.socket, host, port, lambda: None)
    try:
        if context is not None:
            # It takes the connection over, and would not close it where the time is up within the handshake.
            name = certificate_name(host)
            connection = context.wrap_socket(connection, server_hostname=name, do_handshake_on_connect=False)
            connection.do_handshake()
        return connection
    except BaseException:
        connection.close()
        raise


def let_others() -> None:
    """Yields to other greenlets, timers and sockets; a sleep of 0 yields to greenlets only."""
    gevent.sleep(_MOMENT)


def poller(connection: Any) -> Any:
    """An object whose `poll(0)` shows, without waiting, whether an idle connection has data or has ended."""
    select = gevent.monkey.get_original("select", ["poll", "POLLIN"])
    made = select[0]()
    made.register(connection.fileno(), select[1])
    return made


def tcp_end(connection: Any) -> TcpEnd | None:
    """How the peer closed a connection; None if the operating system has no such information."""
    if _TCP_INFO is None:
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO_SIZE)
        (unacked,) = _UNACKED.unpack_from(info)
    except (OSError, struct.error):
        return None
    # The first byte that is counted is the SYN.
    acked = _BYTES_ACKED.unpack_from(info)[0] - 1 if len(info) >= _BYTES_ACKED.size else None
    return TcpEnd(info[0] == _CLOSE, unacked > 0, acked)
