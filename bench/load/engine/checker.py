"""Checks answers against the golden ones under load."""

from typing import Final

from bench.bert.contract.golden_checker import GoldenChecker
from bench.results.records import WrongKind
from bench.serving.errors import InvalidResponse
from bench.serving.json_codec import predict_outputs
from bench.serving.predict_messages import predict_response

# A server without batching repeats its bytes; with batching, answers to one request differ in the last digits.
_REMEMBERED: Final = 8


class Checker:
    """Checks answers.

    An answer with the bytes of an earlier correct answer to the same request is correct: a server that repeats its
    bytes costs one comparison of bytes per answer.

    Args:
        golden: the golden answers, by request.
    """

    def __init__(self, golden: GoldenChecker) -> None:
        self._golden = golden
        # The last correct answer by protocol and request: usually one comparison suffices, without a hash of the bytes.
        self._last: dict[str, dict[int, tuple[bytes, int | None]]] = {"rest": {}, "grpc": {}}
        self._right: dict[tuple[str, int], dict[bytes, int | None]] = {}

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
        """
        last = self._last[protocol].get(request)
        if last is not None and last[0] == answer:
            return None, last[1]
        right = self._right.setdefault((protocol, request), {})
        if answer in right:
            self._last[protocol][request] = (answer, right[answer])
            return None, right[answer]
        if protocol == "rest":
            outputs, version = predict_outputs(answer), None
        else:
            response = predict_response(answer, 0)
            outputs, version = dict(response.outputs), response.version
        if not outputs:
            raise InvalidResponse("response has no outputs; is this TensorFlow Serving?")
        kind = self._golden.check(request, outputs)
        if kind is None:
            if len(right) >= _REMEMBERED:
                del right[next(iter(right))]
            right[answer] = version
            self._last[protocol][request] = (answer, version)
        return kind, version
