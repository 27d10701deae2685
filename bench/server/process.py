"""Servers that run as a process of this machine: the embedded one, and a tensorflow_model_server binary."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from bench.errors import TargetError, UsageError
from bench.server.running import RunningServer, free_ports, require_free, wait_until_available
from bench.serving.types import DEFAULT_MODEL_NAME

STOP_SECONDS: Final = 15.0

# The Prometheus page, where load generators read what the server counts; Serving has it only when told to.
_MONITORING: Final = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'

# PR_SET_PDEATHSIG, prctl(2): the server gets SIGTERM when the process that started it dies, even by SIGKILL.
LAUNCHER: Final = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])"


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
        log: where its output goes; None keeps it only to explain a failed start.

    Raises:
        TargetError: it did not come up.
    """
    command = [sys.executable, "-m", "bench.server.embedded"]
    with _process("embedded", command, model_dir, model, flags, ports, startup_timeout, log) as server:
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
        UsageError: `path` is not an executable file.
        TargetError: it did not come up.
    """
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise UsageError(f"{path} is not an executable file; give binary:/path/to/tensorflow_model_server")
    with _process("binary", [str(path)], model_dir, model, flags, ports, startup_timeout, log) as server:
        yield server


@contextlib.contextmanager
def _process(
    backend: str,
    command: Sequence[str],
    model_dir: Path,
    model: str,
    flags: Sequence[str],
    ports: tuple[int, int] | None,
    startup_timeout: float,
    log: Path | None,
) -> Iterator[RunningServer]:
    grpc_port, rest_port = ports or tuple(free_ports(2))
    require_free((grpc_port, rest_port))
    words = [
        *command,
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--model_name={model}",
        f"--model_base_path={model_dir.resolve()}",
        *flags,
    ]
    with contextlib.ExitStack() as stack:
        if not any(flag.startswith("--monitoring_config_file") for flag in flags):
            monitoring = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".config"))
            monitoring.write(_MONITORING)
            monitoring.flush()
            words.append(f"--monitoring_config_file={monitoring.name}")
        output: IO[bytes] = log.open("w+b") if log else tempfile.TemporaryFile()  # noqa: SIM115
        stack.callback(output.close)
        # A session of its own: Ctrl-C in the terminal goes to us, and we stop the server in order.
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        stack.callback(_stop, process)
        server = RunningServer(f"http://127.0.0.1:{rest_port}", f"127.0.0.1:{grpc_port}", model, backend, process.pid)
        wait_until_available(server, startup_timeout, lambda: _why_ended(process, output))
        yield server
        if process.poll() is not None:
            raise TargetError(f"the {backend} server ended while in use: {_why_ended(process, output)}")


def _why_ended(process: "subprocess.Popen[bytes]", output: IO[bytes]) -> str | None:
    """None while the process lives, else its exit status and the last line it wrote."""
    if process.poll() is None:
        return None
    output.seek(0)
    lines = output.read().decode(errors="replace").strip().splitlines()
    return f"exit status {process.returncode}: {lines[-1].strip()}" if lines else f"exit status {process.returncode}"


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, and SIGKILL to a server that ignores it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
