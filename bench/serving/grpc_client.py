"""The gRPC client, and the mapping of gRPC's status codes."""

import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError

from bench.core.units import format_bytes
from bench.serving.access import DIRECT, Access
from bench.serving.errors import ConnectFailed, InvalidResponse, ServingError, redacting
from bench.serving.grpc_call import raise_for_http, raise_for_reset
from bench.serving.grpc_status import code_name, one_line, raise_for_status
from bench.serving.headers import NO_HEADERS, Headers
from bench.serving.http2.frames import REFUSED_STREAM
from bench.serving.messages import (
    METADATA_METHOD,
    PREDICT_METHOD,
    SIGNATURES_TYPE,
    STATUS_METHOD,
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    ModelSpec,
    ModelVersionStatus,
    SignatureDefMap,
    data_type_name,
)
from bench.serving.predict_messages import predict_bytes, predict_response
from bench.serving.types import (
    MAX_RESPONSE_BYTES,
    ModelMetadata,
    PredictRequest,
    PredictResponse,
    SignatureInfo,
    TensorInfo,
    VersionStatus,
)

# gRPC's own limit is 4 MiB, too little for a large batch; Serving itself has none.
MAX_REQUEST_BYTES: Final = 1 << 30
# Milliseconds before another attempt to connect. gRPC's own grow to 2 minutes in an outage, and calls fail meanwhile,
# also when the server is back.
_RECONNECT: Final = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 1000}
# The client's own library sets status codes too; only its texts, as they begin, distinguish them from the server's.
_OWN: Final = r"^(?:Stream removed \()?(?:RST_STREAM \()?"
_NO_CONNECTION: Final = re.compile(
    _OWN + r"(?:failed to connect|connections to all|connection (?:refused|reset|timed out|dropped)|socket closed|"
    r"broken pipe|transport (?:clos|shut|destr)|endpoint (?:clos|shut)|errors? resolving|dns resolution|name resol|"
    r"address lookup|empty address list|keepalive|ping timeout|trying to connect an http1\.x|recvmsg|sendmsg|"
    r"(?:ssl |security )?handshake|cannot check peer|stream removed$|goaway received$)",
    re.IGNORECASE,
)
_REASONS: Final = {
    "certificate": "its certificate is not trusted",
    "handshake|ssl|check peer": "no TLS connection can be made",
    "refused": "connection refused",
    "reset|socket closed|broken pipe|goaway|stream removed|recvmsg|sendmsg": "it closed the connection",
    "resol|address lookup|empty address": "its host name cannot be resolved",
    "timed out|keepalive|ping timeout": "it does not answer in time",
    "no route|unreachable": "the network does not reach it",
    "http1|http2|preface": "it does not speak gRPC",
}
_HTTP_STATUS: Final = re.compile(_OWN + r"Received http2 header with status: (\d+)")
_RESET: Final = re.compile(_OWN + r"Received RST_STREAM with error code (\d+)")
_GOAWAY: Final = re.compile(_OWN + r"GOAWAY received; Error code: (\d+)")
_NOT_GRPC: Final = re.compile(
    _OWN + r"(?:Exception deserializing response|No status received|Compression bit set|Stream removed)"
)
# What a server says of a request that is too large for it begins with "SERVER: " or with "Received".
_TOO_LARGE: Final = re.compile(_OWN + r"CLIENT: (Sent|Received) message larger than max \((\d+)")


def make_channel(
    address: str, access: Access = DIRECT, options: Sequence[tuple[str, Any]] = (), *, secure: bool = False
) -> Any:
    """A channel to `host:port` with limits for large messages.

    Args:
        address: host and port.
        access: certificates of an encrypted channel.
        options: further channel arguments of gRPC.
        secure: whether the channel is encrypted.

    Raises:
        UsageError: the certificates cannot be used.
    """
    named = {
        "grpc.max_receive_message_length": MAX_RESPONSE_BYTES,
        "grpc.max_send_message_length": MAX_REQUEST_BYTES,
        "grpc.enable_http_proxy": 0,
        **_RECONNECT,
        **dict(options),
    }
    arguments = list(named.items())
    if not secure:
        return grpc.insecure_channel(address, options=arguments)
    credentials = grpc.ssl_channel_credentials(*access.tls.grpc_credentials())
    return grpc.secure_channel(address, credentials, options=arguments)


def raise_for_rpc(error: Any, address: str, timeout: float, headers: Headers = NO_HEADERS) -> NoReturn:
    """Raises the ServingError for a failed call, without the values of `headers`, those of the request."""
    name = error.code().name
    details = one_line(headers.redact(error.details() or ""))
    if found := _TOO_LARGE.search(details):
        what, size = "request" if found[1] == "Sent" else "response", format_bytes(int(found[2]))
        raise InvalidResponse(
            f"the {what} of {size} is larger than the limit; send fewer sentences or allow more", name
        )
    if found := _HTTP_STATUS.search(details):
        raise_for_http(found[1].encode(), address, timeout)
    if found := _RESET.search(details):
        raise_for_reset(int(found[1]), address, timeout)
    if found := _GOAWAY.search(details):
        raise_for_reset(int(found[1]) or REFUSED_STREAM, address, timeout)
    if name == "UNAVAILABLE" and _NO_CONNECTION.search(details):
        raise ConnectFailed(f"no connection to {address} ({_reason(details)}); is the server up?", name)
    if name not in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED") and _NOT_GRPC.search(details):
        raise InvalidResponse(f"a broken answer from {address} ({name}); is this a gRPC port?", name)
    raise_for_status(name, details, address, timeout)


