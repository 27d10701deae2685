"""Requests and answers of Predict as messages of gRPC, without grpcio: load-generating workers do not need it."""

from typing import Any

from google.protobuf.message import DecodeError

from bench.serving import messages
from bench.serving.errors import InvalidResponse
from bench.serving.messages import ModelSpec
from bench.serving.tensors import outputs_from, to_proto
from bench.serving.types import PredictRequest, PredictResponse


def predict_message(request: PredictRequest) -> Any:
    """The PredictRequest message of a request."""
    spec = ModelSpec(name=request.model, signature_name=request.signature)
    if request.version is not None:
        spec.version.value = request.version
    elif request.label is not None:
        spec.version_label = request.label
    return messages.PredictRequest(
        model_spec=spec, inputs={name: to_proto(array) for name, array in request.inputs.items()}
    )


def predict_bytes(request: PredictRequest) -> bytes:
    """The serialized message of a request: the same bytes in every process, whatever the order of protobuf's maps."""
    data: bytes = predict_message(request).SerializeToString(deterministic=True)
    return data


def predict_response(data: bytes, bytes_out: int) -> PredictResponse:
    """The answer in a serialised PredictResponse.

    Raises:
        InvalidResponse: it is not such a message, or its tensors are not valid.
    """
    try:
        message = messages.PredictResponse.FromString(data)
        outputs = outputs_from(message.outputs)
    except (DecodeError, ValueError) as error:
        raise InvalidResponse(f"the answer is not a PredictResponse ({error}); is this TensorFlow Serving?") from error
    spec = message.model_spec
    version = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
    return PredictResponse(outputs, version, bytes_out, len(data))
