"""TensorFlow Serving in a container, on CPU or GPU."""

import contextlib
import logging
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from bench.core import interrupts
from bench.core.atomic_files import passes_through
from bench.core.errors import TargetError, UsageError
from bench.server.container_engine import (
    LABEL,
    answering,
    beside_container,
    connect,
    in_words,
    is_local,
    is_over,
    lacks_gpu_runtime,
    remove,
    require_gpu,
    require_image,
    require_own_machine,
)
from bench.server.container_files import FOLDER, archive_of, copied_files
from bench.server.guardian import ASKED, MADE, guarded
from bench.server.process import refuse_own_flags
from bench.server.readiness import wait_until_available
from bench.server.running import RunningServer, free_ports, require_free
from bench.server.server_log import last_words, load_failure, no_model, not_loaded, see_log, unknown_flag
from bench.serving.container_limits import NO_LIMITS, ContainerLimits
from bench.serving.types import DEFAULT_MODEL_NAME

logger = logging.getLogger(__name__)

_LAST_LINES: Final = 200
IMAGES: Final = {"cpu": "tensorflow/serving:2.15.1", "gpu": "tensorflow/serving:2.15.1-gpu"}
IMAGE_VARIABLES: Final = {"cpu": "SERVING_IMAGE", "gpu": "SERVING_GPU_IMAGE"}


@dataclass(frozen=True, slots=True)
class Device:
    """What a container runs on.

    Args:
        name: `cpu` or `gpu`, all GPUs.
        limits: what it may use.

    Raises:
        UsageError: the device is not known.
    """

    name: str
    limits: ContainerLimits = NO_LIMITS

    def __post_init__(self) -> None:
        if self.name not in IMAGES:
            raise UsageError(f"docker:{self.name} is not known; use docker:cpu or docker:gpu")

    @property
    def image(self) -> str:
        """The image: of the environment variable, or Serving's own."""
        return os.environ.get(self.variable) or IMAGES[self.name]

    @property
    def variable(self) -> str:
        """The environment variable that names another image."""
        return IMAGE_VARIABLES[self.name]


@contextlib.contextmanager
def docker(
    device: Device,
    model_dir: Path,
    model: str = DEFAULT_MODEL_NAME,
    flags: Sequence[str] = (),
    ports: tuple[int, int] | None = None,
    startup_timeout: float = 120.0,
    log: Path | None = None,
) -> Iterator[RunningServer]:
    """A container of Serving's image on `model_dir`, with ports on loopback, removed at the end.

    The image is `tensorflow/serving:2.15.1` or `:2.15.1-gpu`, unless SERVING_IMAGE or SERVING_GPU_IMAGE names another.
    The container is removed as well if this process is killed.

    Args:
        device: what it runs on.
        model_dir: folder that holds the version folders, mounted read-only.
        model: name to serve it under.
        flags: more of `tensorflow_model_server`'s flags; files that they name are copied into the container.
        ports: (gRPC, REST) on the host; None picks free ones.
        startup_timeout: seconds until it must be ready, once the image is available.
        log: file that gets its output at the end.

    Raises:
        UsageError: a flag is set by bertbench, or names a file that cannot be read here.
        TargetError: no Docker Engine, image or GPU is available, the server did not become ready, or ended inside the
            context.
        OSError: the log cannot be written.
    """
    grpc_port, rest_port = ports or tuple(free_ports(2))
    require_free(grpc_port, rest_port)
    refuse_own_flags(flags)
    inside, files = copied_files(flags, own_image=bool(os.environ.get(device.variable)))
    with contextlib.ExitStack() as stack:
        # What is open already, as /dev/stdout, keeps what it has.
        output = stack.enter_context(log.open("ab" if passes_through(log) else "wb")) if log is not None else None
        engine = connect()
        stack.callback(engine.close)
        require_own_machine(engine)
        if device.name == "gpu":
            require_gpu(engine)
        require_image(engine, device.image, device.variable)
        logger.info("starting a container of %s: %s", device.image, shlex.join(flags))
        name = f"bertbench-{os.getpid()}-{time.monotonic_ns()}"
        tell = stack.enter_context(guarded("container", name))
        settings = _settings(device, model_dir, model, inside, {8500: grpc_port, 8501: rest_port})
        # By name, and before it exists: a creation may fail after the Engine has made the container. By force: the
        # image's entry point is a shell that does not forward SIGTERM (tensorflow/serving issue 1853).
        stack.callback(remove, engine, name)
        with interrupts.held():
            tell(ASKED)
            container = _create(engine, device, name, settings)
            tell(MADE)
        _copy(container, device, files)
        started = _Started(container, model, model_dir, output)
        stack.callback(started.store_log)
        _start(container, device)
        server = RunningServer(
            f"http://127.0.0.1:{rest_port}",
            f"127.0.0.1:{grpc_port}",
            model,
            "docker",
            container=container.id,
            container_pid=started.pid() if is_local(engine) else None,
            gpus=device.name == "gpu" and is_local(engine),
        )
        try:
            wait_until_available(server, startup_timeout, started.why_not)
        except TargetError as error:
            where = beside_container() if started.ended() is None else ""
            raise TargetError(f"{error}{started.wrote()}{see_log(log)}{where}") from error
        yield server
        if (ended := started.ended()) is not None:
            raise TargetError(f"the docker server ended during the run: {ended}{see_log(log)}")


