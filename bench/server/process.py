"""Servers that run as a process on this machine: the embedded server, and a tensorflow_model_server binary."""

import contextlib
import logging
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from bench.core import interrupts
from bench.core.atomic_files import passes_through
from bench.core.errors import TargetError, UsageError
from bench.server.guardian import guarded
from bench.server.readiness import wait_until_available
from bench.server.running import RunningServer, free_ports, require_free
from bench.server.server_log import last_words, load_failure, not_loaded, read_log, see_log, unknown_flag
from bench.serving.types import DEFAULT_MODEL_NAME

logger = logging.getLogger(__name__)

STOP_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.02

_OWN_FLAGS: Final = {
    "port": "serve takes --grpc-port, other commands choose a free one",
    "rest_api_port": "serve takes --rest-port, other commands choose a free one",
    "model_name": "give --model-name",
    "model_base_path": "give the model folder to the command",
}

MONITORING: Final = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'
"""A monitoring configuration that enables the Prometheus page, which load generators read."""


@contextlib.contextmanager
def embedded(
    model_dir: Path,
    model: str = DEFAULT_MODEL_NAME,
    flags: Sequence[str] = (),
    ports: tuple[int, int] | None = None,
    startup_timeout: float = 60.0,
    log: Path | None = None,
) -> Iterator[RunningServer]:
    """The embedded server on `model_dir`, stopped at the end.

    Args:
        model_dir: folder that holds the version folders.
        model: name to serve it under.
        flags: more of `tensorflow_model_server`'s flags.
        ports: (gRPC, REST); None picks free ones.
        startup_timeout: seconds until it must be ready.
        log: file for its output; without one the output only serves to explain a failed start.

    Raises:
        UsageError: this operating system cannot run it, or the log cannot be read back.
        TargetError: the server did not become ready, or ended inside the context.
    """
    # Both are of Linux; epoll itself is hidden in processes that gevent has patched, such as Locust's.
    if not hasattr(os, "eventfd"):
        raise UsageError(
            f"the embedded server needs epoll and eventfd of Linux, which {platform.system()} lacks; "
            "give the address of a server that runs elsewhere"
        )
    command = [sys.executable, "-m", "bench.server.embedded"]
    with _process("embedded", command, _Launch(model_dir, model, flags, ports, startup_timeout, log)) as server:
        yield server


@contextlib.contextmanager
def binary(
    path: Path,
    model_dir: Path,
    model: str = DEFAULT_MODEL_NAME,
    flags: Sequence[str] = (),
    ports: tuple[int, int] | None = None,
    startup_timeout: float = 60.0,
    log: Path | None = None,
) -> Iterator[RunningServer]:
    """A `tensorflow_model_server` binary on `model_dir`, stopped at the end; arguments as for `embedded`.

    Raises:
        UsageError: `path` is not an executable file, or the log cannot be read back.
        TargetError: the server did not become ready, or ended inside the context.
    """
    if not path.is_file() or not os.access(path, os.X_OK):
        why = "it is a folder" if path.is_dir() else "its mode forbids it" if path.exists() else "it does not exist"
        raise UsageError(f"{path} is not an executable file: {why}; give the path of tensorflow_model_server")
    # Absolute: a path without a slash, which `./name` is once it is a Path, would be looked for in PATH.
    command = [str(path.absolute())]
    # It has no flag for an address.
    logger.warning(
        "%s listens on all addresses of this machine: others can ask it, and load other models into it; keep them out "
        "by a firewall, or give docker:cpu",
        path,
    )
    with _process("binary", command, _Launch(model_dir, model, flags, ports, startup_timeout, log)) as server:
        yield server


@dataclass(frozen=True, slots=True)
class _Launch:
    """The arguments of `embedded`."""

    model_dir: Path
    model: str
    flags: Sequence[str]
    ports: tuple[int, int] | None
    startup_timeout: float
    log: Path | None


