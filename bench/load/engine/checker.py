"""Comparing answers with the golden ones while load runs."""

from typing import Final

from bench.bert.contract.golden_checker import GoldenChecker
from bench.results.records import WrongKind
from bench.serving.errors import InvalidResponse
from bench.serving.grpc_client import predict_response
from bench.serving.json_codec import predict_outputs

# A server that runs alone gives one answer a request; one that batches gives a few that differ in the last digits.
_REMEMBERED: Final = 8


class Checker:
    """Judges answers as they come.

    An answer whose bytes are those of one that was judged right for the same request is right: a server that computes
    the same each time costs one comparison of bytes an answer.

    Args:
        golden: the golden answers, by request.
    """

    def __init__(self, golden: GoldenChecker) -> None:
        self._golden = golden
        # The latest right answer by protocol and request: the usual case costs one comparison, no hash of the bytes.
        self._last: dict[str, dict[int, tuple[bytes, int | None]]] = {"rest": {}, "grpc": {}}
        self._right: dict[tuple[str, int], dict[bytes, int | None]] = {}

    def check(self, protocol: str, request: int, answer: bytes) -> tuple[WrongKind | None, int | None]:
        """Judges one answer.

        Args:
            protocol: `rest` or `grpc`.
            request: index of the request.
            answer: body or message.

        Returns:
            In which way it is wrong (None for a right one), and the model version that answered, where that is told.

        Raises:
            InvalidResponse: an answer that cannot be read.
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
            raise InvalidResponse("the answer holds no output; what listens there?")
        kind = self._golden.check(request, outputs)
        if kind is None:
            if len(right) >= _REMEMBERED:
                del right[next(iter(right))]
            right[answer] = version
            self._last[protocol][request] = (answer, version)
        return kind, version
