"""Which answers are right, and how the others are wrong."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from bench.bert.contract.golden import FixedExport
from bench.bert.contract.golden_checker import GoldenChecker
from bench.bert.contract.masked_requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE, FixedShape, piece_log_probs
from bench.results.records import WrongKind
from tests.support.toy_golden import toy_golden

GOLDEN = toy_golden(30)
SIGNATURES = [COMPACT_SIGNATURE, ARTICLE_SIGNATURE]


def make_checker(signature: Any, together: Any = 1) -> Any:
    count = len(GOLDEN.sentences)
    requests = [tuple((first + offset) % count for offset in range(together)) for first in range(count)]
    return GoldenChecker(GOLDEN, requests, signature), requests


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("together", [1, 3])
def test_right_answers_are_right_and_hold_the_golden_values(signature: Any, together: int) -> None:
    checker, requests = make_checker(signature, together)
    for index, request in enumerate(requests):
        outputs = checker.outputs(index)
        assert checker.check(index, outputs) is None
        sentences = [GOLDEN.sentences[entry].sentence for entry in request]
        for values, entry in zip(piece_log_probs(outputs["log_prob"], sentences, signature), request, strict=True):
            np.testing.assert_array_equal(values, GOLDEN.sentences[entry].log_prob)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_lone_rest_output_has_no_name(signature: Any) -> None:
    checker, _ = make_checker(signature)
    assert checker.check(4, {"": checker.outputs(4)["log_prob"]}) is None


@pytest.mark.parametrize("signature", SIGNATURES)
def test_padding_by_the_server_does_not_matter(signature: Any) -> None:
    """Serving's batching pads a request to the longest of its batch, and cuts only the rows back."""
    checker, _ = make_checker(signature)
    output = checker.outputs(7)["log_prob"]
    padded = np.pad(output, ((0, 0), (0, 5)), constant_values=-3.0)
    assert checker.check(7, {"log_prob": padded}) is None


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("together", [1, 3])
def test_one_value_off_by_more_than_the_tolerance_is_drift(signature: Any, together: int) -> None:
    checker, _ = make_checker(signature, together)
    for index in range(len(GOLDEN.sentences)):
        for factor, kind in ((0.5, None), (3.0, WrongKind.DRIFT)):
            outputs = checker.outputs(index)
            expected = checker.expected[index]
            last = expected.rows[-1], expected.columns[-1]
            outputs["log_prob"][last] += factor * GOLDEN.tolerance
            assert checker.check(index, outputs) == kind


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("together", [1, 3])
def test_the_answer_to_another_request_is_a_swap(signature: Any, together: int) -> None:
    checker, _ = make_checker(signature, together)
    count = len(GOLDEN.sentences)
    for index in range(count):
        other = (index + 11) % count
        assert checker.check(index, checker.outputs(other)) is WrongKind.SWAP


@pytest.mark.parametrize("signature", SIGNATURES)
def test_missing_rows_or_values_are_truncated(signature: Any) -> None:
    checker, _ = make_checker(signature, 3)
    output = checker.outputs(2)["log_prob"]
    assert checker.check(2, {"log_prob": output[:-1]}) is WrongKind.TRUNCATED
    assert checker.check(2, {"log_prob": output[:, :-1]}) is WrongKind.TRUNCATED
    assert checker.check(2, {"log_prob": output[:0]}) is WrongKind.TRUNCATED


@pytest.mark.parametrize("signature", SIGNATURES)
def test_what_is_no_matrix_of_the_right_height_has_the_wrong_shape(signature: Any) -> None:
    checker, _ = make_checker(signature)
    output = checker.outputs(3)["log_prob"]
    for wrong in (output[0], output[None], np.repeat(output, 2, axis=0), output.astype(str), np.float32(1.0)):
        assert checker.check(3, {"log_prob": np.asarray(wrong)}) is WrongKind.SHAPE
    assert checker.check(3, {"other": output}) is WrongKind.SHAPE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("signature", SIGNATURES)
def test_not_finite_comes_first(signature: Any, value: Any) -> None:
    checker, _ = make_checker(signature)
    outputs = checker.outputs(3)
    expected = checker.expected[3]
    outputs["log_prob"][expected.rows[0], expected.columns[0]] = value
    assert checker.check(3, outputs) is WrongKind.NOT_FINITE


def test_probabilities_beside_log_probabilities_are_compared_too() -> None:
    checker, _ = make_checker(ARTICLE_SIGNATURE)
    outputs = checker.outputs(5)
    outputs["prob"] = np.exp(outputs["log_prob"])
    assert checker.check(5, outputs) is None
    outputs["prob"][0, 0] += 0.01
    assert checker.check(5, outputs) is WrongKind.DRIFT


@pytest.mark.parametrize("kind", ["prob", "nll"])
def test_an_export_with_fixed_shapes(kind: str) -> None:
    shape = FixedShape(64, 6)
    golden = dataclasses.replace(GOLDEN, fixed=FixedExport(shape, kind))
    checker = GoldenChecker(golden, [(index,) for index in range(len(golden.sentences))], ARTICLE_SIGNATURE)
    outputs = checker.outputs(1)
    (output,) = outputs.values()
    assert output.shape == (golden.sentences[1].sentence.num_words, 6)
    assert checker.check(1, outputs) is None
    assert checker.check(1, {"": output}) is None
    assert checker.check(1, {"output": output * 1.5}) is WrongKind.DRIFT
    assert checker.check(1, checker.outputs(2)) is WrongKind.SWAP
