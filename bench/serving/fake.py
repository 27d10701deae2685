"""A public fake: a `ServingClient` in memory with programmable answers."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from bench.serving.errors import ServingError
from bench.serving.types import (
    ModelMetadata,
    PredictRequest,
    PredictResponse,
    SignatureInfo,
    VersionStatus,
)

Answer = Callable[[PredictRequest], Mapping[str, NDArray[Any]]]


class FakeServingClient:
    """Answers `predict` with a function, and records the requests.

    Args:
        answer: returns the outputs by alias for a request; its exceptions are those of `predict`.
        protocol: name of the protocol.
        version: version of the answers.
        signatures: signatures in the metadata.

    Attributes:
        calls: the requests of `predict`, in order.
        closed: whether `close` was called.
    """

    def __init__(
        self,
        answer: Answer,
        protocol: str = "fake",
        version: int = 1,
        signatures: Mapping[str, SignatureInfo] | None = None,
    ) -> None:
        self.protocol = protocol
        self.calls: list[PredictRequest] = []
        self.closed = False
        self._answer = answer
        self._version = version
        self._signatures = dict(signatures or {})
        self._failures: deque[ServingError | None] = deque()

    def fail(self, *failures: ServingError | None) -> None:
        """Makes the next calls of `predict` fail, one with each failure; None makes one succeed."""
        self._failures.extend(failures)

    def predict(self, request: PredictRequest, timeout: float) -> PredictResponse:
        self.calls.append(request)
        failure = self._failures.popleft() if self._failures else None
        if failure is not None:
            raise failure
        outputs = dict(self._answer(request))
        return PredictResponse(outputs, self._version, _size(request.inputs.values()), _size(outputs.values()))

    def status(self, model: str, timeout: float) -> tuple[VersionStatus, ...]:
        return (VersionStatus(self._version, "AVAILABLE"),)

    def metadata(self, model: str, timeout: float) -> ModelMetadata:
        return ModelMetadata(model, self._version, self._signatures)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> "FakeServingClient":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


def _size(arrays: Iterable[NDArray[Any]]) -> int:
    return sum(array.nbytes for array in arrays)
