"""Opens a target of any kind: gives a running server, and stops it at the end if it was started here."""

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from bench.bert.contract.model_folder import check_servable
from bench.bert.tf_paths import check_plain
from bench.core.errors import UsageError
from bench.core.extras import require
from bench.server.clients import connect as connect_client
from bench.server.container import Device, docker
from bench.server.container_engine import connect, has_ended
from bench.server.process import binary, embedded
from bench.server.readiness import wait_until_available
from bench.server.running import RunningServer
from bench.serving.errors import ServingError
from bench.serving.headers import NO_HEADERS
from bench.serving.target import Target, TargetKind
from bench.serving.types import DEFAULT_MODEL_NAME, GRPC_PORT, REST_PORT

__all__ = ["RunningServer", "binary", "check_model", "docker", "embedded", "open_target", "startup_seconds", "watched"]

# Flags that make a server load its models from elsewhere, or in another form.
_OTHER_MODELS: Final = ("model_config_file", "prefer_tflite_model", "use_tflite_model")

_LOOK_SECONDS: Final = 1.0


def startup_seconds(target: Target) -> float:
    """The seconds until a target must be ready: those given, or the default of its kind."""
    if target.access.ready_timeout is not None:
        return target.access.ready_timeout
    if target.remote:
        return 5.0
    return 120.0 if target.kind is TargetKind.DOCKER else 60.0


@contextlib.contextmanager
def open_target(
    target: Target,
    model_dir: Path | None,
    model: str = DEFAULT_MODEL_NAME,
    flags: Sequence[str] = (),
    ports: tuple[int, int] | None = None,
    startup_timeout: float | None = None,
    log: Path | None = None,
) -> Iterator[RunningServer]:
    """The server behind a target, ready to answer.

    If a remote target has one of Serving's default ports (8501 REST, 8500 gRPC) and Serving answers for the model
    at the other port too, without the user's headers, the running server has both addresses.

    Args:
        target: any target but `estimator`, and how to reach it.
        model_dir: the model folder for a server started here; ignored for a remote target.
        model: the model's name on the server.
        flags: more flags for a server started here.
        ports: (gRPC, REST) of a server started here; None picks free ones.
        startup_timeout: seconds until it must be ready; None: `startup_seconds`.
        log: file for the output of a process started here.

    Raises:
        UsageError: the target is not a server, or does not allow an option.
        TargetError: it did not become ready or does not answer.
    """
    within = startup_seconds(target) if startup_timeout is None else startup_timeout
    if target.kind is TargetKind.ESTIMATOR:
        raise UsageError("the target estimator is not a server; give embedded, docker:cpu, http://host:8501, ...")
    if target.remote:
        if flags:
            raise UsageError(f"server flags do not reach {target}; set them where that server is started")
        yield _remote(target, model, within)
        return
    if model_dir is None:
        raise UsageError(f"{target} needs a model folder; give --model-dir")
    with contextlib.ExitStack() as stack:
        if target.kind is TargetKind.DOCKER:
            started = docker(Device(target.device, target.limits), model_dir, model, flags, ports, within, log)
        elif target.kind is TargetKind.BINARY:
            assert target.path is not None
            started = binary(target.path, model_dir, model, flags, ports, within, log)
        else:
            started = embedded(model_dir, model, flags, ports, within, log)
        yield replace(stack.enter_context(started), access=target.access)


@contextlib.contextmanager
def watched(server: RunningServer) -> Iterator[Callable[[], bool]]:
    """Gives what tells whether a server that was started here has ended.

    A container's process may be on a machine of its own, or not visible here: its Engine is asked.

    Raises:
        TargetError: no Docker Engine answers.
    """
    container, pid = server.container, server.pid
    if container is not None:
        with contextlib.closing(connect()) as engine:
            yield lambda: has_ended(engine, container)
    else:
        yield lambda: pid is not None and _is_over(pid)


def _is_over(pid: int) -> bool:
    """Whether a child process is over; one that nobody has waited for yet is still listed."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def check_model(target: Target, model_dir: Path, flags: Sequence[str] = ()) -> None:
    """Checks the model's files before a server is started on them; remote targets are not checked.

    Args:
        target: the target that serves the model.
        model_dir: the folder that holds its versions.
        flags: the server's flags; with some of them it loads other models.

    Raises:
        UsageError: not a model folder, one that TensorFlow cannot use, or what the server needs is not installed.
        TargetError: files of the model are missing.
    """
    if target.kind is TargetKind.EMBEDDED:
        require("tensorflow", "the embedded server")
    given = dict(flag.lstrip("-").partition("=")[::2] for flag in flags)
    if target.managed and all(given.get(name, "false").lower() in ("false", "0") for name in _OTHER_MODELS):
        check_servable(model_dir)
        if target.kind is not TargetKind.DOCKER:
            check_plain(model_dir.resolve())


def beside(target: Target) -> Target | None:
    """The other endpoint of a server at one of Serving's default ports; None at other ports, with TLS or a prefix."""
    rest = target.kind is TargetKind.REST
    parts = urlsplit(target.address if rest else f"//{target.address}")
    if target.secure or parts.path or parts.port != (REST_PORT if rest else GRPC_PORT):
        return None
    host = parts.netloc.rpartition(":")[0]
    address = f"{host}:{GRPC_PORT}" if rest else f"http://{host}:{REST_PORT}"
    return replace(target, kind=TargetKind.GRPC if rest else TargetKind.REST, address=address)


def at_address(target: Target, other: Target | None, model: str) -> RunningServer:
    """A server elsewhere, as it is reached.

    Args:
        target: one of its endpoints.
        other: the other one, if it is known.
        model: the model's name on the server.
    """
    rest = target if target.kind is TargetKind.REST else other
    grpc = target if target.kind is TargetKind.GRPC else other
    return RunningServer(
        rest.address if rest else None,
        grpc.address if grpc else None,
        model,
        "remote",
        secure=grpc is not None and grpc.secure,
        access=target.access,
    )


def _remote(target: Target, model: str, timeout: float) -> RunningServer:
    """The server at a remote target, with both addresses if it has Serving's default ports."""
    other = beside(target)
    server = at_address(target, other if other is not None and serves(other, model) else None, model)
    wait_until_available(server, timeout, lambda: None)
    return server


def serves(target: Target, model: str) -> bool:
    """Whether TensorFlow Serving answers at an address that the user did not give, and has the model.

    No header of the user's is sent: whoever has Serving's other default port may be another program.
    """
    bare = replace(target, access=replace(target.access, headers=NO_HEADERS))
    protocol = "rest" if target.kind is TargetKind.REST else "grpc"
    try:
        # gRPC's client would wait for a connection until its time is over.
        if not accepts(target):
            return False
        with contextlib.closing(connect_client(at_address(bare, None, model), protocol)) as client:
            return bool(client.status(model, _LOOK_SECONDS))
    except ServingError:
        return False


def accepts(target: Target) -> bool:
    """Whether the address accepts connections."""
    host, _, port = target.address.rpartition("//")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except OSError:
        return False
    return True
