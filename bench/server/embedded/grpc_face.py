"""The gRPC face: PredictionService, ModelService and the health service over raw messages.

Handlers get and give bytes: requests that do not parse are answered as Serving's C++ server does, and answers are
written without a message object in between.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from bench.server.embedded import examples, metadata, metrics, predict, wire
from bench.server.embedded.configs import TlsKeys
from bench.server.embedded.core import Core
from bench.server.embedded.servable import Servable
from bench.server.embedded.signatures import DEFAULT_SIGNATURE
from bench.server.embedded.status import Code, StartError, StatusError, invalid_argument
from bench.serving.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

_PREDICTION: Final = "/tensorflow.serving.PredictionService/"
_MODEL: Final = "/tensorflow.serving.ModelService/"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_LARGEST_MESSAGE: Final = (1 << 31) - 1
_SPARE_THREADS: Final = 4

Method = Callable[[bytes, Any], bytes]


@dataclass(frozen=True)
class GrpcOptions:
    """Where and how the face listens.

    Args:
        host: address to bind.
        port: port to bind; 0 for none.
        socket_path: path of a UNIX socket to listen on too; None for none.
        max_threads: calls that are answered at a time; more are refused.
        tls: keys of a TLS server; None for plain text.
        channel_arguments: gRPC's own options.
        health: whether the health service is there.
        check_method: whether a signature's method name must fit the call.
    """

    host: str
    port: int
    socket_path: str | None = None
    max_threads: int = 8
    tls: TlsKeys | None = None
    channel_arguments: tuple[tuple[str, int | str], ...] = ()
    health: bool = False
    check_method: bool = False


class _Caller:
    """The client of a call."""

    __slots__ = ("_context", "_end")

    def __init__(self, context: Any) -> None:
        self._context = context
        left = context.time_remaining()
        # Without a deadline the time remaining is beyond every calendar.
        self._end = None if left is None or left > 1e9 else time.monotonic() + left

    def seconds_left(self) -> float | None:
        return None if self._end is None else self._end - time.monotonic()

    def gone(self) -> bool:
        return not self._context.is_active()


class GrpcFace:
    """Answers calls.

    Args:
        core: the models.
        options: where and how.

    Raises:
        StartError: an address that cannot be bound, bad keys.
    """

    def __init__(self, core: Core, options: GrpcOptions) -> None:
        self._core = core
        self._options = options
        self._busy = 0
        self._lock = threading.Lock()
        methods: dict[str, Method] = {
            f"{_PREDICTION}Predict": self._predict,
            f"{_PREDICTION}Classify": self._classify,
            f"{_PREDICTION}Regress": self._regress,
            f"{_PREDICTION}MultiInference": self._multi_inference,
            f"{_PREDICTION}GetModelMetadata": self._get_metadata,
            f"{_MODEL}GetModelStatus": self._get_status,
            f"{_MODEL}HandleReloadConfigRequest": self._reload,
        }
        handlers = {name: grpc.unary_unary_rpc_method_handler(self._guarded(run)) for name, run in methods.items()}
        self._health = health.HealthServicer() if options.health else None
        self._server = grpc.server(
            _Pool(options.max_threads + _SPARE_THREADS),
            options=[
                ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
                ("grpc.max_send_message_length", _LARGEST_MESSAGE),
                # Two servers on one port would each get some of the connections.
                ("grpc.so_reuseport", 0),
                *options.channel_arguments,
            ],
        )
        if self._health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
            for service in ("", "ModelService", "PredictionService"):
                self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._server.add_generic_rpc_handlers((_Handlers(handlers),))
        self._bind()

    def start(self) -> None:
        """Begins to accept."""
        self._server.start()

    def stop(self, timeout: float) -> None:
        """Refuses new calls and waits for those that are in, up to `timeout` seconds."""
        if self._health is not None:
            self._health.enter_graceful_shutdown()
        self._server.stop(timeout).wait()

    def _bind(self) -> None:
        options = self._options
        host = f"[{options.host}]" if ":" in options.host else options.host
        addresses = [f"{host}:{options.port}"] if options.port else []
        if options.socket_path:
            addresses.append(f"unix:{options.socket_path}")
        for address in addresses:
            try:
                if options.tls is None:
                    bound = self._server.add_insecure_port(address)
                else:
                    bound = self._server.add_secure_port(address, _credentials(options.tls))
            except (RuntimeError, ValueError) as error:
                raise StartError(f"gRPC cannot listen on {address} ({error}); {_bind_hint(address)}") from error
            if not bound:
                raise StartError(f"gRPC cannot listen on {address}; {_bind_hint(address)}")

    def _guarded(self, run: Method) -> Method:
        """Lets in no more calls than there are threads for, and turns errors into statuses."""

        def guarded(request: bytes, context: Any) -> bytes:
            with self._lock:
                full = self._busy >= self._options.max_threads
                self._busy += not full
            if full:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
            try:
                return run(request, context)
            except StatusError as error:
                context.abort(_CODES[error.code], error.message)
            except DecodeError:
                context.abort(grpc.StatusCode.INTERNAL, "")
            finally:
                with self._lock:
                    self._busy -= 1
            raise AssertionError("abort returned")

        return guarded

    def _counted(self, request: Any, api: str, answer: Callable[[], bytes]) -> bytes:
        """An answer, its outcome and its time counted."""
        started = time.perf_counter()
        model = request.model_spec.name
        code = Code.OK
        try:
            message = answer()
            metrics.REQUEST_LATENCY.observe((model, api, "GRPC"), started)
        except StatusError as error:
            code = error.code
            raise
        finally:
            metrics.REQUEST_COUNT.add((model, code.name))
        return message

    def _predict(self, message: bytes, context: Any) -> bytes:
        request = predict_pb2.PredictRequest.FromString(message)

        def answer() -> bytes:
            _check_spec(request)
            spec = request.model_spec
            with self._servable(spec) as servable:
                signature = predict.find_signature(servable, spec.signature_name)
                outputs = predict.predict(servable, signature, request.inputs, request.output_filter, _Caller(context))
                return wire.predict_response(outputs, wire.model_spec(servable.model, servable.version, signature.name))

        return self._counted(request, "Predict", answer)

    def _classify(self, message: bytes, context: Any) -> bytes:
        request = classification_pb2.ClassificationRequest.FromString(message)

        def answer() -> bytes:
            _check_spec(request)
            with self._servable(request.model_spec) as servable:
                result = examples.classify(servable, request, _Caller(context), self._options.check_method)
                response = classification_pb2.ClassificationResponse(result=result)
                _fill_spec(response.model_spec, servable, request.model_spec)
                return bytes(response.SerializeToString())

        return self._counted(request, "Classify", answer)

    def _regress(self, message: bytes, context: Any) -> bytes:
        request = regression_pb2.RegressionRequest.FromString(message)

        def answer() -> bytes:
            _check_spec(request)
            with self._servable(request.model_spec) as servable:
                result = examples.regress(servable, request, _Caller(context), self._options.check_method)
                response = regression_pb2.RegressionResponse(result=result)
                _fill_spec(response.model_spec, servable, request.model_spec)
                return bytes(response.SerializeToString())

        return self._counted(request, "Regress", answer)

    def _multi_inference(self, message: bytes, context: Any) -> bytes:
        request = inference_pb2.MultiInferenceRequest.FromString(message)
        response = inference_pb2.MultiInferenceResponse()
        spec = request.tasks[0].model_spec if request.tasks else inference_pb2.InferenceTask().model_spec
        with self._servable(spec) as servable:
            results = examples.multi_inference(servable, request, _Caller(context), self._options.check_method)
            for task, result in zip(request.tasks, results, strict=True):
                entry = response.results.add()
                _fill_spec(entry.model_spec, servable, task.model_spec)
                if isinstance(result, classification_pb2.ClassificationResult):
                    entry.classification_result.CopyFrom(result)
                else:
                    entry.regression_result.CopyFrom(result)
        return bytes(response.SerializeToString())

    def _get_metadata(self, message: bytes, context: Any) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest.FromString(message)
        _check_spec(request)
        metadata.check_metadata_fields(request.metadata_field)
        with self._servable(request.model_spec) as servable:
            return bytes(metadata.metadata_response(servable).SerializeToString())

    def _get_status(self, message: bytes, context: Any) -> bytes:
        request = get_model_status_pb2.GetModelStatusRequest.FromString(message)
        _check_spec(request)
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        return bytes(metadata.status_response(self._core.statuses(spec.name, version)).SerializeToString())

    def _reload(self, message: bytes, context: Any) -> bytes:
        request = model_management_pb2.ReloadConfigRequest.FromString(message)
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        self._core.reload(request.config, _Caller(context))
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return bytes(response.SerializeToString())

    def _servable(self, spec: Any) -> Any:
        choice = spec.WhichOneof("version_choice")
        version = spec.version.value if choice == "version" else None
        label = spec.version_label if choice == "version_label" else None
        return self._core.servable(spec.name, version, label)


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def _fill_spec(spec: Any, servable: Servable, asked: Any) -> None:
    spec.name = servable.model
    spec.version.value = servable.version
    spec.signature_name = asked.signature_name or DEFAULT_SIGNATURE


def _credentials(tls: TlsKeys) -> Any:
    return grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)], tls.client_roots or None, require_client_auth=tls.verify_client
    )


def _bind_hint(address: str) -> str:
    if address.startswith("unix:"):
        return "give another --grpc_socket_path"
    return "free the port or give another --port"


class _Handlers(grpc.GenericRpcHandler):
    """The methods by name; every other one is answered as not there, without a text."""

    def __init__(self, handlers: dict[str, Any]) -> None:
        self._handlers = handlers
        self._unknown = grpc.stream_stream_rpc_method_handler(_unimplemented)

    def service(self, details: Any) -> Any:
        return self._handlers.get(details.method, self._unknown)


def _unimplemented(_requests: Any, context: Any) -> Any:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "")


class _Pool(futures.Executor):
    """Threads for calls: what gRPC needs of an executor, without a future's locks for what nobody waits for."""

    def __init__(self, threads: int) -> None:
        self._work: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads: Sequence[threading.Thread] = [
            threading.Thread(target=self._run, name=f"grpc_{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Runs a function on a thread."""
        future: futures.Future[Any] = futures.Future()
        self._work.put((future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the threads after what is queued."""
        for _ in self._threads:
            self._work.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            future, fn, args, kwargs = work
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001  # as ThreadPoolExecutor: it goes to whoever asks the future
                future.set_exception(error)
