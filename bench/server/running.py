"""A running server: its addresses and ports."""

import errno
import socket
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import TargetError, UsageError
from bench.core.types import checked_fields
from bench.serving.access import DIRECT, Access


@dataclass(frozen=True, slots=True)
@checked_fields
class RunningServer:
    """A server whose model is AVAILABLE, and how to reach it.

    Args:
        rest: base URL, `http://host:port` and a path prefix; None where only gRPC is known.
        grpc: `host:port`; None where only REST is known.
        model: the model's name on the server.
        backend: `embedded`, `binary`, `docker` or `remote`.
        pid: the server's process, if it was started here; None in a container.
        container: the container's id, for a docker server.
        container_pid: its first process, if its Engine runs on this machine.
        control_group: folder of the control group of a remote server on this machine, if it was named.
        secure: whether a remote server's gRPC port speaks TLS.
        access: headers and certificates.
        gpus: whether it was started here so that it may compute on the GPUs of this machine.
    """

    rest: str | None
    grpc: str | None
    model: str
    backend: str
    pid: int | None = None
    container: str | None = None
    container_pid: int | None = None
    control_group: Path | None = None
    secure: bool = False
    access: Access = DIRECT
    gpus: bool = False

    @property
    def rest_address(self) -> str:
        """REST's `host:port` and path prefix; "" where only gRPC is known."""
        return (self.rest or "").partition("://")[2]

    @property
    def rest_prefix(self) -> str:
        """REST's path prefix, from its slash on; "" without one."""
        return "".join(self.rest_address.partition("/")[1:])


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that nobody listens on, all different, reserved for a server for a minute.

    A connection that the listener closed first leaves its port in TIME_WAIT. A server, which sets SO_REUSEADDR, can
    bind to it; a process that asks for any free port gets another.
    """
    ports = []
    for _ in range(count):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            with socket.create_connection(address):
                listener.accept()[0].close()
        ports.append(int(address[1]))
    return ports


def require_free(grpc: int, rest: int) -> None:
    """Checks that both loopback ports are free: another server there would be taken for the one to start.

    Raises:
        UsageError: both are the same, or one is out of range.
        TargetError: a port is in use.
    """
    if grpc == rest:
        raise UsageError(f"gRPC and REST cannot share port {grpc}; choose two different ports")
    ports = (("gRPC", grpc), ("REST", rest))
    for name, port in ports:
        if not 0 < port < 65536:
            raise UsageError(f"{name} port {port} is out of range; give one from 1 to 65535")
    for name, port in ports:
        with socket.socket() as probe:
            # As servers do: connections in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
                raise TargetError(
                    f"{name} port {port} {why}; stop what listens there, or choose another port"
                ) from error
