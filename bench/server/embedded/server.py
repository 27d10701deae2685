"""The server as a process: flags in, both faces up, an orderly end on SIGTERM."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from bench import __version__
from bench.core.errors import ExitCode
from bench.server.embedded.base.status import Code, StartError, StatusError
from bench.server.embedded.config.flags import Flags, channel_arguments, parse_flags
from bench.server.embedded.config.model_config import (
    read_batching_parameters,
    read_model_server_config,
    read_prometheus_path,
    read_tls_keys,
    single_model_config,
)
from bench.server.embedded.grpc.methods import GrpcMethods
from bench.server.embedded.grpc.protocol import GrpcProtocol
from bench.server.embedded.manager.model_manager import Core, CoreOptions
from bench.server.embedded.models.model import RetryPolicy, log
from bench.server.embedded.net.http1 import Http1Protocol
from bench.server.embedded.net.socket_server import SocketServer, listen_tcp, listen_unix
from bench.server.embedded.rest.handler import RestFace, RestOptions
from bench.server.embedded.runtime.c_api import library
from bench.server.embedded.runtime.session import SessionOptions
from bench.server.embedded.runtime.text_proto import is_text_of

# Seconds for requests that are in when the server is told to end.
_GRACE: Final = 8.0
# Threads beside those that may answer calls: they see cancelled ones, and refuse those that are too many.
_SPARE_THREADS: Final = 4
# The interpreter lets a thread compute this long while another waits; the default of 5 ms is many requests long.
_SWITCH_INTERVAL: Final = 0.0005


def main(argv: Sequence[str]) -> int:
    """Serves until SIGTERM or SIGINT.

    Args:
        argv: the flags.

    Returns:
        0 after an orderly end, 2 for flags or files that are wrong, 4 for models that do not load.
    """
    try:
        flags, warnings = parse_flags(argv)
        if flags.version:
            print(f"TensorFlow ModelServer: embedded server of bertbench {__version__}")
            print(f"TensorFlow Library: {library().TF_Version().decode()}")
            return ExitCode.OK
        for warning in warnings:
            log(f"warning: {warning}")
        Server(flags).run()
    except StartError as error:
        if error.status is not None:
            _say_failure(error.status)
        log(f"bertbench embedded server: {error}")
        return int(error.exit_code)
    except StatusError as error:
        _say_failure(error)
        log(f"bertbench embedded server: {error.message}")
        # UNKNOWN is said of models that do not load, everything else of a config.
        return ExitCode.TARGET_FAILED if error.code is Code.UNKNOWN else ExitCode.USAGE
    return ExitCode.OK


def _say_failure(status: StatusError) -> None:
    """What tensorflow_model_server writes to stdout when it does not start (main.cc)."""
    print(f"Failed to start server. Error: {status}", flush=True)


def _poll_failure(error: StartError | StatusError) -> str:
    """What tensorflow_model_server writes when it cannot follow its config file (server.cc)."""
    if isinstance(error, StatusError):
        return f"PollFilesystemAndReloadConfig failed to ReloadConfig: {error.message}"
    return f"Failed to read ModelServerConfig file: {error.status.message if error.status else error}"


class Face(Protocol):
    """A face that is bound."""

    def start(self) -> None:
        """Begins to accept."""

    def stop(self, timeout: float) -> None:
        """Answers what is in, refuses the rest."""


class Server:
    """Both faces on the configured models.

    Args:
        flags: as given.

    Raises:
        StartError: files that are wrong.
    """

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        self._stopping = threading.Event()
        self._config = _model_config(flags)
        # Without REST there is no page, and the file is not looked at.
        monitoring = _path(flags.monitoring_config_file) if self._has_rest else None
        self._prometheus_path = read_prometheus_path(monitoring, is_text_of)
        tls = _path(flags.ssl_config_file)
        self._tls = read_tls_keys(tls, is_text_of) if tls else None
        self._core_options = _core_options(flags)
        self._arguments = channel_arguments(flags.grpc_channel_arguments)

    def run(self) -> None:
        """Loads, serves, and ends in order.

        Raises:
            StartError: an address that cannot be bound.
            StatusError: models that do not load.
        """
        sys.setswitchinterval(_SWITCH_INTERVAL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        library()
        core = Core(self._core_options)
        core_caller = _Starting(self._stopping)
        try:
            core.reload(self._config, core_caller)
        except StatusError:
            if self._stopping.is_set():
                return
            raise
        faces = [face for face in (self._grpc_face(core), self._rest_face(core)) if face is not None]
        for face in faces:
            face.start()
        self._follow_config_file(core)
        if self._flags.rest_api_port and not self._has_rest:
            log("warning: --rest_api_port is the same as --port; there is no REST")
        log(f"bertbench embedded server ready: {self._endpoints()}")
        self._stopping.wait()
        log("bertbench embedded server: finishing what is in flight")
        core.stop()
        ends = [threading.Thread(target=face.stop, args=(_GRACE,)) for face in faces]
        for end in ends:
            end.start()
        for end in ends:
            end.join()

    def _grpc_face(self, core: Core) -> Face:
        flags = self._flags
        methods = GrpcMethods(
            core,
            flags.grpc_max_threads,
            flags.enable_grpc_healthcheck_service,
            flags.enable_signature_method_name_check,
        )
        if self._tls or self._arguments:
            from bench.server.embedded.grpc.grpcio_server import GrpcCoreServer

            addresses = [f"{self._host}:{flags.port}"] if flags.port else []
            addresses += [f"unix:{flags.grpc_socket_path}"] if flags.grpc_socket_path else []
            return GrpcCoreServer(
                methods, addresses, flags.grpc_max_threads + _SPARE_THREADS, self._tls, self._arguments
            )
        listeners = [listen_tcp(flags.bind_address, flags.port, "port")] if flags.port else []
        if flags.grpc_socket_path:
            listeners.append(listen_unix(Path(flags.grpc_socket_path)))
        return SocketServer(
            "grpc",
            listeners,
            flags.grpc_max_threads + _SPARE_THREADS,
            lambda connection: GrpcProtocol(connection, methods),
        )

    def _rest_face(self, core: Core) -> Face | None:
        flags = self._flags
        if not self._has_rest:
            return None
        face = RestFace(
            core,
            RestOptions(
                timeout=flags.rest_api_timeout_in_ms / 1000,
                prometheus_path=self._prometheus_path,
                cors=flags.rest_api_enable_cors_support,
                check_method=flags.enable_signature_method_name_check,
            ),
        )
        listener = listen_tcp(flags.bind_address, flags.rest_api_port, "rest_api_port")
        return SocketServer(
            "rest", [listener], flags.rest_api_num_threads, lambda connection: Http1Protocol(connection, face.handle)
        )

    @property
    def _has_rest(self) -> bool:
        return bool(self._flags.rest_api_port) and self._flags.rest_api_port != self._flags.port

    @property
    def _host(self) -> str:
        return f"[{self._flags.bind_address}]" if ":" in self._flags.bind_address else self._flags.bind_address

    def _endpoints(self) -> str:
        flags = self._flags
        places = [f"grpc {self._host}:{flags.port}"] if flags.port else []
        if flags.grpc_socket_path:
            places.append(f"grpc unix:{flags.grpc_socket_path}")
        if self._has_rest:
            places.append(f"rest http://{self._host}:{flags.rest_api_port}")
        return " ".join(places)

    def _follow_config_file(self, core: Core) -> None:
        """Reads the model config file again and again, if told to; what is wrong with it is said, not followed."""
        seconds = self._flags.model_config_file_poll_wait_seconds
        if not self._flags.model_config_file or seconds <= 0:
            return

        def follow() -> None:
            while not self._stopping.wait(seconds):
                try:
                    config = _model_config(self._flags)
                    if config != self._config:
                        core.reload(config)
                        self._config = config
                except (StartError, StatusError) as error:
                    log(_poll_failure(error))
                    log(f"warning: the model config file is not followed: {error}")

        threading.Thread(target=follow, name="model_config_poll", daemon=True).start()


class _Starting:
    """Who waits for the first models: the process, until it is told to end."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def seconds_left(self) -> float | None:
        return None

    def gone(self) -> bool:
        return self._stopping.is_set()


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _model_config(flags: Flags) -> Any:
    if flags.model_config_file:
        return read_model_server_config(Path(flags.model_config_file), is_text_of)
    return single_model_config(flags.model_name, flags.model_base_path)


def _core_options(flags: Flags) -> CoreOptions:
    shared = flags.tensorflow_session_parallelism
    iterations = max(flags.num_request_iterations_for_warmup, 1) if flags.enable_model_warmup else 0
    return CoreOptions(
        tags=tuple(flags.saved_model_tags.split(",")),
        session=SessionOptions(
            intra_op_threads=flags.tensorflow_intra_op_parallelism or shared,
            inter_op_threads=flags.tensorflow_inter_op_parallelism or shared,
            gpu_memory_fraction=flags.per_process_gpu_memory_fraction,
        ),
        batching=(
            read_batching_parameters(_path(flags.batching_parameters_file), is_text_of)
            if flags.enable_batching
            else None
        ),
        warmup_iterations=iterations,
        retry=RetryPolicy(flags.max_num_load_retries, flags.load_retry_interval_micros / 1e6),
        poll_seconds=float(flags.file_system_poll_wait_seconds),
        labels_for_unavailable=flags.allow_version_labels_for_unavailable_models,
        force_labels_for_unavailable=flags.force_allow_any_version_labels_for_unavailable_models,
    )


def exit_now(code: int) -> None:
    """Ends the process without tearing down the runtime, whose threads may still be at work."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