def _settings(
    device: Device, model_dir: Path, model: str, flags: Sequence[str], ports: dict[int, int]
) -> dict[str, Any]:
    """The container's settings, in the words of Docker's client."""
    import docker as sdk

    limits = device.limits
    return {
        "command": list(flags),
        "init": True,
        "labels": {LABEL: str(os.getpid())},
        "environment": {"MODEL_NAME": model},
        "mounts": [sdk.types.Mount(f"/models/{model}", str(model_dir.resolve()), type="bind", read_only=True)],
        "ports": {f"{inside}/tcp": ("127.0.0.1", outside) for inside, outside in ports.items()},
        "device_requests": [sdk.types.DeviceRequest(count=-1, capabilities=[["gpu"]])] if device.name == "gpu" else [],
        "nano_cpus": None if limits.cpus is None else round(limits.cpus * 1e9),
        "mem_limit": limits.memory,
        # No swap beside it: a server that swaps is neither fast nor ended.
        "memswap_limit": limits.memory,
        "cpuset_cpus": limits.cpuset or None,
    }


def _create(engine: Any, device: Device, name: str, settings: dict[str, Any]) -> Any:
    """A container that was not started yet.

    Raises:
        TargetError: the Engine refuses it.
    """
    from docker.errors import DockerException

    try:
        return engine.containers.create(device.image, name=name, detach=True, **settings)
    except (DockerException, OSError) as error:
        raise _refused(device, error) from error


def _copy(container: Any, device: Device, files: Mapping[str, bytes]) -> None:
    """Copies files into a container.

    Raises:
        TargetError: the Engine cannot.
    """
    from docker.errors import DockerException

    try:
        container.put_archive(FOLDER, archive_of(files))
    except (DockerException, OSError) as error:
        raise _refused(device, error) from error


def _start(container: Any, device: Device) -> None:
    """Starts the container.

    Raises:
        TargetError: the Engine cannot; the message says so where it cannot give a GPU.
    """
    from docker.errors import DockerException

    try:
        container.start()
    except (DockerException, OSError) as error:
        if device.name == "gpu" and lacks_gpu_runtime(error):
            raise TargetError(
                f"docker:gpu needs NVIDIA's container toolkit, which the Docker Engine does not have "
                f"({in_words(error)}); install nvidia-container-toolkit, run nvidia-ctk runtime configure and restart "
                "the Engine"
            ) from error
        raise _refused(device, error) from error


def _refused(device: Device, error: Exception) -> TargetError:
    why = in_words(error)
    where = beside_container() if "bind source" in why else ""
    return TargetError(
        f"docker:{device.name} with {device.image} failed: {why}; {device.variable} names another image{where}"
    )


class _Started:
    """A container that was started.

    Args:
        container: of Docker's client.
        model: the model's name.
        model_dir: its folder.
        log: stream for its output.
    """

    def __init__(self, container: Any, model: str, model_dir: Path, log: IO[bytes] | None) -> None:
        self._container = container
        self._model = model
        self._model_dir = model_dir
        self._log = log

    def pid(self) -> int | None:
        """Its first process, as the Engine's machine numbers it; None if it has ended.

        Raises:
            TargetError: the Engine does not answer.
        """
        with answering():
            self._container.reload()
        return int(self._container.attrs["State"]["Pid"]) or None

    def why_not(self) -> str | None:
        """Why the server will not become ready: it has ended, or the model does not load; None while it may."""
        text = self._output()
        failed = load_failure(text, self._model) or no_model(text)
        if failed is not None:
            return not_loaded(self._model, self._model_dir, failed)
        return unknown_flag(text) or self.ended()

    def ended(self) -> str | None:
        """How it ended, with the last line of its output that says why; None while it runs.

        Raises:
            TargetError: the Engine does not answer, or the container was removed.
        """
        with answering():
            self._container.reload()
        state = self._container.attrs["State"]
        if not is_over(state):
            return None
        how = "its memory ran out" if state.get("OOMKilled") else f"exit status {state['ExitCode']}"
        return f"container {state['Status']}, {how}: {last_words(self._output())}"

    def wrote(self) -> str:
        """The last output of a container that runs but is not ready, to follow a message; empty without output."""
        text = self._output()
        return f"; last output: {last_words(text)}" if text.strip() and self.ended() is None else ""

    def store_log(self) -> None:
        """Writes the whole output to the log file, if there is one."""
        if self._log is not None:
            output = b""
            with contextlib.suppress(TargetError), answering():
                output = self._container.logs()
            self._log.write(output)

    def _output(self) -> str:
        with answering():
            return str(self._container.logs(tail=_LAST_LINES).decode(errors="replace"))
