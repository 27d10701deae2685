"""The right answers to a run's requests, and how a wrong one differs. No TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.bert.contract.golden import Golden
from bench.bert.contract.masked_requests import COMPACT_SIGNATURE, FIXED_OUTPUT, LOG_PROB, PROB, answer_positions
from bench.results.records import WrongKind


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """The golden answer of one request, K pieces in all.

    Args:
        log_prob: natural log-probability of each piece, float32 `[K]`.
        rows: row of each piece's value in the output, `[K]`.
        columns: column of each, `[K]`.
        height: rows of the output.
        width: columns of the output; a server may answer with more, where it padded the request.
    """

    log_prob: NDArray[np.float32]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    height: int
    width: int

    def output(self) -> NDArray[np.float32]:
        """The output that a right answer holds, float32 `[height, width]`, 0 where no piece is."""
        full = np.zeros((self.height, self.width), np.float32)
        full[self.rows, self.columns] = self.log_prob
        return full


class GoldenChecker:
    """The golden answers of a set of requests.

    Args:
        golden: the golden file.
        requests: for each request the indexes of its sentences in the golden file.
        signature: the signature that is asked.
    """

    def __init__(self, golden: Golden, requests: Sequence[Sequence[int]], signature: str) -> None:
        self.tolerance = golden.tolerance
        self._fixed = golden.fixed
        self.expected = [_expected(golden, request, signature) for request in requests]
        firsts = np.array([float(answer.log_prob[0]) if answer.log_prob.size else np.inf for answer in self.expected])
        self._by_first = np.argsort(firsts, kind="stable")
        self._firsts = firsts[self._by_first]

    def outputs(self, request: int) -> dict[str, NDArray[np.float32]]:
        """A right answer to a request, as a server would give it: outputs by alias."""
        log_prob = self.expected[request].output()
        if self._fixed:
            return {FIXED_OUTPUT: -log_prob if self._fixed.output == "nll" else np.exp(log_prob)}
        return {LOG_PROB: log_prob}

    def check(self, request: int, outputs: Mapping[str, NDArray[Any]]) -> WrongKind | None:
        """None for a right answer, else how it is wrong; both protocols are treated alike.

        `not_finite`: a value is NaN or infinite. `swap`: it is the answer to another request. `truncated`: rows or
        values are missing. `shape`: no matrix of numbers, or rows too many. `drift`: a value lies farther from the
        Estimator's than the golden file's tolerance. The output `prob`, where there is one, must say the same.
        """
        expected = self.expected[request]
        output = outputs.get(FIXED_OUTPUT if self._fixed else LOG_PROB, outputs.get(""))
        matrix = _matrix(output)
        if matrix is not None and self._fixed:
            matrix = self._fixed.log_prob(np.asarray(matrix, np.float32))
        if (kind := self._compare(request, matrix, expected.log_prob)) is not None:
            return kind
        if (prob := outputs.get(PROB)) is None:
            return None
        return self._compare(request, _matrix(prob), np.exp(expected.log_prob))

    def _compare(self, request: int, output: NDArray[Any] | None, golden: NDArray[np.float32]) -> WrongKind | None:
        """How a matrix differs from the golden values of a request, or None; any output but a matrix is `shape`."""
        if output is None:
            return WrongKind.SHAPE
        expected = self.expected[request]
        fits = output.shape[0] == expected.height and output.shape[1] >= expected.width
        if fits and self._close(output[expected.rows, expected.columns], golden):
            return None
        if not np.isfinite(output).all():
            return WrongKind.NOT_FINITE
        if self._is_another(request, output):
            return WrongKind.SWAP
        if output.shape[0] > expected.height:
            return WrongKind.SHAPE
        if output.shape[0] < expected.height or output.shape[1] < expected.width:
            return WrongKind.TRUNCATED
        return WrongKind.DRIFT

    def _close(self, values: NDArray[Any], golden: NDArray[np.float32]) -> bool:
        # NaN compares false, so that it is not close.
        return values.size == 0 or bool(np.abs(values - golden).max() <= self.tolerance)

    def _is_another(self, request: int, output: NDArray[Any]) -> bool:
        """Whether the output is the right one of another request; the first value picks the candidates."""
        if output.size == 0:
            return False
        first = float(output[0, 0])
        low, high = np.searchsorted(self._firsts, (first - self.tolerance, first + self.tolerance), side="left")
        for candidate in self._by_first[low : high + 1]:
            expected = self.expected[candidate]
            if candidate == request or expected.height != output.shape[0] or expected.width > output.shape[1]:
                continue
            values = output[expected.rows, expected.columns]
            if values.size and self._close(values, expected.log_prob):
                return True
        return False


def _matrix(output: NDArray[Any] | None) -> NDArray[Any] | None:
    """The output, if it is a matrix of numbers. JSON has no shape for one without rows: `[]` is such a matrix."""
    if output is None or output.dtype.kind not in "fiu":
        return None
    if output.shape == (0,):
        return output.reshape(0, 0)
    return output if output.ndim == 2 else None


def _expected(golden: Golden, request: Sequence[int], signature: str) -> ExpectedAnswer:
    chosen = [golden.sentences[index] for index in request]
    sentences = [entry.sentence for entry in chosen]
    rows, columns = answer_positions(sentences, signature)
    width = golden.fixed.shape.max_predictions if golden.fixed else int(columns.max(initial=-1)) + 1
    by_word = signature != COMPACT_SIGNATURE
    return ExpectedAnswer(
        log_prob=np.concatenate([entry.log_prob for entry in chosen]),
        rows=rows,
        columns=columns,
        height=sum(sentence.num_words for sentence in sentences) if by_word else len(sentences),
        width=width,
    )
