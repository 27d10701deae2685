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
        rest: base URL, `http://host:port`.
        grpc: `host:port`.
        model: the model's name on it.
        backend: `embedded`, `binary`, `docker` or `remote`.
        pid: the server's process, where it runs on this machine and is known.
        container: the container's id, for a docker server.
    """

    rest: str
    grpc: str
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
    state = "no answer yet"
    while time.monotonic() < deadline:
        if (reason := still_there()) is not None:
            raise TargetError(f"the {server.backend} server did not start: {reason}")
        state = _state(server)
        if state == "AVAILABLE":
            return
        time.sleep(POLL_SECONDS)
    raise TargetError(
        f"the {server.backend} server at {server.rest} was not ready in {timeout:.0f} s ({state});"
        " see its log, or give it longer"
    )


def _state(server: RunningServer) -> str:
    """`AVAILABLE`, or what stands in the way."""
    address = urlsplit(server.rest)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=2)
    try:
        connection.request("GET", f"/v1/models/{quote(server.model)}")
        answer = json.loads(connection.getresponse().read())
        states = [entry["state"] for entry in answer.get("model_version_status", [])]
        if "AVAILABLE" not in states:
            return str(answer.get("error") or ", ".join(states) or "no version")
        host, _, port = server.grpc.rpartition(":")
        socket.create_connection((host, int(port)), timeout=2).close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no answer yet: {error or type(error).__name__}"
    finally:
        connection.close()
    return "AVAILABLE"
