"""Sockets that listen, by address or path."""

import contextlib
import errno
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.server.embedded.base.status import PrintedFaults, StartError
from bench.server.embedded.net.connection_table import ConnectionTable

BACKLOG: Final = 1024


def listen_tcp(host: str, port: int, flag: str) -> socket.socket:
    """A socket that listens at an address.

    Raises:
        StartError: the address cannot be bound.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Listens already, so that two servers that start on one port at the same moment conflict here.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        elsewhere = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        cure = "give an address of this machine with --bind_address" if elsewhere else f"give another --{flag}"
        if error.errno == errno.EADDRINUSE:
            cure = f"free the port or {cure}"
        raise StartError(f"cannot listen on {host}:{port} ({error.strerror}); {cure}") from error
    return listener


def listen_unix(path: Path) -> socket.socket:
    """A socket that listens at a path; a stale socket there is replaced.

    Raises:
        StartError: the path cannot be bound.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if path.is_socket():
                path.unlink()
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {path} ({error.strerror}); give another --grpc_socket_path") from error
    return listener


def accept(
    listener: socket.socket, most: int, connections: ConnectionTable, take_up: Callable[[socket.socket], None]
) -> None:
    """Accepts the pending connections of a listener, as sockets that do not block; a fault in one stops no others.

    Args:
        listener: the listener, which does not block.
        most: how many connections.
        connections: those of the server; where no room is left, the one that is unused the longest is closed.
        take_up: called with each.
    """
    for _ in range(most):
        try:
            accepted, _ = listener.accept()
        except OSError as error:
            # None is pending, or descriptors have run out; pending ones raise another event.
            if error.errno in (errno.EMFILE, errno.ENFILE) and not connections.evict():
                time.sleep(0.05)
            return
        with PrintedFaults() as faults:
            if connections.full() and not connections.evict():
                accepted.close()
                continue
            accepted.setblocking(False)
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            take_up(accepted)
        if faults.occurred:
            accepted.close()
