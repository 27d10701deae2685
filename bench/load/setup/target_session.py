"""The server under load: started here, or probed at its address for the model."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.bert.contract.golden import Golden
from bench.bert.contract.preflight import Preflight, export_name
from bench.core import interrupts
from bench.core.errors import TargetError
from bench.load.setup.remote_server import remote_server
from bench.load.setup.run_spec import RunSpec, address_of
from bench.load.transports.pool import prepare_grpc
from bench.server.clients import connect
from bench.server.lifecycle import check_model, open_target, startup_seconds
from bench.server.readiness import refused_credentials
from bench.server.running import RunningServer
from bench.serving.endpoint_probe import explain
from bench.serving.errors import ConnectFailed, Rejected, ServingError
from bench.serving.target import Target
from bench.serving.types import ServingClient, VersionStatus

_POLL_SECONDS: Final = 0.1


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
            servers = spec.servers or (remote_server(spec),)
            _probe(servers[0], spec, golden)
            for other in servers[1:]:
                _probe(other, replace(spec, target=address_of(other, spec.protocol), target_name=""), golden)
            server = servers[0]
            if spec.server_cgroup is not None:
                server = replace(server, control_group=spec.server_cgroup)
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


def _probe(server: RunningServer, spec: RunSpec, golden: Golden) -> None:
    """Requests the model's state, and a few golden answers, over each protocol of the run."""
    preflight = Preflight(golden, spec.signature, server.model, export_name(spec.model_dir))
    for protocol, address in (("rest", server.rest), ("grpc", server.grpc)):
        if address is None or spec.protocol not in (protocol, "both"):
            continue
        if protocol == "grpc":
            prepare_grpc()
        with connect(server, protocol) as client:
            require_served(client, server, spec.target)
            # A server that the caller started holds the model of this export.
            if spec.preflight and server.backend == "remote":
                target = spec.target_name or str(spec.target)
                # A refusal says something of the run's requests if they are like these.
                alike = spec.sentences == 1 and not spec.padded
                preflight.require_same_model(client, target, spec.timeout, accepted=alike)


def require_served(client: ServingClient, server: RunningServer, target: Target, timeout: float | None = None) -> None:
    """Requests the state of a server's model.

    Args:
        client: connected to it.
        server: the server.
        target: the user's name of it.
        timeout: seconds; None for those in which it must be ready, in which a model that loads is waited for, and also
            a server that takes no connection, if the user has given them.

    Raises:
        TargetError: it does not answer, or does not serve the model.
    """
    try:
        if timeout is None:
            versions = _status_once_loaded(client, server, target)
        else:
            versions = client.status(server.model, timeout)
    except ServingError as error:
        if isinstance(error, Rejected) and error.code in ("UNIMPLEMENTED", "501"):
            return
        raise _explained(client, server, target, error) from error
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


def _status_once_loaded(client: ServingClient, server: RunningServer, target: Target) -> Sequence[VersionStatus]:
    """The model's versions, once none loads any longer or one is there, or when the time is over.

    Raises:
        ServingError: it does not answer.
    """
    limit = time.monotonic() + startup_seconds(target)
    while True:
        interrupts.check()
        left = limit - time.monotonic()
        try:
            versions = client.status(server.model, max(left, _POLL_SECONDS))
        except ConnectFailed:
            if target.access.ready_timeout is None or left < 0:
                raise
        else:
            states = {version.state for version in versions}
            if left < 0 or "AVAILABLE" in states or not states & {"START", "LOADING"}:
                return versions
        time.sleep(_POLL_SECONDS)


def _explained(client: ServingClient, server: RunningServer, target: Target, error: ServingError) -> TargetError:
    """The error for a server that does not give its model's state, with its cause."""
    if (refusal := refused_credentials(server, error)) is not None:
        return TargetError(refusal)
    rest = client.protocol == "rest"
    address = server.rest_address if rest else server.grpc or ""
    secure = (server.rest or "").startswith("https:") if rest else server.secure
    cause = explain(address, client.protocol, secure=secure, model=server.model, access=server.access)
    if cause is not None:
        refused = cause.startswith("nothing listens")
        return TargetError(f"{target} does not answer: {cause}" if refused else cause)
    if isinstance(error, Rejected):
        path = f", or correct the path {server.rest_prefix}" if rest and server.rest_prefix else ""
        return TargetError(f"{target} does not serve a model named {server.model!r} ({error}); give --model-name{path}")
    return TargetError(f"{target} does not answer: {error}")