@contextlib.contextmanager
def _process(backend: str, command: Sequence[str], launch: _Launch) -> Iterator[RunningServer]:
    model, model_dir, log = launch.model, launch.model_dir, launch.log
    grpc_port, rest_port = launch.ports or tuple(free_ports(2))
    require_free(grpc_port, rest_port)
    refuse_own_flags(launch.flags)
    words = [
        *command,
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--model_name={model}",
        f"--model_base_path={model_dir.resolve()}",
        *launch.flags,
    ]
    with contextlib.ExitStack() as stack:
        if not any(flag.lstrip("-").startswith("monitoring_config_file") for flag in launch.flags):
            monitoring = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".config"))
            monitoring.write(MONITORING)
            monitoring.flush()
            words.append(f"--monitoring_config_file={monitoring.name}")
        output: IO[bytes] = _opened(log) if log else tempfile.TemporaryFile()  # noqa: SIM115
        stack.callback(output.close)
        logger.info("starting the %s server: %s", backend, shlex.join(words))
        # A session of its own: Ctrl-C in the terminal goes to this process only, which then stops the server.
        with contextlib.ExitStack() as started:
            with interrupts.held():
                process = subprocess.Popen(
                    interrupts.launched(words),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                started.callback(_stop, process)
            if backend == "binary":
                # The death signal of `launched` reaches the process itself only, and a script may have started the
                # server. The guardian stays until all have ended.
                stack.enter_context(guarded("group", str(process.pid)))
            stack.enter_context(started.pop_all())
        server = RunningServer(
            f"http://127.0.0.1:{rest_port}", f"127.0.0.1:{grpc_port}", model, backend, process.pid, gpus=True
        )
        starting = _Starting(process, output, model, model_dir)
        try:
            wait_until_available(server, launch.startup_timeout, starting.why_not)
        except TargetError as error:
            wrote = starting.wrote()
            # There are no requests to finish.
            _signal_group(process, signal.SIGKILL)
            raise TargetError(f"{error}{wrote}{see_log(log)}") from error
        yield server
        if process.poll() is not None:
            why = f"{interrupts.how_it_ended(process.returncode)}: {last_words(read_log(output))}{see_log(log)}"
            raise TargetError(f"the {backend} server ended during the run: {why}")


def _opened(log: Path) -> IO[bytes]:
    """The emptied file for a server's output, which is read back to tell whether and why it failed.

    Raises:
        UsageError: it is a pipe or a device, or open already, as `/dev/stdout`; `/dev/null` drops the output.
        OSError: it cannot be opened.
    """
    if passes_through(log) and not log.samefile(os.devnull):
        raise UsageError(
            f"the log {log} is a pipe, a device or an open file, from which the server's output cannot be read back; "
            "name a file"
        )
    return log.open("w+b")


class _Starting:
    """A server process that is loading its model."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: IO[bytes], model: str, model_dir: Path) -> None:
        self._process = process
        self._model_dir = model_dir
        self._output = output
        self._model = model
        self._read = 0

    def why_not(self) -> str | None:
        """Why the server will not become ready: how it ended, or why its model does not load; None while it may."""
        code = self._process.poll()
        size = os.fstat(self._output.fileno()).st_size
        if code is None and size == self._read:
            return None
        self._read = size
        text = read_log(self._output)
        failed = load_failure(text, self._model)
        if failed is not None:
            return not_loaded(self._model, self._model_dir, failed)
        # Whether it goes on or has ended by now.
        if (refused := unknown_flag(text)) is not None or code is None:
            return refused
        return f"{interrupts.how_it_ended(code)}: {last_words(text)}"

    def wrote(self) -> str:
        """The last output of a process that runs but is not ready, to follow a message; empty without output."""
        text = read_log(self._output)
        failed = load_failure(text, self._model) is not None
        return "" if failed or not text or self._process.poll() is not None else f"; last output: {last_words(text)}"


def refuse_own_flags(flags: Sequence[str]) -> None:
    """Refuses flags that the suite sets itself.

    Raises:
        UsageError: one of them is given.
    """
    for flag in flags:
        name = flag.lstrip("-").partition("=")[0]
        if name in _OWN_FLAGS:
            raise UsageError(f"the server flag --{name} is set by bertbench; {_OWN_FLAGS[name]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Sends SIGTERM to a server and to all that it has started, and SIGKILL to what has not ended in time.

    A script that starts the server without exec, as that of Serving's image, keeps the signal to itself.
    """
    deadline = time.monotonic() + STOP_SECONDS
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
        while _signal_group(process, 0) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: "subprocess.Popen[bytes]", number: int) -> bool:
    """Sends a signal to a server's process group, which has its number; whether there was anyone left."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True
