"""The server process: flags, both endpoints, and a graceful stop on SIGTERM."""

import os
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Protocol

from bench import __version__
from bench.core.errors import ExitCode
from bench.server.embedded.base.log import log, write_text
from bench.server.embedded.base.status import Code, StartError, StatusError, invalid_argument
from bench.server.embedded.config.flags import Flags, channel_arguments, parse_flags
from bench.server.embedded.config.model_config import (
    read_batching_parameters,
    read_model_server_config,
    read_prometheus_path,
    read_tls_keys,
    single_model_config,
)
from bench.server.embedded.grpc.methods import GrpcMethods
from bench.server.embedded.grpc.protocol import GrpcLimits, GrpcProtocol
from bench.server.embedded.manager.config_checks import NO_REQUEST_LOGS
from bench.server.embedded.manager.config_file import ConfigFile, UntilStopped
from bench.server.embedded.manager.model_manager import ManagerOptions, ModelManager
from bench.server.embedded.models.model import RetryPolicy
from bench.server.embedded.net.connection import Connection
from bench.server.embedded.net.connection_table import SocketLimits
from bench.server.embedded.net.http1 import Http1Protocol
from bench.server.embedded.net.listeners import listen_tcp, listen_unix
from bench.server.embedded.net.socket_server import SocketServer
from bench.server.embedded.rest.handler import RestEndpoint, RestOptions
from bench.server.embedded.runtime.c_api import library
from bench.server.embedded.runtime.inline_threads import allow_inline_runs
from bench.server.embedded.runtime.session import SessionOptions

# Seconds for requests in progress when the server stops.
_GRACE: Final = 8.0
# Threads beside those that answer calls: they handle cancellations, and refuse calls above the limit.
_SPARE_THREADS: Final = 4
# Descriptors for models, files and threads.
_DESCRIPTORS: Final = 512
# Seconds that a Python thread may run while another waits; the default of 5 ms is longer than many requests.
_SWITCH_INTERVAL: Final = 0.0005


