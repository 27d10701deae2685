"""Requests to a server and its answers, independent of the protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from bench.serving.headers import Headers

DEFAULT_MODEL_NAME = "bert"
GRPC_PORT: Final = 8500
REST_PORT: Final = 8501
DEFAULT_SIGNATURE = "serving_default"
# A hundred times the answer to the largest batch of this suite.
MAX_RESPONSE_BYTES = 64_000_000
_STATES: Final = frozenset({"UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"})


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """One call of PredictionService/Predict, or one POST to `:predict`.

    Args:
        inputs: arrays by input alias; the first dimension is the batch.
        signature: key of the signature.
        model: the model's name on the server.
        version: a version number; None is the latest. At most one of version and label is given.
        label: a version label.
    """

    inputs: Mapping[str, NDArray[Any]]
    signature: str = DEFAULT_SIGNATURE
    model: str = DEFAULT_MODEL_NAME
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise ValueError("a request names a version or a label, not both")


@dataclass(frozen=True, slots=True)
class PredictResponse:
    """An answer to Predict.

    Args:
        outputs: arrays by output alias. A REST answer in row form with one output has no name for it: its key is "".
        version: the version that answered; None over REST.
        bytes_out: size of the request body or message, in bytes.
        bytes_in: size of the answer's body or message, in bytes.
    """

    outputs: Mapping[str, NDArray[Any]]
    version: int | None
    bytes_out: int
    bytes_in: int


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version of a model: state is START, LOADING, AVAILABLE, UNLOADING or END."""

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""

    def without(self, headers: Headers) -> "VersionStatus":
        """The same without the values of headers, which a server may repeat; a state that is one stays."""
        state = self.state if self.state in _STATES else headers.redact(self.state)
        return replace(self, state=state, error_message=headers.redact(self.error_message))


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A signature's input or output: dtype like `DT_INT32`; shape with -1 for a free dimension, None if unknown."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class SignatureInfo:
    """One signature of a served model."""

    method_name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model's metadata."""

    model: str
    version: int
    signatures: Mapping[str, SignatureInfo] = field(default_factory=dict)


class ServingClient(Protocol):
    """A connection to one server over one protocol.

    When the server or the connection fails, every method raises `bench.serving.errors.ServingError` or a subclass, and
    nothing else. `timeout` is in seconds.
    """

    protocol: str

    def predict(self, request: PredictRequest, timeout: float) -> PredictResponse: ...

    def status(self, model: str, timeout: float) -> tuple[VersionStatus, ...]: ...

    def metadata(self, model: str, timeout: float) -> ModelMetadata: ...

    def close(self) -> None: ...

    def __enter__(self) -> "ServingClient": ...

    def __exit__(self, *exc: Any) -> None: ...
