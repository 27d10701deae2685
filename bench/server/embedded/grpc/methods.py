"""The gRPC endpoint's methods: PredictionService, ModelService and the health service on serialized messages.

A request that does not parse gets the answer of Serving's C++ server. The answer to Predict is written without a
message object.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from bench.server.embedded.api import examples, metadata, predict
from bench.server.embedded.base import metrics
from bench.server.embedded.base.status import Code, StatusError, faults_are_internal, invalid_argument
from bench.server.embedded.grpc import predict_bytes
from bench.server.embedded.manager.model_manager import ModelManager
from bench.server.embedded.models.servable import Caller, Servable
from bench.server.embedded.models.signatures import DEFAULT_SIGNATURE
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
_HEALTH: Final = "/grpc.health.v1.Health/"
_WATCH: Final = f"{_HEALTH}Watch"
_RELOAD: Final = f"{_MODEL}HandleReloadConfigRequest"
_WITH_MODEL: Final = frozenset(_PREDICTION + name for name in ("Predict", "Classify", "Regress", "MultiInference"))
_HEALTHY: Final = ("", "ModelService", "PredictionService")
# Serving cuts an error's text to so many bytes (ToGRPCStatus).
_LONGEST_TEXT: Final = 1024

Method = Callable[[bytes, Caller], bytes]


class GrpcMethods:
    """Answers calls.

    Args:
        manager: finds the models.
        max_calls: calls in progress at most; more are refused.
        health: whether the health service is enabled.
        check_method: whether a signature's method name must match the call.
    """

    def __init__(self, manager: ModelManager, max_calls: int, health: bool = False, check_method: bool = False) -> None:
        self._manager = manager
        self._max_calls = max_calls
        self._check_method = check_method
        self._busy = 0
        self._lock = threading.Lock()
        self._methods: dict[str, Method] = {
            f"{_PREDICTION}Predict": self._predict,
            f"{_PREDICTION}Classify": self._classify,
            f"{_PREDICTION}Regress": self._regress,
            f"{_PREDICTION}MultiInference": self._multi_inference,
            f"{_PREDICTION}GetModelMetadata": self._get_metadata,
            f"{_MODEL}GetModelStatus": self._get_status,
            _RELOAD: self._reload,
        }
        if health:
            self._methods[f"{_HEALTH}Check"] = self._check_health
            self._methods[_WATCH] = self._watch_health

    def knows(self, method: str) -> bool:
        """Whether there is such a method."""
        return method in self._methods

    def is_brief(self, method: str) -> bool:
        """Whether the method takes less than a millisecond."""
        return method in self._methods and method not in _WITH_MODEL and method != _RELOAD

    def is_streaming(self, method: str) -> bool:
        """Whether the method answers with a stream, which stays open after the first message."""
        return method == _WATCH

    def closing_message(self, method: str) -> bytes:
        """The last message of a stream, sent when the server stops."""
        assert method == _WATCH
        return _health(health_pb2.HealthCheckResponse.NOT_SERVING)

    @faults_are_internal
    def handle(self, method: str, message: bytes, caller: Caller) -> bytes:
        """The message that answers a call.

        Raises:
            StatusError: the call fails; RESOURCE_EXHAUSTED if too many are in progress.
        """
        with self._lock:
            full = self._busy >= self._max_calls
            self._busy += not full
        if full:
            raise StatusError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        try:
            return self._methods[method](message, caller)
        except DecodeError:
            raise StatusError(Code.INTERNAL, "") from None
        except StatusError as error:
            if len(error.raw) <= _LONGEST_TEXT:
                raise
            raise StatusError(error.code, error.raw[:_LONGEST_TEXT] + b"...TRUNCATED") from None
        finally:
            with self._lock:
                self._busy -= 1

    def _measured(self, request: Any, api: str, answer: Callable[[], bytes]) -> bytes:
        """An answer; its outcome and latency go into the metrics."""
        started = time.perf_counter()
        model = request.model_spec.name
        code = Code.INTERNAL
        try:
            message = answer()
            code = Code.OK
            metrics.REQUEST_LATENCY.observe((model, api, "GRPC"), started)
        except StatusError as error:
            code = error.code
            raise
        finally:
            metrics.REQUEST_COUNT.add((model, code.name))
        return message

    def _predict(self, message: bytes, caller: Caller) -> bytes:
        request = predict_pb2.PredictRequest.FromString(message)

        def answer() -> bytes:
            _check_spec(request)
            spec = request.model_spec
            with self._servable(spec) as servable:
                signature = predict.find_signature(servable, spec.signature_name)
                outputs = predict.predict(
                    servable, signature, request.inputs, request.output_filter, caller, self._check_method
                )
                return predict_bytes.predict_response(
                    outputs, predict_bytes.model_spec(servable.model, servable.version, signature.name)
                )

        return self._measured(request, "Predict", answer)

    def _classify(self, message: bytes, caller: Caller) -> bytes:
        request = classification_pb2.ClassificationRequest.FromString(message)
        response = classification_pb2.ClassificationResponse()
        return self._on_examples(request, response, "Classify", caller)

    def _regress(self, message: bytes, caller: Caller) -> bytes:
        request = regression_pb2.RegressionRequest.FromString(message)
        return self._on_examples(request, regression_pb2.RegressionResponse(), "Regress", caller)

    def _on_examples(self, request: Any, response: Any, api: str, caller: Caller) -> bytes:
        def answer() -> bytes:
            _check_spec(request)
            run = examples.classify if api == "Classify" else examples.regress
            with self._servable(request.model_spec) as servable:
                response.result.CopyFrom(run(servable, request, caller, self._check_method))
                _fill_spec(response.model_spec, servable, request.model_spec)
                return bytes(response.SerializeToString())

        return self._measured(request, api, answer)

    def _multi_inference(self, message: bytes, caller: Caller) -> bytes:
        request = inference_pb2.MultiInferenceRequest.FromString(message)
        response = inference_pb2.MultiInferenceResponse()
        spec = request.tasks[0].model_spec if request.tasks else inference_pb2.InferenceTask().model_spec
        with self._servable(spec) as servable:
            results = examples.multi_inference(servable, request, caller, self._check_method)
            for task, result in zip(request.tasks, results, strict=True):
                entry = response.results.add()
                _fill_spec(entry.model_spec, servable, task.model_spec)
                if isinstance(result, classification_pb2.ClassificationResult):
                    entry.classification_result.CopyFrom(result)
                else:
                    entry.regression_result.CopyFrom(result)
        return bytes(response.SerializeToString())

    def _get_metadata(self, message: bytes, caller: Caller) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest.FromString(message)
        _check_spec(request)
        metadata.check_metadata_fields(request.metadata_field)
        with self._servable(request.model_spec) as servable:
            return bytes(metadata.metadata_response(servable).SerializeToString())

    def _get_status(self, message: bytes, caller: Caller) -> bytes:
        request = get_model_status_pb2.GetModelStatusRequest.FromString(message)
        _check_spec(request)
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        return bytes(metadata.status_response(self._manager.statuses(spec.name, version)).SerializeToString())

    def _reload(self, message: bytes, caller: Caller) -> bytes:
        request = model_management_pb2.ReloadConfigRequest.FromString(message)
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        self._manager.reload(request.config, caller)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return bytes(response.SerializeToString())

    def _check_health(self, message: bytes, caller: Caller) -> bytes:
        if health_pb2.HealthCheckRequest.FromString(message).service not in _HEALTHY:
            raise StatusError(Code.NOT_FOUND, "")
        return _health(health_pb2.HealthCheckResponse.SERVING)

    def _watch_health(self, message: bytes, caller: Caller) -> bytes:
        known = health_pb2.HealthCheckRequest.FromString(message).service in _HEALTHY
        status = health_pb2.HealthCheckResponse
        return _health(status.SERVING if known else status.SERVICE_UNKNOWN)

    def _servable(self, spec: Any) -> Any:
        choice = spec.WhichOneof("version_choice")
        version = spec.version.value if choice == "version" else None
        label = spec.version_label if choice == "version_label" else None
        return self._manager.servable(spec.name, version, label)


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def _fill_spec(spec: Any, servable: Servable, asked: Any) -> None:
    spec.name = servable.model
    spec.version.value = servable.version
    spec.signature_name = asked.signature_name or DEFAULT_SIGNATURE


def _health(status: Any) -> bytes:
    return bytes(health_pb2.HealthCheckResponse(status=status).SerializeToString())
