"""`bertbench serve`: a server on a model folder until Ctrl-C."""

import argparse
import contextlib
import time
from typing import Annotated, Final, TextIO

from msgspec import Meta

from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Event
from bench.core.errors import ExitCode, UsageError
from bench.server.lifecycle import RunningServer, check_model, open_target, watched
from bench.serving.container_limits import ContainerLimits
from bench.serving.target import Target, TargetKind

_LOOK_SECONDS: Final = 0.3


class ServeEvent(Event, frozen=True, kw_only=True):
    """A server that is ready; the line after it is about the end."""

    command: str = "serve"
    event: str = "ready"
    model_dir: str
    model: Annotated[str, Meta(description="its name on the server")]
    backend: str
    rest: Annotated[str, Meta(description="URL of the model")]
    grpc: Annotated[str | None, Meta(description="HOST:PORT")]
    pid: Annotated[int | None, Meta(description="process of the server; null in a container")]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Serves until SIGINT or SIGTERM ends it.

    Raises:
        UsageError: bad options, a model folder without a version.
        TargetError: the server did not start, or ended.
        Interrupted: the normal end.
    """
    with _server(args) as server, watched(server) as ended:
        where = f"http://{_local(server.rest)}/v1/models/{server.model}"
        event = ServeEvent(
            model_dir=str(args.model_dir),
            model=server.model,
            backend=server.backend,
            rest=where,
            grpc=server.grpc,
            pid=server.pid,
        )
        serving = f"serving {args.model_dir} as {server.model!r} ({server.backend})"
        text = f"{serving}; Ctrl-C ends it\n  REST  {where}\n  gRPC  {server.grpc}"
        out.event(event, text, f"{serving}: {where}, {server.grpc}")
        while not ended():
            time.sleep(_LOOK_SECONDS)
    # Leaving the context of an ended server raises the reason.
    return ExitCode.TARGET_FAILED


def _local(url: str | None) -> str:
    return (url or "").removeprefix("http://")


def _server(args: argparse.Namespace) -> contextlib.AbstractContextManager[RunningServer]:
    if args.backend == "binary" and args.binary is None:
        raise UsageError("--backend binary needs --binary /path/to/tensorflow_model_server")
    for option, given, backends in (
        ("--binary", args.binary is not None, ("binary",)),
        ("--device gpu", args.device != "cpu", ("docker",)),
        ("--cpus", args.cpus is not None, ("docker",)),
        ("--memory", args.memory is not None, ("docker",)),
        ("--cpuset", bool(args.cpuset), ("docker",)),
    ):
        if given and args.backend not in backends:
            raise UsageError(f"{option} goes with --backend {' or '.join(backends)}, not with {args.backend}")
    kinds = {"embedded": TargetKind.EMBEDDED, "docker": TargetKind.DOCKER, "binary": TargetKind.BINARY}
    limits = ContainerLimits(args.cpus, args.memory, args.cpuset)
    target = Target(kinds[args.backend], device=args.device, path=args.binary, limits=limits)
    check_model(target, args.model_dir, args.server_flag)
    ports = (args.grpc_port, args.rest_port)
    return open_target(target, args.model_dir, args.model_name, args.server_flag, ports, log=args.log)
