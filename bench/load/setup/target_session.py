"""The server under load: started here, or probed at its address for the model."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.bert.contract.golden import Golden
from bench.bert.contract.preflight import Preflight, export_name
from bench.core.errors import TargetError, UsageError
from bench.load.setup.run_context import option_name
from bench.load.setup.run_spec import RunSpec
from bench.load.transports.pool import prepare_grpc
from bench.server.lifecycle import GRPC_PORT, REST_PORT, RunningServer, check_model, open_target
from bench.serving.endpoint_probe import explain
from bench.serving.errors import Rejected, ServingError
from bench.serving.grpc_client import GrpcClient
from bench.serving.rest import RestClient
from bench.serving.target import Target, TargetKind
from bench.serving.types import ServingClient

PROBE_SECONDS: Final = 5.0


class TargetSession:
    """Opens the server of a run, and reuses one that it started for the next run on the same model."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._started: tuple[object, RunningServer] | None = None

    def open(self, spec: RunSpec, model_dir: Path, golden: Golden) -> RunningServer:
        """The server, ready to answer.

        Args:
            spec: the run.
            model_dir: the export of the run.
            golden: its golden answers.

        Raises:
            UsageError: options contradict each other.
            TargetError: it does not start, does not answer, or does not serve the model.
            WrongAnswerError: a remote server holds another model.
        """
        if spec.target.remote:
            server = spec.servers[0] if spec.servers else _at_address(spec)
            _probe(server, spec, golden)
            return server
        identity = (spec.target, model_dir.resolve(), spec.model_name, spec.server_flags)
        if self._started is None or self._started[0] != identity:
            self.close()
            check_model(spec.target, model_dir, spec.server_flags)
            opened = open_target(spec.target, model_dir, spec.model_name, spec.server_flags)
            self._started = identity, self._stack.enter_context(opened)
        return self._started[1]

    def close(self) -> None:
        """Stops a server that was started here."""
        self._started = None
        self._stack.close()


def _at_address(spec: RunSpec) -> RunningServer:
    """The addresses of a remote server; Serving's default ports imply the other protocol's address."""
    if spec.server_flags:
        raise UsageError(f"server flags have no effect on {spec.target}; set them where that server is started")
    rest, grpc = None, spec.grpc
    if spec.target.kind is TargetKind.REST:
        rest = spec.target
        grpc = grpc or _beside(spec.target, REST_PORT, GRPC_PORT, TargetKind.GRPC)
    else:
        grpc = spec.target
        rest = _beside(spec.target, GRPC_PORT, REST_PORT, TargetKind.REST)
    needed = {"rest": (rest,), "grpc": (grpc,), "both": (rest, grpc)}[spec.protocol]
    if None in needed:
        give = {
            "rest": "http://HOST:PORT",
            "grpc": "grpc://HOST:PORT",
            "both": "http://HOST:PORT and --grpc-host HOST:PORT",
        }[spec.protocol]
        raise UsageError(
            f"the server's {'REST' if rest is None else 'gRPC'} address is not known from {spec.target}; "
            f"give {option_name('--host', spec.command)} {give}"
        )
    return RunningServer(rest.address if rest else None, grpc.address if grpc else None, spec.model_name, "remote")


def _beside(target: Target, port: int, other: int, kind: TargetKind) -> Target | None:
    """The other protocol's address of a server at one of Serving's default ports."""
    host, _, found = target.address.rpartition("://")[2].rpartition(":")
    if found != str(port) or target.secure:
        return None
    return Target(kind, f"http://{host}:{other}" if kind is TargetKind.REST else f"{host}:{other}")


def _probe(server: RunningServer, spec: RunSpec, golden: Golden) -> None:
    """Requests the model's state, and a few golden answers, over each protocol of the run."""
    preflight = Preflight(golden, spec.signature, server.model, export_name(spec.model_dir))
    secure, ca = spec.secure_grpc, spec.tls.ca if spec.tls else None
    for client in _clients(server, spec):
        with client:
            require_served(client, server, spec.target, secure, ca)
            if spec.preflight and not spec.servers:
                preflight.require_same_model(client, spec.target_name or str(spec.target), spec.timeout)


def require_served(
    client: ServingClient,
    server: RunningServer,
    target: Target,
    secure: bool,
    ca: Path | None = None,
    timeout: float = PROBE_SECONDS,
) -> None:
    """Requests the state of a server's model.

    Args:
        client: connected to it.
        server: the server.
        target: the user's name of it.
        secure: whether gRPC is encrypted.
        ca: authorities that are trusted, a PEM file; None for the system's.
        timeout: seconds.

    Raises:
        TargetError: it does not answer, or does not serve the model.
    """
    try:
        versions = client.status(server.model, timeout)
    except ServingError as error:
        if isinstance(error, Rejected) and error.code in ("UNIMPLEMENTED", "501"):
            return
        raise _explained(client, server, target, secure, ca, error) from error
    states = [version.state for version in versions]
    if not states:
        raise TargetError(f"model {server.model!r} on {target} has no version; check its folder on the server")
    if "AVAILABLE" not in states:
        failed = next((version for version in versions if version.error_message), None)
        why = f" ({' '.join(failed.error_message.split())})" if failed else ""
        raise TargetError(
            f"model {server.model!r} on {target} is {', '.join(states)}{why}; "
            f"{'look at the server' if failed else 'wait until it is loaded'}"
        )


def _explained(
    client: ServingClient, server: RunningServer, target: Target, secure: bool, ca: Path | None, error: ServingError
) -> TargetError:
    """The error for a server that does not give its model's state, with its cause."""
    if isinstance(client, RestClient):
        parts = urlsplit(client.url)
        cause = explain(parts.netloc, "rest", secure=parts.scheme == "https", model=server.model, ca=ca)
    else:
        cause = explain(server.grpc or "", "grpc", secure=secure, ca=ca)
    if cause is not None:
        refused = cause.startswith("nothing listens")
        return TargetError(f"{target} does not answer: {cause}" if refused else cause)
    if isinstance(error, Rejected):
        return TargetError(f"{target} does not serve a model named {server.model!r} ({error}); give --model-name")
    return TargetError(f"{target} does not answer: {error}")


def _clients(server: RunningServer, spec: RunSpec) -> Iterator[ServingClient]:
    if spec.protocol != "grpc" and server.rest:
        yield RestClient(server.rest, headers=spec.headers, tls=spec.tls)
    if spec.protocol != "rest" and server.grpc:
        prepare_grpc()
        metadata = tuple((name.lower(), value) for name, value in spec.headers.items())
        secure = spec.secure_grpc
        yield GrpcClient(server.grpc, spec.tls if secure else None, metadata, secure=secure)