def main(argv: Sequence[str]) -> int:
    """Serves until SIGTERM or SIGINT.

    Args:
        argv: the flags.

    Returns:
        0 after a graceful stop, 2 for invalid flags or files, 4 for models that do not load.
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
            _print_failure(error.status)
        log(f"bertbench embedded server: {error}")
        return int(error.exit_code)
    except StatusError as error:
        _print_failure(error)
        log(f"bertbench embedded server: {error.message}")
        # UNKNOWN stands for models that do not load, all other codes for an invalid config.
        return ExitCode.TARGET_FAILED if error.code is Code.UNKNOWN else ExitCode.USAGE
    return ExitCode.OK


def _print_failure(status: StatusError) -> None:
    """Prints what tensorflow_model_server prints when it does not start (main.cc)."""
    write_text(sys.stdout, f"Failed to start server. Error: {status}\n")


class Endpoint(Protocol):
    """An endpoint with a bound address."""

    def start(self) -> None:
        """Starts accepting connections."""

    def stop(self, timeout: float) -> None:
        """Refuses new requests and waits up to `timeout` seconds for those in progress."""


class Server:
    """Both endpoints on the configured models.

    Args:
        flags: the command line's.

    Raises:
        StartError: a configuration file is not valid.
    """

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        self._stopping = threading.Event()
        self._config = _model_config(flags)
        # Without REST there is no page, and the file is not read.
        monitoring = _path(flags.monitoring_config_file) if self._has_rest else None
        self._prometheus_path = read_prometheus_path(monitoring)
        tls = _path(flags.ssl_config_file)
        self._tls = read_tls_keys(tls) if tls else None
        self._manager_options = _manager_options(flags)
        self._arguments = channel_arguments(flags.grpc_channel_arguments)

    def run(self) -> None:
        """Loads the models, serves until SIGTERM or SIGINT, and stops gracefully.

        Raises:
            StartError: an address cannot be bound.
            StatusError: a model does not load.
        """
        sys.setswitchinterval(_SWITCH_INTERVAL)
        _raise_descriptor_limit(self._flags.max_connections)
        # While it loads Python runs no handler, and nothing is there to be ended in order: a signal ends the process.
        library()
        self._stop_on_signals()
        manager = ModelManager(self._manager_options)
        try:
            manager.reload(self._config, UntilStopped(self._stopping))
        except StatusError:
            if self._stopping.is_set():
                return
            raise
        endpoints = [self._grpc_endpoint(manager), *self._rest_endpoints(manager)]
        for endpoint in endpoints:
            endpoint.start()
        self._follow_config_file(manager)
        if self._flags.rest_api_port and not self._has_rest:
            log("warning: --rest_api_port is the same as --port; REST is off")
        log(f"bertbench embedded server ready: {self._endpoints()}")
        self._stopping.wait()
        log("bertbench embedded server: stopping after the requests in flight")
        manager.stop()
        with ThreadPoolExecutor(len(endpoints)) as pool:
            list(pool.map(lambda endpoint: endpoint.stop(_GRACE), endpoints))

    def _stop_on_signals(self) -> None:
        received: SimpleQueue[None] = SimpleQueue()

        def wait() -> None:
            received.get()
            self._stopping.set()

        # Not in the handler itself: it may interrupt a wait that holds the event's lock.
        threading.Thread(target=wait, name="signals", daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: received.put(None))

    def _grpc_endpoint(self, manager: ModelManager) -> Endpoint:
        flags = self._flags
        methods = GrpcMethods(
            manager,
            flags.grpc_max_threads,
            flags.enable_grpc_healthcheck_service,
            flags.enable_signature_method_name_check,
        )
        limits = GrpcLimits(flags.max_request_bytes, flags.max_unpacked_bytes)
        if self._tls or self._arguments:
            from bench.server.embedded.grpc.grpcio_server import GrpcioServer

            addresses = [f"{self._host}:{flags.port}"] if flags.port else []
            addresses += [f"unix:{flags.grpc_socket_path}"] if flags.grpc_socket_path else []
            threads = flags.grpc_max_threads + _SPARE_THREADS
            return GrpcioServer(methods, addresses, threads, limits, self._tls, self._arguments)
        listeners = [listen_tcp(flags.bind_address, flags.port, "port")] if flags.port else []
        if flags.grpc_socket_path:
            listeners.append(listen_unix(Path(flags.grpc_socket_path)))
        return SocketServer(
            "grpc",
            listeners,
            flags.grpc_max_threads + _SPARE_THREADS,
            lambda connection: GrpcProtocol(connection, methods, limits),
            self._limits,
            allow_inline_runs,
        )

    def _rest_endpoints(self, manager: ModelManager) -> list[Endpoint]:
        """The REST endpoint; none where it is off."""
        flags = self._flags
        if not self._has_rest:
            return []
        endpoint = RestEndpoint(
            manager,
            RestOptions(
                timeout=flags.rest_api_timeout_in_ms / 1000,
                prometheus_path=self._prometheus_path,
                cors=flags.rest_api_enable_cors_support,
                check_method=flags.enable_signature_method_name_check,
                max_unpacked=flags.max_unpacked_bytes,
            ),
        )
        listener = listen_tcp(flags.bind_address, flags.rest_api_port, "rest_api_port")
        threads, most = flags.rest_api_num_threads, flags.max_request_bytes

        def protocol(connection: Connection) -> Http1Protocol:
            return Http1Protocol(connection, endpoint.handle, most)

        return [SocketServer("rest", [listener], threads, protocol, self._limits, allow_inline_runs)]

    @property
    def _limits(self) -> SocketLimits:
        return SocketLimits(self._flags.max_connections, self._flags.max_held_bytes)

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

    def _follow_config_file(self, manager: ModelManager) -> None:
        """Applies the model config file whenever it changes, if the flags ask for it."""
        path, seconds = _path(self._flags.model_config_file), self._flags.model_config_file_poll_wait_seconds
        if path and seconds > 0:
            ConfigFile(path, self._config, manager, seconds, self._stopping).follow()


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _model_config(flags: Flags) -> Any:
    if flags.model_config_file:
        config = read_model_server_config(Path(flags.model_config_file))
        logged = [entry.name for entry in config.model_config_list.config if entry.HasField("logging_config")]
        if logged:
            raise StartError(
                f"model {logged[0]} has a logging_config, but neither this server nor tensorflow_model_server logs "
                f"requests; remove it from {flags.model_config_file}",
                invalid_argument(NO_REQUEST_LOGS),
            )
        return config
    return single_model_config(flags.model_name, flags.model_base_path)


def _manager_options(flags: Flags) -> ManagerOptions:
    shared = flags.tensorflow_session_parallelism
    iterations = max(flags.num_request_iterations_for_warmup, 1) if flags.enable_model_warmup else 0
    return ManagerOptions(
        tags=tuple(flags.saved_model_tags.split(",")),
        session=SessionOptions(
            intra_op_threads=flags.tensorflow_intra_op_parallelism or shared,
            inter_op_threads=flags.tensorflow_inter_op_parallelism or shared,
            gpu_memory_fraction=flags.per_process_gpu_memory_fraction,
        ),
        batching=read_batching_parameters(_path(flags.batching_parameters_file)) if flags.enable_batching else None,
        warmup_iterations=iterations,
        retry=RetryPolicy(flags.max_num_load_retries, flags.load_retry_interval_micros / 1e6),
        poll_seconds=float(flags.file_system_poll_wait_seconds),
        labels_for_unavailable=flags.allow_version_labels_for_unavailable_models,
        force_labels_for_unavailable=flags.force_allow_any_version_labels_for_unavailable_models,
        max_fill=flags.max_fill_bytes,
    )


def _raise_descriptor_limit(connections: int) -> None:
    """Allows as many descriptors as both endpoints' connections and the models need, as far as the system lets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + _DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, soft), hard))


def exit_now(code: int) -> None:
    """Ends the process without tearing down the runtime, whose threads may still run."""
    for stream in (sys.stdout, sys.stderr):
        write_text(stream, "")
    os._exit(code)
