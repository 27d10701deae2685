"""Checks answers against the golden ones under load."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from numpy.typing import NDArray

from bench.bert.contract.golden_checker import GoldenChecker
from bench.core.errors import in_words
from bench.results.records import WrongKind
from bench.serving.errors import InvalidResponse
from bench.serving.json_codec import predict_outputs
from bench.serving.predict_messages import predict_response

# A server without batching repeats its bytes; with batching, answers to one request differ in the last digits.
_REMEMBERED: Final = 8
_DIGEST_BYTES: Final = 16
# Of whole answers in all, since a server may make each as large as a response may be.
_WHOLE_BYTES: Final = 32_000_000

# An answer, and the model version in it.
_Right = tuple[bytes, int | None]


class Checker:
    """Checks answers.

    An answer with the bytes of an earlier correct answer to the same request is correct: a server that repeats its
    bytes costs one comparison of bytes per answer, or one digest where the answers are too large to be all kept.

    Args:
        golden: the golden answers, by request.
    """

    def __init__(self, golden: GoldenChecker) -> None:
        self._golden = golden
        # A late correct answer by protocol and request: usually one comparison suffices, without a digest.
        self._last: dict[str, dict[int, _Right]] = {"rest": {}, "grpc": {}}
        # The digests of the latest correct ones, each with the model version in the answer.
        self._right: dict[tuple[str, int], dict[bytes, int | None]] = {}
        self._room = _WHOLE_BYTES

    def check(self, protocol: str, request: int, answer: bytes) -> tuple[WrongKind | None, int | None]:
        """Checks one answer.

        Args:
            protocol: `rest` or `grpc`.
            request: index of the request.
            answer: REST body or gRPC message.

        Returns:
            What is wrong with it (None if it is correct), and the model version, if the answer contains it.

        Raises:
            InvalidResponse: the answer cannot be decoded.
            MemoryError: this machine has too little memory for it.
        """
        last = self._last[protocol].get(request)
        if last is not None and last[0] == answer:
            return None, last[1]
        right = self._right.setdefault((protocol, request), {})
        digest = blake2b(answer, digest_size=_DIGEST_BYTES).digest()
        if digest in right:
            self._keep(protocol, request, (answer, right[digest]))
            return None, right[digest]
        try:
            outputs, version = _decoded(protocol, answer)
            kind = self._golden.check(request, outputs)
        except (InvalidResponse, MemoryError):
            raise
        except Exception as fault:
            # Whatever it is, the request was sent, and its outcome is one of the answer.
            what = f"{type(fault).__name__}: {in_words(fault)}"
            raise InvalidResponse.quoting("the answer cannot be checked ({}); report this", what) from fault
        if kind is None:
            if len(right) >= _REMEMBERED:
                del right[next(iter(right))]
            right[digest] = version
            self._keep(protocol, request, (answer, version))
        return kind, version

    def _keep(self, protocol: str, request: int, found: _Right) -> None:
        """Keeps a correct answer whole, in the place of an earlier one to the same request, if there is room for it."""
        last = self._last[protocol]
        room = self._room + (len(last[request][0]) if request in last else 0) - len(found[0])
        if room >= 0:
            self._room = room
            last[request] = found


def _decoded(protocol: str, answer: bytes) -> tuple[Mapping[str, NDArray[Any]], int | None]:
    """The outputs of an answer by alias, and its model version."""
    if protocol == "rest":
        outputs, version = predict_outputs(answer), None
    else:
        response = predict_response(answer, 0)
        outputs, version = dict(response.outputs), response.version
    if not outputs:
        raise InvalidResponse("response has no outputs; is this TensorFlow Serving?")
    return outputs, version
