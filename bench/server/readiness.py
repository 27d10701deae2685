"""Waiting until a server serves its model, and why it does not."""

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.core import interrupts
from bench.core.errors import TargetError, in_words
from bench.core.units import format_seconds
from bench.server.running import RunningServer
from bench.serving.endpoint_probe import explain
from bench.serving.errors import Rejected, ServingError
from bench.serving.rest import RestClient
from bench.serving.types import VersionStatus

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
_REFUSALS = ("401", "403", "407", "UNAUTHENTICATED", "PERMISSION_DENIED")
_ANSWER_SECONDS = 2.0


def wait_until_available(server: RunningServer, timeout: float, why_not: Callable[[], str | None]) -> None:
    """Waits until REST reports an AVAILABLE version and the gRPC port accepts connections.

    TensorFlow Serving opens its ports only after the first load, so both are needed (Serving's server.cc).

    Args:
        server: the server's addresses and model.
        timeout: seconds.
        why_not: why the server will not become ready; None while it may.

    Raises:
        TargetError: it ended, reports a failed load, or `timeout` passed.
    """
    deadline = time.monotonic() + timeout
    while True:
        interrupts.check()
        if (reason := why_not()) is not None:
            raise TargetError(f"the {server.backend} server did not start: {reason}")
        obstacle = _rest_obstacle(server) or _grpc_obstacle(server)
        if obstacle is None and why_not() is None:
            taken = format_seconds(time.monotonic() - deadline + timeout)
            logger.info("the %s server is ready after %s: %s, %s", server.backend, taken, server.rest, server.grpc)
            return
        if obstacle is not None and (obstacle.final or time.monotonic() > deadline):
            raise TargetError(_not_ready(server, obstacle, timeout))
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """Why a server is not ready.

    Args:
        text: message for the user.
        final: whether waiting is pointless.
    """

    text: str
    final: bool = False


def _not_ready(server: RunningServer, obstacle: _Obstacle, timeout: float) -> str:
    if server.backend == "remote":
        if obstacle.final:
            return obstacle.text
        return f"the server at {server.rest or server.grpc} was not ready in {timeout:g} s: {obstacle.text}"
    return (
        f"the {server.backend} server at {server.rest or server.grpc} was not ready in {timeout:g} s ({obstacle.text})"
    )


def _rest_obstacle(server: RunningServer) -> _Obstacle | None:
    """Why REST does not serve the model; None if it does."""
    if server.rest is None:
        return None
    try:
        with RestClient(server.rest, server.access) as client:
            versions = client.status(server.model, _ANSWER_SECONDS)
    except ServingError as error:
        return _failure(server, "rest", error)
    states = [_state(version) for version in versions]
    if "AVAILABLE" in states:
        return None
    if not states:
        return _model_missing(server, "no version")
    text = ", ".join(states)
    final = all(state.startswith("END: ") for state in states)
    if server.backend == "remote":
        text = f"model {server.model!r} at {server.rest} is {text}; look at that server's log"
    return _Obstacle(text, final)


def _model_missing(server: RunningServer, reason: str) -> _Obstacle:
    prefix = server.rest_prefix
    path = f" and the path {prefix}" if prefix else ""
    return _Obstacle(f"model {server.model!r} is not served there ({reason}); check --model-name{path}")


def _state(version: VersionStatus) -> str:
    """A version's state, with the reason where it ended with an error."""
    reason = " ".join(version.error_message.split())
    return f"{version.state}: {reason[:300]}" if reason else version.state


def _failure(server: RunningServer, protocol: str, error: ServingError | OSError) -> _Obstacle:
    """Why a call or a connection failed; probes what listens at a remote address."""
    if isinstance(error, ServingError) and (refusal := refused_credentials(server, error)) is not None:
        return _Obstacle(refusal, final=True)
    address = server.rest_address if protocol == "rest" else server.grpc or ""
    if server.backend == "remote":
        secure = (server.rest or "").startswith("https:") if protocol == "rest" else server.secure
        sentence = explain(address, protocol, secure=secure, model=server.model, access=server.access)
        if sentence is not None:
            return _Obstacle(sentence, final=not sentence.startswith("nothing listens at "))
    if isinstance(error, Rejected):
        return _model_missing(server, error.details)
    return _Obstacle(in_words(error))


def _grpc_obstacle(server: RunningServer) -> _Obstacle | None:
    """Why the gRPC port does not accept connections; None if it does."""
    if server.grpc is None:
        return None
    host, _, port = server.grpc.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError as error:
        return _failure(server, "grpc", error)
    sentence = None
    if server.backend == "remote":
        sentence = explain(server.grpc, "grpc", secure=server.secure, access=server.access)
    return None if sentence is None else _Obstacle(sentence, final=True)


def refused_credentials(server: RunningServer, error: ServingError) -> str | None:
    """The sentence for a server that answers and wants other headers; None if the error is another.

    Args:
        server: the server.
        error: that of a call that had its headers.
    """
    if error.code not in _REFUSALS or not server.access.headers:
        return None
    names = ", ".join(server.access.headers.names)
    return (
        f"{server.rest or server.grpc} refuses the request with the headers {names} ({error.code}); check their values"
    )
