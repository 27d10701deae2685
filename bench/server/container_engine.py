"""The Docker Engine: connecting to it, images, containers, and what it lacks, each as one line."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from bench.core.errors import TargetError, printable
from bench.core.operating_system import container_kind
from bench.core.units import format_percent

LABEL: Final = "bertbench.server"
"""Label of the containers that are started here; its value is the process that did."""
_BY_SSH: Final = "http+docker://ssh"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_PROGRESS_SECONDS: Final = 5.0
_NO_GPU_RUNTIME: Final = ("could not select device driver", "unknown runtime specified nvidia", "nvidia-container")


def connect() -> Any:
    """The Engine's client.

    Raises:
        TargetError: none answers.
    """
    import docker as sdk
    from docker.errors import DockerException

    try:
        engine = sdk.from_env()
        engine.ping()
    except (DockerException, OSError) as error:
        raise TargetError(
            f"no Docker Engine answers ({in_words(error)}); start it, let this user use it, or name it with DOCKER_HOST"
        ) from error
    return engine


def is_local(engine: Any) -> bool:
    """Whether the Engine has a socket on this machine: then it runs here, or in a virtual machine on it."""
    url = str(engine.api.base_url)
    # Docker's client puts its own connections into one scheme, those by ssh too.
    return url.startswith(("http+docker", "http+unix", "unix")) and url != _BY_SSH


def require_own_machine(engine: Any) -> None:
    """Checks that the ports and folders of the Engine's containers are those of this machine.

    Raises:
        TargetError: the Engine is on another machine.
    """
    url = str(engine.api.base_url)
    if is_local(engine) or urlsplit(url).hostname in _LOOPBACK:
        return
    where = "reached by ssh" if url == _BY_SSH else f"at {url}"
    raise TargetError(
        f"the Docker Engine {where} is on another machine, which has neither the model folder nor the ports of "
        "this one; run bertbench there, or start the server there and give its address"
    )


def beside_container() -> str:
    """What follows a failure where this process is itself in a container, beside which the Engine starts others."""
    if container_kind() is None:
        return ""
    return (
        "; bertbench runs in a container: the Engine needs the model folder at the same path on its own machine, and "
        "this container its network (--network host)"
    )


def is_over(state: Mapping[str, Any]) -> bool:
    """Whether a container in this state, of Docker's API, has ended."""
    # A paused one is not over.
    return state["Status"] not in ("created", "running", "paused", "restarting")


def has_ended(engine: Any, container: str) -> bool:
    """Whether a container has ended or was removed; while the Engine does not answer nobody knows, which is no."""
    from docker.errors import DockerException, NotFound

    try:
        return is_over(engine.containers.get(container).attrs["State"])
    except NotFound:
        return True
    except (DockerException, OSError):
        return False


def remove(engine: Any, container: str) -> None:
    """Removes a container with its volumes, unless there is none.

    Raises:
        TargetError: the Engine does not.
    """
    from docker.errors import DockerException, NotFound

    try:
        engine.api.remove_container(container, force=True, v=True)
    except NotFound:
        return
    except (DockerException, OSError) as error:
        raise TargetError(
            f"the container {container} could not be removed ({in_words(error)}); "
            f"remove it with docker rm -f {container}"
        ) from error


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Around questions about a container.

    Raises:
        TargetError: the Engine does not answer, or the container was removed.
    """
    from docker.errors import DockerException, NotFound

    try:
        yield
    except NotFound as error:
        raise TargetError("the server's container was removed by someone else; run again") from error
    except (DockerException, OSError) as error:
        raise TargetError(f"the Docker Engine does not answer any more ({in_words(error)}); run again") from error


def require_image(engine: Any, image: str, variable: str) -> None:
    """Pulls the image unless it is present; a pull that takes long shows its progress on standard error.

    Args:
        engine: the Engine.
        image: its name.
        variable: the environment variable that names another one.

    Raises:
        TargetError: it is neither present nor to be had.
    """
    from docker.errors import DockerException, ImageNotFound
    from docker.utils import parse_repository_tag

    try:
        engine.images.get(image)
        return
    except ImageNotFound:
        repository, tag = parse_repository_tag(image)
    try:
        progress = _PullProgress(image)
        for event in engine.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
            if error := event.get("error"):
                raise DockerException(error)
            progress.take(event)
    except (DockerException, OSError) as error:
        raise TargetError(
            f"the image {image} is not present and cannot be pulled ({in_words(error)}); "
            f"name another image with {variable}"
        ) from error


class _PullProgress:
    """Prints how much of an image is there, every few seconds.

    Args:
        image: its name.
    """

    def __init__(self, image: str) -> None:
        self._image = image
        self._layers: dict[str, tuple[int, int]] = {}
        self._next = time.monotonic() + _PROGRESS_SECONDS

    def take(self, event: Mapping[str, Any]) -> None:
        """Takes one of the Engine's events."""
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            self._layers[event["id"]] = int(detail.get("current", 0)), int(detail["total"])
        elif event.get("status") == "Download complete" and event.get("id") in self._layers:
            total = self._layers[event["id"]][1]
            self._layers[event["id"]] = total, total
        if time.monotonic() >= self._next:
            self._next += _PROGRESS_SECONDS
            print(f"bertbench: {self}", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        here, total = (sum(values) for values in zip(*self._layers.values(), strict=True)) if self._layers else (0, 0)
        share = f"{format_percent(here / total)} of {total / 1e6:,.0f} MB" if total else "waiting for the registry"
        return f"pulling {self._image}: {share}"


def require_gpu(engine: Any) -> None:
    """Checks, for an Engine on this machine, that there is a GPU to give to a container.

    Raises:
        TargetError: there is none, or no driver for it.
    """
    import pynvml

    # In a container NVML is that of the container, which may have no GPU while the Engine's machine has one.
    if not is_local(engine) or container_kind() is not None:
        return
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        raise TargetError(
            f"docker:gpu needs a GPU and NVIDIA's driver, and this machine has no driver ({error}); "
            "install it (nvidia-smi shows the GPU then), or use docker:cpu"
        ) from error
    if not count:
        raise TargetError("docker:gpu needs a GPU, and NVIDIA's driver finds none on this machine; use docker:cpu")


def lacks_gpu_runtime(error: Exception) -> bool:
    """Whether a container did not start because the Engine cannot give it a GPU."""
    return any(words in str(getattr(error, "explanation", None) or error) for words in _NO_GPU_RUNTIME)


def in_words(error: Exception) -> str:
    """Docker's message without the address of its API."""
    text = str(getattr(error, "explanation", None) or error)
    if "Permission" in text:
        return "permission denied"
    if "FileNotFoundError" in text or "ConnectionRefused" in text or "Connection refused" in text:
        return "it is not running"
    return printable(text, 200)