def message_of(answer: Any, address: str) -> Any:
    """The message of a call that ended with status OK; grpcio has None where there was none, or a part of one.

    Raises:
        InvalidResponse: there is none.
    """
    if answer is None:
        raise InvalidResponse(f"the answer from {address} is not one message; is this TensorFlow Serving?")
    return answer


def _reason(details: str) -> str:
    """Why there is no connection, in plain words."""
    return next((text for pattern, text in _REASONS.items() if re.search(pattern, details, re.IGNORECASE)), "it failed")


class GrpcClient:
    """A `ServingClient` over gRPC, with one channel. Safe for threads.

    Args:
        address: host and port, such as `127.0.0.1:8500`.
        access: headers, which are sent as metadata, and certificates.
        options: further channel arguments of gRPC.
        secure: whether the connection is encrypted.

    Raises:
        UsageError: headers that gRPC does not allow, or certificates that cannot be used.
    """

    protocol = "grpc"

    def __init__(
        self,
        address: str,
        access: Access = DIRECT,
        options: Sequence[tuple[str, Any]] = (),
        *,
        secure: bool = False,
    ) -> None:
        self.address = address
        self._headers = access.headers
        self._metadata = access.headers.metadata()
        self._channel = make_channel(address, access, options, secure=secure)
        self._predict_bytes = self._channel.unary_unary(PREDICT_METHOD)
        self._status = _method(self._channel, STATUS_METHOD, GetModelStatusResponse)
        self._model_metadata = _method(self._channel, METADATA_METHOD, GetModelMetadataResponse)

    def predict(self, request: PredictRequest, timeout: float) -> PredictResponse:
        data = predict_bytes(request)
        answer = self._call(self._predict_bytes, data, timeout)
        with redacting(self._headers):
            return predict_response(answer, len(data))

    def status(self, model: str, timeout: float) -> tuple[VersionStatus, ...]:
        message = GetModelStatusRequest(model_spec=ModelSpec(name=model))
        answer = self._call(self._status, message, timeout)
        return tuple(
            VersionStatus(
                entry.version, _state(entry.state), code_name(entry.status.error_code), entry.status.error_message
            ).without(self._headers)
            for entry in answer.model_version_status
        )

    def metadata(self, model: str, timeout: float) -> ModelMetadata:
        message = GetModelMetadataRequest(model_spec=ModelSpec(name=model), metadata_field=["signature_def"])
        answer = self._call(self._model_metadata, message, timeout)
        held = answer.metadata["signature_def"]
        if held.type_url != SIGNATURES_TYPE:
            raise InvalidResponse("the metadata have no signatures; is this TensorFlow Serving?")
        try:
            signatures = SignatureDefMap.FromString(held.value)
        except DecodeError as error:
            raise InvalidResponse(
                f"the signatures in the metadata cannot be read ({error}); is this TensorFlow Serving?"
            ) from error
        return ModelMetadata(
            model=answer.model_spec.name,
            version=answer.model_spec.version.value,
            signatures={name: _signature(entry) for name, entry in signatures.signature_def.items()},
        )

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> "GrpcClient":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def _call(self, method: Any, message: Any, timeout: float) -> Any:
        try:
            return message_of(method(message, timeout=timeout, metadata=self._metadata), self.address)
        except grpc.RpcError as error:
            raise_for_rpc(error, self.address, timeout, self._headers)
        except ValueError as error:
            # A call on a closed channel.
            raise ServingError(f"the call to {self.address} could not be made ({error})") from error


def _method(channel: Any, name: str, response: Any) -> Any:
    """A method of a channel by its messages."""
    return channel.unary_unary(
        name, request_serializer=lambda message: message.SerializeToString(), response_deserializer=response.FromString
    )


def _state(number: int) -> str:
    """A state's name, or the number as text where a later Serving has added it."""
    states = ModelVersionStatus.State
    return str(states.Name(number)) if number in states.values() else str(number)


def _signature(entry: Any) -> SignatureInfo:
    return SignatureInfo(
        method_name=entry.method_name,
        inputs={name: _tensor_info(name, info) for name, info in entry.inputs.items()},
        outputs={name: _tensor_info(name, info) for name, info in entry.outputs.items()},
    )


def _tensor_info(name: str, info: Any) -> TensorInfo:
    shape = info.tensor_shape
    dims = None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)
    return TensorInfo(name, data_type_name(info.dtype), dims)
