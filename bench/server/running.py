"""A server that runs: where it answers, and waiting until it does."""

import http.client
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from bench.errors import TargetError

POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answered as AVAILABLE.

    Args:
        rest: base URL, `http://host:port`; None where only gRPC is known.
        grpc: `host:port`; None where only REST is known.
        model: the model's name on it.
        backend: `embedded`, `binary`, `docker` or `remote`.
        pid: the server's process, where it runs on this machine and is known.
        container: the container's id, for a docker server.
    """

    rest: str | None
    grpc: str | None
    model: str
    backend: str
    pid: int | None = None
    container: str | None = None


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that nobody listens on just now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [int(held.getsockname()[1]) for held in sockets]
    finally:
        for held in sockets:
            held.close()


def require_free(ports: tuple[int, ...]) -> None:
    """Raises unless nobody listens on these loopback ports: another server there would pass for the one to be started.

    Raises:
        TargetError: a port is in use.
    """
    for port in ports:
        with socket.socket() as probe:
            # As servers do it: a connection that is still winding down does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise TargetError(f"port {port} cannot be served at ({error.strerror}); choose another") from error


def wait_until_available(server: RunningServer, timeout: float, still_there: Callable[[], str | None]) -> None:
    """Returns once REST reports an AVAILABLE version and the gRPC port accepts.

    TensorFlow Serving opens its ports only after the first load, so both are needed (Serving's server.cc).

    Args:
        server: where to look.
        timeout: seconds.
        still_there: None while the server may still come up, else why it will not.

    Raises:
        TargetError: it ended, reports a failed load, or `timeout` passed.
    """
    deadline = time.monotonic() + timeout
    while True:
        if (reason := still_there()) is not None:
            raise TargetError(f"the {server.backend} server did not start: {reason}")
        obstacle = _rest_obstacle(server) or _grpc_obstacle(server)
        if obstacle is None and still_there() is None:
            return
        if time.monotonic() > deadline:
            raise TargetError(
                f"the {server.backend} server at {server.rest or server.grpc} was not ready in {timeout:.0f} s "
                f"({obstacle}); check the address and the model's name, or give it longer"
            )
        time.sleep(POLL_SECONDS)


def _rest_obstacle(server: RunningServer) -> str | None:
    """What keeps REST from serving the model; None if nothing does."""
    if server.rest is None:
        return None
    address = urlsplit(server.rest)
    secure = address.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = connect(address.hostname or "", address.port, timeout=2)
    try:
        connection.request("GET", f"/v1/models/{quote(server.model)}")
        answer = json.loads(connection.getresponse().read())
        states = [entry["state"] for entry in answer.get("model_version_status", [])]
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error or type(error).__name__}"
    except (ValueError, AttributeError, KeyError, TypeError):
        return "what answers there is not TensorFlow Serving"
    finally:
        connection.close()
    return None if "AVAILABLE" in states else str(answer.get("error") or ", ".join(states) or "no version")


def _grpc_obstacle(server: RunningServer) -> str | None:
    """What keeps the gRPC port from accepting; None if nothing does."""
    if server.grpc is None:
        return None
    host, _, port = server.grpc.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError as error:
        return f"no answer: {error}"
    return None
