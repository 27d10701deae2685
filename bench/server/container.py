"""TensorFlow Serving in a container, on CPU or GPU."""

import contextlib
import logging
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bench.core.errors import TargetError, UsageError, printable
from bench.server.process import refuse_own_flags
from bench.server.running import RunningServer, free_ports, require_free, wait_until_available
from bench.server.server_log import last_words, load_failure, no_model, not_loaded
from bench.serving.types import DEFAULT_MODEL_NAME

logger = logging.getLogger(__name__)

_LAST_LINES: Final = 200
IMAGES: Final = {"cpu": "tensorflow/serving:2.15.1", "gpu": "tensorflow/serving:2.15.1-gpu"}
IMAGE_VARIABLES: Final = {"cpu": "SERVING_IMAGE", "gpu": "SERVING_GPU_IMAGE"}


@contextlib.contextmanager
def docker(
    device: str,
    model_dir: Path,
    model: str = DEFAULT_MODEL_NAME,
    flags: Sequence[str] = (),
    ports: tuple[int, int] | None = None,
    startup_timeout: float = 120.0,
) -> Iterator[RunningServer]:
    """A container of Serving's image on `model_dir`, with ports on loopback, removed at the end.

    The image is `tensorflow/serving:2.15.1` or `:2.15.1-gpu`, unless SERVING_IMAGE or SERVING_GPU_IMAGE names another.

    Args:
        device: `cpu` or `gpu`.
        model_dir: folder that holds the version folders, mounted read-only.
        model: name to serve it under.
        flags: more of `tensorflow_model_server`'s flags.
        ports: (gRPC, REST) on the host; None picks free ones.
        startup_timeout: seconds until it must be ready, once the image is available.

    Raises:
        UsageError: the device is not known.
        TargetError: no Docker Engine or image is available, or the server did not become ready.
    """
    if device not in IMAGES:
        raise UsageError(f"docker:{device} is not known; use docker:cpu or docker:gpu")
    image = os.environ.get(IMAGE_VARIABLES[device]) or IMAGES[device]
    grpc_port, rest_port = ports or tuple(free_ports(2))
    require_free(grpc_port, rest_port)
    refuse_own_flags(flags)
    logger.info("starting a container of %s: %s", image, shlex.join(flags))
    container = _start(device, image, model_dir, model, flags, grpc_port, rest_port)
    try:
        server = RunningServer(
            f"http://127.0.0.1:{rest_port}", f"127.0.0.1:{grpc_port}", model, "docker", container=container.id
        )
        wait_until_available(server, startup_timeout, lambda: _why_not(container, model, model_dir))
        yield server
    finally:
        # The image's entry point is a shell that does not forward SIGTERM (tensorflow/serving issue 1853).
        container.remove(force=True, v=True)


def _start(
    device: str, image: str, model_dir: Path, model: str, flags: Sequence[str], grpc_port: int, rest_port: int
) -> Any:
    """A started container."""
    import docker as sdk
    from docker.errors import DockerException

    gpus = [sdk.types.DeviceRequest(count=-1, capabilities=[["gpu"]])] if device == "gpu" else []
    try:
        engine = sdk.from_env()
        engine.ping()
    except (DockerException, OSError) as error:
        raise TargetError(
            f"no Docker Engine answers ({_words(error)}); start it, let this user use it, or name it with DOCKER_HOST"
        ) from error
    try:
        _pull(engine, device, image)
        return engine.containers.run(
            image,
            list(flags),
            detach=True,
            init=True,
            name=f"bertbench-{os.getpid()}-{time.monotonic_ns()}",
            environment={"MODEL_NAME": model},
            mounts=[sdk.types.Mount(f"/models/{model}", str(model_dir.resolve()), type="bind", read_only=True)],
            ports={"8500/tcp": ("127.0.0.1", grpc_port), "8501/tcp": ("127.0.0.1", rest_port)},
            device_requests=gpus,
        )
    except (DockerException, OSError) as error:
        variable = IMAGE_VARIABLES[device]
        raise TargetError(
            f"docker:{device} with {image} failed: {_words(error)}; {variable} names another image"
        ) from error


def _pull(engine: Any, device: str, image: str) -> None:
    """Pulls the image unless it is present."""
    from docker.errors import DockerException, ImageNotFound

    try:
        engine.images.get(image)
    except ImageNotFound:
        try:
            engine.images.pull(image)
        except DockerException as error:
            raise TargetError(
                f"the image {image} is not present and cannot be pulled ({_words(error)}); "
                f"name another image with {IMAGE_VARIABLES[device]}"
            ) from error


def _words(error: Exception) -> str:
    """Docker's message without the address of its API."""
    text = str(getattr(error, "explanation", None) or error)
    if "Permission" in text:
        return "permission denied"
    if "FileNotFoundError" in text or "ConnectionRefused" in text or "Connection refused" in text:
        return "it is not running"
    return printable(text, 200)


def _why_not(container: Any, model: str, model_dir: Path) -> str | None:
    """Why the server will not become ready: the container has ended or the model does not load; None while it may."""
    container.reload()
    text = container.logs(tail=_LAST_LINES).decode(errors="replace")
    failed = load_failure(text, model) or no_model(text)
    if failed is not None:
        return not_loaded(model, model_dir, failed)
    if container.status in ("created", "running"):
        return None
    return f"container {container.status}: {last_words(text)}"
